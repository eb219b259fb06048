"""`auditring metrics --config`: the directory and the address of a deployment's file."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import auditring
from auditring.cli.commands import auditring as command_line


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A deployment that a proxy has run under."""
    path = tmp_path / "auditring.toml"
    path.write_text('path = "audit"\n[metrics]\nlisten = "127.0.0.1:0"\n')
    path.chmod(0o600)
    with auditring.open_from(path):
        pass
    return path


def test_it_serves_where_the_file_says(config: Path) -> None:
    """Until it is ended."""
    command = [sys.executable, "-m", "auditring", "metrics", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("Serving http://127.0.0.1:")
        running.terminate()
        assert running.wait(30) == 0


def test_a_textfile_is_written_from_the_directory_that_the_file_says(config: Path) -> None:
    """And nothing is served meanwhile."""
    target = config.parent / "auditring.prom"
    done = CliRunner().invoke(command_line, ["metrics", "--config", str(config), "--textfile", str(target)])
    assert done.exit_code == 0, done.output
    assert "auditring_processes" in target.read_text()


def test_one_of_both_says_which_directory(config: Path) -> None:
    """Neither is a question, and both are two answers."""
    for arguments in ([], [str(config.parent / "audit"), "--config", str(config)]):
        done = CliRunner().invoke(command_line, ["metrics", *arguments])
        assert (done.exit_code, "give DIR, or --config FILE" in done.output) == (2, True)
    done = CliRunner().invoke(command_line, ["metrics", "--config", str(config.parent / "nowhere")])
    assert (done.exit_code, "No such file" in done.output) == (2, True)

"""The commands and settings of `docs/metrics.md`, as they stand there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import auditring
from auditring.cli.commands import auditring as cli
from deadlines import until

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCK.findall(PAGE) if kind == "sh" for line in text.splitlines()]
OURS = [line for line in COMMANDS if line.startswith("auditring ")]
OTHERS = [line for line in COMMANDS if not line.startswith("auditring ")]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of that name, where the commands are typed."""
    monkeypatch.chdir(tmp_path)
    auditring.open("audit/").close()
    return tmp_path


def test_the_page_has_the_commands_that_are_run_here() -> None:
    """A block that is not found here is run nowhere."""
    assert (len(OURS), len(OTHERS)) == (3, 2)


@pytest.mark.usefixtures("audit")
@pytest.mark.parametrize("line", [line for line in OURS if "--" not in line])
def test_commands_that_end_by_themselves(line: str) -> None:
    """They end well and say something."""
    result = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert (result.exit_code, "auditring_processes" in result.output) == (0, True)


@pytest.mark.parametrize("line", [line for line in OURS if "--" in line])
def test_commands_that_are_ended(audit: Path, line: str) -> None:
    """They serve, or write, until they are ended; the port and the folder are the test's own."""
    written = audit / "auditring.prom"
    own = line.replace("127.0.0.1:9464", "127.0.0.1:0").replace("/var/lib/node_exporter/auditring.prom", str(written))
    assert own != line
    arguments = [sys.executable, "-m", *shlex.split(own)]
    with subprocess.Popen(arguments, cwd=audit, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        if "--listen" in own:
            assert running.stderr.readline().startswith("Serving http://127.0.0.1:")
        else:
            until(written.exists)
        running.terminate()
        assert running.wait(30) == 0


@pytest.mark.parametrize("line", OTHERS)
def test_commands_of_prometheus(line: str) -> None:
    """Typed at the root of the repository."""
    program, *arguments = shlex.split(line)
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_of_prometheus(tmp_path: Path) -> None:
    """Promtool takes them as they stand, together with the alerts."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed")
    (settings,) = (text for kind, text in BLOCK.findall(PAGE) if kind == "yaml")
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(f"rule_files: [alerts.yml]\n{settings}")
    done = subprocess.run(
        [found, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""The example of a package with a sink: installed as users do, found by its entry point, and run by its tests."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import auditring

EXAMPLE = Path(__file__).parents[1] / "examples" / "sqlite_sink"
DEADLINE = 300


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has put it; nothing is fetched."""
    if importlib.util.find_spec("flit_core") is None:
        assert os.environ.get("CI") != "true", "CI has flit-core: it is in the group `dev`"
        pytest.skip("no flit-core here, which builds the example")
    target = tmp_path_factory.mktemp("installed")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, *arguments: str, cwd: Path) -> str:
    """Python with the package; it must end well. What it prints."""
    ours = str(Path(auditring.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(installed), ours]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_kind_is_found_and_the_readme_runs(installed: Path, tmp_path: Path) -> None:
    """By the entry point of what is installed."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    program += "\nfrom auditring.sinks.registry import kinds\nassert 'sqlite' in kinds()\nprint(SqliteSink.__module__)"
    assert run(installed, "-c", program, cwd=tmp_path) == "auditring_sqlite\n"
    assert (tmp_path / "audit" / "audit.db").exists()


def test_it_passes_its_own_tests(installed: Path) -> None:
    """The conformance kit, all of it, and what it promises beyond."""
    said = run(installed, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests", cwd=EXAMPLE)
    assert re.search(r"^1[0-9] passed in", said, re.MULTILINE), said

"""The page of the configuration: every key is in its file, its commands run, and its table is that of the keys."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import auditring
from auditring import deployment
from auditring.deployment.keys import KEYS, SHORT, SINK

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
FILES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAM = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line
]


def load(folder: Path, text: str) -> deployment.Deployment:
    """What a file says, in a folder of its own."""
    path = folder / "auditring.toml"
    path.write_text(text)
    path.chmod(0o600)
    return deployment.load(path, environ={})


def test_every_key_is_in_the_annotated_file(tmp_path: Path) -> None:
    """One of the two files of the page has it, and both can be loaded."""
    said = [load(tmp_path, text) for text in FILES]
    # What a table of reads may have, one of writes may have, too.
    named = {name.replace("write.", "read.") for one in said for name in one.settings}
    assert named == {name.replace("write.", "read.") for name in KEYS}
    of_sinks = {name for one in said for sink in one.configured or () for name in _flat(sink.settings)}
    assert set(SINK) <= of_sinks
    assert set(SHORT) == {"read", "write", "request"}


def _flat(settings: Mapping[str, deployment.Setting]) -> Iterator[str]:
    for name, setting in settings.items():
        yield name
        if isinstance(setting.value, dict):
            yield from (f"{name}.{key}" for key in setting.value)


def test_the_annotated_file_opens_a_log(tmp_path: Path) -> None:
    """With its key of redaction where it says, and the names of sinks that it has."""
    text = FILES[0]
    (tmp_path / "secrets").mkdir()
    key = tmp_path / "secrets" / "redaction.key"
    key.write_text("0123456789abcdef0123456789abcdef")
    key.chmod(0o600)
    load(tmp_path, text)
    with auditring.open_from(tmp_path / "auditring.toml", path=None) as log:
        assert [rule.keep.kind for rule in log.policy.rules] == ["off", "sample"]


def test_the_example_can_be_loaded_and_opens_a_log(tmp_path: Path) -> None:
    """As it stands."""
    path = tmp_path / "auditring.toml"
    shutil.copyfile(ROOT / "examples" / "auditring.toml", path)
    path.chmod(0o600)
    with auditring.open_from(path) as log:
        assert log.health().ok
        log.flush(30)
    assert (tmp_path / "audit" / "jsonl").is_dir()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(command: str, tmp_path: Path) -> None:
    """Each as it stands, with the file of the page's program."""
    (text,) = re.findall(r'write_text\("""\n(.*?)"""\)', PROGRAM[0], re.DOTALL)
    load(tmp_path, text)
    program = f"{sys.executable} -m auditring"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDITRING_")}
    done = subprocess.run(
        ["/bin/sh", "-c", re.sub(r"\bauditring (?=check)", f"{program} ", command)],
        cwd=tmp_path,
        env={**environ, "AUDITRING_JOURNAL_BYTES": "1 MiB"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_of_the_page_has_variables_that_there_are() -> None:
    """A name that nobody knows would keep the service from starting."""
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^Environment=(\w+)=", unit, re.MULTILINE)
    assert names
    assert set(names) <= {"AUDITRING_CONFIG", *(deployment.variable(name) for name in KEYS)}

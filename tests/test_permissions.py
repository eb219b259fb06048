"""What the library makes is its owner's alone, whatever the umask: folders 0700, files 0600; also after recovery."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditring
from deadlines import until

LIFE = """
import os, sys, time
os.umask(int(sys.argv[2], 8))
import auditring
from auditring import Rotation
from auditring.sinks import JsonlSink, ParquetSink

log = auditring.open(
    sys.argv[1], segment_bytes=1 << 14, ring_bytes=1 << 20, retention=auditring.Retention(max_bytes=1 << 40),
    sinks=(ParquetSink(rotation=Rotation(rows=40)), JsonlSink(rotation=Rotation(rows=40), compress=True)),
)
with log.session(peer=("10.0.0.1", 1), authority="decision") as session:
    for round in range(5):
        for offset in range(50):
            session.read("orders", 0, offset, offset)
        log.flush(30)
    while not os.path.exists(os.path.join(sys.argv[1], "retention", "lock")):
        time.sleep(0.01)
    print("alive", flush=True)
    session.read("orders", 1, 0, 0)
    time.sleep(60)
"""
RECOVERY = """
import os, sys
os.umask(int(sys.argv[2], 8))
from auditring.recovery import recover
print(*(one.failed for one in recover(sys.argv[1])))
"""


def everything(root: Path) -> Iterator[Path]:
    """The directory and all in it, and the rings that it names."""
    yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield path
            if name == "owner":
                yield Path(json.loads(path.read_text())["ring_path"])


def open_to_others(root: Path) -> list[str]:
    """What has any other mode than it should; what goes while it is looked at has none."""
    wrong = []
    for path in everything(root):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        if stat.S_IMODE(status.st_mode) != wanted:
            wrong.append(f"{path} {stat.S_IMODE(status.st_mode):04o}")
    return wrong


@pytest.mark.parametrize("umask", ["000", "077", "777"])
def test_everything_is_its_owners_alone_at_work_and_after_recovery(tmp_path: Path, umask: str) -> None:
    """Directory, journal, locks, cursors, tables, lines, compressed lines, totals, ring, and what is being written."""
    root = tmp_path / "above" / "audit"
    command = [sys.executable, "-c", LIFE, str(root), umask]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        try:
            assert host.stdout.readline() == "alive\n"
            kinds = {path.suffix for path in everything(root)}
            assert {".parquet", ".zst", ".jsonl", ".journal", ".cursor", ".lock", ".ring"} <= kinds
            # A lock has its bits a moment after its name.
            until(lambda: open_to_others(root) == [])
        finally:
            host.send_signal(signal.SIGKILL)
    command = [sys.executable, "-c", RECOVERY, str(root), umask]
    recovered = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert recovered.stdout == "None\n"
    assert list((root / "totals").iterdir())
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700
    assert open_to_others(root) == []


def test_a_directory_that_was_there_stays_as_it_is_and_health_says_who_may_write_to_it(tmp_path: Path) -> None:
    """Who made it has decided; what is in it is private all the same."""
    root = tmp_path / "audit"
    root.mkdir()
    root.chmod(0o777)
    with auditring.open(root) as log:
        (note,) = (note for note in log.health().notes if "may write to" in note)
        assert "0777" in note
        assert log.health().ok
    assert stat.S_IMODE(root.stat().st_mode) == 0o777
    assert open_to_others(root) == [f"{root} 0777"]
    root.chmod(0o755)
    with auditring.open(root) as log:
        assert not any("may write" in note for note in log.health().notes)


def test_a_folder_for_lines_elsewhere_is_private_too(tmp_path: Path) -> None:
    """Also one that the sink is told to make, and what lies above it."""
    lines = tmp_path / "elsewhere" / "lines"
    sink = auditring.sinks.JsonlSink(path=lines, compress=True, rotation=auditring.Rotation(rows=1))
    with auditring.open(tmp_path / "audit", sinks=(sink,)) as log, log.session(authority="decision") as session:
        session.read("orders", 0, 1, 1)
        log.flush(30)
        session.read("orders", 0, 2, 2)
        log.flush(30)
        until((lines / "closed").is_dir)
    assert open_to_others(lines.parent) == []

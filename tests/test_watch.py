"""What is taken away under a running host is noticed, told, and made anew; no row is lost that a sink had to write."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import auditring
import deadlines
from auditring import Rotation, verify, watch
from auditring.health import HealthBoard
from auditring.recovery import recover
from auditring.sinks import Batching, Checkpoint, JsonlSink, ParquetSink
from sealed_rows import lines_of, rows_of
from valves import JsonlValve

until = partial(deadlines.until, seconds=60.0)

Take = Callable[[Path], None]


def delete(path: Path) -> None:
    """Takes it away for good, once more where the host put something back meanwhile."""
    if not path.is_dir():
        path.unlink()
        return
    for _ in range(100):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.ENOENT}:
                raise
        else:
            return
    message = f"{path} came back a hundred times"
    raise AssertionError(message)


def move(path: Path) -> None:
    """Takes it somewhere else."""
    path.rename(path.parent / f"{path.name}.moved")


def replace_by_file(path: Path) -> None:
    """Puts a file of somebody else in its place, at once: what the host has made anew meanwhile is not written to."""
    beside = path.with_name(f"{path.name}.beside")
    beside.write_bytes(b"not yours\n")
    while path.is_dir():
        delete(path)
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    beside.replace(path)
    beside.unlink(missing_ok=True)


def replace_by_folder(path: Path) -> None:
    """Puts a folder in its place."""
    delete(path)
    path.mkdir(exist_ok=True)  # the host may have been quicker


MOUNT, UMOUNT = (shutil.which(name) or "" for name in ("mount", "umount"))
WAYS = [delete, move, replace_by_file, replace_by_folder]


class SmallGroups(ParquetSink):
    """A file is begun with its first 500 rows, and sealed with a million."""

    batching = Batching(rows=500, partial=False, tables=True)


def opened(path: Path, *sinks: auditring.sinks.Sink, **options: object) -> auditring.AuditLog:
    """A log whose ring lies elsewhere."""
    settings = {"balance": None, "ring_dir": path.parent, "ring_bytes": 1 << 20, **options}
    return auditring.open(path, sinks=sinks or (ParquetSink(),), **settings)  # type: ignore[arg-type]


def emit(log: auditring.AuditLog, first: int, last: int) -> None:
    """Events with these numbers."""
    for number in range(first, last):
        log.emit("com.example.Event", resource=str(number))


def emit_in_segments(log: auditring.AuditLog, count: int) -> None:
    """So many events, a hundred at a time, so that there are several segments."""
    for first in range(0, count, 100):
        emit(log, first, first + 100)
        journaled(log)


def journaled(log: auditring.AuditLog) -> None:
    """All that was emitted is in the journal."""
    until(lambda: log.stats().in_ring == 0)


def numbers(rows: list[dict[str, object]]) -> Counter[int]:
    """Which of the numbers are there, and how often."""
    return Counter(int(str(row["resource"])) for row in rows if row["action"] == "com.example.Event")


def in_lines(path: Path) -> Counter[int]:
    """The same, of lines."""
    lines = [line for line in lines_of(path) if line["action"] == "com.example.Event"]
    return Counter(int(line["resource"]) for line in lines)


def told(path: Path) -> list[dict[str, object]]:
    """Rows that tell of what was taken away."""
    return rows_of(path, "auditring.FileVanished")


def problems(log: auditring.AuditLog) -> list[str]:
    """Components that have a problem."""
    return [problem.component for problem in log.health().problems]


def noticed(log: auditring.AuditLog, component: str) -> float:
    """Waits until it is a problem; the seconds that it took."""
    began = time.monotonic()
    until(lambda: any(name.startswith(component) for name in problems(log)))
    return time.monotonic() - began


def test_a_file_that_goes_while_a_folder_is_looked_at_takes_none_of_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a temporary name does that a sink gives up at that moment."""
    path = tmp_path / "audit"
    passing = path / "jsonl" / "closed" / ".passing.tmp"
    identity, met = watch._identity, threading.Event()  # noqa: SLF001 - the moment between two calls of the system

    def looked(entry: os.DirEntry[str]) -> tuple[int, int, int]:
        if entry.name == passing.name:
            passing.unlink()
            met.set()
        return identity(entry)

    with opened(path, ParquetSink(), JsonlSink(rotation=Rotation(rows=100), compress=True)) as log:
        emit(log, 0, 500)
        log.flush(30)
        until(lambda: any(passing.parent.glob("*.zst")))
        monkeypatch.setattr(watch, "_identity", looked)
        passing.write_bytes(b"")
        until(met.is_set)
        emit(log, 500, 600)
        log.flush(30)
        assert not [one for one in log.health().problems if one.component == "files"]
    assert numbers(rows_of(path)) == Counter(range(600))
    assert not told(path)


@pytest.mark.parametrize("take", WAYS)
def test_lines_go_on_in_a_new_file_when_the_open_one_is_taken_away(tmp_path: Path, take: Take) -> None:
    """What was safe in it is told by a row; all that comes later is in another file, once."""
    path = tmp_path / "audit"
    with opened(path, ParquetSink(), JsonlSink()) as log:
        emit(log, 0, 100)
        log.flush(30)
        (file,) = path.glob("jsonl/*.jsonl")
        take(file)
        noticed(log, "files:jsonl")
        emit(log, 100, 200)
        log.flush(30)
        others = [other for other in path.glob("jsonl/*.jsonl") if other.is_file() and other != file]
        assert len(others) == 1
        lines = others[0].read_text().splitlines()
        assert sum("com.example.Event" in line for line in lines) == 100
    assert numbers(rows_of(path)) == Counter(range(200))
    (row,) = told(path)
    assert row["resource"] == str(file.relative_to(path))
    assert '"kind":"open"' in str(row["context"])
    assert '"rows":' in str(row["context"])


def test_lines_that_another_process_finds_gone_are_told_of_and_the_rest_is_written(tmp_path: Path) -> None:
    """The open file of a dead process was deleted: recovery does not stand still for it."""
    path = tmp_path / "audit"
    host = subprocess.run([sys.executable, "-c", DYING, str(path)], check=False, timeout=60)
    assert host.returncode == -signal.SIGKILL
    (file,) = path.glob("jsonl/*.jsonl")
    file.unlink()
    with opened(path, ParquetSink(), JsonlSink()) as log:
        until(lambda: len(list((path / "journal").iterdir())) == 1)
        log.flush(30)
    assert numbers(rows_of(path)) == Counter(range(300))
    assert sum(in_lines(path).values()) >= 100
    assert [row["resource"] for row in told(path)] == [str(file.relative_to(path))]


DYING = """
import os, signal, sys, auditring
from auditring.sinks import JsonlSink, ParquetSink
log = auditring.open(sys.argv[1], sinks=(ParquetSink(), JsonlSink()), balance=None)
for number in range(200):
    log.emit("com.example.Event", resource=str(number))
log.flush(30)
for number in range(200, 300):
    log.emit("com.example.Event", resource=str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("take", WAYS)
def test_a_table_that_is_taken_away_while_it_is_written_is_written_again(tmp_path: Path, take: Take) -> None:
    """Nothing of it was safe, so nothing is lost."""
    path = tmp_path / "audit"
    rows = 1_500
    with opened(path, SmallGroups()) as log:
        with log.session(id="s", authority="decision") as session:
            for offset in range(rows):
                session.read("payments", 0, offset, offset, 1)
        until(lambda: bool(list(path.glob("events/.*.tmp"))))
        (file,) = path.glob("events/.*.tmp")
        take(file)
        noticed(log, "files:parquet")
        log.flush(60)
    reads = Counter(row["first_offset"] for row in rows_of(path, "Read"))
    assert reads == Counter(range(rows))
    assert [row["resource"] for row in told(path)] == [str(file.relative_to(path))]
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


@pytest.mark.parametrize("take", [delete, move, replace_by_file])
def test_a_sealed_file_that_is_taken_away_is_told_of(tmp_path: Path, take: Take) -> None:
    """Its range stands in the row; verify finds it missing."""
    path = tmp_path / "audit"
    with opened(path, ParquetSink(rotation=Rotation(rows=50))) as log:
        emit(log, 0, 120)
        log.flush(30)
        file = min(path.glob("events/*/*.parquet"))
        time_after_last_look(log)
        take(file)
        noticed(log, "files")
        log.flush(30)
    if file.exists():
        file.unlink()
    (row,) = told(path)
    assert row["resource"] == str(file.relative_to(path))
    assert '"firstSeq":0' in str(row["context"])
    assert not verify.check(path).complete


def test_lines_that_are_compressed_anew_after_a_crash_are_not_taken_for_replaced(tmp_path: Path) -> None:
    """As long as the plain ones lie there, too; from then on their compressed form is missed as any other."""
    path, name = tmp_path / "audit", f"{UUID(int=7)}-{0:016}.jsonl"
    plain, packed = path / "jsonl" / name, path / "jsonl" / "closed" / f"{name}.zst"
    packed.parent.mkdir(parents=True)
    for file in (plain, packed):
        file.write_bytes(b"half of it")
    found: list[dict[str, Any]] = []

    def tell(action: str, **fields: object) -> None:
        found.append({"action": action, **fields})

    looker = watch.Watch(path, path / "journal", [], HealthBoard(), tell)
    looker.look()
    again = packed.with_name(".again.tmp")
    again.write_bytes(b"all of it")
    again.rename(packed)
    looker.look()
    plain.unlink()
    looker.look()
    assert not found
    # Its folder has not changed since, and is looked at all the same.
    looker.look()
    packed.unlink()
    looker.look()
    assert [(one["action"], one["what"]) for one in found] == [("auditring.FileVanished", "deleted")]
    looker.stop()


def time_after_last_look(log: auditring.AuditLog) -> None:
    """Waits until whoever watches has seen the files that are there: what was never seen cannot be missed."""
    running = log._running  # noqa: SLF001 - there is nothing in public that shows it
    assert running is not None
    watch = running._watch  # noqa: SLF001 - as above
    assert watch is not None
    until(lambda: any(name.endswith(".parquet") for folder in watch._folders.values() for name in folder.files))  # noqa: SLF001 - as above


@pytest.mark.parametrize("take", [delete, move, replace_by_folder])
def test_the_journal_is_put_back_and_nothing_of_it_is_lost(tmp_path: Path, take: Take) -> None:
    """All rows are in the journal alone, in several segments, when its directory goes."""
    path = tmp_path / "audit"
    with opened(path, segment_bytes=1 << 12) as log:
        emit_in_segments(log, 500)
        (folder,) = [one for one in (path / "journal").iterdir() if one.name == log.process]
        assert len(list(folder.glob("*.journal"))) > 2
        take(folder)
        noticed(log, "journal-files")
        until((folder / "owner").exists)
        emit(log, 500, 600)
        log.flush(30)
        assert log.stats().balanced
    assert numbers(rows_of(path)) == Counter(range(600))
    assert any('"restored":1' in str(row["context"]) for row in told(path))
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


def test_segments_that_are_deleted_are_put_back(tmp_path: Path) -> None:
    """Those that are full and the one that is being written."""
    path = tmp_path / "audit"
    with opened(path, segment_bytes=1 << 12) as log:
        emit_in_segments(log, 500)
        for segment in (path / "journal" / log.process).glob("*.journal"):
            segment.unlink()
        noticed(log, "journal-files")
        emit(log, 500, 600)
        log.flush(30)
    assert numbers(rows_of(path)) == Counter(range(600))
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


def test_segments_that_are_deleted_while_the_log_is_closed_are_put_back(tmp_path: Path) -> None:
    """The pump has ended; whoever waits for the sinks looks after what these still lack."""
    path = tmp_path / "audit"
    valve = JsonlValve(hangs=True)
    log = opened(path, valve, segment_bytes=1 << 12)
    emit_in_segments(log, 500)
    until(valve.waiting.is_set)
    closing = threading.Thread(target=log.close)
    closing.start()
    running: Any = log._running  # noqa: SLF001 - nobody else can tell
    until(lambda: running._pump.finished)  # noqa: SLF001 - likewise
    segments = sorted((path / "journal" / log.process).glob("*.journal"))
    for segment in segments[-3:]:
        segment.unlink()
    until(segments[-1].exists)
    valve.opened.set()
    closing.join(30)
    jsonl = log.stats().sinks["jsonl"]
    assert (jsonl.delivered, dict(jsonl.lost)) == (log.stats().journaled, {})


def test_small_files_of_the_journal_are_put_back_while_no_sink_has_anything_to_do(tmp_path: Path) -> None:
    """Lock, owner, followers and cursors: without them the next opener would take the living for dead."""
    path = tmp_path / "audit"
    # By age the lines' cursor would move on, for the rows that tell of each file.
    with opened(path, ParquetSink(), JsonlSink(checkpoint=Checkpoint(bytes=64 << 20))) as log:
        emit(log, 0, 100)
        log.flush(30)
        folder = path / "journal" / log.process
        names = ["lock", "owner", "followers", "parquet.cursor", "jsonl.cursor"]
        before = {name: (folder / name).read_bytes() for name in names}
        for name in names:
            (folder / name).unlink()
        until(lambda: all((folder / name).exists() for name in names))
        assert {name: (folder / name).read_bytes() for name in names} == before
        (folder / "followers").write_bytes(b"scribbled")
        until(lambda: (folder / "followers").read_bytes() == before["followers"])
        assert recover(path) == []
        emit(log, 100, 200)
    assert numbers(rows_of(path)) == Counter(range(200)) == in_lines(path)


@pytest.mark.parametrize("take", [delete, move, replace_by_folder])
def test_the_audit_directory_itself_is_made_anew(tmp_path: Path, take: Take) -> None:
    """Rows that no sink had yet are in the new one, and it is whole."""
    path = tmp_path / "audit"
    with opened(path, segment_bytes=1 << 12) as log:
        emit_in_segments(log, 500)
        take(path)
        noticed(log, "journal-files")
        until(lambda: "files" in problems(log))
        emit(log, 500, 600)
        log.flush(60)
    assert numbers(rows_of(path)) == Counter(range(600))
    assert any('"kind":"directory"' in str(row["context"]) for row in told(path))
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


def test_a_file_in_the_place_of_the_audit_directory_is_waited_out(tmp_path: Path) -> None:
    """Nothing can be made there; when the file goes, all is made anew."""
    path = tmp_path / "audit"
    with opened(path) as log:
        emit(log, 0, 100)
        journaled(log)
        replace_by_file(path)
        noticed(log, "directory")
        emit(log, 100, 200)
        path.unlink()
        until((path / "journal").is_dir)
        log.flush(60)
    assert numbers(rows_of(path)) == Counter(range(200))


KILLED = """
import os, signal, sys, time, auditring
path = sys.argv[1]
log = auditring.open(path, balance=None, segment_bytes=1 << 12)
for number in range(500):
    log.emit("com.example.Event", resource=str(number))
    while number % 100 == 0 and log.stats().in_ring:
        time.sleep(0.01)
while log.stats().in_ring:
    time.sleep(0.01)
folder = os.path.join(path, "journal", log.process)
# A name at once: one by one, the library would put files back meanwhile.
os.rename(folder, path + ".gone")
while not any(name.endswith(".journal") for name in (os.listdir(folder) if os.path.isdir(folder) else ())):
    time.sleep(0.01)
while "journal-files" not in [problem.component for problem in log.health().problems]:
    time.sleep(0.01)
for number in range(500, 600):
    log.emit("com.example.Event", resource=str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_journal_that_was_put_back_survives_its_process(tmp_path: Path) -> None:
    """`kill -9` after it was made anew: recovery finds all of it."""
    path = tmp_path / "audit"
    host = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert host.returncode == -signal.SIGKILL
    (result,) = recover(path)
    assert result.failed is None
    assert result.salvage is not None
    assert result.salvage.journal_gone == 0
    assert numbers(rows_of(path)) == Counter(range(600))
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


def mounted(path: Path, *options: str) -> None:
    """Mounts, or says why it cannot."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run([MOUNT, *options, str(path)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mount is refused here: {done.stderr.strip()}")


def test_a_directory_that_becomes_read_only_is_noticed_also_while_nothing_happens(tmp_path: Path) -> None:
    """A remount: events wait in the ring, and are all there when it is writable again."""
    path = tmp_path / "audit"
    path.mkdir()
    mounted(path, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    try:
        with opened(path, ParquetSink(), JsonlSink(), when_full=auditring.WhenFull(wait=None)) as log:
            emit(log, 0, 100)
            log.flush(30)
            # What is open for writing would be in the way.
            subprocess.run([MOUNT, "-o", "bind", str(path), str(path)], check=True)
            subprocess.run([MOUNT, "-o", "remount,bind,ro", str(path)], check=True)
            noticed(log, "read-only")
            emit(log, 100, 200)
            subprocess.run([MOUNT, "-o", "remount,bind,rw", str(path)], check=True)
            until(lambda: "read-only" not in problems(log))
            emit(log, 200, 300)
            log.flush(60)
        assert numbers(rows_of(path)) == Counter(range(300)) == in_lines(path)
        assert any("read_only" in str(row["context"]) for row in told(path))
        assert verify.check(path).complete
    finally:
        subprocess.run([UMOUNT, "-l", str(path)], check=False, capture_output=True)
        subprocess.run([UMOUNT, "-l", str(path)], check=False, capture_output=True)

"""`verify.check` on logs that nobody has touched: none is suspected, whatever its policy, its sinks and its end."""

import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
import deadlines
from auditring import Keep, Rotation, Then, WhenFull, verify
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from auditring.verify import Kind, State
from auditring.verify.reader import Reader
from verified import files, kinds, rewritten, run, span, the_only, written, wrong

DEADLINE = 120.0

wait_for = partial(deadlines.until, seconds=DEADLINE)
"""Waits for a condition, as long as these tests may."""

GOLDEN = Path(__file__).parent / "golden" / "v1"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that nobody has touched."""
    path = tmp_path_factory.mktemp("pristine") / "audit"
    written(path)
    return path


@pytest.fixture
def audit(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "audit"))


def test_a_closed_log_is_complete(audit: Path) -> None:
    """Every number of its process is a row, in a file and in a line."""
    report = verify.check(audit)
    (process,) = report.processes
    assert report.everything == ()
    assert (report.complete, process.verdict, process.state) == (True, "complete", State.CLOSED)
    assert (process.first_seq, process.last_seq) == (0, process.rows - 1)
    assert process.rows == process.events == 156
    assert process.files == len(files(audit)) >= 3
    assert process.lines is not None
    assert (process.lines.lines, process.lines.proved) == (156, "every line")
    assert report.rows == 2 * 156


def test_footers_alone_come_to_the_same(audit: Path) -> None:
    """Only what needs the rows is not known."""
    report = verify.check(audit, fast=True)
    (process,) = report.processes
    assert (report.complete, process.rows, process.events, process.lines) == (True, 156, 156, None)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("keep", [Keep.SAMPLE(one_in=3), Keep.OFF])
def test_what_the_policy_leaves_out_is_not_missing(tmp_path: Path, keep: Keep, compress: bool) -> None:  # noqa: FBT001
    """Sampled events are a term of each file; those that are off never had a number, and are counted."""
    sinks = (ParquetSink(rotation=Rotation(rows=30)), JsonlSink(rotation=Rotation(rows=30), compress=compress))
    with auditring.open(tmp_path, read=keep, sinks=sinks, balance=None) as log:
        for number in range(20):
            with log.session(id=f"s-{number}") as session:
                for offset in range(10):
                    session.read("payments", 0, offset, offset, 1)
    for fast in (False, True):
        assert wrong(tmp_path, fast=fast) == []
    (process,) = verify.check(tmp_path).processes
    off, sampled = (200, 0) if keep == Keep.OFF else (0, process.sampled_out)
    assert (process.off, process.sampled_out) == (off, sampled)
    assert (sampled > 0) is (keep != Keep.OFF)
    assert process.last_seq == process.rows + process.sampled_out - 1
    assert process.lines is not None
    assert ("not which are missing" in process.lines.proved) is (keep != Keep.OFF)


def test_a_living_process_is_complete_so_far(tmp_path: Path) -> None:
    """What is in no file yet is in the journal."""
    with auditring.open(tmp_path, instance="alive", balance=None) as log:
        log.emit("com.example.First")
        log.flush(20)
        log.emit("com.example.Second")
        wait_for(lambda: log.stats().journaled == 3)
        (process,) = verify.check(tmp_path).processes
        assert (process.state, process.verdict, process.pending) == (State.WRITING, "complete so far", 1)
        assert (process.first_seq, process.last_seq) == (0, 1)


def test_a_log_under_load_is_never_suspected(tmp_path: Path) -> None:
    """Files are sealed, lines written and compressed, processes born and closed all the time."""
    stop = threading.Event()
    closed: list[str] = []

    def write() -> None:
        while not stop.is_set():
            sinks = (
                ParquetSink(rotation=Rotation(rows=500)),
                JsonlSink(rotation=Rotation(rows=700), compress=True, checkpoint=Checkpoint(rows=100, age=0.05)),
            )
            with auditring.open(tmp_path, read=Keep.SAMPLE(one_in=2), sinks=sinks, balance=None) as log:
                for number in range(20):
                    with log.session(id=f"s-{number}") as session:
                        for offset in range(200):
                            session.read("payments", 0, offset, offset, 1)
            closed.append(log.process)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: any(tmp_path.glob("events/*/*.parquet")))
        for look in range(4):
            assert verify.check(tmp_path, fast=look % 3 == 2).wrong == ()
        wait_for(lambda: len(closed) > 1)
    finally:
        stop.set()
        writer.join()
    assert verify.check(tmp_path).wrong == ()


KILLED = """
import os, signal, sys
import auditring
log = auditring.open(sys.argv[1], instance="killed", balance=None)
log.emit("com.example.First")
log.flush(20)
log.emit("com.example.Second")
while log.stats().journaled < 3:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_is_complete_up_to_its_journal(tmp_path: Path) -> None:
    """What it had not sealed is in its journal; that it is dead, and nobody has adopted it yet, is told."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (process,) = verify.check(tmp_path).processes
    assert (process.state, process.verdict, process.pending) == (State.LEFT, "complete so far", 1)
    assert (process.first_seq, process.last_seq) == (0, 1)
    # A batch of the journal that nobody can read any more is not found by looking at its head.
    segment = max(tmp_path.glob("journal/*/*.journal"))
    content = bytearray(segment.read_bytes())
    content[content.rindex(b"com.example.Second")] ^= 1
    segment.write_bytes(content)
    assert the_only(wrong(tmp_path)) == (Kind.JOURNAL, 2, 2)


def test_what_the_log_lost_is_told_and_is_no_mistake_of_the_files(tmp_path: Path) -> None:
    """How many, when and why; the verdict excepts them."""
    when_full = WhenFull(wait=0, then=Then.DROP)
    with (
        auditring.open(tmp_path, ring_bytes=1 << 20, when_full=when_full, balance=None) as log,
        log.session() as session,
    ):
        deadline = time.monotonic() + DEADLINE
        while not log.stats().dropped:
            assert time.monotonic() < deadline
            for offset in range(2000):
                session.read("t", 0, offset, offset, 1)
    dropped = log.stats().dropped
    report = verify.check(tmp_path)
    (process,) = report.processes
    assert report.complete
    assert sum(loss.lost or 0 for loss in process.losses) == process.events_lost == dropped
    assert {(loss.cause, loss.action) for loss in process.losses} == {("dropped", "Read")}
    assert all(loss.since and loss.time and loss.since < loss.time for loss in process.losses)
    assert process.verdict == f"complete, except {dropped:,} events lost"
    assert verify.check(tmp_path, fast=True).processes[0].verdict == process.verdict
    shown = run(tmp_path)
    assert shown.exit_code == 0
    assert "What the log says that it lost" in shown.output
    assert f"Complete, except {dropped:,} events that the log itself says were lost" in shown.output


def test_processes_are_judged_one_by_one(tmp_path: Path) -> None:
    """Damage to one is no matter of the other; a verification can be of one alone."""
    one, other = written(tmp_path), written(tmp_path, instance="proxy-2")
    assert [process.complete for process in verify.check(tmp_path).processes] == [True, True]
    hit = next(path for path in files(tmp_path) if one in path.name)
    hit.unlink()
    report = verify.check(tmp_path)
    assert {process.process: process.complete for process in report.processes} == {one: False, other: True}
    assert {finding.process for finding in report.wrong} == {one}
    assert verify.check(tmp_path, process=other).complete
    assert not verify.check(tmp_path, process=one).complete
    with pytest.raises(ValueError, match="nothing of a process 'nobody'"):
        verify.check(tmp_path, process="nobody")


def test_a_log_of_lines_alone_is_verified_by_them(tmp_path: Path) -> None:
    """No Parquet file is missed where no sink was to write one."""
    with auditring.open(tmp_path, sinks=(JsonlSink(rotation=Rotation(rows=2)),), balance=None) as log:
        for number in range(6):
            log.emit(f"com.example.Event{number}")
    (process,) = verify.check(tmp_path).processes
    assert (process.files, process.verdict) == (0, "complete")
    assert process.lines is not None
    assert (process.lines.lines, process.lines.last_seq) == (8, 7)
    max(tmp_path.glob("jsonl/*")).unlink()
    assert Kind.MISSING in kinds(wrong(tmp_path))


def test_a_log_whose_sinks_write_elsewhere_has_its_counters_checked(tmp_path: Path) -> None:
    """That is all that there is, and it is said."""
    with auditring.open(
        tmp_path / "audit", sinks=(JsonlSink(tmp_path / "elsewhere", name="far"),), balance=None
    ) as log:
        log.emit("com.example.First")
    report = verify.check(tmp_path / "audit")
    assert (report.complete, [finding.kind for finding in report.everything]) == (True, [Kind.NOTE])


def test_a_reader_that_does_not_start_is_done_without(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python may be a part of another program, which cannot be started like itself."""
    for program in ("/bin/true", "/bin/yes", "/nowhere"):
        monkeypatch.setattr(sys, "executable", program)
        assert verify.check(audit).everything == ()


def test_a_lines_sink_with_a_directory_of_its_own_is_told_and_no_mistake(tmp_path: Path) -> None:
    """Whether its files are there cannot be told from here."""
    with auditring.open(
        tmp_path / "audit", sinks=(ParquetSink(), JsonlSink(tmp_path / "elsewhere")), balance=None
    ) as log:
        log.emit("com.example.First")
    report = verify.check(tmp_path / "audit")
    assert report.complete
    (note,) = report.everything
    assert (note.kind, "3 lines" in note.text) == (Kind.NOTE, True)


def test_a_compaction_that_has_not_removed_its_parts_is_told_and_no_mistake(audit: Path) -> None:
    """The wide file counts, the ones inside it do not."""
    first, second, *_ = files(audit)
    wide = first.with_name(f"{first.stem.rsplit('-', 1)[0]}-{span(second)[1]:016}.parquet")
    both = pa.concat_tables([pq.read_table(first), pq.read_table(second)])
    rewritten(first, lambda _: both, to=wide, last_seq=span(second)[1])
    report = verify.check(audit)
    assert report.complete
    assert [(finding.kind, finding.first_seq) for finding in report.everything] == [
        (Kind.LEFTOVER, span(first)[0]),
        (Kind.LEFTOVER, span(second)[0]),
    ]
    assert report.processes[0].rows == 156
    first.unlink()
    second.unlink()
    assert verify.check(audit).everything == ()


def test_a_file_that_goes_while_it_is_read_means_another_look(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction may be quicker than a verification."""
    first, second, *_ = files(audit)
    wide = first.with_name(f"{first.stem.rsplit('-', 1)[0]}-{span(second)[1]:016}.parquet")
    both = pa.concat_tables([pq.read_table(first), pq.read_table(second)])
    examine = Reader.examine

    def compacted(reader: Reader, path: Path) -> object:
        if first.exists():
            rewritten(first, lambda _: both, to=wide, last_seq=span(second)[1])
            first.unlink()
            second.unlink()
        return examine(reader, path)

    monkeypatch.setattr(Reader, "examine", compacted)
    report = verify.check(audit)
    assert report.everything == ()
    assert report.processes[0].files == len(files(audit))


def test_files_of_version_1_are_complete() -> None:
    """Those that are kept, of a process that has ended and of one that was left."""
    for name, verdict in (("closed", "complete, except "), ("open", "complete so far, except ")):
        report = verify.check(GOLDEN / name)
        assert report.complete
        assert report.processes[0].verdict.startswith(verdict)


def test_progress_is_told_of(audit: Path) -> None:
    """How many files of how many, and rows."""
    seen: list[verify.Progress] = []
    report = verify.check(audit, progress=seen.append)
    assert [at.rows for at in seen] == sorted(at.rows for at in seen)
    assert {at.of for at in seen} == {report.files}
    assert seen[-1].rows == report.rows

"""`auditring verify`: every damage done by hand is told of by its range and file, and no healthy log is suspected."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

import auditring
import deadlines
from auditring import Keep, Policy, Rotation, Rule, Then, WhenFull, verify
from auditring.cli.commands import auditring as command
from auditring.directory import NotAnAuditDirectory
from auditring.sealed import list_sealed
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from auditring.verify import Finding, Kind, State
from auditring.verify.reader import Reader

ROWS = 40
"""Rows of a file."""
DEADLINE = 120.0
wait_for = partial(deadlines.until, seconds=DEADLINE)
"""Waits for a condition, as long as these tests may."""
GOLDEN = Path(__file__).parent / "golden" / "v1"

Change = Callable[[pa.Table], pa.Table]


def written(path: Path, *, events: int = 150, **options: object) -> str:
    """A closed log of several files; its process."""
    sinks = (ParquetSink(rotation=Rotation(rows=ROWS)), JsonlSink(rotation=Rotation(rows=ROWS)))
    with auditring.open(path, **{"instance": "proxy-1", "sinks": sinks, **options}, balance=None) as log:  # type: ignore[arg-type]
        with log.session(id="s", authority="decision") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            for offset in range(events):
                session.read("payments", offset % 3, offset, offset, 1)
            session.operation_denied("WRITE", "Topic", "salaries")
        return log.process


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


@pytest.fixture
def lined(tmp_path: Path) -> Path:
    """A log of lines alone, in several files."""
    with auditring.open(tmp_path / "audit", sinks=(JsonlSink(rotation=Rotation(rows=ROWS)),), balance=None) as log:
        for _ in range(150):
            log.emit("com.example.Event")
    return tmp_path / "audit"


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python within another program: files are read in this process, for there is none to start, which is quicker."""
    monkeypatch.setattr(sys, "executable", "")


def files(audit: Path) -> list[Path]:
    """The Parquet files, in their order."""
    return [file.path for file in list_sealed(audit)[0]]


def span(path: Path) -> tuple[int, int]:
    """The range in a file's name."""
    first, last = path.stem.rsplit("-", 2)[1:]
    return int(first), int(last)


def wrong(audit: Path, *, fast: bool = False, living: str = "") -> list[Finding]:
    """What speaks against a log; whatever it is, reading it changes nothing and ends without an exception."""
    before = {path: path.stat().st_mtime_ns for path in audit.rglob("*") if living not in path.parts}
    report = verify.check(audit, fast=fast)
    assert {path: path.stat().st_mtime_ns for path in audit.rglob("*") if living not in path.parts} == before
    assert report.complete is not bool(report.wrong)
    return list(report.wrong)


def the_only(found: list[Finding]) -> tuple[Kind, int | None, int | None]:
    """Kind and range of the one thing that is wrong."""
    (finding,) = found
    return finding.kind, finding.first_seq, finding.last_seq


def kinds(found: list[Finding]) -> set[Kind]:
    """Of what kinds the findings are."""
    return {finding.kind for finding in found}


def said(path: Path) -> dict[str, str]:
    """What a file's metadata says."""
    return {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}


def rewritten(path: Path, change: Change = lambda table: table, to: Path | None = None, **metadata: object) -> None:
    """Write a file anew, whole and well-formed, with other rows or other metadata."""
    keep = {key: value for key, value in said(path).items() if key != "ARROW:schema"}
    keep |= {f"auditring.{key}": str(value) for key, value in metadata.items()}
    table = change(pq.read_table(path)).replace_schema_metadata(None)
    with pq.ParquetWriter(to or path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(keep)


def run(*arguments: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(command, ["verify", *(str(argument) for argument in arguments)])


# --- healthy logs ---------------------------------------------------------------------------------------------------


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


# --- damage to Parquet files ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("at", [0, 1, -1])
def test_a_deleted_file_is_named_by_its_range_and_neighbours(audit: Path, at: int, *, fast: bool) -> None:
    """The first, one in the middle, and the last, of which only the totals know."""
    names = files(audit)
    first, last = span(names[at])
    beside = [path for path in names if span(path)[1] == first - 1 or span(path)[0] == last + 1]
    names[at].unlink()
    (finding,) = wrong(audit, fast=fast)
    assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.MISSING, first, last)
    assert finding.beside == tuple(path.relative_to(audit) for path in beside)
    assert all(path.name in finding.text for path in beside)


def test_what_was_removed_from_the_beginning_on_purpose_is_told_and_no_mistake(audit: Path) -> None:
    """Retention takes the oldest files; a gap behind them is as wrong as ever, and so is one where none was to go."""
    first, second, third, *_ = files(audit)
    today = date.fromisoformat(first.parent.name)
    first.unlink()
    lines_of(audit)[0].unlink()
    assert kinds(wrong(audit)) == {Kind.MISSING}
    report = verify.check(audit, kept_since=today)
    assert (report.complete, {finding.kind for finding in report.everything}) == (True, {Kind.NOTE})
    assert report.everything[0].last_seq == span(first)[1]
    assert run(audit, "--kept-since", today.isoformat()).exit_code == 0
    assert not verify.check(audit, kept_since=today + timedelta(days=1)).complete
    third.rename(audit / "hidden")
    (finding,) = verify.check(audit, kept_since=today).wrong
    assert (finding.kind, finding.first_seq) == (Kind.MISSING, span(third)[0])
    second.unlink()
    for path in files(audit):
        path.unlink()
    assert verify.check(audit, kept_since=today).complete


def test_the_last_file_of_a_living_process_is_missed_by_its_cursor(tmp_path: Path) -> None:
    """What its sink has sealed must be there; its host sees it go, too, and writes a row of it."""
    with auditring.open(tmp_path, balance=None) as log:
        for _ in range(3):
            log.emit("com.example.Event")
            log.flush(20)
        last = files(tmp_path)[-1]
        last.rename(tmp_path / "hidden")
        assert the_only(wrong(tmp_path, living="journal")) == (Kind.MISSING, *span(last))
        (tmp_path / "hidden").rename(last)
        files(tmp_path)[1].rename(tmp_path / "hidden")
        assert kinds(wrong(tmp_path, living="journal")) == {Kind.MISSING}


def test_files_without_counters_need_a_clean_end(audit: Path) -> None:
    """They are complete if their last row is the last of a process; else nobody knows what followed."""
    shutil.rmtree(audit / "totals")
    shutil.rmtree(audit / "jsonl")
    (process,) = verify.check(audit).processes
    assert (process.state, process.verdict) == (State.UNKNOWN, "complete")
    files(audit)[-1].unlink()
    (process,) = verify.check(audit).processes
    assert (process.complete, process.verdict) == (False, "end unknown")
    (finding,) = process.findings
    assert (finding.kind, finding.last_seq) == (Kind.END_UNKNOWN, span(files(audit)[-1])[1])
    assert "end unknown" in run(audit).output


@pytest.mark.parametrize("fast", [False, True])
def test_a_copy_is_doubled_rows(audit: Path, *, fast: bool) -> None:
    """Under a name that is none of ours, and in another folder under its own."""
    original = files(audit)[1]
    copy = original.with_name("copy.parquet")
    shutil.copy(original, copy)
    found = wrong(audit, fast=fast)
    assert kinds(found) == {Kind.FOREIGN, Kind.DOUBLED}
    assert {(finding.first_seq, finding.last_seq) for finding in found} == {span(original)}
    copy.unlink()
    elsewhere = original.parent.with_name("2001-02-03")
    elsewhere.mkdir()
    shutil.copy(original, elsewhere / original.name)
    found = wrong(audit, fast=fast)
    assert kinds(found) == {Kind.DOUBLED, Kind.MISPLACED}
    assert {finding.path for finding in found} == {(elsewhere / original.name).relative_to(audit)}


def test_a_file_in_the_folder_of_another_date_is_misplaced(audit: Path) -> None:
    """Queries that are bounded in time would not find it."""
    moved = files(audit)[1]
    elsewhere = moved.parent.with_name("2001-02-03")
    elsewhere.mkdir()
    moved.rename(elsewhere / moved.name)
    assert the_only(wrong(audit)) == (Kind.MISPLACED, *span(moved))


def test_a_foreign_parquet_file_is_told(audit: Path) -> None:
    """A reader's glob would take its rows for the log's."""
    pq.write_table(pa.table({"a": [1]}), audit / "events" / "theirs.parquet")
    (finding,) = wrong(audit)
    assert (finding.kind, finding.process) == (Kind.FOREIGN, None)
    assert "events/theirs.parquet" in finding.text


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("left", [0, 3, 8, 100, 4096, -1])
def test_a_cut_file_is_told_as_cut(audit: Path, left: int, *, fast: bool) -> None:
    """Wherever it was cut; its rows are known to have been there, so nothing else is said."""
    path = files(audit)[1]
    os.truncate(path, left if left >= 0 else path.stat().st_size + left)
    (finding,) = wrong(audit, fast=fast)
    assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.UNREADABLE, *span(path))
    assert path.name in finding.text
    assert "it is cut" in finding.text


@pytest.mark.usefixtures("embedded")
def test_a_flipped_bit_in_any_page_is_found(audit: Path) -> None:
    """Pages have checksums, so it is found also where what it spoils could still be unpacked."""
    path = files(audit)[1]
    whole = path.read_bytes()
    metadata = pq.read_metadata(path)
    ends = []
    for at in range(metadata.num_columns):
        column = metadata.row_group(0).column(at)
        begin = column.dictionary_page_offset or column.data_page_offset
        ends.append((column.path_in_schema, begin + column.total_compressed_size - 1))
    for name, end in ends:
        damaged = bytearray(whole)
        damaged[end] ^= 0x10
        path.write_bytes(damaged)
        (finding,) = wrong(audit)
        assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.UNREADABLE, *span(path))
        assert f"`{name.partition('.')[0]}`" in finding.text
    assert wrong(audit, fast=True) == []


@pytest.mark.usefixtures("embedded")
def test_damage_to_the_footer_is_told_where_it_changes_anything(audit: Path) -> None:
    """A footer has no checksum: what is found is what can no longer be read, or disagrees with name, rows or totals."""
    path = files(audit)[1]
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for mark in (b"auditring.process", b"auditring.first_seq", b"auditring.last_seq", b"auditring.lost"):
        for at in (whole.index(mark, footer) + 3, whole.index(mark, footer) + len(mark) + 3):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            path.write_bytes(damaged)
            assert wrong(audit), mark
    damaged = bytearray(whole)
    damaged[footer] ^= 0xFF
    path.write_bytes(damaged)
    (finding,) = wrong(audit)
    assert finding.kind is Kind.UNREADABLE
    assert "footer" in finding.text


DEADLY = """
import os
from auditring.verify import reader
examine = reader.examine
reader.examine = lambda path, root, *, fast: os.abort() if path.name == "{name}" else examine(path, root, fast=fast)
reader.serve()
"""


def test_a_file_that_kills_its_reader_is_told(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is damage to a footer over which pyarrow ends the process; the next file is read by another one."""
    path = files(audit)[1]
    monkeypatch.setattr("auditring.verify.reader._PROGRAM", DEADLY.format(name=path.name))
    (finding,) = wrong(audit)
    assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.UNREADABLE, *span(path))
    assert "kills the reader (SIGABRT)" in finding.text


@pytest.mark.usefixtures("embedded")
def test_a_removed_row_is_named_by_its_seq(audit: Path) -> None:
    """The file is whole and says what it said before, and one number is not there."""
    path = files(audit)[1]
    whole = path.read_bytes()
    first, last = span(path)
    for gone in (first, first + 7, last):
        path.write_bytes(whole)
        rewritten(path, without(gone))
        (finding,) = wrong(audit)
        assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.ALTERED, gone, gone)
        assert path.name in finding.text
    assert wrong(audit, fast=True) != []  # the totals know how many there were


def without(*seqs: int) -> Change:
    """Leaves rows out."""
    return lambda table: table.filter(pc.invert(pc.is_in(table["seq"], pa.array(seqs))))


def test_a_removed_row_of_a_sampled_log_is_found_by_its_number(tmp_path: Path) -> None:
    """Which one it was cannot be told, for others are not there either; the file is named."""
    written(tmp_path, read=Keep.SAMPLE(one_in=1000))
    path = files(tmp_path)[0]
    seqs = pq.read_table(path)["seq"].to_pylist()
    rewritten(path, without(seqs[3]))
    (finding,) = wrong(tmp_path)
    assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.ALTERED, *span(path))
    assert f"its rows stand for {len(seqs) - 1:,} events" in finding.text


def test_a_doubled_row_is_named_by_its_seq(audit: Path) -> None:
    """Also if another has gone for it, so that the sum is right; rows in another order alone are no mistake."""
    path = files(audit)[1]
    first, _ = span(path)
    rewritten(path, lambda table: pa.concat_tables([table.slice(5), table.slice(0, 5)]))
    assert wrong(audit) == []
    rewritten(
        path, lambda table: pa.concat_tables([without(first)(table), table.filter(pc.equal(table["seq"], first + 1))])
    )
    assert the_only(wrong(audit)) == (Kind.DOUBLED, first + 1, first + 1)


def test_a_row_outside_of_the_range_is_told(audit: Path) -> None:
    """Its number belongs into another file."""
    path = files(audit)[1]
    first, last = span(path)

    def moved(table: pa.Table) -> pa.Table:
        seqs = pc.if_else(pc.equal(table["seq"], first), last + 1000, table["seq"])
        return table.set_column(table.schema.get_field_index("seq"), table.schema.field("seq"), seqs)

    rewritten(path, moved)
    (finding,) = wrong(audit)
    assert finding.kind is Kind.ALTERED
    assert f"seq {last + 1000}" in finding.text


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("fast", [False, True])
def test_altered_metadata_disagrees_with_name_rows_or_neighbours(audit: Path, *, fast: bool) -> None:
    """Each term of a file's equation, and its range."""
    path = files(audit)[1]
    whole = path.read_bytes()
    first, last = span(path)
    for metadata in (
        {"sampled_out": 1},
        {"filtered_out": 2},
        {"lost": 3},
        {"sampled_out": -1},
        {"lost": "many"},
        {"first_seq": first + 1},
        {"last_seq": last + 1},
        {"last_seq": first - 1},
    ):
        path.write_bytes(whole)
        rewritten(path, **metadata)
        found = wrong(audit, fast=fast)
        assert Kind.ALTERED in kinds(found), metadata
        assert any(path.name in finding.text for finding in found)


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("fast", [False, True])
def test_a_renamed_file_disagrees_with_its_metadata(audit: Path, *, fast: bool) -> None:
    """By its metadata it is where it was, so nothing is missing."""
    path = files(audit)[1]
    first, last = span(path)
    path.rename(path.with_name(path.name.replace(f"{last:016}", f"{last + 5:016}")))
    (finding,) = wrong(audit, fast=fast)
    assert finding.kind is Kind.ALTERED
    assert f"by its name it holds seq {first} to {last + 5}, by its metadata {first} to {last}" in finding.text


@pytest.mark.parametrize("fast", [False, True])
def test_another_process_s_file_under_this_name_is_foreign(audit: Path, tmp_path: Path, *, fast: bool) -> None:
    """Its metadata tells whose it is; what it replaced is missing."""
    theirs = written(tmp_path / "other")
    path = files(audit)[1]
    shutil.copy(files(tmp_path / "other")[1], path)
    found = wrong(audit, fast=fast)
    assert {(finding.kind, finding.first_seq) for finding in found if finding.process != theirs} == {
        (Kind.MISSING, span(path)[0])
    }
    assert Kind.FOREIGN in {finding.kind for finding in found if finding.process == theirs}


def test_rows_of_another_process_are_told(audit: Path) -> None:
    """Also where metadata and name are right."""
    path = files(audit)[1]
    stranger = "7f1c7a64-6a7e-4b21-9a3c-0d6a5a1e0001"

    def given_away(table: pa.Table) -> pa.Table:
        names = pa.array([stranger] * table.num_rows).dictionary_encode()
        return table.set_column(table.schema.get_field_index("process"), "process", names)

    rewritten(path, given_away)
    (finding,) = wrong(audit)
    assert (finding.kind, stranger in finding.text) == (Kind.ALTERED, True)


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("fast", [False, True])
def test_files_that_share_a_part_of_their_ranges_overlap(audit: Path, *, fast: bool) -> None:
    """No compaction leaves that behind."""
    first, second, *_ = files(audit)
    middle = span(second)[0] + 3
    both = pa.concat_tables([pq.read_table(first), pq.read_table(second)])
    wide = first.with_name(first.name.replace(f"{span(first)[1]:016}", f"{middle:016}"))
    rewritten(first, lambda _: both.filter(pc.less_equal(both["seq"], middle)), to=wide, last_seq=middle)
    first.unlink()
    (finding,) = wrong(audit, fast=fast)
    assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.OVERLAP, span(second)[0], middle)
    assert finding.beside == (wide.relative_to(audit), second.relative_to(audit))


def test_a_process_that_does_not_end_as_one_is_told(audit: Path) -> None:
    """Its last row was exchanged for another of the same number."""
    path = files(audit)[-1]

    def silenced(table: pa.Table) -> pa.Table:
        names = pa.array(["com.example.Nothing"] * table.num_rows).dictionary_encode()
        return table.set_column(table.schema.get_field_index("action"), "action", names)

    rewritten(path, silenced)
    assert the_only(wrong(audit)) == (Kind.ALTERED, span(path)[1], span(path)[1])


@pytest.mark.parametrize("fast", [False, True])
def test_altered_totals_disagree_with_the_files(audit: Path, *, fast: bool) -> None:
    """As long as they can be read; damaged, they are told of, and the clean end is still seen."""
    (totals,) = (audit / "totals").iterdir()
    content = totals.read_bytes()
    totals.write_bytes(content[: len(content) // 2])
    assert Kind.JOURNAL in kinds(wrong(audit, fast=fast))


# --- damage to JSON lines -------------------------------------------------------------------------------------------


def lines_of(audit: Path) -> list[Path]:
    """The files of lines, in their order."""
    return sorted(audit.glob("jsonl/*.jsonl"))


def test_a_removed_line_is_named_by_its_seq(lined: Path) -> None:
    """Anywhere in any file; also all of a file, and the last one."""
    for path in (lines_of(lined)[0], lines_of(lined)[1], lines_of(lined)[-1]):
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for at in (0, len(lines) // 2, len(lines) - 1):
            path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
            seq = json.loads(lines[at])["seq"]
            (finding,) = wrong(lined)
            assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.MISSING, seq, seq)
            assert path.name in finding.text
        path.unlink()
        seqs = [json.loads(line)["seq"] for line in lines]
        assert the_only(wrong(lined)) == (Kind.MISSING, seqs[0], seqs[-1])
        path.write_bytes(whole)
    assert wrong(lined) == []


def test_a_line_that_waited_for_others_and_stayed_alone_is_in_its_place(tmp_path: Path) -> None:
    """It comes when its window ends, behind later ones, and nothing was merged; one that is there twice is told."""
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(60))])
    with auditring.open(tmp_path, policy=policy, sinks=[JsonlSink()], balance=None) as log, log.session() as session:
        session.read("orders", 0, 0, 0)  # the first touch
        session.read("orders", 0, 1, 1)
        session.operation_denied("READ", "Topic", "orders")
    (path,) = tmp_path.glob("jsonl/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    seqs = [json.loads(line)["seq"] for line in lines]
    assert seqs != sorted(seqs)
    assert wrong(tmp_path) == []
    late = next(at for at, seq in enumerate(seqs) if seq < max(seqs[: at + 1]))
    path.write_bytes(b"".join([*lines[: late + 1], lines[late], *lines[late + 2 :]]))
    assert (Kind.DOUBLED, seqs[late]) in {(one.kind, one.first_seq) for one in wrong(tmp_path)}


def test_a_doubled_line_is_named_by_its_seq(lined: Path) -> None:
    """In its file, or from another one; with the line."""
    first, second, *_ = lines_of(lined)
    whole, lines = second.read_bytes(), second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join([*lines[:5], lines[4], *lines[5:]]))
    (finding,) = wrong(lined)
    assert (finding.kind, finding.first_seq) == (Kind.DOUBLED, json.loads(lines[4])["seq"])
    assert f"{second.name}: in line 6 seq" in finding.text
    other = first.read_bytes().splitlines(keepends=True)[2]
    second.write_bytes(whole + other)
    assert (Kind.DOUBLED, json.loads(other)["seq"]) in {(one.kind, one.first_seq) for one in wrong(lined)}


def test_a_line_that_is_cut_or_no_event_is_told_with_its_number(lined: Path) -> None:
    """At the end of a file, and within it; also what would make Arrow's parser die."""
    path = lines_of(lined)[1]
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    os.truncate(path, len(whole) - 10)
    (finding,) = wrong(lined)
    assert (finding.kind, f"line {len(lines)} is cut" in finding.text) == (Kind.UNREADABLE, True)
    for junk in (b"null\n", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", lines[3][:-20] + b"\n", lines[3][:-1] + b"null\n"):
        path.write_bytes(b"".join([*lines[:3], junk, *lines[4:]]))
        (finding,) = wrong(lined)
        assert (finding.kind, f"{path.name}: line 4 is no JSON object" in finding.text) == (Kind.UNREADABLE, True), junk


def test_lines_of_somebody_else_are_told(lined: Path, tmp_path: Path) -> None:
    """Another process's line, one whose id is not its own, and a file that no sink has named."""
    theirs = written(tmp_path / "other")
    path = lines_of(lined)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    stranger = lines_of(tmp_path / "other")[1].read_bytes().splitlines(keepends=True)[3]
    path.write_bytes(b"".join([*lines[:3], stranger, *lines[4:]]))
    (finding,) = wrong(lined)
    assert (finding.kind, theirs in finding.text) == (Kind.FOREIGN, True)
    seq = json.loads(lines[3])["seq"]
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(f':{seq}"'.encode(), b':9"'), *lines[4:]]))
    assert the_only(wrong(lined)) == (Kind.ALTERED, seq, seq)
    path.write_bytes(b"".join(lines))
    (lined / "jsonl" / "mine.jsonl").write_text("{}\n")
    assert kinds(wrong(lined)) == {Kind.FOREIGN}


def test_compressed_lines_are_read_to_their_end(tmp_path: Path) -> None:
    """A cut or flipped one is told; one that is there plain as well is a leftover."""
    with auditring.open(tmp_path, sinks=(JsonlSink(rotation=Rotation(rows=50), compress=True),), balance=None) as log:
        for _ in range(200):
            log.emit("com.example.Event")
    assert wrong(tmp_path) == []
    path = sorted(tmp_path.glob("jsonl/closed/*.zst"))[1]
    whole = path.read_bytes()
    plain = tmp_path / "jsonl" / path.stem
    plain.write_bytes(zstandard.ZstdDecompressor().stream_reader(whole).read())
    report = verify.check(tmp_path)
    assert report.complete
    assert [finding.kind for finding in report.everything] == [Kind.LEFTOVER]
    plain.unlink()
    path.write_bytes(whole[:-6])
    assert kinds(wrong(tmp_path)) == {Kind.UNREADABLE}
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    assert Kind.UNREADABLE in kinds(wrong(tmp_path))


def test_half_a_line_of_a_living_process_is_no_mistake(tmp_path: Path) -> None:
    """A tailer may see the front of one; what the cursor has passed must be whole."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None) as log:
        log.emit("com.example.First")
        log.flush(20)
        (path,) = lines_of(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:100])
        assert wrong(tmp_path) == []
        path.write_bytes(whole[:-100])
        assert kinds(wrong(tmp_path)) == {Kind.UNREADABLE}
        path.write_bytes(whole)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_tells_people_the_verdict(audit: Path) -> None:
    """A table of processes and one line at the end; status 0, and 1 with the findings."""
    good = run(audit)
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[-1].startswith("Complete: 1 process, nothing is missing. (")
    files(audit)[1].unlink()
    bad = run(audit)
    assert bad.exit_code == 1
    assert "missing: " in bad.output
    assert "NOT complete: missing" in bad.output
    assert bad.output.splitlines()[-1].startswith("NOT complete: 1 finding(s), 1 of 1 process concerned.")


def test_the_command_is_quiet_if_asked(audit: Path) -> None:
    """Nothing at all, or what is wrong."""
    assert (run(audit, "--quiet").output, run(audit, "-q").exit_code) == ("", 0)
    files(audit)[1].unlink()
    result = run(audit, "--quiet")
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.output.splitlines()] == ["missing", "NOT complete"]


def test_the_command_tells_machines_everything(audit: Path) -> None:
    """One object; findings have kinds, ranges and files."""
    gone = files(audit)[1]
    gone.unlink()
    result = run(audit, "--json")
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert run(audit, "--format", "json").exit_code == 1
    assert (report["complete"], report["processes"][0]["complete"]) == (False, False)
    (finding,) = report["findings"]
    assert (finding["kind"], finding["first_seq"], finding["last_seq"]) == ("missing", *span(gone))
    assert len(finding["beside"]) == 2
    assert report["processes"][0]["lines"]["lines"] == 156


def test_nothing_to_verify_is_not_complete(tmp_path: Path) -> None:
    """A directory that a log was once to be in proves nothing; whatever is none is status 2 and one line."""
    (tmp_path / "audit" / "events").mkdir(parents=True)
    result = run(tmp_path / "audit")
    assert (result.exit_code, "Nothing to verify" in result.output) == (1, True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "empty", tmp_path / "file", tmp_path / "missing"):
        result = run(path)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert str(path) in result.stderr
        with pytest.raises(NotAnAuditDirectory):
            verify.check(path)
    assert run(tmp_path / "audit", "--process", "nobody").exit_code == 2
    assert run(tmp_path / "audit", "--nonsense").exit_code == 2


def test_progress_is_told_of(audit: Path) -> None:
    """How many files of how many, and rows."""
    seen: list[verify.Progress] = []
    report = verify.check(audit, progress=seen.append)
    assert [at.rows for at in seen] == sorted(at.rows for at in seen)
    assert {at.of for at in seen} == {report.files}
    assert seen[-1].rows == report.rows

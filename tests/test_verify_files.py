"""`verify.check` on Parquet files that are gone, moved, copied, cut or spoilt: each is told by its range and file."""

import os
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import verify
from auditring.verify import Kind, State
from verified import files, kinds, lines_of, rewritten, run, span, the_only, written, wrong


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
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python within another program: files are read in this process, for there is none to start, which is quicker."""
    monkeypatch.setattr(sys, "executable", "")


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

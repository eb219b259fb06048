"""`verify.check` on Parquet files that are well-formed and say something else: by seq, or by range and file."""

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from auditring import Keep
from auditring.verify import Kind
from verified import Change, files, kinds, rewritten, span, the_only, written, wrong


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
    written(tmp_path, read=Keep.SAMPLE(one_in=1000), seed=1)
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

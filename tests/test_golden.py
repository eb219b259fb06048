"""Files of every version that there has been are read for ever: each value of each row, by every way to read."""

import contextlib
import functools
import importlib.util
import io
import json
import shutil
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring.query
from auditring import _core
from auditring.schema import json_schema, path
from auditring.tail import Tail

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(one.name for one in GOLDEN.glob("v*"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]

of_each_version = pytest.mark.parametrize("version", VERSIONS)
of_each_directory = pytest.mark.parametrize(
    ("version", "name"), [(version, name) for version in VERSIONS for name in ("closed", "open")]
)


@functools.cache
def expected(version: str, name: str) -> list[Row]:
    """The rows of a directory, by process and seq; what is null is left out."""
    rows: list[Row] = json.loads((GOLDEN / version / "expected.json").read_text())[name]
    return rows


@pytest.fixture
def copy(version: str, name: str, tmp_path: Path) -> Path:
    """A directory that may be written to."""
    return Path(shutil.copytree(GOLDEN / version / name, tmp_path / name))


def sealed(rows: Iterable[Row]) -> list[Row]:
    """Rows of tables, as `expected.json` has them."""
    found = []
    for row in rows:
        for name in ("time", "end_time"):
            if row.get(name) is not None:
                since = row[name] - EPOCH
                row[name] = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        found.append({column: value for column, value in row.items() if value is not None})
    return sorted(found, key=lambda row: (row["process"], row["seq"]))


def nanos(text: str) -> int:
    """Nanoseconds since the epoch of a line's time."""
    whole = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) - EPOCH
    return (whole.days * 86_400 + whole.seconds) * 10**9 + int(text[20:29])


def row_of(line: dict[str, Any], like: Row) -> Row:
    """The columns that a line tells, each taken from where a line has it.

    Of `objectRef` the names are left out that are derived from other columns: those that `like` does not have.
    """
    row: Row = {}
    for column in (column["name"] for column in _core.columns()):
        value: Any = line
        for step in path(column):
            value = value.get(step) if value is not None else None
        if value is not None:
            row[column] = value
    actor = line["actor"]
    principals = actor.get("principals", [])
    if principals:
        row["principals"] = [":".join(one[key] for key in ("type", "name") if key in one) for one in principals]
    if row.get("principals"):
        row.setdefault("principal", row["principals"][0].partition(":")[2] or row["principals"][0])
    if "srcAddr" in actor:
        row["peer_ip"] = actor["srcAddr"]
    for name in ("time", "end_time"):
        if name in row:
            row[name] = nanos(row[name]) // 1000
    given = json.loads(like.get("object_ref", "{}"))
    row["object_ref"] = {name: text for name, text in row.get("object_ref", {}).items() if name in given}
    return {column: value for column, value in row.items() if value != {}}


def with_maps(row: Row) -> Row:
    """A row whose maps are maps, which is how a line has them."""
    return {name: json.loads(value) if name in {"object_ref", "context"} else value for name, value in row.items()}


@of_each_directory
def test_every_row_of_the_tables_is_read(version: str, name: str) -> None:
    """By pyarrow and by DuckDB alone, with every value."""
    root = GOLDEN / version / name
    (file,) = root.glob("events/*/*.parquet")
    metadata = pq.read_metadata(file).metadata
    first, last = int(metadata[b"auditring.first_seq"]), int(metadata[b"auditring.last_seq"])
    rows = [row for row in expected(version, name) if first <= row["seq"] <= last]
    assert len(rows) > 100
    assert name == "open" or rows == expected(version, name)
    assert sealed(pq.read_table(file).to_pylist()) == rows
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        found = con.execute("FROM read_parquet($1, union_by_name = true)", [f"{root}/events/**/*.parquet"])
        names = [column[0] for column in found.description or ()]
        assert sealed(dict(zip(names, row, strict=True)) for row in found.fetchall()) == rows


@of_each_version
def test_everything_says_its_version(version: str) -> None:
    """A table in its metadata, a process in its first row, a journal in the head of each segment."""
    number = int(version.removeprefix("v"))
    for name in ("closed", "open"):
        (startup,) = (row for row in expected(version, name) if row["action"] == "ProxyStartup")
        assert json.loads(startup["context"])["schemaVersion"] == number
        for file in (GOLDEN / version / name).glob("events/*/*.parquet"):
            assert pq.read_metadata(file).metadata[b"auditring.schema_version"] == str(number).encode()
    segments = list((GOLDEN / version / "open").glob("journal/*/*.journal"))
    assert segments
    for segment in segments:
        head = segment.read_bytes()[:76]
        assert head[:8] == b"auditjnl"
        assert int.from_bytes(head[72:], "little") == number


@of_each_directory
def test_every_line_is_read(version: str, name: str) -> None:
    """Each line is valid by the schema of today, and tells every value of its row."""
    validator = jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker())
    rows = {(row["process"], row["seq"]): row for row in expected(version, name)}
    (file,) = (GOLDEN / version / name).glob("jsonl/*.jsonl")
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert len(lines) > 100
    assert name == "open" or len(lines) == len(rows)
    for line in lines:
        validator.validate(line)
        row = rows[line["process"], line["seq"]]
        assert row_of(line, row) == with_maps(row)


@of_each_directory
def test_the_view_shows_every_row(version: str, name: str, copy: Path) -> None:
    """`query.connect` shows each row once, from tables and journal, also of a log that never was closed."""
    assert make().rows_of(copy) == expected(version, name)


@of_each_directory
def test_the_tail_tells_every_row(version: str, name: str, copy: Path) -> None:
    """Its lines are those that were written, and where none was written yet they tell every value of the row."""
    (file,) = copy.glob("jsonl/*.jsonl")
    written = {json.loads(line)["seq"]: json.loads(line) for line in file.read_bytes().splitlines()}
    tail = Tail(copy, json=True)
    lines = [json.loads(line) for text in tail.history() for line in text.splitlines()]
    assert tail.notes == []
    assert sorted(line["seq"] for line in lines) == [row["seq"] for row in expected(version, name)]
    for line, row in zip(sorted(lines, key=lambda line: line["seq"]), expected(version, name), strict=True):
        assert line == written.get(line["seq"], line)
        assert row_of(line, row) == with_maps(row)


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Version 1, and beside it what a later version wrote: a column, an action and a category that came after it."""
    root = Path(shutil.copytree(GOLDEN / "v1" / "closed", tmp_path / "later"))
    (file,) = root.glob("events/*/*.parquet")
    old = pq.read_table(file)
    process, other = old["process"][0].as_py(), "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60"
    columns = {name: old[name] for name in old.schema.names}
    for name, value in {"process": other, "action": "Peek", "category": "curiosity"}.items():
        columns[name] = pa.repeat(value, old.num_rows).dictionary_encode()
    columns["rack"] = pa.repeat("r1", old.num_rows).dictionary_encode()
    said = {name: text for name, text in pq.read_metadata(file).metadata.items() if name.startswith(b"auditring.")}
    said |= {b"auditring.schema_version": b"2", b"auditring.process": other.encode()}
    new = pa.table(columns).replace_schema_metadata(said)
    pq.write_table(new, file.with_name(file.name.replace(process, other)))
    return root


def test_what_a_later_version_added_takes_nothing_away(later: Path) -> None:
    """A file with a column more, beside version 1: its old columns are as ever, and older rows have null in the new."""
    rows = expected("v1", "closed")
    (old,) = later.glob(f"events/*/{rows[0]['process']}-*.parquet")
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.register("files", con.read_parquet(f"{later}/events/**/*.parquet", union_by_name=True))
    for view, names in (
        (con, "files"),
        (auditring.query.connect(later), "events"),
    ):
        counts = view.sql(f"SELECT rack, action = 'Peek', count(*) FROM {names} GROUP BY ALL ORDER BY ALL").fetchall()
        assert counts == [("r1", True, len(rows)), (None, False, len(rows))]
        relation = view.sql(f"SELECT * EXCLUDE (rack) FROM {names} WHERE process = '{rows[0]['process']}'")
        known = [name for name in relation.columns if name not in {"event_id", "events_total"}]
        assert known == pq.read_schema(old).names
        view_rows = relation.select(*known).fetchall()
        assert sealed(dict(zip(known, row, strict=True)) for row in view_rows) == rows
    con.close()


def test_the_tail_tells_of_a_later_versions_files(later: Path) -> None:
    """Every row of both, the later one's with all that this version knows of."""
    tail = Tail(later, json=True)
    lines = [json.loads(line) for text in tail.history() for line in text.splitlines()]
    assert tail.notes == []
    rows = expected("v1", "closed")
    theirs = {line["seq"]: line for line in lines if line["action"] == "Peek"}
    assert len(lines) == 2 * len(rows)
    assert sorted(theirs) == [row["seq"] for row in rows]
    for row in rows:
        found = row_of(theirs[row["seq"]], row)
        same = {"process", "action", "category", "object_ref"}
        assert {k: v for k, v in found.items() if k not in same} == {
            k: v for k, v in with_maps(row).items() if k not in same
        }


def add_unknown_row(segment: Path) -> int:
    """Makes the first row of a segment's last batch one of a later version, checksums and all; returns its seq."""
    data = bytearray(segment.read_bytes())

    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(data[at : at + size], "little")

    def put(at: int, value: int, size: int = 4) -> None:
        data[at : at + size] = value.to_bytes(size, "little")

    def padded(length: int) -> int:
        return -(-length // 8) * 8

    head = number(12)
    put(72, 2)
    put(head - 4, zlib.crc32(data[: head - 4]))
    batches = []
    at = head
    while at < len(data):
        sections = [padded(number(at + offset)) for offset in (12, 16, 20)]
        batches.append((at, sections))
        at += number(at + 8) + sum(sections)
    at, sections = next((at, sections) for at, sections in reversed(batches) if sections[2])
    payload = at + number(at + 8)
    put(payload + sections[0] + sections[1] + 8, 699, 2)
    put(at + 24, zlib.crc32(data[payload : payload + sum(sections)]))
    put(payload - 4, zlib.crc32(data[at : payload - 4]))
    segment.write_bytes(data)
    return number(at + 56, 8)


@pytest.mark.parametrize(("version", "name"), [("v1", "open")])
def test_a_journal_row_of_a_later_version_costs_itself_alone(version: str, name: str, copy: Path) -> None:
    """The view and the tail tell every other row, before it and behind it, and say that one was left out."""
    (segment,) = copy.glob("journal/*/*.journal")
    unknown = add_unknown_row(segment)
    rows = [row for row in expected(version, name) if row["seq"] != unknown]
    assert unknown < rows[-1]["seq"]
    with pytest.warns(auditring.query.QueryWarning, match=r"left out 1 row\(s\) .* later version"):
        found = make().rows_of(copy)
    assert found == rows
    tail = Tail(copy, json=True)
    lines = [json.loads(line) for text in tail.history() for line in text.splitlines()]
    assert sorted(line["seq"] for line in lines) == [row["seq"] for row in rows]
    assert tail.notes == ["1 rows could not be read"]


def test_a_member_that_came_later_is_left_alone() -> None:
    """Who takes the members that he knows reads a later version's line; only the schema of version 1 refuses it."""
    validator = jsonschema.Draft202012Validator(json_schema())
    (file,) = (GOLDEN / "v1" / "closed").glob("jsonl/*.jsonl")
    for text, row in zip(file.read_bytes().splitlines(), expected("v1", "closed"), strict=True):
        line = json.loads(text) | {"rack": "r1"}
        assert row_of(line, row) == with_maps(row)
        assert not validator.is_valid(line)


@functools.cache
def make() -> ModuleType:
    """The script that makes such files."""
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OWN_TO_A_RUN = {"time", "time_ns", "age_ns", "process", "duration_ns", "end_time"}
"""Columns that no two runs have alike."""


def what_happened(row: Row) -> Row:
    """A row without what is its run's alone."""
    row = {name: value for name, value in with_maps(row).items() if name not in OWN_TO_A_RUN}
    if row["action"] == "ProxyStartup":
        del row["context"]
    return row


def test_todays_rows_are_those_of_version_1(tmp_path: Path) -> None:
    """The same calls make the same rows as ever, in the columns, the actions and their fields that there were."""
    maker = make()
    maker.FIELDS.clear()
    maker.FIELDS.update(json.loads((GOLDEN / "v1" / "fields.json").read_text()))
    with contextlib.redirect_stdout(io.StringIO()):
        maker.make(tmp_path / "now")
    now = json.loads((tmp_path / "now" / "expected.json").read_text())["closed"]
    columns = {name for row in expected("v1", "closed") for name in row}
    actions = {row["action"] for row in expected("v1", "closed")}
    # What the library itself tells is born in the pump, and stands between the host's events wherever it came in.
    halves: list[tuple[list[Row], list[Row]]] = []
    for rows in (now, expected("v1", "closed")):
        kept = [{name: value for name, value in what_happened(row).items() if name in columns} for row in rows]
        kept = [row for row in kept if row.pop("seq") >= 0 and row["action"] in actions]
        own = [row for row in kept if row["action"].startswith("auditring.")]
        halves.append(([row for row in kept if row not in own], own))
    sampled = [[row for row in half[0] if row.get("resource") != "sampled"] for half in halves]
    assert sampled[0] == sampled[1]
    assert halves[0][1] == halves[1][1]

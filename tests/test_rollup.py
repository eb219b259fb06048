"""What files say of who touched what: the answer of the rows, sooner, or none."""

import base64
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Keep, Policy, Rule, questions, rollup, touched
from auditring.query import connect, refresh, rows, sealed
from auditring.questions import Bounds
from auditring.sinks import ParquetSink, RowBatch
from auditring.verify import Kind, check

Answer = tuple[Any, ...]
TOPICS = ("orders", "payments", "päth \U0001f600", "nobody's")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of few rows have a rollup, too."""
    monkeypatch.setattr(rollup, "LEAST_ROWS", 1)
    monkeypatch.setattr(rollup, "_SHORTER", 0)
    monkeypatch.setattr(rollup, "_MOST_FOR_A_ROW", 1 << 20)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some files of a busy log: merged and sampled rows, two taps, refusals, what names no resource."""
    root, dice = tmp_path_factory.mktemp("story"), random.Random(7)  # noqa: S311 - a story, no secret
    policy = Policy(
        rules=(
            Rule(action=("Write",), resource=("orders",), keep=Keep.COALESCE(window=0.05)),
            Rule(action=("Read",), resource=("payments",), keep=Keep.SAMPLE(one_in=3)),
        )
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        auditring.open(
            root,
            sinks=[ParquetSink(rotation=auditring.Rotation(rows=400))],
            policy=policy,
            primary_tap="outer",
            balance=None,
        ) as log,
    ):
        patch.setattr(rollup, "LEAST_ROWS", 1)
        patch.setattr(rollup, "_SHORTER", 0)
        patch.setattr(rollup, "_MOST_FOR_A_ROW", 1 << 20)
        for number in range(30):
            with log.session(id=f"s-{number}", peer=("10.0.0.1", 1 + number), authority="decision") as session:
                session.client_sasl_auth_success(f"user-{number % 7}", mechanism="PLAIN")
                for _ in range(50):
                    topic, tap = dice.choice(TOPICS[:3]), dice.choice(("outer", "inner", None))
                    offset = dice.randrange(1000)
                    deed = dice.choice((session.read, session.write))
                    deed(topic, dice.randrange(3), offset, offset + 9, records=10, bytes=dice.randrange(99), tap=tap)
                for offset in range(5):
                    session.write("orders", 0, offset, offset, records=1, bytes=7)
                if number % 3 == 0:
                    session.operation_denied("READ", "Topic", dice.choice(TOPICS[:3]))
            if number % 10 == 9:
                log.flush(20)
    return root


def files_of(root: Path) -> list[Path]:
    """The sealed files."""
    return sorted(root.glob("events/*/*.parquet"))


def both(con: duckdb.DuckDBPyConnection, resource: str, bounds: Bounds = Bounds()) -> tuple[list[Answer], list[Answer]]:  # noqa: B008 - it is frozen
    """The answer by sums where they are to be had, and by rows alone."""
    question = questions.who_touched(resource, bounds)
    return question.on(con).fetchall(), con.execute(question.sql, dict(question.parameters)).fetchall()


def unread(con: duckdb.DuckDBPyConnection, resource: str, bounds: Bounds = Bounds()) -> int:  # noqa: B008 - it is frozen
    """How many files are read for an answer."""
    files = sealed(con)
    assert files is not None
    moments = con.execute(
        "SELECT epoch_us($1::TIMESTAMPTZ), epoch_us($2::TIMESTAMPTZ)", [bounds.since, bounds.until]
    ).fetchall()
    return len(touched.look(files, resource, *moments[0]).unread)


def test_every_file_has_the_sums_of_its_rows(story: Path) -> None:
    """Arrow's own sums come to the same, merged and sampled rows among them."""
    files = files_of(story)
    assert len(files) >= 3
    sums = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            said = rollup.decode(file.metadata.metadata)
            assert said is not None
            assert rollup.same(said, rollup.together([rollup.of_rows(file.read())]))
            sums += said.num_rows
    assert sums > 100
    con = connect(story)
    merged, sampled = con.execute("SELECT max(count), max(weight) FROM events").fetchall()[0]
    assert merged > 1
    assert sampled == 3


def test_the_answer_is_that_of_the_rows(story: Path) -> None:
    """For every resource, at every tap, without reading a file."""
    con = connect(story)
    for topic in TOPICS:
        for bounds in (Bounds(), Bounds(tap="inner"), Bounds(tap="other"), Bounds(limit=3)):
            by_sums, by_rows = both(con, topic, bounds)
            assert by_sums == by_rows
            assert unread(con, topic, bounds) == 0
    assert both(con, "orders")[0]
    assert not both(con, "nobody's")[0]


def test_bounds_in_time_read_the_files_that_lie_across_them(story: Path) -> None:
    """Wherever the bounds lie, the answer is that of the rows; and a file that lies within them is not read."""
    con, dice = connect(story), random.Random(8)  # noqa: S311 - no secret
    times = [moment for (moment,) in con.execute("SELECT DISTINCT time FROM events ORDER BY time").fetchall()]
    assert len(times) > 50
    read = set()
    for _ in range(40):
        since, until = sorted(dice.sample(times, 2))
        until += timedelta(microseconds=dice.choice((0, 1)))
        for bounds in (Bounds(since=since), Bounds(until=until), Bounds(since=since, until=until)):
            by_sums, by_rows = both(con, "orders", bounds)
            assert by_sums == by_rows
            read.add(unread(con, "orders", bounds))
    assert len(read) > 1
    assert max(read) < len(files_of(story))
    far = datetime(2001, 1, 1, tzinfo=UTC)
    assert unread(con, "orders", Bounds(since=far)) == unread(con, "orders", Bounds(until=far)) == 0
    assert both(con, "orders", Bounds(since=far))[0] == both(con, "orders")[1]
    assert both(con, "orders", Bounds(until=far))[0] == []
    # One without a zone is UTC, as DuckDB takes it there.
    middle = times[len(times) // 2].replace(tzinfo=None)
    by_sums, by_rows = both(con, "orders", Bounds(since=middle))
    assert by_sums == by_rows


def test_fresh_rows_are_counted_beside_the_sums_of_files(tmp_path: Path) -> None:
    """What is still in the journal is in no file's sums."""
    with auditring.open(tmp_path, balance=None) as log, log.session(id="s") as session:
        session.read("orders", 0, 1, 1)
        log.flush(20)
        con = connect(tmp_path)
        assert [row[6] for row in both(con, "orders")[0]] == [1]
        session.read("orders", 0, 2, 2)
        while both(con, "orders")[0][0][6] != 2:
            refresh(con)
        by_sums, by_rows = both(con, "orders")
        assert by_sums == by_rows
        assert unread(con, "orders") == 0
    con = connect(tmp_path)
    by_sums, by_rows = both(con, "orders")
    assert by_sums == by_rows


def test_a_connection_of_ones_own_is_asked_by_its_view(story: Path) -> None:
    """Whoever has made a view `events` gets the answer of its rows."""
    mine, ours = duckdb.connect(), connect(story)
    mine.execute("SET TimeZone = 'UTC'")
    mine.register("auditring_fresh", ours.sql("SELECT * FROM auditring_fresh").to_arrow_table())
    mine.execute(f"CREATE VIEW events AS {rows(files_of(story))}")
    mine.execute("CREATE MACRO at_primary_tap(process, tap) AS (tap IS NULL OR tap = 'outer')")
    assert questions.who_touched("orders").on(mine).fetchall() == both(ours, "orders")[1]


# --- files without -------------------------------------------------------------------------------------------------


def rewritten(path: Path, value: bytes | None, change: Callable[[pa.Table], pa.Table] = lambda table: table) -> None:
    """A file anew, with other sums, or none."""
    said = {key: value for key, value in pq.read_metadata(path).metadata.items() if key.startswith(b"auditring.")}
    said.pop(rollup.METADATA, None)
    if value is not None:
        said[rollup.METADATA] = value
    table = change(pq.read_table(path)).replace_schema_metadata(None)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said)


def stream(table: pa.Table) -> bytes:
    """A table as a rollup is laid down."""
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(packed.getvalue())


@pytest.fixture
def log_of_one(tmp_path: Path) -> Path:
    """A directory with one file of a few rows."""
    with auditring.open(tmp_path / "audit", balance=None) as log, log.session(id="s") as session:
        for offset in range(20):
            session.read("orders", 0, offset, offset, records=1)
    (path,) = files_of(tmp_path / "audit")
    assert rollup.decode(pq.read_metadata(path).metadata) is not None
    return path


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        (None, None),
        (b"not base64!", "damaged"),
        (base64.b64encode(b"not packed"), "damaged"),
        (base64.b64encode(pa.compress(b"no stream of Arrow's", "zstd", asbytes=True)), "damaged"),
        (base64.b64encode(pa.compress(bytes(65 << 20), "zstd", asbytes=True)), "damaged"),
        (b"", "damaged"),
        (stream(pa.table({"resource": ["orders"], "events": [1]})), "another version"),
    ],
    ids=["none", "no base64", "not packed", "no Arrow", "a bomb", "empty", "another version"],
)
def test_a_file_without_sums_that_can_be_read_is_read_itself(
    log_of_one: Path, value: bytes | None, finding: str | None
) -> None:
    """As are those of before; `verify` tells of damage."""
    rewritten(log_of_one, value)
    root = log_of_one.parents[2]
    con = connect(root)
    assert unread(con, "orders") == 1
    by_sums, by_rows = both(con, "orders")
    assert by_sums == by_rows
    assert by_sums[0][6] == 20
    wrong = check(root).wrong
    if finding is None:
        assert not wrong
    else:
        (one,) = wrong
        assert one.kind is Kind.ALTERED
        assert finding in one.text


def test_verify_finds_sums_that_are_not_those_of_the_rows(log_of_one: Path) -> None:
    """Whether they were altered, or the rows beneath them."""
    root, said = log_of_one.parents[2], rollup.decode(pq.read_metadata(log_of_one).metadata)
    assert said is not None
    assert not check(root).wrong
    at = said.schema.get_field_index("events")
    more = said.set_column(at, said.schema.field(at), pa.chunked_array([[21]]))
    for value in (stream(more), stream(said.slice(0, 0)), stream(pa.concat_tables([said, said]))):
        rewritten(log_of_one, value)
        (wrong,) = check(root).wrong
        assert wrong.kind is Kind.ALTERED
        assert "who touched what" in wrong.text
    rewritten(log_of_one, stream(said))
    assert not check(root).wrong

    def another(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("resource")
        words = pa.array(["payments" if word == "orders" else word for word in table.column(at).to_pylist()])
        return table.set_column(at, table.schema.field(at), words.dictionary_encode())

    rewritten(log_of_one, stream(said), another)
    assert "who touched what" in " ".join(wrong.text for wrong in check(root).wrong)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(0, 0),
        lambda table: table.drop_columns(["end_time"]),
        lambda table: table.set_column(
            table.schema.get_field_index("weight"), "weight", table.column("weight").cast(pa.string())
        ),
        lambda table: table.set_column(
            table.schema.get_field_index("count"), "count", pa.array([float("nan")] * table.num_rows)
        ),
    ],
    ids=["no rows", "no such column", "another type", "no number"],
)
def test_verify_finds_sums_of_what_are_no_such_rows(log_of_one: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """A finding, and never an exception; what else is wrong with the file is told beside it."""
    rewritten(log_of_one, pq.read_metadata(log_of_one).metadata[rollup.METADATA], change)
    wrong = check(log_of_one.parents[2]).wrong
    assert "who touched what" in " ".join(one.text for one in wrong)
    assert {one.kind for one in wrong} <= {Kind.ALTERED, Kind.UNBALANCED, Kind.MISSING}


def test_few_rows_and_many_sums_are_left_to_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollup is there only where it is worth more than it costs."""
    least, shorter, most = 32, 8, 1024
    monkeypatch.setattr(rollup, "LEAST_ROWS", least)
    monkeypatch.setattr(rollup, "_SHORTER", shorter)
    monkeypatch.setattr(rollup, "_MOST_BYTES", most * 4)

    def has(name: str, topics: int, reads: int) -> bool:
        with auditring.open(tmp_path / name, balance=None) as log:
            session = log.session(id="s")
            for number in range(reads):
                session.read(f"topic-{number % topics}", 0, number, number)
        return rollup.decode(pq.read_metadata(*files_of(tmp_path / name)).metadata) is not None

    assert not has("few", 1, 5)
    assert has("enough", 1, least)
    assert has("short", 10, 10 * shorter)
    assert not has("long", 20, 20 * shorter - 20)
    assert not has("large", most, most * shorter)
    monkeypatch.setattr(rollup, "_MOST_BYTES", 1 << 20)
    assert has("large enough", most, most * shorter)
    monkeypatch.setattr(rollup, "_MOST_FOR_A_ROW", 0.1)
    assert not has("large for its rows", most, most * shorter)


def made(sums: list[pa.Table], rows: int) -> rollup.Rollup:
    """A rollup of parts that stand for so many rows each."""

    class Part:
        def __init__(self, table: pa.Table | None) -> None:
            self.rows, self.table = rows, table

        def touched(self) -> pa.Table | None:
            return self.table

    rolled = rollup.Rollup()
    for table in sums:
        rolled.add(Part(table))  # type: ignore[arg-type]  # all that it asks of a batch
    return rolled


def part(events: list[int], resource: str = "orders", records: int | None = None) -> pa.Table:
    """Sums of a row group, each of a principal of its own."""
    words = {name: pa.array([None] * len(events), pa.string()) for name in rollup.KEYS}
    words["resource"] = pa.array([resource] * len(events))
    words["principal"] = pa.array([f"user-{number}" for number in range(len(events))])
    numbers = {
        "events": pa.array(events, pa.int64()),
        "records": pa.array([records] * len(events), pa.int64()),
        "bytes": pa.array([None] * len(events), pa.int64()),
        **{name: pa.array([0] * len(events), pa.timestamp("us", tz="UTC")) for name in ("first_seen", "last_seen")},
    }
    return pa.table({**words, **numbers})


def test_a_sum_that_does_not_fit_is_none() -> None:
    """Arrow's sums wrap round without a word; what could come to that is left to the rows, as DuckDB complains."""
    most = (1 << 63) - 1
    assert made([part([most // 2]), part([most // 2])], 10).encode()
    assert made([part([most // 2]), part([most // 2 + 1])], 10).encode() is None
    assert made([part([1], records=-most), part([1], records=-2)], 10).encode() is None
    assert made([part([1]), part([1])], 10).encode()


def test_a_row_group_without_sums_leaves_none_to_the_file() -> None:
    """Whichever it is of them."""
    assert made([part([1])], 10).encode()
    for at in range(3):
        parts = [part([1])] * 3
        parts[at] = None
        assert made(parts, 10).encode() is None


def test_sums_of_a_long_file_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are added up on the way; where that does not help any more the file is to have none."""
    monkeypatch.setattr(rollup, "_MOST_APART", 100)
    same = made([part([1] * 30)] * 50, 1000)
    table = rollup.decode({rollup.METADATA: same.encode() or b""})
    assert table is not None
    assert table.column("events").to_pylist() == [50] * 30
    assert same._apart <= 100  # noqa: SLF001 - the bound itself
    many = made([part([1] * 30, resource=f"topic-{number}") for number in range(50)], 1000)
    assert many.encode() is None
    assert many._parts is None  # noqa: SLF001 - the bound itself


def test_a_sink_that_begins_anew_counts_no_row_twice(tmp_path: Path) -> None:
    """Sums of a file that was thrown away go with it."""

    class Failing(ParquetSink):
        times = 3

        def write(self, batch: RowBatch) -> int:
            done = super().write(batch)
            if self.times:
                self.times -= 1
                raise OSError("once more")
            return done

        def fresh(self) -> "Failing":
            return self

    sink = Failing()
    with auditring.open(tmp_path, sinks=[sink], balance=None) as log, log.session(id="s") as session:
        for offset in range(100):
            session.read("orders", 0, offset, offset)
    assert sink.times == 0
    con = connect(tmp_path)
    by_sums, by_rows = both(con, "orders")
    assert by_sums == by_rows
    assert by_sums[0][6] == 100
    assert not check(tmp_path).wrong


def test_a_file_that_is_gone_is_told_by_whoever_reads_it(log_of_one: Path) -> None:
    """As without sums: the connection is of a moment that is no more."""
    con = connect(log_of_one.parents[2])
    log_of_one.unlink()
    with pytest.raises(duckdb.IOException):
        questions.who_touched("orders").on(con).fetchall()


# --- connections that are used in other ways -------------------------------------------------------------------------


def test_an_answer_stays_that_of_its_moment(tmp_path: Path) -> None:
    """Also where the connection moves on before it is fetched."""
    with auditring.open(tmp_path, balance=None) as log, log.session(id="s") as session:
        session.read("orders", 0, 1, 1)
        log.flush(20)
        session.read("orders", 0, 2, 2)
        con = connect(tmp_path)
        while both(con, "orders")[0][0][6] != 2:
            refresh(con)
        answer = questions.who_touched("orders").on(con)
        filtered = answer.filter("events > 0")
        log.flush(20)
        session.read("orders", 0, 3, 3)
        refresh(con)
        assert [row[6] for row in answer.fetchall()] == [2]
        assert [row[6] for row in filtered.fetchall()] == [2]


def test_bounds_are_what_the_connection_takes_them_for(story: Path) -> None:
    """Without a zone they are in its zone, and a date is its midnight."""
    con = connect(story)
    con.execute("SET TimeZone = 'America/New_York'")
    ((middle,),) = con.execute("SELECT (min(time) + (max(time) - min(time)) / 2)::TIMESTAMP FROM events").fetchall()
    for bound in (middle, middle + timedelta(hours=5), middle - timedelta(hours=5), middle.date()):
        for bounds in (Bounds(since=bound), Bounds(until=bound)):
            by_sums, by_rows = both(con, "orders", bounds)
            assert by_sums == by_rows


def test_another_view_of_that_name_is_asked_itself(story: Path) -> None:
    """Whoever narrows what is seen has it seen narrowly."""
    con = connect(story)
    con.execute(f"CREATE OR REPLACE VIEW events AS SELECT * FROM ({rows(files_of(story))}) WHERE principal = 'user-1'")
    assert {row[0] for row in questions.who_touched("orders").on(con).fetchall()} == {"user-1"}
    refresh(con)
    assert len({row[0] for row in questions.who_touched("orders").on(con).fetchall()}) > 1


def test_what_is_no_text_is_refused_as_by_rows(story: Path) -> None:
    """By DuckDB, in its words."""
    con = connect(story)
    question = questions.who_touched("p\udcff")
    errors = []
    for ask in (question.on, question.asked, lambda con: con.execute(question.sql, dict(question.parameters))):
        with pytest.raises(duckdb.Error) as caught:
            ask(con)
        errors.append(str(caught.value))
    assert len(set(errors)) == 1

"""The demo, run as a person runs it: what it prints, what it leaves behind, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import deadlines
from auditring.demo.firehose import Firehose
from auditring.demo.kafka.seen import Ranges, Touched

pytest.importorskip("click")
pytest.importorskip("rich")
pytest.importorskip("duckdb")
pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
pytest.importorskip("confluent_kafka")
pytest.importorskip("kio")
from auditring import query

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
AUDITRING = [sys.executable, "-c", "from auditring.cli import main; main()"]
DEADLINE = 60.0
until = partial(deadlines.until, seconds=DEADLINE)
"""Waits for a condition, as long as these tests may."""


def demo(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `auditring demo` to its end, on no terminal; `before` is run first in the same interpreter."""
    command = [*AUDITRING[:2], f"{before}\n{AUDITRING[2]}", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def nobody_listens(port: int) -> bool:
    """Whether the server there has ended."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def last_action(directory: Path) -> str | None:
    """What the newest row says."""
    with query.connect(directory) as connection:
        found = connection.execute("SELECT action FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return found[0] if found else None


class Servers(NamedTuple):
    """What a running demo says of its two servers: port and process."""

    behind: tuple[int, int]
    """The upstream or the cluster."""
    audited: tuple[int, int]
    """The gateway or the proxy before it."""


ACTS = {"kafka": ([], "ClientSaslAuthSuccess  alice"), "http": (["--http"], "[1-9][0-9]* requests")}
"""What asks for the act, and what it says when its clients are at it."""


@contextmanager
def running(directory: Path, act: str) -> Iterator[tuple[subprocess.Popen[str], Servers]]:
    """A demo in the middle of an act."""
    options, busy = ACTS[act]
    command = [*AUDITRING, "demo", *options, "--seconds", str(DEADLINE), "--dir", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = ""
        while re.search(busy, output) is None:
            line = process.stdout.readline()
            assert line, output
            output += line
        behind, audited = re.findall(r":(\d+) +\(pid (\d+)\)", output)
        yield process, Servers((int(behind[0]), int(behind[1])), (int(audited[0]), int(audited[1])))


# --- Kafka ------------------------------------------------------------------------------------------------------------


def test_kafka_proxy_is_audited(tmp_path: Path) -> None:
    """What the clients were told is in the audit, offset by offset; logins and refusals were seen as they happened."""
    directory = tmp_path / "audit"
    done = demo("--seconds", 1, "--dir", directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("✓") == 7
    assert "✗" not in done.stdout
    assert "\x1b" not in done.stdout
    live, told = done.stdout.split("Who read orders, and exactly which offsets?")
    for line in (
        "success   ClientSaslAuthSuccess  alice .* mechanism=SCRAM-SHA-256 authority=decision",
        "failure   ClientSaslAuthFailure  - .* attempted=bob .* mechanism=PLAIN",
        "denied    OperationDenied        carol +READ Topic orders",
        "denied    OperationDenied        bob +WRITE Topic orders",
        r"success   Read +bob +READ Topic orders\[\d\] \d+\.\.\d+ records=",
    ):
        assert re.search(line, live)
    assert re.search(r"events/.*\.parquet +[\d,]+ bytes", told)
    with query.connect(directory) as connection:
        records = "SELECT sum(records) FROM events WHERE action = {} AND principal = {} AND tap = 'client'"
        ((read,),) = connection.execute(records.format("'Read'", "'bob'")).fetchall()
        ((written,),) = connection.execute(records.format("'Write'", "'alice'")).fetchall()
        rows = connection.execute("SELECT * FROM events").fetchall()
        ((reads,),) = connection.execute("SELECT count(*) FROM events WHERE action = 'Read'").fetchall()
    left_out = [int(number.replace(",", "")) for number in re.findall("… and .*?([0-9,]+) Reads", live)]
    assert len(re.findall("success   Read ", live)) + sum(left_out) == reads
    assert f"✓ {read:,} records given to bob" in told
    assert f"✓ {written:,} records acknowledged to alice" in told
    assert "s3cr3t" not in str(rows)
    assert "Abbey Road" not in str(rows)


FORGETFUL = """
from auditring.demo.kafka import seen
add = seen.Ranges.add
seen.Ranges.add = lambda ranges, offset: None if offset == 7 else add(ranges, offset)
"""
"""Makes every client overlook one offset of each partition."""


def test_one_offset_that_nobody_saw_is_said(tmp_path: Path) -> None:
    """Where audit and clients disagree, be it by one record, the demo says so and ends with status 1."""
    done = demo("--seconds", 1, "--dir", tmp_path / "audit", before=FORGETFUL)
    assert done.returncode == 1
    assert [line.split(":")[0].lstrip("✗ 0123456789,") for line in done.stdout.splitlines() if line[:1] == "✗"] == [
        "records given to bob",
        "records acknowledged to alice",
    ]


def test_cluster_that_is_not_there_is_said_in_one_line() -> None:
    """And nothing is started before it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = demo("--kafka", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert re.fullmatch(f"Error: no topic can be made on 127.0.0.1:{port}: .*refused\n", done.stderr)
    assert done.stdout == ""


def test_proxy_is_the_example() -> None:
    """There is one source of it, which an installed package has as well."""
    link = ROOT / "python/auditring/demo/examples/kafka_proxy"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "examples/kafka_proxy"


def test_offsets_become_ranges_in_whatever_order_they_come() -> None:
    """What touches or overlaps is one range; what was seen twice counts once."""
    ranges = Ranges()
    for offset in (4, 5, 9, 0, 1, 5, 6, 2):
        ranges.add(offset)
    assert ranges.merged() == [(0, 2), (4, 6), (9, 9)]
    touched = Touched("bob")
    for offset in (1, 0):
        touched.add(3, offset, 10)
    assert touched.offsets == {("bob", 3, 0, 1)}
    assert (touched.records, touched.bytes) == (2, 20)


# --- HTTP -------------------------------------------------------------------------------------------------------------


def test_gateway_is_audited(tmp_path: Path) -> None:
    """Every request of every client has its row, by name, outcome and status, and the printed counts agree."""
    directory = tmp_path / "audit"
    done = demo("--http", "--requests", 200, "--dir", directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("✓") == 4
    assert "✗" not in done.stdout
    assert "\x1b" not in done.stdout
    for question in ("Who touched the salaries?", "What was denied?", "And who did how much?"):
        assert question in done.stdout
    assert re.search(r"events/.*\.parquet +[\d,]+ bytes", done.stdout)
    with query.connect(directory) as connection:
        rows = connection.execute("SELECT * FROM events WHERE action = 'HttpRequest'").fetchall()
        kinds = "SELECT DISTINCT principal, outcome, status FROM events WHERE action = 'HttpRequest'"
        seen = set(connection.execute(kinds).fetchall())
    assert len(rows) == 200
    assert "s3cr3t" not in str(rows)
    assert {
        ("alice", "success", None),
        ("bob", "success", None),
        ("carol", "success", None),
        (None, "denied", "HTTP_401"),
        ("alice", "failure", "ClientDisconnected"),
    } <= seen


def test_nothing_is_left_unless_asked_for(tmp_path: Path) -> None:
    """Without `--dir` and `--keep` the audit directory goes; with `--keep` it stays, and is named."""
    environment = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}"
    assert demo("--firehose", 100, before=environment).returncode == 0
    assert list(tmp_path.iterdir()) == []
    kept = demo("--firehose", 100, "--keep", before=environment)
    (directory,) = tmp_path.iterdir()
    assert f"auditring query {directory}" in kept.stdout


@pytest.mark.parametrize(
    ("act", "how"), [("kafka", signal.SIGINT), ("kafka", signal.SIGKILL), ("http", signal.SIGKILL)]
)
def test_no_process_outlives_the_demo(tmp_path: Path, act: str, how: signal.Signals) -> None:
    """Neither after Ctrl-C nor after the death of the demo itself; the proxy closes its log in both cases."""
    with running(tmp_path / "audit", act) as (process, servers):
        process.send_signal(how)
        process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    until(lambda: nobody_listens(servers.behind[0]) and nobody_listens(servers.audited[0]))
    until(lambda: last_action(tmp_path / "audit") == "ProxyCleanShutdown")


@pytest.mark.parametrize(("act", "name"), [("kafka", "proxy"), ("http", "gateway")])
def test_proxy_that_dies_is_said_in_one_line(tmp_path: Path, act: str, name: str) -> None:
    """The demo ends with an error that names it, and takes what is behind it along."""
    with running(tmp_path / "audit", act) as (process, servers):
        os.kill(servers.audited[1], signal.SIGKILL)
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert said.startswith(f"Error: the {name}")
    assert "Traceback" not in said
    until(lambda: nobody_listens(servers.behind[0]))


# --- the firehose -----------------------------------------------------------------------------------------------------


def test_firehose_is_counted_in_the_files(tmp_path: Path) -> None:
    """Every Read and Write is a row, and the report has its four figures."""
    directory = tmp_path / "audit"
    done = demo("--firehose", 100_000, "--seed", 7, "--dir", directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ 100,000 Reads and Writes counted by DuckDB" in done.stdout
    for figure in ("million events a second", "bytes an event", "blocked", "CPU"):
        assert figure in done.stdout
    with query.connect(directory) as connection:
        events = "FROM events WHERE action IN ('Read', 'Write')"
        found = connection.execute(f"SELECT count(*), count(DISTINCT session), count(DISTINCT resource) {events}")
        assert found.fetchone() == (100_000, 200, 50)


class Emitted(NamedTuple):
    """One call of a session."""

    session: int
    write: bool
    topic: str
    partition: int
    first: int
    last: int
    correlation: int


class Recorder:
    """A session that notes what it is told."""

    def __init__(self, number: int, events: list[Emitted]) -> None:
        self._number = number
        self._events = events

    def read(self, *arguments: object) -> None:
        """Notes a Read."""
        self._events.append(Emitted(self._number, False, *arguments))  # type: ignore[arg-type]  # noqa: FBT003

    def write(self, *arguments: object) -> None:
        """Notes a Write."""
        self._events.append(Emitted(self._number, True, *arguments))  # type: ignore[arg-type]  # noqa: FBT003


def emitted(count: int, *, seed: int = 0, block: int = 500) -> list[Emitted]:
    """The first `count` events of a firehose over 200 sessions."""
    events: list[Emitted] = []
    Firehose([Recorder(number, events) for number in range(200)], seed=seed, block=block).emit(count)  # type: ignore[misc]
    return events


def test_same_seed_same_events() -> None:
    """A load can be repeated."""
    assert emitted(2_000, seed=5) == emitted(2_000, seed=5)
    assert emitted(2_000, seed=5) != emitted(2_000, seed=6)


def test_offsets_advance_without_a_gap_from_block_to_block() -> None:
    """The next Write of a partition begins where the last one ended, and so do the Reads."""
    following: dict[tuple[bool, str, int], int] = {}
    for event in emitted(5_250):
        place = (event.write, event.topic, event.partition)
        assert following.get(place, event.first) == event.first <= event.last
        following[place] = event.last + 1


def test_a_few_topics_have_most_of_the_traffic() -> None:
    """Popularity is skewed as in real life; all sessions, topics and partitions take part."""
    events = emitted(65_536, block=65_536)
    topics = sorted(Counter(event.topic for event in events).values())
    assert len(topics) == 50
    assert sum(topics[-5:]) > len(events) / 3
    assert len({event.session for event in events}) == 200
    assert {event.partition for event in events} == set(range(12))


def test_ready_calls_are_the_first_block() -> None:
    """For loops that must cost nothing but the event."""
    events: list[Emitted] = []
    sessions = [Recorder(number, events) for number in range(200)]
    for emit, arguments in Firehose(sessions, block=500).arguments():  # type: ignore[arg-type]
        emit(*arguments)
    assert events == emitted(500)


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--firehose", 10, "--seconds", 1), "--firehose takes no --seconds"),
        (("--firehose", 10, "--http"), "one of --kafka, --http and --firehose"),
        (("--http", "--kafka", "localhost:9092"), "one of --kafka, --http and --firehose"),
        (("--kafka", "localhost"), "HOST:PORT"),
        (("--kafka", "one:9092,two:9092"), "HOST:PORT"),
        (("--requests", 10), "--requests goes with --http"),
        (("--seed", 1), "--seed goes with --http or --firehose"),
        (("--firehose", 0), "--firehose"),
        (("--seconds", 0), "--seconds"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[object, ...], said: str) -> None:
    """A line that says which, and status 2."""
    done = demo(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_directory_must_be_empty(tmp_path: Path) -> None:
    """Else the counts would be those of others too."""
    (tmp_path / "mine").touch()
    done = demo("--dir", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"Error: {tmp_path} is not empty\n")


WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path, target=None):
        if name == {0!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Without())
"""
"""Makes a package as if it were not installed."""


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("confluent_kafka", "demo", ()),
        ("kio", "demo", ()),
        ("httpx", "demo", ("--http",)),
        ("uvicorn", "demo", ("--http",)),
        ("duckdb", "query", ()),
        ("duckdb", "query", ("--firehose", 10)),
        ("rich", "cli", ("--firehose", 10)),
    ],
)
def test_missing_extra_is_named(package: str, extra: str, arguments: tuple[object, ...]) -> None:
    """One line says what to install."""
    done = demo(*arguments, before=WITHOUT.format(package))
    assert done.returncode != 0
    assert f"pip install 'auditring[{extra}" in done.stderr
    assert "Traceback" not in done.stderr

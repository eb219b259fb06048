"""`auditring tail`: every row once, whoever writes it and wherever it lies; and nothing in a line acts."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

import auditring
from auditring import Keep, _core, query
from auditring.cli.commands import auditring as command
from auditring.cli.tail import CATEGORIES
from auditring.cli.text import visible
from auditring.directory import NotAnAuditDirectory
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail, Wanted

PATIENCE = 20.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def run(*arguments: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(command, ["tail", *(str(argument) for argument in arguments)])


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """The events of JSON lines."""
    return [json.loads(line) for line in lines.splitlines()]


def history(tail: Tail) -> list[dict[str, Any]]:
    """What was there when the reader was made."""
    return parsed(b"".join(tail.history()))


def fresh(tail: Tail, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What comes, until it is enough."""
    deadline = time.monotonic() + PATIENCE
    events: list[dict[str, Any]] = []
    while not enough(events):
        assert time.monotonic() < deadline, f"only {len(events)} events came in time"
        events += parsed(tail.fresh())
    return events


def numbers(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Whose rows they are; one that was told twice is here twice."""
    return [(event["process"], event["seq"]) for event in events]


def in_view(root: Path) -> list[tuple[str, int]]:
    """The same of the view `events`, in its order."""
    return query.connect(root).execute("SELECT process, seq FROM events ORDER BY process, seq").fetchall()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a process that has gone and one that lives, with rows in files and in a journal."""
    root = tmp_path_factory.mktemp("audit")
    with auditring.open(root, instance="gone", balance=None) as log:
        tell(log, "alice")
    with auditring.open(root, instance="lives", balance=None) as log:
        tell(log, "bob")
        log.flush(PATIENCE)
        tell(log, "alice:x")
        deadline = time.monotonic() + PATIENCE
        while len(in_view(root)) < 3 * 9 + 3:
            assert time.monotonic() < deadline
        yield root


def tell(log: auditring.AuditLog, name: str) -> None:
    """Nine rows."""
    with log.session(id=f"session of {name}", peer=("10.1.2.3", 50_412), authority="decision") as session:
        session.client_sasl_auth_failure(name, mechanism="PLAIN")
        session.client_sasl_auth_success(name, mechanism="PLAIN")
        session.read("payments", 3, 1000, 1099, 42, records=100)
        session.operation_denied("WRITE", "Topic", "salaries", reason="not yours")
        session.http_request("GET", "/v1/items", status_code=200, principal="carol")
        session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": "kek-7", "vc": "mine"})
        # Not the client's: a filter says what it did because of one of its requests.
        session.plugin(filter="rotation", namespace="com.example").emit("com.example.Rotated", context={"n": 1.5})


def test_what_was_is_told_once_from_files_and_journals(story: Path) -> None:
    """All of it with `since`, in the order of time, as the canonical lines."""
    events = history(Tail(story, Wanted(since=LONG_AGO), json=True))
    assert sorted(numbers(events)) == in_view(story)
    assert [event["timeNanos"] for event in events] == sorted(event["timeNanos"] for event in events)


def test_rows_out_of_files_are_the_same_lines(tmp_path: Path) -> None:
    """Word for word in JSON and for people, as they were when they came out of the journal."""
    with auditring.open(tmp_path, instance="proxy", balance=None) as log:
        live, people = Tail(tmp_path, json=True, last=0), Tail(tmp_path, last=0)
        tell(log, "alice")
        lines = fresh(live, lambda events: len(events) >= 9)
        deadline, text = time.monotonic() + PATIENCE, b""
        while text.count(b"\n") < 9:
            assert time.monotonic() < deadline
            text += people.fresh()
    sealed = history(Tail(tmp_path, json=True, last=10))[:9]
    assert sealed == lines
    assert b"".join(Tail(tmp_path, last=10).history()).splitlines()[:9] == text.splitlines()


def test_the_last_rows_are_the_last_of_all(story: Path) -> None:
    """Wherever they lie; oldest first."""
    everything = history(Tail(story, Wanted(since=LONG_AGO), json=True))
    for last in (1, 5, 12, 20, 1000):
        assert history(Tail(story, json=True, last=last)) == everything[-last:]
    assert history(Tail(story, json=True, last=0)) == []


FILTERS: list[tuple[Wanted, str]] = [
    (Wanted(actions=("Read", "com.example.kms.KeyUsed")), "action IN ('Read', 'com.example.kms.KeyUsed')"),
    (Wanted(actions=("OperationDenied",)), "action = 'OperationDenied'"),
    (Wanted(categories=("authentication", "plugin")), "category IN ('authentication', 'plugin')"),
    (Wanted(outcomes=("denied", "failure")), "outcome IN ('denied', 'failure')"),
    (Wanted(principals=("alice",)), "principal = 'alice' OR attempted_principal = 'alice'"),
    (Wanted(principals=("User:bob",)), "principal = 'bob' OR attempted_principal = 'bob'"),
    (Wanted(principals=("alice:x",)), "principal = 'alice:x' OR attempted_principal = 'alice:x'"),
    (Wanted(principals=("x",)), "false"),
    (Wanted(principals=("carol",)), "principal = 'carol'"),
    (
        Wanted(sessions=("session of bob",)),
        "session = 'session of bob' OR context ->> '$.causeSession' = 'session of bob'",
    ),
    (
        Wanted(sessions=("session of bob", "session of alice"), outcomes=("failure",)),
        "session IN ('session of bob', 'session of alice') AND outcome = 'failure'",
    ),
    (Wanted(categories=("audit",)), "category = 'audit'"),
]


@pytest.mark.parametrize(("wanted", "condition"), FILTERS, ids=[condition for _, condition in FILTERS])
def test_a_filter_means_the_same_in_journals_and_in_files(story: Path, wanted: Wanted, condition: str) -> None:
    """It is told what DuckDB finds by the same condition; the story lies in both."""
    found = query.connect(story).execute(f"SELECT process, seq FROM events WHERE {condition} ORDER BY ALL").fetchall()
    for last in (None, 1000):
        assert sorted(numbers(history(Tail(story, wanted, json=True, last=last)))) == found


def test_since_is_a_bound_in_both(story: Path) -> None:
    """Included, in files and in journals."""
    everything = history(Tail(story, Wanted(since=LONG_AGO), json=True))
    for at in (1, 10, 20, 25):
        since = datetime.fromtimestamp(everything[at]["timeNanos"] // 1000 / 1e6, UTC)
        events = history(Tail(story, Wanted(since=since), json=True))
        assert events == [event for event in everything if event["timeNanos"] >= Wanted(since=since).since_ns]
        assert events


def test_every_row_is_told_once_while_processes_come_and_go(tmp_path: Path) -> None:
    """Born later, closed and removed between two looks, sealed while they are read: never none, never two."""
    rotation = auditring.Rotation(rows=64)
    events: list[dict[str, Any]] = []
    with auditring.open(tmp_path, instance="first", balance=None) as first:
        first.emit("com.example.Before")
        tail = Tail(tmp_path, Wanted(since=LONG_AGO), json=True)
        events += history(tail)
        for number in range(12):
            sink = ParquetSink(rotation=rotation)
            with (
                auditring.open(tmp_path, instance=f"{number}", sinks=(sink,), balance=None) as log,
                log.session(id="s") as session,
            ):
                for offset in range(40 * number):
                    session.read("orders", 0, offset, offset, 1)
                if number % 3 == 0:
                    log.flush(PATIENCE)
                if number % 4 != 1:  # else it has come and gone before anybody has looked
                    events += parsed(tail.fresh())
            first.emit("com.example.Between")
        first.flush(PATIENCE)
    wanted = in_view(tmp_path)
    events += fresh(tail, lambda more: len(events) + len(more) >= len(wanted))
    assert sorted(numbers(events)) == wanted
    assert tail.notes == []
    assert parsed(tail.fresh()) == []
    by_process: dict[str, list[int]] = {}
    for process, seq in numbers(events):
        by_process.setdefault(process, []).append(seq)
    assert all(seqs == sorted(seqs) for seqs in by_process.values())


def test_rows_that_nobody_keeps_are_said_to_be_missed(tmp_path: Path) -> None:
    """A process that comes and goes without a table leaves no rows, but a note."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None):
        tail = Tail(tmp_path, json=True, last=0)
        with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None) as log:
            process = log.process
        deadline = time.monotonic() + PATIENCE
        while not tail.notes:
            assert time.monotonic() < deadline
            tail.fresh()
    assert tail.notes == [f"rows of process {process} had left its journal before they were read: seq 0 and later"]


def test_the_policy_holds_for_a_tail_too(tmp_path: Path) -> None:
    """It is told of the rows that the table will have, with their weights."""
    with auditring.open(tmp_path, read=Keep.SAMPLE(one_in=10), seed=1, balance=None) as log:
        tail = Tail(tmp_path, json=True, last=0)
        for number in range(200):
            with log.session(id=f"s-{number}") as session:
                for offset in range(3):
                    session.read("payments", 0, offset, offset, 1)
        log.flush(PATIENCE)
        view = query.connect(tmp_path).execute("SELECT seq, weight FROM events ORDER BY seq").fetchall()
        events = fresh(tail, lambda events: bool(events) and events[-1]["seq"] >= view[-1][0])
        assert [(event["seq"], event["weight"]) for event in events] == [row for row in view if row[0] > 0]


def test_names_that_act_are_shown_and_nothing_else_is(tmp_path: Path) -> None:
    """Every character that Python knows by its category comes out as the other commands show it."""
    characters = [
        chr(code) for code in range(1, 0x11_0000) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}
    ]
    assert len(characters) > 100_000
    with auditring.open(tmp_path, balance=None) as log, log.session(id="s") as session:
        for at in range(0, len(characters), 256):
            session.operation_denied("WRITE", "Topic", "".join(characters[at : at + 256]))
    denied = Wanted(actions=("OperationDenied",))
    people = b"".join(Tail(tmp_path, denied).history()).decode()
    machine = b"".join(Tail(tmp_path, denied, json=True).history()).decode()
    texts = [event["resource"] for event in parsed(machine.encode())]
    assert "".join(texts) == "".join(characters)
    for text, line in zip(texts, people.split("\n"), strict=False):
        # In quotes a backslash of the name's own is doubled, so that none can end them.
        quoted = "".join(f"\\{one}" if one in '"\\' else visible(one) for one in text)
        assert f"Topic {visible(text)} " in line or f'Topic "{quoted}" ' in line
    assert visible(machine.replace("\n", "")) == machine.replace("\n", "")


# --- the command ------------------------------------------------------------------------------------------------------


class Watching:
    """`auditring tail …` as a process of its own."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        program = "from auditring.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "tail", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def end(self) -> tuple[int, str]:
        """How it ended, and what it complained about."""
        assert self.process.stderr is not None
        status = self.process.wait(PATIENCE)
        return status, self.process.stderr.read().decode()


def test_without_follow_the_last_ten_rows_are_printed(story: Path) -> None:
    """And then it ends; `--json` prints objects, and options are what they are for `Wanted`."""
    result = run(story)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 10)
    assert "ClientClose" in result.stdout.splitlines()[-1]
    events = parsed(run(story, "--json", "--since", "1d", "--outcome", "denied", "--principal", "bob").stdout.encode())
    assert [event["objectRef"]["topicName"] for event in events] == ["salaries"]
    assert len(run(story, "--last", "3", "--since", "1d").stdout.splitlines()) == 3


def test_a_row_is_printed_soon_after_its_emit(tmp_path: Path) -> None:
    """By a process that follows, also for a log that is opened later, and not only when the next row comes."""
    with auditring.open(tmp_path, balance=None) as log, Watching("-f", tmp_path, "--json", "--last", 1) as watching:
        assert json.loads(watching.line())["action"] == "ProxyStartup"
        log.emit("com.example.First")
        event = json.loads(watching.line())
        assert event["action"] == "com.example.First"
        with auditring.open(tmp_path, instance="later", balance=None) as later:
            assert json.loads(watching.line())["instance"] == "later"
            later.emit("com.example.Second")
            assert json.loads(watching.line())["action"] == "com.example.Second"


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    """With the status that shells know."""
    with auditring.open(tmp_path, balance=None), Watching("-f", tmp_path) as watching:
        assert "ProxyStartup" in watching.line()
        watching.process.send_signal(signal.SIGINT)
        assert watching.end() == (130, "")


@pytest.mark.parametrize("busy", [False, True])
def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path, *, busy: bool) -> None:
    """As with `| head`: also when nothing more is to be printed."""
    with auditring.open(tmp_path, balance=None) as log, Watching("-f", tmp_path) as watching:
        assert "ProxyStartup" in watching.line()
        assert watching.process.stdout is not None
        watching.process.stdout.close()
        if busy:
            log.emit("com.example.First")
        status = watching.process.wait(PATIENCE)
        assert watching.process.stderr is not None
        assert (status, watching.process.stderr.read()) == (0, b"")


def test_a_directory_that_goes_is_one_line_and_status_2(tmp_path: Path) -> None:
    """So is one that was never there."""
    root = tmp_path / "audit"
    with auditring.open(root, balance=None):
        pass
    with Watching("-f", root, "--last", 1) as watching:
        assert "ProxyCleanShutdown" in watching.line()
        shutil.rmtree(root)
        status, complaint = watching.end()
        assert status == 2
        assert complaint.splitlines() == [f"Error: {root} has gone: there is nothing more to follow"]
    result = run(root)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    with pytest.raises(NotAnAuditDirectory):
        Tail(root)


def on_terminal(*arguments: object, **environment: str) -> bytes:
    """What the command writes to a terminal."""
    ours, theirs = pty.openpty()
    program = "from auditring.cli import main; main()"
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    with subprocess.Popen(
        [sys.executable, "-c", program, "tail", *map(str, arguments)],
        stdout=theirs,
        stderr=subprocess.STDOUT,
        env={**plain, "TERM": "xterm", **environment},
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                piece = b""
            if not piece:
                break
            shown += piece
    os.close(ours)
    return shown


def test_colours_are_for_terminals_that_want_them(story: Path) -> None:
    """Not in a pipe, not with NO_COLOR, not on a dumb terminal; never in JSON."""
    red = b"\x1b[1;31mdenied\x1b[0m"
    asked = (story, "--outcome", "denied")
    assert red in on_terminal(*asked)
    assert b"\x1b" not in on_terminal(*asked, NO_COLOR="1")
    assert b"\x1b" not in on_terminal(*asked, TERM="dumb")
    assert b"\x1b" not in on_terminal(*asked, "--json")
    assert "\x1b" not in run(*asked).stdout


def test_an_action_that_is_not_there_is_told_the_nearest_one(story: Path) -> None:
    """A plugin's may be any."""
    result = run(story, "--action", "OperationDenyed")
    assert result.exit_code == 2
    assert "did you mean 'OperationDenied'?" in result.stderr
    assert run(story, "--action", "com.example.Never").stdout == ""


def test_the_categories_are_those_of_the_catalog() -> None:
    """The command offers what the core knows."""
    assert {action["category"] for action in _core.actions()} <= set(CATEGORIES)
    for category in CATEGORIES:
        Wanted(categories=(category,))
    with pytest.raises(ValueError, match='there is no category "nonsense"'):
        _core.Tail(".", categories=["nonsense"])
    assert Wanted(since=LONG_AGO + timedelta(microseconds=1)).since_ns == 946_684_800_000_001_000


def test_a_bound_in_time_has_a_zone() -> None:
    """Or it would be another moment on another machine."""
    with pytest.raises(ValueError, match="needs a time zone"):
        Wanted(since=datetime(2026, 11, 23))  # noqa: DTZ001 - the point


def test_lines_want_columns_of_the_table() -> None:
    """A name that is none is an error; what is absent is null."""
    with pytest.raises(ValueError, match='there is no column "nonsense"'):
        _core.lines(["nonsense"], [])
    (line,) = _core.lines(["time_ns", "action", "principals"], [(0, "Read", ["User:alice"])], json=True)
    event = json.loads(line)
    assert (event["time"], event["principals"]) == ("1970-01-01T00:00:00.000000000Z", ["User:alice"])

"""The log as a host holds it: what it records, how it ends, and what survives when nobody ends it."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Durability, Keep, Rotation, Then, WhenFull
from auditring.sinks import JsonlSink, ParquetSink


def rows_of(root: Path, *columns: str) -> list[dict[str, Any]]:
    """All rows of all sealed files, by process and seq; of many rows only some columns."""
    chosen = ["process", "seq", *columns] if columns else None
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path, columns=chosen).to_pylist()]
    return sorted(rows, key=lambda row: (row["process"], row["seq"]))


def actions_of(rows: list[dict[str, Any]]) -> list[str]:
    """What happened, in order."""
    return [row["action"] for row in rows]


def run_script(root: Path, body: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `body` in an interpreter of its own, with `log` open in `root`; it waits for room, and drops nothing."""
    given = "balance=None, when_full=auditring.WhenFull(wait=None)"
    head = f"import auditring, os, sys, threading\nlog = auditring.open(sys.argv[1], {given})\n"
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:This process:DeprecationWarning",
            "-c",
            head + textwrap.dedent(body),
            str(root),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


def test_a_log_begins_with_startup_and_ends_with_clean_shutdown(tmp_path: Path) -> None:
    """The first row is ProxyStartup at age 0, the last ProxyCleanShutdown, and seq is dense between them."""
    log = auditring.open(tmp_path, instance="proxy-1", balance=None)
    with log, log.session(peer=("192.0.2.7", 4711)) as session:
        session.read("orders", 3, 1000, 1099)
    rows = rows_of(tmp_path)
    assert actions_of(rows) == ["ProxyStartup", "ClientAccept", "Read", "ClientClose", "ProxyCleanShutdown"]
    assert rows[0]["age_ns"] == 0
    assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + len(rows)))
    assert {row["instance"] for row in rows} == {"proxy-1"}


def test_every_row_of_a_session_stands_alone(tmp_path: Path) -> None:
    """Who and where are in each row, from the moment they were known."""
    with auditring.open(tmp_path) as log:
        session = log.session(
            id="c-1",
            peer=("192.0.2.7", 4711),
            local="198.51.100.1:9092",
            virtual_cluster="payments",
            authority="decision",
            context={"tls.subject": "CN=alice"},
        )
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        session.update(client_id="app-7")
        session.operation_denied("WRITE", "Topic", "salaries", reason="no ACL")
        session.close(initiator="client")
    denied = next(row for row in rows_of(tmp_path) if row["action"] == "OperationDenied")
    expected = {
        "session": "c-1",
        "peer_ip": "192.0.2.7",
        "peer_port": 4711,
        "listener": "198.51.100.1:9092",
        "virtual_cluster": "payments",
        "client_id": "app-7",
        "principal": "alice",
        "principals": ["User:alice"],
        "operation": "WRITE",
        "resource_type": "Topic",
        "resource": "salaries",
        "outcome": "denied",
        "authority": "decision",
        "reason": "no ACL",
        "count": 1,
        "weight": 1,
    }
    assert {key: denied[key] for key in expected} == expected
    assert denied["status"]


def test_an_exception_in_a_session_is_its_status(tmp_path: Path) -> None:
    """Leaving `with` by an exception ends the session as a failure named after the exception's class."""
    with auditring.open(tmp_path) as log, pytest.raises(KeyError), log.session():
        raise KeyError
    close = next(row for row in rows_of(tmp_path) if row["action"] == "ClientClose")
    assert (close["outcome"], close["status"]) == ("failure", "KeyError")


def test_sessions_open_at_close_end_with_proxy_shutdown(tmp_path: Path) -> None:
    """A session that nobody closed has a ClientClose with status ProxyShutdown."""
    log = auditring.open(tmp_path)
    session = log.session(id="left-open")
    log.close()
    assert session.closed
    close = next(row for row in rows_of(tmp_path) if row["action"] == "ClientClose")
    assert (close["session"], close["status"]) == ("left-open", "ProxyShutdown")


def test_closing_twice_is_no_error_and_use_after_close_is(tmp_path: Path) -> None:
    """After close everything that would record raises LogClosed, and what was recorded can still be counted."""
    log = auditring.open(tmp_path)
    session = log.session()
    ended = log.session()
    ended.close()
    ended.close()
    with pytest.raises(auditring.SessionClosed):
        ended.read("t", 0)
    log.close()
    log.close()
    for call in (log.session, log.flush, log.sync, lambda: log.emit("com.example.Thing"), lambda: session.read("t", 0)):
        with pytest.raises(auditring.LogClosed):
            call()
    assert log.closed
    assert log.stats().balanced
    assert not log.stats().alive


def test_a_clean_close_leaves_tables_lines_and_totals_alone(tmp_path: Path) -> None:
    """Nothing of the process is left in the journal, and its ring is gone."""
    log = auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()))
    ring = log._live().core.ring_path  # noqa: SLF001 - no public name for a file that is not for readers
    assert ring is not None
    assert Path(ring).exists()
    log.emit("com.example.Thing")
    log.close()
    assert not Path(ring).exists()
    assert list((tmp_path / "journal").iterdir()) == []
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"events", "jsonl", "totals"}


def test_a_log_of_nothing_keeps_nothing_and_starts_no_thread() -> None:
    """`open(None)` takes every call, and neither a thread nor a file comes of it."""
    before = set(threading.enumerate())
    with auditring.open(None) as log, log.session(peer="192.0.2.7:1") as session:
        session.read("orders", 0, 1, 2)
        log.emit("com.example.Thing", context={"a": 1})
        log.flush()
        log.sync()
        # Of others one may end meanwhile, such as an earlier test has left.
        assert set(threading.enumerate()) <= before
        assert log.path is None
        assert log.health().ok


def test_a_second_open_of_one_directory_is_a_further_writer(tmp_path: Path) -> None:
    """Two logs in one directory have rings, journals and files of their own."""
    with auditring.open(tmp_path) as one, auditring.open(tmp_path) as two:
        assert one.process != two.process
        one.emit("com.example.One")
        two.emit("com.example.Two")
    by_process = {row["process"]: row["action"] for row in rows_of(tmp_path) if row["category"] == "plugin"}
    assert by_process == {one.process: "com.example.One", two.process: "com.example.Two"}


def test_flush_makes_everything_before_it_readable(tmp_path: Path) -> None:
    """After flush every sink has what was accepted before, while the log goes on."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log, log.session() as session:
        for i in range(100):
            session.read("orders", 0, i, i)
        log.flush(30)
        assert actions_of(rows_of(tmp_path)).count("Read") == 100
        (lines,) = tmp_path.glob("jsonl/*.jsonl")
        assert lines.read_text().count('"Read"') == 100
        stats = log.stats()
        assert stats.balanced
        assert stats.sinks["parquet"].delivered >= 102
        session.read("orders", 0, 100, 100)
    assert actions_of(rows_of(tmp_path)).count("Read") == 101


async def test_asyncio_hosts_open_flush_and_close_without_blocking(tmp_path: Path) -> None:
    """`async with`, `aflush` and `ready` work on a loop that goes on meanwhile; cancellation is no failure."""
    async with auditring.open(tmp_path) as log:
        async with log.session(id="kept") as session:
            session.read("orders", 0)
        await log.aflush(timedelta(seconds=30))
        assert await log.ready()

        async def held() -> None:
            async with log.session(id="cancelled"):
                await asyncio.Event().wait()

        task = asyncio.create_task(held())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    closes = {row["session"]: row["status"] for row in rows_of(tmp_path) if row["action"] == "ClientClose"}
    assert closes == {"kept": None, "cancelled": None}


def test_what_is_off_is_counted_and_is_no_row(tmp_path: Path) -> None:
    """Keep.OFF refuses the event in the call; the number is in the stats and in the metrics."""
    with auditring.open(tmp_path, read=Keep.OFF) as log, log.session() as session:
        for i in range(10):
            session.read("orders", 0, i, i)
            session.write("orders", 0, i, i)
        log.flush(30)
        stats = log.stats()
        assert (stats.off, stats.balanced) == (10, True)
        assert stats.actions["Read", "success"] == 10
        assert stats.actions["Write", "success"] == 10
    actions = actions_of(rows_of(tmp_path))
    assert (actions.count("Read"), actions.count("Write")) == (0, 10)


def test_a_sample_is_reproducible_and_weighted(tmp_path: Path) -> None:
    """The same seed keeps the same stories, first touches are kept with weight 1, what is left out is counted."""
    kept = []
    for run in ("a", "b"):
        with auditring.open(tmp_path / run, read=Keep.SAMPLE(one_in=4), seed=7) as log:
            for part in range(40):
                with log.session(id=f"s-{part}") as session:
                    for i in range(10):
                        session.read("orders", 0, i, i)
            log.flush(30)
            stats = log.stats()
            assert stats.balanced
        reads = [row for row in rows_of(tmp_path / run) if row["action"] == "Read"]
        by_weight = {weight: [row for row in reads if row["weight"] == weight] for weight in (1, 4)}
        assert [row["first_offset"] for row in by_weight[1]] == [0] * 40
        stories = {row["session"] for row in by_weight[4]}
        assert 0 < len(stories) < 40
        assert len(by_weight[4]) == 9 * len(stories)
        assert len(reads) == 40 + 9 * len(stories)
        assert stats.sinks["parquet"].sampled_out == 9 * (40 - len(stories))
        kept.append([(row["session"], row["first_offset"]) for row in reads])
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"when_full": {"dropable": WhenFull()}}, "did you mean 'droppable'"),
        ({"when_full": 3}, "WhenFull"),
        ({"ring_bytes": 3 << 20}, "power of two"),
        ({"ring_bytes": 0}, "less than 1"),
        ({"ring_bytes": 1 << 19}, "1048576 to 1073741824"),
        ({"ring_bytes": 1 << 31}, "1048576 to 1073741824"),
        ({"read": "all"}, r"Keep\.ALL"),
        ({"seed": -1}, "seed"),
        ({"segment_age": float("nan")}, "segment_age"),
        ({"sinks": (ParquetSink(), ParquetSink())}, "two are named 'parquet'"),
        ({"sinks": ("parquet",)}, "no auditring.sinks.Sink"),
        ({"sinks": (JsonlSink(name="../x"),)}, "cannot name a file"),
        ({"durability": Durability("moon")}, "PROCESS"),
        ({"durability": Durability("power", 1)}, "PROCESS"),
        ({"durability": Durability("power", -1.0)}, "no span of time"),
        ({"segment_age": None}, "segment_age"),
        ({"segment_age": 1e300}, "segment_age"),
        ({"journal_bytes": 1 << 63}, "journal_bytes"),
        ({"sinks": ParquetSink()}, r"sinks=\(sink,\)"),
        ({"sinks": 3}, "a sequence of sinks"),
        ({"sinks": (), "required": ("parquet",)}, "known: none"),
        ({"ring_dir": ""}, "ring_dir: an empty path"),
        ({"ring_dir": "/nowhere/at/all"}, "ring_dir: '/nowhere/at/all' is no directory"),
        ({"ring_dir": "/dev/null"}, "ring_dir: '/dev/null' is no directory"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_before_anything_is_touched(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    """ConfigError names the setting, and the directory stays as it was."""
    with pytest.raises(auditring.ConfigError, match=message):
        auditring.open(tmp_path / "audit", **settings)
    assert not (tmp_path / "audit").exists()


def test_an_empty_path_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an unset variable gives it; whoever means the working directory says '.'."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(auditring.ConfigError, match="path: an empty path"):
        auditring.open("")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WhenFull.from_mapping({"wiat": 1}), "did you mean 'wait'"),
        (lambda: Rotation.from_mapping({"row": 1}), "did you mean 'rows'"),
        (lambda: Rotation(rows=0), "less than 1"),
        (lambda: Rotation(age=timedelta(0)), "0 would end"),
        (lambda: WhenFull(wait=-1), "no span of time"),
        (lambda: WhenFull.from_mapping({"then": "rise"}), "did you mean 'raise'"),
        (lambda: Keep.SAMPLE(one_in=0), "one_in"),
        (lambda: Durability.POWER(-1.0), "no span of time"),
        (lambda: Durability.POWER(None), "no span of time"),  # type: ignore[arg-type]  # as from a file
    ],
)
def test_a_value_that_exists_can_be_used(make: Any, message: str) -> None:  # noqa: ANN401 - any of the constructors
    """Every configuration value is checked when it is made, and a typing mistake is answered with a suggestion."""
    with pytest.raises(auditring.ConfigError, match=message):
        make()


def test_configuration_reads_as_it_is_written() -> None:
    """Values come from code and from mappings alike, and spans from seconds and timedeltas alike."""
    assert WhenFull.from_mapping({"wait": 2, "then": "raise"}) == WhenFull(wait=timedelta(seconds=2), then=Then.RAISE)
    assert Rotation(age=timedelta(minutes=5)) == Rotation(age=300.0)
    assert repr(Keep.SAMPLE(one_in=9)) == "Keep.SAMPLE(one_in=9)"
    assert repr(Keep.ALL) == "Keep.ALL"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("log.emit('com.example.Last')", 0),
        ("log.emit('com.example.Last')\nsys.exit(3)", 3),
        ("log.emit('com.example.Last')\nraise ValueError('top level')", 1),
        ("log.emit('com.example.Last')\nraise KeyboardInterrupt", 130),
        (
            """
            def work():
                log.emit('com.example.Last')
                sys.exit(5)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            """,
            0,
        ),
        (
            """
            def work():
                gate.wait()
                log.emit('com.example.Last')
            gate = threading.Event()
            threading.Thread(target=work).start()
            gate.set()
            """,
            0,
        ),
        ("log.emit('com.example.Last')\ndel log", 0),
    ],
    ids=["end", "sys.exit", "exception", "interrupt", "exit-in-thread", "thread-outlives-main", "forgotten"],
)
def test_an_exit_without_close_seals_everything(tmp_path: Path, body: str, code: int) -> None:
    """However the interpreter ends by itself, the file is sealed and the last row is the clean shutdown."""
    done = run_script(tmp_path, body)
    assert done.returncode in {code, -2 if code == 130 else code}, done.stderr
    actions = actions_of(rows_of(tmp_path))
    assert actions == ["ProxyStartup", "com.example.Last", "ProxyCleanShutdown"], done.stderr
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_forked_child_writes_under_its_own_name(tmp_path: Path) -> None:
    """The child opens a ring of its own on first use, cannot use its parent's sessions, and harms none of its files."""
    body = """
        session = log.session(id="parent")
        for i in range(200_000):
            session.read("orders", 0, i, i)
        child = os.fork()
        if child == 0:
            try:
                session.read("orders", 0)
            except auditring.SessionClosed:
                log.emit("com.example.Refused")
            with log.session(id="child") as mine:
                mine.read("invoices", 1)
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        session.read("orders", 0, 200_000, 200_000)
        session.close()
        log.close()
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    done = run_script(tmp_path, body)
    assert (done.returncode, done.stderr) == (0, "")
    by_process: dict[str, list[str]] = {}
    for row in rows_of(tmp_path, "action"):
        by_process.setdefault(row["process"], []).append(row["action"])
    child, parent = sorted(by_process.values(), key=len)
    assert child == [
        "ProxyStartup",
        "com.example.Refused",
        "ClientAccept",
        "Read",
        "ClientClose",
        "ProxyCleanShutdown",
    ]
    assert parent.count("Read") == 200_001
    assert parent[-1] == "ProxyCleanShutdown"
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_child_that_never_uses_the_log_leaves_no_trace(tmp_path: Path) -> None:
    """A forked child that only exits neither writes nor removes anything."""
    body = """
        log.emit("com.example.Before")
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        log.emit("com.example.After")
    """
    done = run_script(tmp_path, body)
    assert (done.returncode, done.stderr) == (0, "")
    expected = ["ProxyStartup", "com.example.Before", "com.example.After", "ProxyCleanShutdown"]
    assert actions_of(rows_of(tmp_path)) == expected


def _work(log: auditring.AuditLog) -> None:
    log.emit("com.example.Worker")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_multiprocessing_worker_seals_its_file(tmp_path: Path) -> None:
    """A worker that ends without close is sealed, although `multiprocessing` runs no exit handlers."""
    with auditring.open(tmp_path) as log:
        worker = multiprocessing.get_context("fork").Process(target=_work, args=(log,))
        worker.start()
        worker.join(60)
        assert worker.exitcode == 0
    rows = rows_of(tmp_path)
    assert len({row["process"] for row in rows}) == 2
    assert actions_of(rows).count("ProxyCleanShutdown") == 2


def test_a_start_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    """A sink that cannot be opened is an error of `open`, and nothing goes on behind it."""
    (tmp_path / "jsonl").write_text("in the way")
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="jsonl"):
        auditring.open(tmp_path, sinks=(JsonlSink(),), probe=False)
    assert set(threading.enumerate()) <= before

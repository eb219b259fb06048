"""Faults that were found by attack, each with a test of its name."""

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import auditring
import deadlines
from auditring import Then, WhenFull, _core
from auditring.sinks import Batching, JsonlSink, ParquetSink, RowBatch
from tools import tool

DEADLINE = 30.0
wait_for = partial(deadlines.until, seconds=DEADLINE)
"""Waits for a condition, as long as these tests may."""


def lines(root: Path) -> list[dict[str, Any]]:
    """All JSON lines, by seq."""
    rows = [json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_text().splitlines()]
    return sorted(rows, key=lambda row: row["seq"])


class Dead(JsonlSink):
    """A sink that never works."""

    def write(self, batch: RowBatch) -> int:
        """Fails."""
        raise OSError(5, f"dead at {batch.first_seq}")


def full_log(root: Path, ring: Path, when_full: WhenFull) -> auditring.AuditLog:
    """A log whose journal is at its budget and whose ring is full, because its only sink is dead."""
    return auditring.open(
        root, sinks=[Dead()], ring_dir=ring, ring_bytes=1 << 20, journal_bytes=1 << 20, when_full=when_full
    )


def deny(session: auditring.Session) -> None:
    """Emits protected events until one is refused."""
    for _ in range(10_000_000):
        session.operation_denied("WRITE", "Topic", "salaries")


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[tuple[auditring.AuditLog, auditring.Session]]:
    """Such a log that raises, and an open session of it."""
    log = full_log(tmp_path / "audit", tmp_path, WhenFull(wait=0.01, then=Then.RAISE))
    session = log.session(id="victim", authority="decision")
    with pytest.raises(auditring.AuditUnavailable):
        deny(session)
    # The first refusal may be a slow pump's: only at its budget does it make no room any more.
    wait_for(lambda: any(problem.component == "journal" for problem in log.health().problems))
    with pytest.raises(auditring.AuditUnavailable):
        deny(session)
    yield log, session
    with pytest.raises(auditring.CloseIncomplete):
        log.close(0.1)


def test_a_budget_smaller_than_a_segment_frees_itself(tmp_path: Path) -> None:
    """The segment being written ends at the budget, so that it can go: nothing is dropped while the sink keeps up."""
    log = auditring.open(tmp_path, sinks=[JsonlSink()], journal_bytes=1 << 20, when_full=WhenFull(wait=DEADLINE))
    with log.session() as session:
        for i in range(60_000):
            session.read("orders", 0, i, i)
    log.close(DEADLINE)
    stats = log.stats()
    assert (stats.dropped, stats.sinks["jsonl"].delivered) == (0, stats.journaled)


def test_a_refused_authentication_is_not_in_force(flooded: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """A principal whose row was refused is in no later row."""
    _, session = flooded
    with pytest.raises(auditring.AuditUnavailable):
        session.client_sasl_auth_success("mallory")


def test_close_ends_although_the_ring_is_full(flooded: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """A log that cannot take the last events of its sessions is closed all the same, and says what is missing."""
    log, session = flooded
    with pytest.raises(auditring.CloseIncomplete):
        log.close(0.5)
    with pytest.raises(auditring.LogClosed):
        session.read("orders", 0)


def test_close_ends_although_callers_wait_for_ever(tmp_path: Path) -> None:
    """With `wait=None` and no room a close neither hangs nor leaves a caller behind."""
    log = full_log(tmp_path / "audit", tmp_path, WhenFull(wait=None))
    session = log.session(id="s")
    ended = threading.Event()

    def flood() -> None:
        with pytest.raises(auditring.LogClosed):
            deny(session)
        ended.set()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    wait_for(lambda: log.pressure > 0.99)
    with pytest.raises(auditring.CloseIncomplete):
        log.close(1.0)
    assert ended.wait(DEADLINE)


def test_a_session_that_closes_during_an_update_stays_closed(tmp_path: Path) -> None:
    """What a mapping's own code does while it is read cannot bring a closed session back."""
    log = auditring.open(tmp_path, sinks=[JsonlSink()], balance=None)
    session = log.session(id="s", authority="decision")

    class Closing(dict[str, str]):
        def items(self) -> Any:  # noqa: ANN401 - the type of dict's own
            session.close()
            return super().items()

    with pytest.raises(auditring.SessionClosed):
        session.update(context=Closing(a="b"))
    with pytest.raises(auditring.SessionClosed):
        session.read("orders", 0)
    log.close(DEADLINE)
    assert [row["action"] for row in lines(tmp_path)] == [
        "ProxyStartup",
        "ClientAccept",
        "ClientClose",
        "ProxyCleanShutdown",
    ]


def test_a_deleted_ring_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    """A ring file that somebody cleans away gets a successor; seqs go on, and a row tells."""
    log = auditring.open(tmp_path / "audit", sinks=[JsonlSink()], ring_dir=tmp_path)
    session = log.session(id="s")
    (ring,) = tmp_path.glob("*.ring")
    session.read("orders", 0, 0, 0)
    ring.unlink()
    emitted = 1

    def replaced() -> bool:
        nonlocal emitted
        session.read("orders", 0, emitted, emitted)
        emitted += 1
        return ring.exists()

    wait_for(replaced)
    session.read("orders", 0, emitted, emitted)
    log.close(DEADLINE)
    rows = lines(tmp_path / "audit")
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    reads = [row["offsets"]["first"] for row in rows if row["action"] == "Read"]
    assert reads == list(range(emitted + 1))
    assert "auditring.RingReplaced" in {row["action"] for row in rows}
    assert log.stats().balanced


def test_a_log_without_sinks_leaves_no_ring(tmp_path: Path) -> None:
    """Its journal stays for readers; the ring, which is empty, does not."""
    log = auditring.open(tmp_path / "audit", sinks=[], ring_dir=tmp_path)
    log.close(DEADLINE)
    assert not list(tmp_path.glob("*.ring"))
    assert list((tmp_path / "audit" / "journal").glob("*/*.journal"))


FORKING = """
import os, signal, sys
import auditring
from auditring.sinks import JsonlSink

log = auditring.open(sys.argv[1], sinks=[JsonlSink()])
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
signal.pause()
"""

PROBE = """
import fcntl, glob, os, struct, sys

for path in glob.glob(sys.argv[1] + "/journal/*/*lock"):
    file = os.open(path, os.O_RDWR)
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="open-file-description locks are Linux's")
def test_a_forked_child_holds_no_lock_for_a_dead_parent(tmp_path: Path) -> None:
    """After `kill -9` of the parent both of its locks are free although a child of it lives."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        parent.wait(DEADLINE)
        subprocess.run([sys.executable, "-c", PROBE, str(tmp_path)], check=True, timeout=DEADLINE)
    assert list((tmp_path / "journal").iterdir())


def test_numbers_of_any_size_are_kept_as_text(tmp_path: Path) -> None:
    """A number that Python itself will not write out does not raise."""
    log = auditring.open(tmp_path, sinks=[JsonlSink()])
    log.emit("com.example.Huge", context={"large": 1 << 70, "absurd": 10**5000})
    log.close(DEADLINE)
    (row,) = [row for row in lines(tmp_path) if row["action"] == "com.example.Huge"]
    assert row["context"] == {"large": str(1 << 70), "absurd": "a number of 16610 bits"}


FAILING_DISK = """
import sys, time
import auditring

log = auditring.open(sys.argv[1], segment_age=0.2, sinks=[])
session = log.session(id="s")
deadline = time.monotonic() + 20
emitted, troubles = 0, 0
while time.monotonic() < deadline and not (troubles and log.health().ok):
    session.read("orders", 0, emitted, emitted)
    emitted += 1
    troubles += not log.health().ok
    time.sleep(0.005)
journaled = log.stats().next_seq
log.sync(20)
print(emitted, troubles, log.stats().durable_seq >= journaled, log.health().ok, log.stats().lost)
"""


def test_a_segment_whose_fdatasync_failed_is_written_again(tmp_path: Path) -> None:
    """The error is seen in `health()`; then the segment lies elsewhere, `sync` keeps its promise, no row is lost."""
    command = [tool("strace"), "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync,rename"]
    command += ["-e", "inject=fdatasync:error=EIO:when=1", sys.executable, "-c", FAILING_DISK, str(tmp_path / "audit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * DEADLINE)
    assert done.returncode == 0, done.stderr
    emitted, troubles, durable, ok, lost = done.stdout.split(maxsplit=4)
    assert (int(troubles) > 0, durable, ok, lost.strip()) == (True, "True", "True", "{}")
    trace = (tmp_path / "trace").read_text()
    assert "fdatasync" in trace
    assert "(INJECTED)" in trace
    assert ".journal.tmp" in trace
    assert int(emitted) > 0


class Slow(ParquetSink):
    """A table sink that lags behind: the next batch is always gathered before this one is written."""

    batching = Batching(rows=20_000, partial=False, tables=True)

    def write(self, batch: RowBatch) -> int:
        """Takes its time, as a disk does."""
        time.sleep(0.02)
        return super().write(batch)


def test_a_table_sink_that_lags_goes_on_when_the_journal_fills_up(tmp_path: Path) -> None:
    """At half of the budget checkpoints end early, also right behind a batch: nothing is gathered for ever."""
    full = WhenFull(wait=None)
    with auditring.open(
        tmp_path / "audit", sinks=[Slow()], journal_bytes=16 << 20, when_full=full, balance=None
    ) as log:
        with log.session(id="s") as session:
            for n in range(400_000):
                session.read("orders", n % 3, n, n)
        log.flush(DEADLINE)
        sink = log.stats().sinks["parquet"]
        assert (sink.pending, sink.delivered) == (0, 400_003)
    rows = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "audit").glob("events/*/*.parquet"))
    assert rows == 400_004


FORKING_LINES = """
import os, sys, threading, time
import auditring
from auditring import WhenFull
from auditring.sinks import JsonlSink

log = auditring.open(sys.argv[1], sinks=[JsonlSink()], when_full=WhenFull(wait=None))
session = log.session(id="s")
stop = threading.Event()

def emit():
    n = 0
    while not stop.is_set():
        session.read("orders", 0, n, n)
        n += 1

thread = threading.Thread(target=emit)
thread.start()
while not log.stats().sinks["jsonl"].delivered:
    time.sleep(0.001)
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 20
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            stop.set()
            sys.exit("a child hangs in its handler")
        time.sleep(0.001)
stop.set()
thread.join()
session.close()
log.close()
print(log.stats().balanced)
"""


def test_a_fork_while_lines_are_written_hangs_no_child(tmp_path: Path) -> None:
    """The sink's thread holds its file at that moment, and does not exist in the child to let go of it."""
    command = [sys.executable, "-c", FORKING_LINES, str(tmp_path / "audit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=4 * DEADLINE)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_what_the_slow_path_let_go_of_is_freed_at_once(tmp_path: Path) -> None:
    """Exceptions, arguments, results and a declared event's names do not wait in a pool for a call that empties it."""

    class Tracked(str):
        """A string that can be watched: no plain one, so every call with it is slow."""

        __slots__ = ("__weakref__",)

    with auditring.open(tmp_path, sinks=()) as log, log.session(authority="witness") as session:
        gone = []
        for _ in range(3):
            value, bad = Tracked("orders"), Tracked("twice")
            gone += [weakref.ref(value), weakref.ref(bad)]
            session.read(value, 0)
            session.update(context={"detail": value})
            with pytest.raises(TypeError):
                session.read(bad, 0, topic=bad)  # type: ignore[misc]
            del value, bad
        assert [ref() for ref in gone] == [None] * 6
        name = "field_" + "x" * 20
        # By its count: an interned name has no weak reference.
        name = sys.intern(name)
        before = sys.getrefcount(name)
        for number in range(50):
            log.declare(f"com.example.Thing{number}", context=(name,))
        assert sys.getrefcount(name) == before


LONG, LONE = "x" * 9000, "lone\ud800"


def marks(row: dict[str, Any]) -> set[str]:
    """What a row says was done to its values."""
    return {
        key.removeprefix("auditring.")
        for key in row.get("context", {})
        if key in {"auditring.cut", "auditring.altered"}
    }


def test_whatever_is_cut_or_altered_says_so(tmp_path: Path) -> None:
    """Wherever a value comes in: a close, names, a cause, addresses, keys, a principal. Nothing else does."""
    calls: dict[str, Callable[[auditring.AuditLog, Any, str], object]] = {
        "initiator": lambda log, _, text: log.session(id="it").close(initiator=text),
        "reason": lambda log, _, text: log.session(id="it").close(reason=text),
        "broker.initiator": lambda _, s, text: s.broker("b:1").close(initiator=text),
        "filter": lambda _, s, text: s.plugin(filter=text, namespace="com.example").emit("com.example.Seen"),
        "tap": lambda _, s, text: s.plugin(filter="f", namespace="com.example", tap=text).emit("com.example.Seen"),
        "log.filter": lambda log, _, text: log.plugin(filter=text, namespace="com.a").emit("com.a.Seen"),
        "cause": lambda log, _, text: log.emit("com.example.Seen", cause=text),
        "peer": lambda log, _, text: log.session(id="it", peer=text).close(),
        "peer.host": lambda log, _, text: log.session(id="it", peer=(text, 1)).close(),
        "local": lambda log, _, text: log.session(id="it", local=text).close(),
        "local.host": lambda log, _, text: log.session(id="it", local=(text, 1)).close(),
        "late local": lambda _, s, text: (s.update(local=text), s.emit("com.example.Seen")),
        "server": lambda _, s, text: s.broker(text).close(),
        "server.host": lambda _, s, text: s.broker((text, 1)).close(),
        "server_local": lambda _, s, text: s.broker("b:1", local=text).close(),
        "key": lambda _, s, text: s.emit("com.example.Seen", context={text: 1}),
        "value": lambda _, s, text: s.emit("com.example.Seen", context={"k": text}),
        "object_ref key": lambda _, s, text: s.emit("com.example.Seen", object_ref={text: "v"}),
        "object_ref value": lambda _, s, text: s.emit("com.example.Seen", object_ref={"k": text}),
        "list": lambda _, s, text: s.emit("com.example.Seen", context={"k": [text]}),
        "session key": lambda log, _, text: log.session(id="it", context={text: 1}).close(),
        "principal": lambda _, s, text: (s.client_sasl_auth_success(text), s.emit("com.example.Seen")),
    }
    told = {}
    for number, (name, call) in enumerate(calls.items()):
        for text, mark in ((LONG, "cut"), (LONE, "altered"), ("plain", None)):
            root = tmp_path / f"{number}-{mark}"
            with auditring.open(root, sinks=[JsonlSink()]) as log:
                session = log.session(id="it", authority="witness")
                call(log, session, text)
                session.close()
            rows = [row for row in lines(root) if row["action"] not in {"ProxyStartup", "ProxyCleanShutdown"}]
            found = set().union(*(marks(row) for row in rows))
            told[name, mark] = found
            assert found == ({mark} if mark else set()), (name, mark, found)
    assert len(told) == 3 * len(calls)


def test_a_server_has_the_room_that_the_catalog_gives_it(tmp_path: Path) -> None:
    """512 bytes, given as text or as a socket's pair."""
    host = "h" * 500
    with auditring.open(tmp_path, sinks=[JsonlSink(), ParquetSink()]) as log, log.session() as session:
        assert session.broker(f"{host}:9092").server == f"{host}:9092"
        assert session.broker((host, 9092)).server == f"{host}:9092"
        assert len(session.broker("h" * 600).server) == 512
    rows = [row for path in tmp_path.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    servers = [row["server"] for row in sorted(rows, key=lambda row: row["seq"]) if row["action"] == "BrokerConnect"]
    assert servers == [f"{host}:9092", f"{host}:9092", "h" * 512]


def test_the_least_ring_takes_the_greatest_event(tmp_path: Path) -> None:
    """Every cap used up, of session and event, fits into a record of the smallest ring that `open` allows."""
    text, details = "x" * 9000, {f"k{number}": "x" * 4000 for number in range(4)}
    with auditring.open(tmp_path, sinks=(), ring_bytes=1 << 20) as log:
        session = log.session(
            id=text, peer=text, local=text, virtual_cluster=text, client_id=text, tap=text, context=details
        )
        session.client_sasl_auth_success(text, mechanism=text, authority="witness")
        session.client_tls_auth_success(text, text, text, text, text, text, authority="witness", context=details)
        broker = session.broker(text, local=text, node_id=1)
        broker.write(
            text,
            0,
            0,
            1,
            api=text,
            transactional_id=text,
            reason=text,
            status=text,
            tap=text,
            context=details,
            object_ref=details,
        )
        assert log.stats().refused == 0
        assert log.stats().balanced


def test_an_event_that_no_ring_takes_is_counted_as_refused(tmp_path: Path) -> None:
    """Below the least ring, which `open` does not allow, an event that is too long raises and stands in the balance."""
    policy = auditring.Policy().journaled(seed=1)
    core = _core.Log(str(tmp_path), instance="i", host="h", policy=policy, sinks=[], ring_bytes=1 << 16)
    session = core.session()
    before = core.stats()
    with pytest.raises(ValueError, match="give the ring more"):
        session.read("t", 0, reason="x" * 4096, context={"k": "x" * 4096})
    after = core.stats()
    assert (after["offered"], after["refused"]) == (before["offered"] + 1, before["refused"] + 1)
    core.close()
    while not core.run_pump(0.1):
        pass
    core.finish()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_client_that_proves_itself_again_and_again_costs_no_memory() -> None:
    """A context that is no longer in force goes: of the session, its brokers and plugins; no ring is in the measure."""
    details = {"detail": "x" * 4000}
    with auditring.open(None) as log, log.session(authority="witness", context=details) as session:
        broker = session.broker("b:1")
        plugin = session.plugin(filter="f", namespace="com.example")

        def prove(times: int) -> None:
            for number in range(times):
                session.client_sasl_auth_success(f"user-{number}", mechanism="PLAIN")
                session.read("t", 0)
                broker.read("t", 0)
                plugin.emit("com.example.Seen")

        prove(1000)
        before = resident()
        prove(20_000)
        assert resident() - before < 8 << 20


class Unending(JsonlSink):
    """A sink that has everything and cannot end, as long as it is told so."""

    refuses = True

    def fresh(self) -> "Unending":
        """Itself, so that it can be told."""
        return self

    def close(self) -> None:
        """Fails."""
        if self.refuses:
            raise OSError(5, "not yet")
        super().close()


def test_a_log_whose_sink_could_not_end_is_ended_by_closing_it_again(tmp_path: Path) -> None:
    """Its cursor is past everything, and the journal stays all the same: the sink goes on from there."""
    sink = Unending()
    log = auditring.open(tmp_path, sinks=(sink,), balance=None)
    log.emit("com.example.Thing")
    with pytest.raises(auditring.CloseIncomplete, match="not yet"):
        log.close()
    assert len(list((tmp_path / "journal").iterdir())) == 1
    sink.refuses = False
    log.close()
    assert not list((tmp_path / "journal").iterdir())
    assert sum(line["action"] == "com.example.Thing" for line in lines(tmp_path)) == 1
    assert log.stats().balanced

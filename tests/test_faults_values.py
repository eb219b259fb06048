"""Faults of what a caller hands over, its values and their memory: found by attack, each with a test of its name."""

import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

import auditring
from auditring import _core
from auditring.sinks import JsonlSink, ParquetSink
from sealed_rows import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 30.0


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
    assert [row["action"] for row in lines_of(tmp_path)] == [
        "ProxyStartup",
        "ClientAccept",
        "ClientClose",
        "ProxyCleanShutdown",
    ]


def test_numbers_of_any_size_are_kept_as_text(tmp_path: Path) -> None:
    """A number that Python itself will not write out does not raise."""
    log = auditring.open(tmp_path, sinks=[JsonlSink()])
    log.emit("com.example.Huge", context={"large": 1 << 70, "absurd": 10**5000})
    log.close(DEADLINE)
    (row,) = [row for row in lines_of(tmp_path) if row["action"] == "com.example.Huge"]
    assert row["context"] == {"large": str(1 << 70), "absurd": "a number of 16610 bits"}


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
            rows = [row for row in lines_of(root) if row["action"] not in {"ProxyStartup", "ProxyCleanShutdown"}]
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

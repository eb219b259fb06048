"""Many threads, bad input, a full ring, and the clock: what holds when nobody is careful."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Keep, Then, WhenFull, _core
from auditring.sinks import JsonlSink, ParquetSink

MIB = 1 << 20
ACTIONS = _core.actions()
COMMON = ("outcome", "status", "reason", "authority", "tap", "object_ref", "context")


class Text(str):
    """A subclass of str that would run Python if anybody asked it for text."""

    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("a subclass of str was asked to convert itself")

    def encode(self, *_: object, **__: object) -> bytes:
        """Never called."""
        raise AssertionError("a subclass of str was asked to encode itself")


class Number(int):
    """A subclass of int that would run Python if anybody asked it for a number."""

    def __index__(self) -> int:
        raise AssertionError("a subclass of int was asked to convert itself")

    def __int__(self) -> int:
        raise AssertionError("a subclass of int was asked to convert itself")


WIRE: list[Any] = [
    "plain",
    "",
    "\x00",
    "a\x00b",
    "\ud800",
    "x\udfffy",
    "\U0010ffff",
    "é" * 3000,
    "x" * MIB,
    "\ud800" * 1000,
    Text("subclass"),
    b"bytes",
    b"\xff\xfe\x00",
]
"""Values that a wire can bring: none of them may raise."""

MISTAKES: list[Any] = [1.5, object(), ["list"], {"a": 1}, 2**63, -(2**63) - 1, 2**200, True, None, Text, (1, 2)]
"""Values of which some argument of every method makes a programmer's mistake."""


def rows_of(root: Path, *columns: str) -> list[dict[str, Any]]:
    """All rows of all sealed files, by seq; of many rows only some columns."""
    chosen = ["seq", "action", *columns] if columns else None
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path, columns=chosen).to_pylist()]
    return sorted(rows, key=lambda row: row["seq"])


def count_reads(root: Path) -> int:
    """How many rows of all sealed files are reads."""
    tables = (pq.read_table(path, columns=["action"]) for path in root.glob("events/*/*.parquet"))
    return sum(pc.sum(pc.equal(table["action"].cast(pa.string()), "Read")).as_py() or 0 for table in tables)


METHODS = {
    target: [getattr(auditring, target.capitalize()).__dict__[action["method"]] for action in ACTIONS if action[target]]
    for target in ("session", "broker", "authorizer")
}
"""Every method that is made from the catalog, by the handle that has it."""


@dataclass
class Victims:
    """One of each kind of handle, and a declared event."""

    log: auditring.AuditLog
    session: auditring.Session
    broker: auditring.Broker
    plugin: auditring.Plugin
    authorizer: auditring.Authorizer
    declared: auditring.DeclaredEvent


def throw(victims: Victims, dice: random.Random) -> None:
    """One call with bad input at one of the methods; mistakes raise TypeError or ValueError and nothing else."""
    log, session, plugin = victims.log, victims.session, victims.plugin
    declared: Any = victims.declared
    handles: Any = [session, victims.broker, plugin, victims.authorizer, log]
    bad: list[Any] = [dice.choice(WIRE + MISTAKES + [Number(7), 2**31, -1, 0]) for _ in range(6)]
    target = dice.choice(list(METHODS))
    method = dice.choice(METHODS[target])
    own = dice.choice([action["method"] for action in ACTIONS if action["log"]])
    common = {dice.choice(COMMON): bad[4], dice.choice(COMMON): bad[5]}
    calls: list[Callable[[], object]] = [
        lambda: method(getattr(victims, target), *bad[: dice.randint(0, 6)], **common),
        lambda: method(getattr(victims, target), *bad[: dice.randint(0, 6)]),
        lambda: getattr(log, own)(*bad[: dice.randint(0, 6)], **common),
        lambda: declared(dice.choice([*handles, bad[0]]), *bad[: dice.randint(0, 4)], **common),
        lambda: declared(session, alg=bad[0], **{"com.example.kek": bad[1]}),
        lambda: log.declare(bad[0], object_ref=bad[1], context=bad[2]),
        lambda: session.broker(bad[0], node_id=bad[1], local=bad[2], status=bad[3], reason=bad[4]).close(),
        lambda: session.broker("b:1").close(initiator=bad[0], status=bad[1], reason=bad[2]),
        lambda: dice.choice(handles[::4]).plugin(filter=bad[0], namespace=bad[1], tap=bad[2], authorizer=bad[3]),
        lambda: plugin.emit(bad[0], object_ref=bad[1]),
        lambda: plugin.emit("com.example.Thing", context={"k": bad[0]}, **common),
        lambda: log.emit("com.example.Thing", cause=bad[0], filter=bad[1]),
        lambda: session.read(*bad[: dice.randint(0, 6)]),
        lambda: session.write(bad[0], bad[1], bad[2], records=bad[4], status=bad[5]),
        lambda: session.operation_allowed(*bad[:3], outcome=bad[3]),
        lambda: session.operation_denied(*bad[:3], reason=bad[3], context=bad[4]),
        lambda: session.client_sasl_auth_failure(bad[0], mechanism=bad[1], authority=bad[2]),
        lambda: session.http_request(bad[0], bad[1], status_code=bad[2], request_id=bad[3]),
        lambda: session.emit(bad[0], object_ref=bad[1], context=bad[2]),
        lambda: session.emit("com.example.Thing", object_ref={bad[0]: bad[1]}, context={bad[2]: bad[3]}),
        lambda: session.update(client_id=bad[0], virtual_cluster=bad[1], context=bad[2]),
        lambda: log.session().close(initiator=bad[0], status=bad[1], reason=bad[2]),
        lambda: log.session(peer=bad[0], local=bad[1], context={"k": bad[2]}).close(),
        lambda: log.session(unknown=bad[0]),  # type: ignore[call-arg]
        lambda: log.emit(bad[0], status=bad[1], outcome=bad[2]),
    ]
    with contextlib.suppress(TypeError, ValueError):
        dice.choice(calls)()


def test_values_off_the_wire_never_raise(tmp_path: Path) -> None:
    """Surrogates, NUL, megabytes, bytes and subclasses of str are made safe, kept as far as possible, and marked."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log:
        for value in WIRE:
            session = log.session()
            session.read(value, 0, 1, 2, api=value, status=value, reason=value, tap=value)
            session.operation_denied(value, value, value)
            session.http_request(value, value, request_id=value)
            session.update(client_id=value, virtual_cluster=value)
            session.emit("com.example.Thing", resource=value, object_ref={"key": value}, context={"key": value})
            log.session(virtual_cluster=value, client_id=value).close()
    reads = [row for row in rows_of(tmp_path) if row["action"] == "Read"]
    assert len(reads) == len(WIRE)
    for value, row in zip(WIRE, reads, strict=True):
        altered = not isinstance(value, bytes) and any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in value)
        assert ("auditring.altered" in (row["context"] or "")) == (altered or value == b"\xff\xfe\x00"), value
        assert ("auditring.cut" in (row["context"] or "")) >= (len(value) > 4096)
        assert "\x00" not in row["resource"]
    assert reads[0]["resource"] == "plain"
    assert reads[10]["resource"] == "subclass"
    assert reads[11]["resource"] == "bytes"


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.read(1, 0),
        lambda s: s.read("t", "0"),
        lambda s: s.read("t", 2**31),
        lambda s: s.read("t", 0, 2**63),
        lambda s: s.read("t", 0, 1.0),
        lambda s: s.read("t", True),  # noqa: FBT003 - a bool is no number here, which is the point
        lambda s: s.read(),
        lambda s: s.read("t"),
        lambda s: s.read("t", 0, unknown=1),
        lambda s: s.read("t", 0, topic="t"),
        lambda s: s.read(*range(100)),
        lambda s: s.read("t", 0, outcome="maybe"),
        lambda s: s.read("t", 0, authority="hearsay"),
        lambda s: s.read("t", 0, context={"auditring.mine": 1}),
        lambda s: s.read("t", 0, context={"k": object()}),
        lambda s: s.read("t", 0, object_ref={"k": 1}),
        lambda s: s.emit("NotQualified"),
        lambda s: s.emit("com.example.lower"),
        lambda s: s.emit(7),
        lambda s: s.emit(),
        lambda s: s.client_sasl_auth_success("alice"),
        lambda s: s.update(peer="x"),
        lambda s: s.close(0),
        lambda s: s.close(whoever="client"),
    ],
)
def test_a_mistake_raises_before_anything_is_claimed(tmp_path: Path, call: Callable[[Any], object]) -> None:
    """A wrong type, an unknown name or a number out of range raises, and nothing was recorded or counted."""
    with auditring.open(tmp_path, sinks=()) as log, log.session() as session:
        log.flush(30)
        before = log.stats()
        with pytest.raises((TypeError, ValueError)):
            call(session)
        after = log.stats()
        assert (after.offered, after.claimed, after.accepted) == (before.offered, before.claimed, before.accepted)
        assert not session.closed


def test_eight_threads_and_two_loops_with_bad_input_lose_nothing(  # noqa: C901, PLR0915 - one story, told in order
    tmp_path: Path,
) -> None:
    """Right rows come through in order within each session, while the whole API is pelted; nothing is lost or torn."""
    each = 3000
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            dice = random.Random(number)  # noqa: S311 - a seed that can be repeated, no secret
            with (
                log.session(id=f"good-{number}") as good,
                good.broker("10.0.0.5:9092", node_id=number) as broker,
                log.session(id=f"bad-{number}", authority="witness") as bad,
            ):
                victims = Victims(
                    log,
                    bad,
                    bad.broker("bad:1"),
                    bad.plugin(filter="com.example.F", namespace="com.example"),
                    bad.plugin(filter="com.example.A", namespace="com.example", authorizer=True),
                    event,
                )
                for i in range(each):
                    good.read("orders", number, i, i, i)
                    broker.write("orders", number, i, i, i)
                    event(broker, f"kek-{number}", str(i))
                    if i % 5 == 0:
                        throw(victims, dice)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    async def loop(number: int) -> None:
        async def client(part: int) -> None:
            async with log.session(id=f"loop-{number}-{part}") as session, session.broker(f"b-{part}:1") as broker:
                for i in range(each // 10):
                    broker.write("orders", part, i, i)
                    event(session, "kek", str(i))
                    if i % 50 == 0:
                        await asyncio.sleep(0)

        await asyncio.gather(*(client(part) for part in range(10)))

    when_full = WhenFull(wait=None)
    sinks = (ParquetSink(), JsonlSink())
    with auditring.open(tmp_path, sinks=sinks, when_full=when_full, ring_bytes=4 << 20, request=Keep.ALL) as log:
        event = log.declare("com.example.kms.KeyUsed", object_ref=("com.example.kek",), context=("alg",))
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        threads += [threading.Thread(target=lambda n=n: asyncio.run(loop(n))) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        log.flush(60)
        stats = log.stats()
    assert errors == []
    assert stats.balanced
    assert (stats.torn, stats.dropped, stats.refused, dict(stats.lost)) == (0, 0, 0, {})
    rows = rows_of(tmp_path, "session", "first_offset", "partition", "age_ns", "node_id", "server", "context")
    assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + len(rows)))
    for number in range(8):
        mine = [row for row in rows if row["session"] == f"good-{number}" and row["action"] == "Read"]
        assert [row["first_offset"] for row in mine] == list(range(each))
        assert {row["partition"] for row in mine} == {number}
        ages = [row["age_ns"] for row in mine]
        assert ages == sorted(ages)
        written = [row for row in rows if row["session"] == f"good-{number}" and row["action"] == "Write"]
        assert [(row["first_offset"], row["node_id"]) for row in written] == [(i, number) for i in range(each)]
        used = [row for row in rows if row["session"] == f"good-{number}" and row["action"].endswith("KeyUsed")]
        assert [json.loads(row["context"])["alg"] for row in used] == [str(i) for i in range(each)]
    for number in range(2):
        for part in range(10):
            mine = [row for row in rows if row["session"] == f"loop-{number}-{part}" and row["action"] == "Write"]
            assert [row["first_offset"] for row in mine] == list(range(each // 10))
            assert {row["server"] for row in mine} == {f"b-{part}:1"}
    lines = sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("jsonl/*.jsonl"))
    assert lines == len(rows)


def flood(log: auditring.AuditLog, until: Callable[[], bool], session_id: str = "flood") -> int:
    """Emits reads as fast as it can until the condition holds; returns how many."""
    emitted = 0
    with log.session(id=session_id) as session:
        while not until():
            for _ in range(20_000):
                session.read("orders", 0, emitted, emitted, api="x" * 100)
                emitted += 1
            assert emitted < 100_000_000
    return emitted


def test_a_full_ring_drops_exactly_what_it_counts(tmp_path: Path) -> None:
    """With Then.DROP and no wait every event is a row or counted as dropped, and a row names how many."""
    full = WhenFull(wait=0, then=Then.DROP)
    with auditring.open(tmp_path, ring_bytes=MIB, when_full=full) as log:
        emitted = flood(log, lambda: log.stats().dropped > 0)
        assert not log.health().ok
        log.flush(60)
        stats = log.stats()
        assert stats.balanced
    assert count_reads(tmp_path) + stats.dropped == emitted
    lost = [row["lost"] for row in rows_of(tmp_path, "lost") if row["action"] == "auditring.EventsLost"]
    assert sum(lost) == stats.dropped


def test_a_full_ring_raises_where_it_is_told_to(tmp_path: Path) -> None:
    """With Then.RAISE each refusal is an AuditUnavailable and counted, and all others are rows."""
    full = {"droppable": WhenFull(wait=0, then=Then.RAISE)}
    refused = emitted = 0
    with auditring.open(tmp_path, ring_bytes=MIB, when_full=full) as log:
        with log.session() as session:
            while not refused:
                for _ in range(20_000):
                    try:
                        session.read("orders", 0, emitted, emitted, api="x" * 100)
                    except auditring.AuditUnavailable:
                        refused += 1
                    emitted += 1
                assert emitted < 100_000_000
        log.flush(60)
        assert log.stats().refused == refused
        assert log.stats().balanced
    assert count_reads(tmp_path) == emitted - refused


def test_a_producer_that_waits_for_room_lets_go_of_the_gil(tmp_path: Path) -> None:
    """With wait=None a flood into a small ring loses nothing, and another thread gets on all the while."""
    steps = 0
    done = threading.Event()

    def other() -> None:
        nonlocal steps
        while not done.is_set():
            steps += 1
            time.sleep(0.001)

    thread = threading.Thread(target=other)
    with auditring.open(tmp_path, ring_bytes=MIB, when_full=WhenFull(wait=None)) as log:
        thread.start()
        emitted = flood(log, lambda: log.stats().waits > 100 and steps > 10)
        done.set()
        thread.join(30)
        log.flush(60)
        stats = log.stats()
        assert stats.balanced
        assert (stats.dropped, stats.refused) == (0, 0)
        assert stats.blocked_ns > 0
    assert steps > 10
    assert count_reads(tmp_path) == emitted


def test_an_asyncio_host_can_wait_for_room_instead(tmp_path: Path) -> None:
    """`ready` returns once the ring has room, and says no in time when it has none."""

    async def host() -> None:
        with auditring.open(tmp_path) as log:
            assert 0.0 <= log.pressure <= 1.0
            assert await log.ready()
            assert not await log.ready(below=0.0, timeout=0.05)

    asyncio.run(host())


CLOCK_SCRIPT = """
import sys, time, auditring
with auditring.open(sys.argv[1]) as log:
    print(log._live().core.clock)
    with log.session() as session:
        for i in range(2000):
            before = time.clock_gettime_ns(time.CLOCK_REALTIME)
            session.read("t", 0, before, i)
            after = time.clock_gettime_ns(time.CLOCK_REALTIME)
            session.write("t", 0, after, i)
            if i % 100 == 0:
                time.sleep(0.005)
"""


@pytest.mark.parametrize("clock", ["detected", "monotonic"])
def test_the_time_of_a_row_is_the_wall_clock_around_the_call(tmp_path: Path, clock: str) -> None:
    """Derived time lies within 1 µs of CLOCK_REALTIME around the call, on the TSC and on the fallback."""
    env = {**os.environ, "AUDITRING_CLOCK": clock} if clock == "monotonic" else {**os.environ}
    done = subprocess.run(
        [sys.executable, "-c", CLOCK_SCRIPT, str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    used = done.stdout.strip()
    assert used == "monotonic" or clock != "monotonic"
    rows = rows_of(tmp_path)
    reads = [row for row in rows if row["action"] == "Read"]
    writes = [row for row in rows if row["action"] == "Write"]
    assert len(reads) == len(writes) == 2000
    late = []
    for read, write in zip(reads, writes, strict=True):
        before, after = read["first_offset"], write["first_offset"]
        assert read["last_offset"] == write["last_offset"]
        off = max(before - read["time_ns"], read["time_ns"] - after, 0)
        late.append(off)
    assert max(late) <= 1000, f"{used}: {sorted(late)[-5:]} ns beside the call"
    startup = rows[0]
    for row in rows:
        drift = (row["time_ns"] - startup["time_ns"]) - row["age_ns"]
        assert abs(drift) <= 1000 + abs(row["age_ns"]) // 1000
        assert row["time"].timestamp() == pytest.approx(row["time_ns"] / 1e9, abs=2e-6)

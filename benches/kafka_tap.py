"""What a tap costs the thread that shows it Kafka's bytes: per byte, per event, per request and per call.

Beside it, what a proxy does with the same bytes anyhow (handing them on), and what one would do without a tap: decoding
the same frames in Python.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import TYPE_CHECKING, Any

import auditring
import kafka_frames as frames
from auditring import Keep
from auditring.kafka import Tap
from kafka_peers import handed_on, of_fetch, of_produce
from logs import PATIENT, authenticated, drained, opened, rows
from tables import Report, Target, table
from timing import Samples, Spread, Subject, interleave

if TYPE_CHECKING:
    from auditring import AuditLog

KIB: int = 1 << 10
LARGE: int = 100 * KIB
"""Of a batch that is full."""
CHUNK: int = 64 * KIB
"""What a socket gives at a time, at most."""
MANY: int = 500
"""Partitions of one answer that brings a little of each."""
DEEP: int = 20
"""Requests in one chunk, where a client does not wait for answers."""

FETCH_WHOLE = "Fetch, whole"
FETCH_CHUNKS = "Fetch, in chunks of 64 KiB"
PRODUCE_WHOLE = "Produce, whole"
PRODUCE_CHUNKS = "Produce, in chunks of 64 KiB"
FORWARD_CHUNKS = "a function that hands them on, in chunks of 64 KiB"
KIO_LARGE = "decoding the Fetch with kio"
KAFKA_PYTHON_LARGE = "decoding the Fetch with kafka-python"

READS = "Read, into the ring"
READS_NOWHERE = "Read, into `open(None)`"
READS_OFF = "Read, turned off (`Keep.OFF`)"
WRITES = "Write, into the ring"
KIO_MANY = "decoding with kio"
KAFKA_PYTHON_MANY = "decoding with kafka-python"

SMALL_PRODUCE = "Produce of one record, request and answer: a Write"
SMALL_DEEP = f"… {DEEP} requests in a chunk, {DEEP} answers in another"
SMALL_FETCH = "Fetch of one record, request and answer: a Read"
SMALL_NOWHERE = "the same Produce, into `open(None)`"
SMALL_EMPTY = "Fetch of nothing, request and answer: no event"
SMALL_FORWARD = "handing both on by a Python function"
KIO_SMALL = "decoding the Produce request with kio"
KAFKA_PYTHON_SMALL = "decoding the Produce request with kafka-python"

EMPTY_CALL = "nothing, `b''`"
RECORDS_CALL = "4 KiB of records"
FORWARD_CALL = "4 KiB to a Python function that hands them on"

SHOW = "ask(q)\nfor c in cs:\n    answer(c)"
"""A small request, and the pieces of its answer."""
SEND = "for c in cs:\n    ask(c)\nanswer(a)"
"""The pieces of a request, and its small answer."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A log, a tap of a client's connection to a broker, and the rows that it will have."""

    log: AuditLog
    tap: Tap

    @property
    def calls(self) -> dict[str, Any]:
        """What a proxy calls with what the client asks, and with what the broker answers."""
        return {"ask": self.tap.from_client, "answer": self.tap.from_broker}

    def drained(self) -> None:
        """Waits until the ring is empty, and makes sure that the tap still reads."""
        drained(self.log)
        assert not self.tap.opaque
        assert self.tap.in_flight == 0


def watched(stack: ExitStack, log: AuditLog) -> Watched:
    """A tap that has seen, as on every connection, what topics are called."""
    session = stack.enter_context(authenticated(log))
    broker = session.broker("10.0.0.5:9092", node_id=5, local="10.0.0.9:40112")
    tap = stack.enter_context(Tap(broker, name="client"))
    for show, data in zip((tap.from_client, tap.from_broker), frames.named(), strict=True):
        show(data)
    return Watched(log, tap)


def exchange(tap: Tap, request: bytes, answer: bytes, size: int) -> None:
    """Shows both in pieces."""
    for show, data in (tap.from_client, request), (tap.from_broker, answer):
        for chunk in frames.chunks(data, size):
            show(chunk)


def check() -> None:
    """Asserts that what is timed makes the rows that it should, in chunks as in one piece, and that the peers agree."""
    large, small = frames.batch(100, LARGE), frames.batch(1, 100)
    with TemporaryDirectory() as folder:
        with auditring.open(folder, when_full=PATIENT) as log, ExitStack() as stack:
            one = watched(stack, log)
            for size in (1 << 30, CHUNK, 4 * KIB):
                exchange(one.tap, frames.fetch(), frames.fetched(1, large), size)
                exchange(one.tap, frames.produce(1, large), frames.produced(1), size)
                exchange(one.tap, frames.fetch(), frames.fetched(MANY, small), size)
                exchange(one.tap, frames.produce(MANY, small), frames.produced(MANY), size)
                exchange(one.tap, frames.fetch(), frames.fetched(0, b""), size)
            one.drained()
        columns = "resource, partition, first_offset, last_offset, records, bytes"
        first, one_of_many = frames.OFFSET, [("orders", at, 1000, 1000, 1, 100) for at in range(MANY)]
        expected = sorted([("orders", 0, first, first + 99, 100, LARGE), *one_of_many] * 3)
        for action in "Read", "Write":
            assert sorted(rows(Path(folder), columns, f"action = '{action}'")) == expected, action
    for decode in of_fetch():
        decoded = decode(frames.fetched(MANY, small))
        (topic,) = decoded.responses
        assert [bytes(part.records) for part in topic.partitions] == [small] * MANY
    for decode in of_produce():
        (topic,) = decode(frames.produce(1, small)).topic_data
        assert bytes(topic.partition_data[0].records) == small


def large(one: Watched, calls: int) -> list[Subject]:
    """Batches of 100 KiB, one a message: time by the byte."""
    full = frames.batch(100, LARGE)
    fetched, produce = frames.fetched(1, full), frames.produce(1, full)
    show, send = {**one.calls, "q": frames.fetch()}, {**one.calls, "a": frames.produced(1)}
    forward = dict.fromkeys(("ask", "answer"), handed_on())
    decoders = of_fetch()

    def subject(name: str, statement: str, values: dict[str, Any], data: bytes) -> Subject:
        return Subject(name, statement, values, calls, each=len(data), after=one.drained)

    return [
        subject(FETCH_WHOLE, SHOW, {**show, "cs": [fetched]}, fetched),
        subject(FETCH_CHUNKS, SHOW, {**show, "cs": frames.chunks(fetched, CHUNK)}, fetched),
        subject(PRODUCE_WHOLE, SEND, {**send, "cs": [produce]}, produce),
        subject(PRODUCE_CHUNKS, SEND, {**send, "cs": frames.chunks(produce, CHUNK)}, produce),
        subject(FORWARD_CHUNKS, SHOW, {**show, **forward, "cs": frames.chunks(fetched, CHUNK)}, fetched),
        subject(KIO_LARGE, "decode(data)", {"decode": decoders[0], "data": fetched}, fetched),
        subject(KAFKA_PYTHON_LARGE, "decode(data)", {"decode": decoders[1], "data": fetched}, fetched),
    ]


def many(ring: Watched, nowhere: Watched, off: Watched, calls: int) -> list[Subject]:
    """A little of each of many partitions: time by the partition."""
    little = frames.batch(1, 100)
    fetched, produce = frames.fetched(MANY, little), frames.produce(MANY, little)
    show = {"q": frames.fetch(), "cs": [fetched]}
    found = [
        Subject(name, SHOW, {**one.calls, **show}, calls, each=MANY, after=one.drained)
        for name, one in ((READS, ring), (READS_NOWHERE, nowhere), (READS_OFF, off))
    ]
    send = {**ring.calls, "a": frames.produced(MANY), "cs": [produce]}
    found.append(Subject(WRITES, SEND, send, calls, each=MANY, after=ring.drained))
    for name, decode in zip((KIO_MANY, KAFKA_PYTHON_MANY), of_fetch(), strict=True):
        values = {"decode": decode, "data": fetched}
        found.append(Subject(name, "decode(data)", values, max(1, calls // 10), each=MANY))
    return found


def small(ring: Watched, nowhere: Watched, calls: int) -> list[Subject]:
    """One record a request: time by the request, its answer included."""
    little = frames.batch(1, 100)
    both = "ask(q)\nanswer(a)"
    write = {"q": frames.produce(1, little), "a": frames.produced(1)}
    deep = {name: data * DEEP for name, data in write.items()}
    read = {"q": frames.fetch(), "a": frames.fetched(1, little)}
    empty = {"q": frames.fetch(), "a": frames.fetched(0, b"")}
    forward = dict.fromkeys(("ask", "answer"), handed_on())
    return [
        Subject(SMALL_PRODUCE, both, {**ring.calls, **write}, calls, after=ring.drained),
        Subject(SMALL_DEEP, both, {**ring.calls, **deep}, max(1, calls // DEEP), each=DEEP, after=ring.drained),
        Subject(SMALL_FETCH, both, {**ring.calls, **read}, calls, after=ring.drained),
        Subject(SMALL_NOWHERE, both, {**nowhere.calls, **write}, calls, after=nowhere.drained),
        Subject(SMALL_EMPTY, both, {**ring.calls, **empty}, calls, after=ring.drained),
        Subject(SMALL_FORWARD, both, {**forward, **write}, calls),
        *(
            Subject(name, "decode(data)", {"decode": decode, "data": write["q"]}, max(1, calls // 10))
            for name, decode in zip((KIO_SMALL, KAFKA_PYTHON_SMALL), of_produce(), strict=True)
        ),
    ]


def bare(one: Watched, calls: int) -> list[Subject]:
    """Calls in the middle of records, and with nothing: time by the call."""
    pieces = frames.chunks(frames.fetched(1, frames.batch(100, KIB * KIB)), 4 * KIB)
    values = {**one.calls, "q": frames.fetch(), "cs": pieces}
    forward = dict.fromkeys(("ask", "answer"), handed_on())
    times, each = max(1, calls // len(pieces)), len(pieces)
    return [
        Subject(EMPTY_CALL, "answer(q)", {**one.calls, "q": b""}, calls, after=one.drained),
        Subject(RECORDS_CALL, SHOW, values, times, each=each, after=one.drained),
        Subject(FORWARD_CALL, SHOW, {**values, **forward}, times, each=each),
    ]


def measure(*, rounds: int, calls: int) -> Samples:
    """Checks, times, and checks that every event was taken and none was lost."""
    check()
    with ExitStack() as stack:
        log, off = stack.enter_context(opened()), stack.enter_context(opened(read=Keep.OFF))
        nowhere = stack.enter_context(auditring.open(None))
        ring, silent, refused = (watched(stack, one) for one in (log, nowhere, off))
        before = log.stats().accepted
        subjects = [
            *large(ring, max(1, calls // 20)),
            *many(ring, silent, refused, max(1, calls // MANY)),
            *small(ring, silent, calls),
            *bare(ring, calls),
        ]
        samples = interleave(subjects, rounds, thread_time)
        executed = {one.name: rounds * one.calls + min(one.calls, 1_000) for one in subjects}
        each = {READS: MANY, WRITES: MANY, SMALL_DEEP: DEEP, EMPTY_CALL: 0, SMALL_EMPTY: 0}
        of_ring = {one.name for one in subjects if one.values.get("answer") == ring.tap.from_broker}
        stats = log.stats()
        assert stats.accepted - before == sum(executed[name] * each.get(name, 1) for name in of_ring)
        assert off.stats().off >= executed[READS_OFF] * MANY
        assert stats.balanced, stats
        assert stats.dropped == stats.refused == 0, stats
    return samples


def rate(samples: Samples, name: str) -> Spread:
    """Bytes a nanosecond, which are GB a second."""
    took = samples.spread(name)
    return Spread(1 / took.median, 1 / took.high, 1 / took.low)


def report(*, quick: bool = False) -> Report:
    """The four tables."""
    samples = measure(rounds=10 if quick else 60, calls=2_000 if quick else 8_000)

    def lines(unit: float, digits: int, *names: str) -> list[tuple[str, str, str]]:
        first = names[0]
        scaled = [(name, samples.spread(name)) for name in names]
        return [
            (
                name,
                Spread(took.median / unit, took.low / unit, took.high / unit).text(digits),
                samples.ratio(name, first).text(2),
            )
            for name, took in scaled
        ]

    by_byte = [FETCH_WHOLE, FETCH_CHUNKS, PRODUCE_WHOLE, PRODUCE_CHUNKS, FORWARD_CHUNKS, KIO_LARGE, KAFKA_PYTHON_LARGE]
    rates = [(name, rate(samples, name).text()) for name in by_byte]
    text = "\n\n".join(
        (
            f"CPU of the calling thread, median (quartiles); the loop itself ({samples.loop.text()} ns) is subtracted.",
            table(("one batch of 100 KiB a message", "GB/s"), rates),
            table(
                (f"{MANY} partitions in one message", "ns a partition", "times the first"),
                lines(1, 1, READS, READS_NOWHERE, READS_OFF, WRITES, KIO_MANY, KAFKA_PYTHON_MANY),
            ),
            table(
                ("one small request and its answer", "µs", "times the first"),
                lines(
                    1000,
                    2,
                    SMALL_PRODUCE,
                    SMALL_DEEP,
                    SMALL_FETCH,
                    SMALL_NOWHERE,
                    SMALL_EMPTY,
                    SMALL_FORWARD,
                    KIO_SMALL,
                    KAFKA_PYTHON_SMALL,
                ),
            ),
            table(
                ("one call", "ns", "times the first"),
                lines(1, 1, EMPTY_CALL, RECORDS_CALL, FORWARD_CALL),
            ),
        )
    )
    slowest = min((rate(samples, name) for name in by_byte[:4]), key=lambda one: one.median)
    dearest = max((samples.spread(name) for name in (READS, WRITES)), key=lambda one: one.median)
    request = max((samples.spread(name) for name in (SMALL_PRODUCE, SMALL_FETCH)), key=lambda one: one.median)
    return Report(
        "tap",
        text,
        [
            Target(
                "Fetch and Produce with 100 KiB batches, the slowest way", slowest.median, 5, least=True, unit="GB/s"
            ),
            Target("an event of a partition, the dearer of two", dearest.median, 150, unit="ns", digits=0),
            Target("a small request with one event, the dearer of two", request.median / 1000, 1, unit="µs", digits=2),
        ],
    )

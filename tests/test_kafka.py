"""A tap at the boundary: whose rows they are, what it takes, two threads, full rings, and how it ends."""

import collections
import itertools
import signal
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import (
    AuditUnavailable,
    CloseIncomplete,
    Keep,
    LogClosed,
    Policy,
    Rule,
    SessionClosed,
    Then,
    WhenFull,
)
from auditring.kafka import APIS, Tap, Topics
from auditring.sinks import ParquetSink, RowBatch
from sealed_rows import rows_of

PRODUCE, VERSION = 0, 3
OFFSET = 1000


def text(value: str) -> bytes:
    """A string of the versions that are not flexible."""
    return struct.pack(">h", len(value)) + value.encode()


def framed(body: bytes) -> bytes:
    """A frame."""
    return struct.pack(">i", len(body)) + body


def batch(records: int) -> bytes:
    """A record batch of so many records, whose contents nobody looks at."""
    head = struct.pack(">ibIhiqqqhii", -1, 2, 0, 0, records - 1, 0, 0, -1, -1, -1, records)
    contents = b"\xff" * 20
    return struct.pack(">qi", 0, len(head) + len(contents)) + head + contents


def produce(correlation_id: int, topic: str = "orders", records: int = 3, acks: int = -1) -> bytes:
    """A Produce request of version 3 to partition 7."""
    data = batch(records)
    header = struct.pack(">hhi", PRODUCE, VERSION, correlation_id) + text("billing")
    body = (
        struct.pack(">hhi", -1, acks, 1000) + struct.pack(">i", 1) + text(topic) + struct.pack(">iii", 1, 7, len(data))
    )
    return framed(header + body + data)


def produced(correlation_id: int, topic: str = "orders", error: int = 0) -> bytes:
    """Its answer."""
    answer = struct.pack(">ihqq", 7, error, OFFSET if error == 0 else -1, -1)
    return framed(
        struct.pack(">i", correlation_id)
        + struct.pack(">i", 1)
        + text(topic)
        + struct.pack(">i", 1)
        + answer
        + bytes(4)
    )


def test_rows_say_who_where_and_by_which_connection(tmp_path: Path) -> None:
    """All of session and connection, the tap's name, both correlation ids, and what the client calls itself."""
    with (
        auditring.open(tmp_path) as log,
        log.session(id="c-1", virtual_cluster="payments") as session,
        Tap(session.broker("10.0.0.5:9092", node_id=5, local="10.0.0.9:40112"), name="client-side") as tap,
    ):
        tap.from_client(produce(42))
        tap.rewrote(42, 907)
        assert tap.in_flight == 1
        tap.from_broker(produced(907))
        assert (tap.in_flight, tap.opaque) == (0, False)
    (row,) = rows_of(tmp_path, "Write")
    said = {
        "session": "c-1",
        "virtual_cluster": "payments",
        "client_id": "billing",
        "server": "10.0.0.5:9092",
        "node_id": 5,
        "server_local": "10.0.0.9:40112",
        "tap": "client-side",
        "authority": "witness",
        "origin": "client",
        "outcome": "success",
        "api": "Produce",
        "client_correlation_id": 42,
        "server_correlation_id": 907,
        "resource": "orders",
        "partition": 7,
        "first_offset": OFFSET,
        "last_offset": OFFSET + 2,
        "records": 3,
        "bytes": len(batch(3)),
        "status": None,
    }
    assert {name: row[name] for name in said} == said
    assert row["duration_ns"] > 0
    assert [row["client_id"] for row in rows_of(tmp_path, "ClientAccept", "ClientClose")] == [None, "billing"]


@pytest.mark.parametrize("view", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_any_buffer_in_any_pieces(tmp_path: Path, view: Callable[[bytes], Any]) -> None:
    """Byte by byte, all at once, and many requests in one piece make the same rows."""
    with auditring.open(tmp_path) as log, log.session() as session:
        for size in (1, 7, 1 << 20):
            with Tap(session) as tap:
                for show, stream in (
                    (tap.from_client, b"".join(produce(number) for number in range(5))),
                    (tap.from_broker, b"".join(produced(number) for number in range(5))),
                ):
                    for at in range(0, len(stream), size):
                        show(view(stream[at : at + size]))
    offsets = [(row["client_correlation_id"], row["last_offset"]) for row in rows_of(tmp_path, "Write")]
    assert offsets == [(number, OFFSET + 2) for number in range(5)] * 3


@pytest.mark.parametrize("bad", ["text", 3, None, [1], memoryview(b"abcd")[::2], memoryview(bytes(8)).cast("i")])
def test_what_is_no_buffer_of_bytes_is_a_mistake(tmp_path: Path, bad: Any) -> None:  # noqa: ANN401 - anything at all
    """Refused before anything has changed."""
    with auditring.open(tmp_path) as log, log.session() as session, Tap(session) as tap:
        before = log.stats().offered
        for show in (tap.from_client, tap.from_broker):
            with pytest.raises(TypeError, match="contiguous buffer of bytes"):
                show(bad)
        assert log.stats().offered == before


def test_a_tap_belongs_to_a_session_or_a_connection(tmp_path: Path) -> None:
    """Other handles, closed ones, and names that are none are refused."""
    with auditring.open(tmp_path) as log:
        session = log.session()
        plugin = session.plugin(filter="com.example.F", namespace="com.example")
        for wrong in (log, plugin, None):
            with pytest.raises(TypeError, match="session"):
                Tap(wrong)  # type: ignore[arg-type]  # that is the point
        for name in ("", "x" * 129, "a\0b"):
            with pytest.raises(ValueError, match="name"):
                Tap(session, name=name)
        session.close()
        with pytest.raises(SessionClosed):
            Tap(session)


def test_an_unanswered_write_was_forwarded(tmp_path: Path) -> None:
    """Nothing more is known of it; what the proxy answered itself did not go on. Closing twice is one close."""
    with auditring.open(tmp_path) as log, log.session() as session:
        tap = Tap(session)
        tap.from_client(produce(1, "orders") + produce(2, "refused") + produce(3, "sent", acks=0))
        tap.answered(2)
        tap.close()
        tap.close()
        tap.from_client(produce(4))
    rows = [(row["resource"], row["outcome"], row["first_offset"], row["status"]) for row in rows_of(tmp_path, "Write")]
    assert rows == [("sent", "forwarded", None, None), ("orders", "forwarded", None, None)]


def test_what_is_no_kafka_is_one_row(tmp_path: Path) -> None:
    """The connection goes on unread; the row names why and for how long, and is the proxy's own."""
    with auditring.open(tmp_path) as log, log.session(id="c-1") as session, Tap(session) as tap:
        for _ in range(3):
            tap.from_client(b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n")
        assert tap.opaque
        tap.from_client(produce(1))
        tap.from_broker(produced(1))
    (row,) = rows_of(tmp_path, "auditring.TapBlind")
    assert (row["outcome"], row["origin"], row["session"], row["category"]) == ("failure", "proxy", "c-1", "audit")
    assert '"blind":"connection"' in row["context"]
    assert row["status"]
    assert not rows_of(tmp_path, "Write")


def test_off_is_counted_for_a_tap_too(tmp_path: Path) -> None:
    """Each write that is left out is `off`; a denial is not; requests are off unless they are asked for."""
    with auditring.open(tmp_path, write=Keep.OFF) as log, log.session() as session, Tap(session) as tap:
        before = log.stats().off
        tap.from_client(produce(1) + produce(2, "secret"))
        tap.from_broker(produced(1) + produced(2, "secret", error=29))
        assert log.stats().off - before == 1 + 4
    (row,) = rows_of(tmp_path, "Write")
    assert (row["resource"], row["outcome"], row["status"]) == ("secret", "denied", "TopicAuthorizationFailed")


def test_a_tap_that_is_closed_goes_by_the_policy_in_force_then(tmp_path: Path) -> None:
    """What gets no answer is judged when that is known, not as it was when the last bytes were shown."""
    off = Policy(rules=[Rule(action="Write", keep=Keep.OFF)])
    with auditring.open(tmp_path, policy=off) as log, log.session() as session:
        for policy, topic in ((Policy(), "on"), (off, "off")):
            with Tap(session) as tap:
                tap.from_client(produce(1, topic))
                log.set_policy(policy)
    (row,) = rows_of(tmp_path, "Write")
    assert (row["resource"], row["outcome"]) == ("on", "forwarded")


def test_requests_are_rows_where_they_are_asked_for(tmp_path: Path) -> None:
    """One as it comes in, one as its answer goes out, with both ids."""
    with auditring.open(tmp_path, request=Keep.ALL) as log, log.session() as session, Tap(session) as tap:
        tap.from_client(produce(1))
        tap.rewrote(1, 12)
        tap.from_broker(produced(12))
    ingress, egress = rows_of(tmp_path, "RequestIngress", "ResponseEgress")
    assert (ingress["api"], ingress["client_correlation_id"], ingress["bytes"]) == ("Produce", 1, len(produce(1)))
    assert (egress["client_correlation_id"], egress["server_correlation_id"]) == (1, 12)
    assert egress["bytes"] == len(produced(12))


def test_two_threads_may_feed_one_tap(tmp_path: Path) -> None:
    """One a direction, as a threaded proxy does; every write has its row."""
    count = 2000
    sent = threading.Semaphore(0)
    with auditring.open(tmp_path) as log, log.session() as session, Tap(session) as tap:

        def client() -> None:
            for number in range(count):
                tap.from_client(produce(number))
                sent.release()

        def broker() -> None:
            for number in range(count):
                sent.acquire()
                tap.from_broker(produced(number))

        threads = [threading.Thread(target=run) for run in (client, broker)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tap.in_flight == 0
    assert [row["client_correlation_id"] for row in rows_of(tmp_path, "Write")] == list(range(count))


class Dead(ParquetSink):
    """Takes nothing."""

    def write(self, batch: RowBatch) -> int:
        """Fails."""
        raise OSError(5, f"dead at {batch.first_seq}")


def full_log(root: Path, when_full: WhenFull) -> auditring.AuditLog:
    """A log that takes little, because its only sink is dead."""
    return auditring.open(
        root / "audit", sinks=[Dead()], ring_dir=root, ring_bytes=1 << 20, journal_bytes=1 << 20, when_full=when_full
    )


def write_many(tap: Tap) -> Iterator[int]:
    """Shows a hundred writes at a time; yields how many it has begun to show."""
    for shown in itertools.count(100, 100):
        yield shown
        tap.from_client(produce(1, acks=0) * 100)


def test_a_full_ring_that_raises_lets_every_event_be_tried(tmp_path: Path) -> None:
    """The caller hears of the first refusal; each refused event is counted, and none twice."""
    log = full_log(tmp_path, WhenFull(wait=0.01, then=Then.RAISE))
    tap = Tap(log.session())
    shown: collections.deque[int] = collections.deque(maxlen=1)
    with pytest.raises(AuditUnavailable):
        shown.extend(write_many(tap))
    assert not tap.opaque
    stats = log.stats()
    # ClientAccept, and of each request its row and its ingress, which is off; there is no answer.
    assert stats.offered == 1 + 2 * shown[0]
    assert 0 < stats.refused <= 100
    with pytest.raises(CloseIncomplete):
        log.close(0.1)


def test_a_signal_handler_does_not_wait_for_the_call_that_it_interrupted(tmp_path: Path) -> None:
    """It gets an error instead; what the interrupted call was about is recorded all the same."""
    heard: list[str] = []
    log = full_log(tmp_path, WhenFull(wait=0.6))
    tap = Tap(log.session())

    def handler(_number: int, _frame: object) -> None:
        # The signal may also come between two calls, and then the tap is free.
        try:
            tap.from_client(b"")
        except RuntimeError as error:
            heard.append(str(error))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        for _ in write_many(tap):
            if heard:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert "in use" in heard[0]
    tap.from_client(b"")
    with pytest.raises(CloseIncomplete):
        log.close(0.1)


def test_after_the_close_of_session_or_log(tmp_path: Path) -> None:
    """As an emit call's: what is seen then raises."""
    with auditring.open(tmp_path) as log:
        session, other = log.session(), log.session()
        tap, late = Tap(session), Tap(other)
        session.close()
        with pytest.raises(SessionClosed):
            tap.from_client(produce(1, acks=0))
    with pytest.raises(LogClosed):
        late.from_client(produce(1, acks=0))


def test_a_log_that_keeps_nothing_takes_a_tap_too() -> None:
    """A host that has switched the log off feeds it all the same."""
    with auditring.open(None) as log, log.session() as session, Tap(session) as tap:
        tap.from_client(produce(1))
        tap.from_broker(produced(1))


def test_topics_know_no_more_than_was_said() -> None:
    """Bounded, asked by a UUID."""
    topics = Topics(3)
    assert len(topics) == 0
    assert topics.name(uuid.uuid4()) is None
    with pytest.raises(TypeError, match=r"uuid\.UUID"):
        topics.name("orders")  # type: ignore[arg-type]  # that is the point


def test_the_table_of_apis_is_whole() -> None:
    """Every API that matters to an audit is read, and each says what comes of it."""
    names = {api.name for api in APIS}
    assert {"Produce", "Fetch", "ShareFetch", "SaslAuthenticate", "CreateAcls", "OffsetDelete", "EndTxn"} <= names
    assert len(names) == len(APIS)
    assert all(api.first <= api.last and api.events for api in APIS)
    assert [api.key for api in APIS] == sorted(api.key for api in APIS)

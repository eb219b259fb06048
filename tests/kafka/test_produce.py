"""What a producer's delivery reports said is what the rows of `Write` say, offset by offset."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, Message, Producer

from harness import clients, planted
from harness.clients import camel, produce, send
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from harness.broker import Broker
    from harness.clients import Report
    from harness.proxy import Proxy


def places(reports: list[Report]) -> Counter[tuple[int, int]]:
    """Where the broker put the records; fails for one that it refused."""
    assert {report.error for report in reports} == {None}
    return Counter(report.at for report in reports)


@pytest.mark.parametrize("acks", ["1", "all"])
def test_every_acknowledged_offset(proxy: Proxy, broker: Broker, acks: str) -> None:
    """Over several partitions, each offset in one row, with its records, topic id and both ends' ids."""
    topic = broker.create_topic(f"acknowledged-{acks}", partitions=3)
    told = places(produce(proxy.client(acks=acks, client_id="p"), topic, 200))
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == told
    assert sum(written.records or 0 for written in audit.ranges("Write", topic)) == 200
    columns = ("authority", "origin", "category", "operation", "resource_type", "api", "client_id", "server", "node_id")
    assert audit.rows("DISTINCT " + ", ".join(columns), where=f"resource = '{topic}'", order="1") == [
        ("witness", "client", "data", "WRITE", "Topic", "Produce", "p", broker.plain, 1)
    ]
    never = "client_correlation_id IS NULL OR duration_ns <= 0 OR bytes <= 0 OR session IS NULL OR peer_port IS NULL"
    assert audit.rows("*", where=f"action = 'Write' AND ({never})") == []


def test_offsets_are_of_records_in_batches(proxy: Proxy, topic: str) -> None:
    """One batch of a hundred records is one row; a hundred batches of one are a hundred."""
    produce(proxy.client(linger_ms=60_000), topic, 100)  # its flush is what sends them
    many = Producer(proxy.client(linger_ms=0, batch_num_messages=1) | clients.QUICK)
    reports: list[Report] = []
    for _ in range(100):
        send(many, topic, reports)
    assert many.flush(PATIENCE) == 0
    ranges = proxy.stop().ranges("Write", topic)
    assert ranges[0] == (0, 0, 99, 100)
    assert sorted(ranges[1:]) == [(0, offset, offset, 1) for offset in range(100, 200)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches(proxy: Proxy, broker: Broker, codec: str) -> None:
    """Records are counted from the batch's header: what is compressed stays so."""
    topic = broker.create_topic(f"compressed-{codec}")
    settings = proxy.client(compression_type=codec, linger_ms=50)
    told = places(produce(settings, topic, 500, size=200))
    got = Counter(clients.read(proxy.client(), topic))
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == told == got == audit.offsets("Read", topic)
    sent, wrote = audit.one("sum(records)", "sum(bytes)", where=f"action = 'Write' AND resource = '{topic}'")
    assert sent == 500
    assert wrote < 500 * 200


def test_large_records(proxy: Proxy, topic: str) -> None:
    """Batches far larger than any buffer on the way."""
    told = places(produce(proxy.client(message_max_bytes=1_000_000), topic, 40, size=300_000))
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == told
    (wrote,) = audit.one("sum(bytes)", where="action = 'Write'")
    assert 40 * 300_000 < wrote < 40 * 301_000


def test_without_acknowledgement(proxy: Proxy, broker: Broker, topic: str) -> None:
    """With acks=0 nobody says what became of it: rows are `forwarded`, without offsets, and count the records."""
    reports = produce(proxy.client(acks=0), topic, 50)
    assert {report.error for report in reports} == {None}
    audit = proxy.stop()
    rows = audit.rows(
        "DISTINCT outcome", "status", "partition", "first_offset", "last_offset", where="action = 'Write'", order="1"
    )
    assert rows == [("forwarded", None, 0, None, None)]
    assert audit.one("sum(records)", where="action = 'Write'") == (50,)
    # Who was not to answer may still be about it.
    until(lambda: len(clients.read({"bootstrap.servers": broker.plain}, topic)) == 50, "the broker has them all")


def test_idempotent_producer(proxy: Proxy, broker: Broker) -> None:
    """No offset twice, none left out."""
    topic = broker.create_topic("idempotent", partitions=2)
    told = places(produce(proxy.client(enable_idempotence=True, linger_ms=0), topic, 300))
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == told
    assert max(told.values()) == 1
    assert sorted(told) == sorted((p, o) for p in (0, 1) for o in range(sum(at[0] == p for at in told)))


def test_a_record_that_is_too_large(proxy: Proxy, broker: Broker) -> None:
    """The broker's refusal is a failure with its name, without an offset."""
    topic = broker.create_topic("too-large", max_message_bytes="1000")
    (report,) = produce(proxy.client(), topic, 1, size=2000)
    assert report.error == "MSG_SIZE_TOO_LARGE"
    audit = proxy.stop()
    rows = audit.rows("outcome", "status", "partition", "first_offset", "last_offset", where="action = 'Write'")
    assert rows == [("failure", "MessageTooLarge", 0, None, None)]


def test_records_that_the_broker_refuses(proxy: Proxy, broker: Broker) -> None:
    """Each under its name: one without a key in a compacted topic, one from long ago; what is good goes on."""
    compacted = broker.create_topic("wants-keys", cleanup_policy="compact")
    timely = broker.create_topic("wants-the-present", message_timestamp_before_max_ms="60000")
    told: dict[str, list[str | None]] = {compacted: [], timely: []}

    def delivered(error: KafkaError | None, message: Message) -> None:
        told[str(message.topic())].append(None if error is None else error.name())

    producer = Producer(proxy.client(batch_num_messages=1) | clients.QUICK)
    for key in (planted.key(0), None):
        producer.produce(compacted, planted.value(0), key, on_delivery=delivered)
        assert producer.flush(PATIENCE) == 0
    for timestamp in (0, 1_000_000_000_000):
        producer.produce(timely, planted.value(0), timestamp=timestamp, on_delivery=delivered)
        assert producer.flush(PATIENCE) == 0
    assert told == {compacted: [None, "INVALID_RECORD"], timely: [None, "INVALID_TIMESTAMP"]}
    audit = proxy.stop()
    for topic, errors in told.items():
        rows = audit.rows("status", "first_offset", where=f"action = 'Write' AND resource = '{topic}'")
        assert rows == [(camel(error), None if error else 0) for error in errors]


def test_two_producers_and_their_sessions(proxy: Proxy, broker: Broker) -> None:
    """Each producer's offsets are under its own client id and session, though they are mixed in the partition."""
    topic = broker.create_topic("two-producers")
    told: dict[str, list[Report]] = {"left": [], "right": []}
    producers = {name: Producer(proxy.client(client_id=name, linger_ms=1) | clients.QUICK) for name in told}
    for _ in range(100):
        for name, reports in told.items():
            send(producers[name], topic, reports)
    assert [producer.flush(PATIENCE) for producer in producers.values()] == [0, 0]
    audit = proxy.stop()
    for name, reports in told.items():
        assert audit.offsets("Write", topic, f"client_id = '{name}' AND outcome = 'success'") == places(reports)
    assert audit.one("count(DISTINCT session)", where="action = 'Write'") == (2,)

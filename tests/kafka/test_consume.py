"""Every record that a consumer got is in a row of `Read`; and where nothing was thrown away, nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from harness import clients, planted
from harness.clients import QUICK, produce, read
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from harness.broker import Broker
    from harness.proxy import Proxy


def direct(broker: Broker) -> clients.Settings:
    """Past the proxy: what is done so is in no audit."""
    return {"bootstrap.servers": broker.plain}


def test_from_the_start(proxy: Proxy, broker: Broker) -> None:
    """Every offset of every partition once; records as many; an empty fetch is no row."""
    topic = broker.create_topic("from-the-start", partitions=3)
    produce(direct(broker), topic, 300)
    got = read(proxy.client(client_id="c"), topic, range(3))
    audit = proxy.stop()
    assert audit.offsets("Read", topic) == Counter(got)
    assert len(got) == 300
    assert sum(row.records or 0 for row in audit.ranges("Read", topic)) == 300
    columns = ("authority", "origin", "category", "operation", "resource_type", "api", "client_id", "server", "node_id")
    assert audit.rows("DISTINCT " + ", ".join(columns), where=f"resource = '{topic}'", order="1") == [
        ("witness", "client", "data", "READ", "Topic", "Fetch", "c", broker.plain, 1)
    ]
    assert audit.rows("*", where="action = 'Read' AND (first_offset IS NULL OR bytes <= 0)") == []


def test_the_first_read_tells_where_the_log_starts(proxy: Proxy, broker: Broker, topic: str) -> None:
    """Once a session and partition: whoever reads later knows what the session could not have read."""
    produce(direct(broker), topic, 10)
    broker.delete_before(topic, 0, 4)
    produce(direct(broker), topic, 10)
    got = read(proxy.client(fetch_message_max_bytes=100), topic)
    assert got == [(0, offset) for offset in range(4, 20)]
    audit = proxy.stop()
    rows = audit.rows("session", "context", where=f"action = 'Read' AND resource = '{topic}'")
    starts: dict[str, list[int | None]] = {}
    for session, context in rows:
        starts.setdefault(session, []).append(json.loads(context or "{}").get("logStartOffset"))
    assert [[int(start) for start in each if start is not None] for each in starts.values()] == [[4]] * len(starts)
    assert starts
    assert all(each[0] is not None for each in starts.values())


def test_a_fetch_that_starts_inside_a_batch(proxy: Proxy, broker: Broker, topic: str) -> None:
    """The broker returns whole batches, so the audit has more than the application was given, never less."""
    produce(direct(broker) | {"linger.ms": 60_000}, topic, 100)  # its flush is what sends them
    got = read(proxy.client(), topic, start=40)
    assert got == [(0, offset) for offset in range(40, 100)]
    audit = proxy.stop()
    assert audit.ranges("Read", topic) == [(0, 0, 99, 100)]


@pytest.mark.parametrize("most", [50, 300, 5_000])
def test_answers_that_end_inside_a_batch(proxy: Proxy, broker: Broker, most: int) -> None:
    """A broker cuts its answer at the size asked for; half a batch is not read, and is not said to be."""
    topic = broker.create_topic(f"cut-{most}")
    for size in (0, 400, 20, 1_000):
        produce(direct(broker) | {"linger.ms": 20, "batch.num.messages": 7}, topic, 25, size=size)
    got = read(proxy.client(fetch_message_max_bytes=most, fetch_max_bytes=1_000_000), topic)
    assert got == [(0, offset) for offset in range(100)]
    assert proxy.stop().offsets("Read", topic) == Counter(got)


def test_compacted_topics(proxy: Proxy, broker: Broker) -> None:
    """Where the cleaner has been offsets are missing; what the consumer got is all there, within batches returned."""
    topic = broker.create_topic(
        "compacted",
        cleanup_policy="compact",
        segment_ms="100",
        segment_bytes="1048576",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    reports = []
    producer = Producer(direct(broker) | QUICK)
    for number in range(200):
        key = planted.key(number % 5)
        producer.produce(topic, planted.value(number), key, on_delivery=lambda _, message: reports.append(message))
        if number % 20 == 0:
            assert producer.flush(PATIENCE) == 0
    assert producer.flush(PATIENCE) == 0

    def compacted() -> bool:
        # A segment is cleaned only when it is not the active one, so a record makes a new one.
        producer.produce(topic, planted.value(0), planted.key(99))
        producer.flush(PATIENCE)
        return len(read(direct(broker), topic)) < 150

    until(compacted, "the cleaner has been here")
    got = read(proxy.client(), topic)
    audit = proxy.stop()
    audited = audit.offsets("Read", topic)
    assert set(got) <= set(audited)
    assert max(audited.values()) == 1
    assert max(audited) == max(got)


def test_deleted_records(proxy: Proxy, broker: Broker, topic: str) -> None:
    """Who reads from the beginning after a deletion reads from where it ended."""
    produce(direct(broker) | {"linger.ms": 0, "batch.num.messages": 1}, topic, 30)
    broker.delete_before(topic, 0, 12)
    got = read(proxy.client(), topic)
    assert got == [(0, offset) for offset in range(12, 30)]
    assert proxy.stop().offsets("Read", topic) == Counter(got)


def test_an_offset_out_of_range(proxy: Proxy, broker: Broker, topic: str) -> None:
    """A read that the broker refuses is a failure with its name."""
    produce(direct(broker), topic, 5)
    consumer = Consumer(proxy.client(group_id="none", auto_offset_reset="error") | QUICK)
    consumer.assign([TopicPartition(topic, 0, 1_000)])
    assert clients.error_of(consumer) == "_AUTO_OFFSET_RESET"
    consumer.close()
    rows = proxy.stop().rows("DISTINCT outcome", "status", "partition", where="action = 'Read'", order="1")
    assert rows == [("failure", "OffsetOutOfRange", 0)]


def test_waiting_at_the_end_is_no_read(proxy: Proxy, broker: Broker, topic: str) -> None:
    """Only what came while it waited was read."""
    produce(direct(broker), topic, 5)
    consumer = Consumer(proxy.client(group_id="none", enable_partition_eof=True, fetch_wait_max_ms=50) | QUICK)
    consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
    until(lambda: (message := consumer.poll(0.1)) and message.error(), "it is at the end")
    produce(direct(broker), topic, 3)
    got: list[clients.Offset] = []

    def three() -> bool:
        message = consumer.poll(0.1)
        if message and not message.error():
            got.append(clients.where(message))
        return len(got) == 3

    until(three, "three records", pause=0)
    consumer.close()
    assert got == [(0, 5), (0, 6), (0, 7)]
    assert proxy.stop().offsets("Read", topic) == Counter(got)


def test_two_consumers_read_the_same(proxy: Proxy, broker: Broker, topic: str) -> None:
    """And each has rows of its own."""
    produce(direct(broker), topic, 40)
    for name in ("left", "right"):
        got = read(proxy.client(client_id=name), topic)
        audit = proxy.recorded(f"client_id = '{name}' AND action = 'ClientClose'")
        assert audit.offsets("Read", topic, f"client_id = '{name}' AND outcome = 'success'") == Counter(got)
    assert set(proxy.stop().offsets("Read", topic).values()) == {2}


def test_a_topic_that_was_made_anew(proxy: Proxy, broker: Broker) -> None:
    """Same name, another id: where the client names a topic by its id both are kept, and tell the two apart."""
    ids = []
    for _ in range(2):
        topic = broker.create_topic("anew")
        produce(proxy.client(), topic, 4)
        assert read(proxy.client(), topic) == [(0, offset) for offset in range(4)]
        ids.append(broker.topic_id(topic))
        broker.delete_topic(topic)
    assert ids[0] != ids[1]
    audit = proxy.stop()
    for topic_id in ids:
        offsets = audit.offsets("Read", "anew", f"object_ref->>'topicId' = '{topic_id}' AND outcome = 'success'")
        assert offsets == Counter((0, offset) for offset in range(4))
    assert audit.offsets("Write", "anew") == Counter({(0, offset): 2 for offset in range(4)})

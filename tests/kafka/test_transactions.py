"""Transactions: what was written in one, what an abort leaves behind, and who may read it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from harness import clients, planted
from harness.clients import QUICK, consume, produce, read, send
from harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.clients import Offset, Report, Settings
    from harness.proxy import Proxy


def transactional(proxy: Proxy, name: str, settings: Settings | None = None) -> Producer:
    """A producer that has its id, and fenced whoever had it before."""
    producer = Producer(proxy.client(transactional_id=name, linger_ms=0) | QUICK | (settings or {}))
    producer.init_transactions(PATIENCE)
    return producer


def transact(producer: Producer, topic: str, count: int, *, commit: bool = True) -> list[Offset]:
    """Writes so many records in one transaction; where they are."""
    reports: list[Report] = []
    producer.begin_transaction()
    for _ in range(count):
        send(producer, topic, reports)
    assert producer.flush(PATIENCE) == 0
    if commit:
        producer.commit_transaction(PATIENCE)
    else:
        producer.abort_transaction(PATIENCE)
    assert {report.error for report in reports} == {None}
    return [report.at for report in reports]


def test_what_was_written_in_a_transaction(proxy: Proxy, topic: str) -> None:
    """Every offset, with the transactional id; the marker that ends it was written by the broker, not by the client."""
    producer = transactional(proxy, "tx-write")
    told = transact(producer, topic, 5) + transact(producer, topic, 5, commit=False) + transact(producer, topic, 5)
    assert told == [(0, offset) for base in (0, 6, 12) for offset in range(base, base + 5)]
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(told)
    ids = audit.rows("DISTINCT object_ref->>'transactionalId'", where="action = 'Write'", order="1")
    assert ids == [("tx-write",)]


def test_aborted_records(proxy: Proxy, topic: str) -> None:
    """Who reads uncommitted gets them; who reads committed does not, but the broker returned them: they are audited."""
    producer = transactional(proxy, "tx-abort")
    committed = transact(producer, topic, 4)
    aborted = transact(producer, topic, 4, commit=False)
    committed += transact(producer, topic, 4)
    everything = read(proxy.client(client_id="all", isolation_level="read_uncommitted"), topic)
    good = read(proxy.client(client_id="good", isolation_level="read_committed"), topic)
    assert everything == sorted(committed + aborted)
    assert good == committed
    audit = proxy.stop()
    # With markers between and behind them; a marker is a batch as any other, and whoever is sent it is sent an offset.
    returned = Counter((0, offset) for offset in range(15))
    for name, got in (("all", everything), ("good", good)):
        audited = audit.offsets("Read", topic, f"client_id = '{name}' AND outcome = 'success'")
        assert set(got) <= set(audited)
        assert audited == returned


def test_an_open_transaction_is_not_read(proxy: Proxy, topic: str) -> None:
    """Who reads committed is sent nothing from its first record on."""
    producer = transactional(proxy, "tx-open")
    told = transact(producer, topic, 3)
    reports: list[Report] = []
    producer.begin_transaction()
    send(producer, topic, reports)
    assert producer.flush(PATIENCE) == 0
    assert read(proxy.client(isolation_level="read_committed"), topic) == told
    producer.abort_transaction(PATIENCE)
    audit = proxy.stop()
    assert audit.offsets("Read", topic) == Counter((0, offset) for offset in range(4))
    assert audit.offsets("Write", topic) == Counter([*told, (0, 4)])


def test_a_fenced_producer(proxy: Proxy, topic: str) -> None:
    """Its write is refused: a failure, with the transactional id, and no offset."""
    zombie = transactional(proxy, "tx-fenced", {"client.id": "zombie"})
    told = transact(zombie, topic, 2)
    reports: list[Report] = []
    zombie.begin_transaction()
    send(zombie, topic, reports)
    assert zombie.flush(PATIENCE) == 0
    told.append(reports.pop().at)
    heir = transactional(proxy, "tx-fenced", {"client.id": "heir"})
    zombie.produce(topic, planted.value(0), planted.key(0))
    with pytest.raises(KafkaException) as refused:
        zombie.flush(PATIENCE)
    assert refused.value.args[0].code() == KafkaError._FENCED  # noqa: SLF001 - librdkafka's own codes are spelled so
    told += transact(heir, topic, 2)
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(told)
    columns = ("client_id", "status", "first_offset", "object_ref->>'transactionalId'")
    failures = audit.rows(*columns, where="action = 'Write' AND outcome <> 'success'")
    assert failures == [("zombie", "InvalidProducerEpoch", None, "tx-fenced")]


def test_consume_transform_produce(broker: Broker, proxy_for: Callable[..., Proxy]) -> None:
    """Reads, writes and offsets of one transaction; the requests between are there with group and transaction."""
    proxy = proxy_for(log={"requests": True}, plain={"bootstrap": broker.plain})
    source, target = broker.create_topic("ctp-source"), broker.create_topic("ctp-target")
    produce({"bootstrap.servers": broker.plain}, source, 10)
    consumer = Consumer(
        proxy.client(group_id="ctp", auto_offset_reset="earliest", enable_auto_commit=False) | QUICK
    )
    consumer.subscribe([source])
    producer = transactional(proxy, "ctp")
    got = [clients.where(message) for message in consume(consumer, 10)]
    reports: list[Report] = []
    producer.begin_transaction()
    for _ in got:
        send(producer, target, reports)
    position = [TopicPartition(source, 0, got[-1][1] + 1)]
    producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), PATIENCE)
    producer.commit_transaction(PATIENCE)
    consumer.close()
    audit = proxy.stop()
    assert audit.offsets("Read", source) == Counter(got)
    assert audit.offsets("Write", target) == Counter(report.at for report in reports)
    assert audit.rows("*", where="action = 'ResetOffsets'") == []
    apis = dict(audit.rows("api", "count(*)", where="action = 'RequestIngress' GROUP BY api", order="1"))
    assert {"InitProducerId", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn", "JoinGroup", "SyncGroup"} <= set(apis)
    assert apis["EndTxn"] == 1


def test_a_commit_that_the_broker_refuses(proxy: Proxy, topic: str) -> None:
    """The client is told; nothing but what was written is in the audit."""
    first = transactional(proxy, "tx-refused")
    first.begin_transaction()
    reports: list[Report] = []
    send(first, topic, reports)
    assert first.flush(PATIENCE) == 0
    transactional(proxy, "tx-refused")
    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(PATIENCE)
    assert refused.value.args[0].fatal()
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(report.at for report in reports)

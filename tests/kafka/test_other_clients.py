"""Clients of other makes: aiokafka, kafka-python, and the Java clients in Kafka's own tools."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AiokafkaPartition
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka.admin import AclOperation, ResourceType
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from harness import acls, java, planted
from harness.clients import produce, sasl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.broker import Broker
    from harness.clients import Offset
    from harness.proxy import Proxy


@pytest.fixture
def through(broker: Broker, proxy_for: Callable[..., Proxy]) -> Proxy:
    """A proxy that lets clients log in at the broker."""
    return proxy_for(through={"bootstrap": broker.sasl, "sasl": {"mode": "pass-through"}})


async def test_aiokafka(proxy: Proxy, broker: Broker) -> None:
    """Every offset that its futures and messages named; compressed, idempotent, in a group."""
    topic = broker.create_topic("aiokafka", partitions=2)
    producer = AIOKafkaProducer(
        bootstrap_servers=proxy.address(), client_id="p", compression_type="gzip", enable_idempotence=True
    )
    await producer.start()
    sent = [await producer.send(topic, planted.value(number), planted.key(number)) for number in range(100)]
    told = [(one.partition, one.offset) for one in [await future for future in sent]]
    await producer.stop()
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=proxy.address(), client_id="c", group_id="aiokafka", auto_offset_reset="earliest"
    )
    await consumer.start()
    got = [await consumer.getone() for _ in range(100)]
    await consumer.commit()
    await consumer.stop()
    assert sorted((one.partition, one.offset) for one in got) == sorted(told)
    audit = proxy.stop()
    assert audit.offsets("Write", topic, "client_id = 'p' AND outcome = 'success'") == Counter(told)
    assert audit.offsets("Read", topic, "client_id = 'c' AND outcome = 'success'") == Counter(told)
    assert audit.rows("*", where="action = 'ResetOffsets'") == []


async def test_aiokafka_logs_in_and_is_denied(through: Proxy, broker: Broker) -> None:
    """By SCRAM, as it speaks it; and the refusal of the broker is its exception."""
    topic = broker.create_topic("not-carlas")
    acls.create(broker, acls.rule(ResourceType.TOPIC, topic, "carla", AclOperation.DESCRIBE))
    producer = AIOKafkaProducer(
        bootstrap_servers=through.address(),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_plain_username="carla",
        sasl_plain_password=planted.password("carla"),
    )
    await producer.start()
    with pytest.raises(TopicAuthorizationFailedError):
        await producer.send_and_wait(topic, planted.value(0))
    await producer.stop()
    audit = through.stop()
    logins = audit.rows("DISTINCT principal", "mechanism", "outcome", where="category = 'authentication'", order="1")
    assert logins == [("carla", "SCRAM-SHA-256", "success")]
    writes = audit.rows("DISTINCT principal", "outcome", "status", where="action = 'Write'", order="1")
    assert writes == [("carla", "denied", "TopicAuthorizationFailed")]


async def test_aiokafka_transactions(proxy: Proxy, topic: str) -> None:
    """A commit, an abort, and who reads committed."""
    producer = AIOKafkaProducer(bootstrap_servers=proxy.address(), transactional_id="aio-tx")
    await producer.start()
    committed: list[Offset] = []
    aborted: list[Offset] = []
    for number, offsets in ((3, committed), (2, aborted), (3, committed)):
        await producer.begin_transaction()
        for _ in range(number):
            one = await producer.send_and_wait(topic, planted.value(number))
            offsets.append((one.partition, one.offset))
        await (producer.commit_transaction() if offsets is committed else producer.abort_transaction())
    await producer.stop()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=proxy.address(), isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([AiokafkaPartition(topic, 0)])
    got = [await consumer.getone() for _ in committed]
    await consumer.stop()
    assert [(one.partition, one.offset) for one in got] == committed
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(committed + aborted)
    assert set(committed) <= set(audit.offsets("Read", topic))


def test_kafka_python(proxy: Proxy, broker: Broker) -> None:
    """Every offset that its futures and messages named; it asks for several partitions in one request."""
    topic = broker.create_topic("kafka-python", partitions=3)
    producer = KafkaProducer(bootstrap_servers=proxy.address(), client_id="p", linger_ms=20)
    sent = [producer.send(topic, planted.value(number), planted.key(number)) for number in range(120)]
    producer.flush()
    told = [(one.partition, one.offset) for one in [future.get() for future in sent]]
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=proxy.address(), client_id="c", auto_offset_reset="earliest")
    consumer.assign([KafkaPythonPartition(topic, partition) for partition in range(3)])
    got = [(one.partition, one.offset) for one in (next(consumer) for _ in range(120))]
    consumer.close()
    assert sorted(got) == sorted(told)
    audit = proxy.stop()
    assert audit.offsets("Write", topic, "client_id = 'p' AND outcome = 'success'") == Counter(told)
    assert audit.offsets("Read", topic, "outcome = 'success'") == Counter(got)


def test_the_console_producer_and_consumer(through: Proxy, broker: Broker, folder: Path) -> None:
    """Kafka's own: topics are named by their ids on the wire, and rows have both."""
    topic = broker.create_topic("console")
    config = java.command_config(folder / "console.properties", sasl("alice", "PLAIN"))
    where = ("--bootstrap-server", through.address(), "--command-config", config, "--topic", topic)
    said = b"".join(planted.value(number) + b"\n" for number in range(20))
    java.run("ConsoleProducer", *where, said=said)
    shown = ("print.offset", "print.partition")
    printed = java.run(
        "consumer.ConsoleConsumer", *where, "--from-beginning", "--max-messages", "20", "--timeout-ms", "30000",
        *(part for name in shown for part in ("--formatter-property", f"{name}=true")),
    )  # fmt: skip
    got = [(int(p), int(o)) for p, o in re.findall(r"Partition:(\d+)\s+Offset:(\d+)", printed)]
    assert got == [(0, offset) for offset in range(20)]
    audit = through.stop()
    who = "principal = 'alice' AND outcome = 'success'"
    assert audit.offsets("Write", topic, who) == audit.offsets("Read", topic, who) == Counter(got)
    ids = audit.rows("DISTINCT action", "object_ref->>'topicId'", where="category = 'data'", order="1")
    assert ids == [("Read", broker.topic_id(topic)), ("Write", broker.topic_id(topic))]


def test_a_share_group(proxy: Proxy, broker: Broker) -> None:
    """A share consumer's records, offset by offset, as Kafka's own verifiable one prints them."""
    topic = broker.create_topic("share", partitions=2)
    told = [report.at for p in (0, 1) for report in produce(proxy.client(), topic, 25, partition=p)]
    printed = java.run(
        "VerifiableShareConsumer", "--bootstrap-server", proxy.address(), "--topic", topic, "--group-id", "share",
        "--max-messages", "50", "--offset-reset-strategy", "earliest", "--acknowledgement-mode", "sync", "--verbose",
    )  # fmt: skip
    records = [one for one in java.lines(printed) if one.get("name") == "record_data"]
    got = [(one["partition"], one["offset"]) for one in records]
    assert sorted(got) == sorted(told), json.dumps(java.lines(printed)[:5])
    audit = proxy.stop()
    assert audit.offsets("Read", topic, "api = 'ShareFetch' AND outcome = 'success'") == Counter(got)

"""Who may and who may not: decided by the proxy, or by the broker while the proxy looks on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic, ResourceType
from kafka import KafkaProducer
from kafka.errors import TopicAuthorizationFailedError

from harness import acls, clients, planted
from harness.clients import QUICK, produce, read, results, sasl, send
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.broker import Broker
    from harness.proxy import Proxy

AUTHORIZER = "com.example.kafka_proxy.Authorizer"
DECISIONS = "action LIKE 'Operation%'"
RULES = """
[[allow]]
principals = ["alice"]
operations = ["READ", "WRITE", "CREATE"]
topics = ["ours-*"]

[[allow]]
principals = ["alice"]
operations = ["DESCRIBE"]
topics = ["theirs-*"]
"""


@pytest.fixture
def guarded(broker: Broker, proxy_for: Callable[..., Proxy], users: str, folder: Path) -> Proxy:
    """A proxy that knows its users and what they may do; request-level events are kept."""
    (folder / "rules.toml").write_text(RULES)
    login = {"mode": "terminate", "users": users}
    guarded = {"bootstrap": broker.plain, "sasl": login, "acl": folder / "rules.toml"}
    return proxy_for(log={"requests": True}, guarded=guarded)


ALICE = sasl("alice", "SCRAM-SHA-256")


def test_an_allowed_and_a_denied_topic(guarded: Proxy, broker: Broker) -> None:
    """One user's produce to both: reports, decisions, answers in the broker's place, and what the broker has."""
    ours, theirs = broker.create_topic("ours-1"), broker.create_topic("theirs-1")
    allowed = produce(guarded.client() | ALICE, ours, 10)
    (denied,) = produce(guarded.client() | ALICE, theirs, 1)
    assert denied.error == "TOPIC_AUTHORIZATION_FAILED"
    audit = guarded.stop()
    assert audit.offsets("Write", ours) == Counter(report.at for report in allowed)
    assert audit.rows("*", where=f"action = 'Write' AND resource = '{theirs}'") == []
    columns = (
        "DISTINCT action",
        "operation",
        "resource_type",
        "resource",
        "principal",
        "outcome",
        "status",
        "authority",
    )
    assert audit.rows(*columns, "filter", where=DECISIONS, order="1") == [
        ("OperationAllowed", "WRITE", "Topic", ours, "alice", "allowed", None, "decision", AUTHORIZER),
        (
            "OperationDenied",
            "WRITE",
            "Topic",
            theirs,
            "alice",
            "denied",
            "TopicAuthorizationFailed",
            "decision",
            AUTHORIZER,
        ),
    ]
    answered = audit.rows(
        "api", "outcome", "status", "filter", where="action = 'RequestShortcircuit' AND api = 'Produce'"
    )
    assert answered == [("Produce", "denied", "TopicAuthorizationFailed", AUTHORIZER)]
    plain = {"bootstrap.servers": broker.plain}
    assert (len(read(plain, ours)), len(read(plain, theirs))) == (10, 0)


def test_both_in_one_request(guarded: Proxy, broker: Broker) -> None:
    """What is allowed of a request goes on, and only that is refused which is denied."""
    ours, theirs = broker.create_topic("ours-2"), broker.create_topic("theirs-2")
    producer = KafkaProducer(
        bootstrap_servers=guarded.address(),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_plain_username="alice",
        sasl_plain_password=planted.password("alice"),
        linger_ms=60_000,  # its flush is what sends them
    )
    for topic in (ours, theirs):
        assert producer.partitions_for(topic) == {0}
    good, bad = (producer.send(topic, planted.value(0), planted.key(0)) for topic in (ours, theirs))
    producer.flush()
    assert (good.get().partition, good.get().offset) == (0, 0)
    with pytest.raises(TopicAuthorizationFailedError):
        bad.get()
    producer.close()
    audit = guarded.stop()
    assert audit.ranges("Write", ours) == [(0, 0, 0, 1)]
    assert audit.rows("*", where=f"action = 'Write' AND resource = '{theirs}'") == []
    assert audit.rows("action", "resource", where=f"{DECISIONS} AND operation = 'WRITE'", order="1") == [
        ("OperationAllowed", ours),
        ("OperationDenied", theirs),
    ]
    assert audit.one("count(*)", where="action = 'RequestIngress' AND api = 'Produce'") == (1,)


def test_a_denied_read(guarded: Proxy, broker: Broker) -> None:
    """The consumer is told, the decision is there, and nothing was read."""
    theirs = broker.create_topic("theirs-3")
    produce({"bootstrap.servers": broker.plain}, theirs, 3)
    consumer = Consumer(guarded.client(group_id="none") | ALICE | QUICK)
    consumer.assign([TopicPartition(theirs, 0, 0)])
    assert clients.error_of(consumer) == "TOPIC_AUTHORIZATION_FAILED"
    consumer.close()
    audit = guarded.stop()
    assert audit.rows("*", where="action = 'Read'") == []
    assert audit.rows("DISTINCT action", "operation", "resource", where=f"{DECISIONS} AND operation = 'READ'") == [
        ("OperationDenied", "READ", theirs)
    ]


def test_what_one_could_do_is_no_event(guarded: Proxy, broker: Broker) -> None:
    """To answer Metadata the authorizer asks itself about every topic; nobody attempted anything."""
    ours, theirs, hidden = (broker.create_topic(name) for name in ("ours-4", "theirs-4", "hidden-4"))
    producer = Producer(guarded.client() | ALICE | QUICK)
    seen = set(producer.list_topics(timeout=PATIENCE).topics)
    assert {ours, theirs} <= seen
    assert hidden not in seen
    asked = producer.list_topics(hidden, timeout=PATIENCE).topics[hidden].error
    assert asked is not None
    assert asked.name() == "TOPIC_AUTHORIZATION_FAILED"
    del producer
    assert guarded.stop().rows("*", where=DECISIONS) == []


def test_denied_without_acknowledgement(guarded: Proxy, broker: Broker) -> None:
    """With acks=0 there is no answer to refuse in: the connection is closed, and the broker has nothing."""
    theirs = broker.create_topic("theirs-5")
    producer = Producer(guarded.client(acks=0) | ALICE | QUICK)
    send(producer, theirs, [])
    # While the client is still there: one that has gone by itself has closed the connection first.
    guarded.recorded("action = 'ClientClose' AND status = 'TopicAuthorizationFailed'")
    producer.purge()
    audit = guarded.stop()
    assert audit.rows("*", where="action = 'Write'") == []
    (session,) = audit.one("DISTINCT session", where="action = 'OperationDenied'")
    ends = audit.rows("initiator", "status", where=f"action = 'ClientClose' AND session = '{session}'")
    assert ends == [("proxy", "TopicAuthorizationFailed")]
    assert read({"bootstrap.servers": broker.plain}, theirs) == []


def test_denied_administration(guarded: Proxy) -> None:
    """A topic that may be made, and one that may not."""
    client = AdminClient(guarded.client() | ALICE | QUICK)
    made = results(
        client.create_topics([NewTopic("ours-6", 1, 1), NewTopic("theirs-6", 1, 1)], request_timeout=PATIENCE)
    )
    assert made == {"ours-6": None, "theirs-6": "TOPIC_AUTHORIZATION_FAILED"}
    audit = guarded.stop()
    rows = audit.rows("resource", "outcome", where="action = 'CreateTopics'")
    assert rows == [("ours-6", "success")]
    assert audit.rows("action", "operation", "resource", where=DECISIONS, order="1") == [
        ("OperationAllowed", "CREATE", "ours-6"),
        ("OperationDenied", "CREATE", "theirs-6"),
    ]


# The broker decides


@pytest.fixture
def through(broker: Broker, proxy_for: Callable[..., Proxy]) -> Proxy:
    """A proxy that lets clients log in at the broker."""
    return proxy_for(through={"bootstrap": broker.sasl, "sasl": {"mode": "pass-through"}})


BOB = sasl("bob", "PLAIN")


def allow(broker: Broker, kind: ResourceType, name: str, user: str, operation: AclOperation) -> None:
    """Gives a right to one, which takes it from everybody else."""
    acls.create(broker, acls.rule(kind, name, user, operation))


def test_the_broker_denies_a_write_and_a_read(through: Proxy, broker: Broker) -> None:
    """The event of what was attempted, `denied`, as a witness: no offset, the broker's own word for it."""
    topic = broker.create_topic("not-for-bob")
    allow(broker, ResourceType.TOPIC, topic, "bob", AclOperation.DESCRIBE)
    (report,) = produce(through.client() | BOB, topic, 1)
    assert report.error == "TOPIC_AUTHORIZATION_FAILED"
    consumer = Consumer(through.client(group_id="none") | BOB | QUICK)
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert clients.error_of(consumer) == "TOPIC_AUTHORIZATION_FAILED"
    consumer.close()
    audit = through.stop()
    columns = ("DISTINCT action", "outcome", "status", "authority", "principal", "partition", "first_offset")
    assert audit.rows(*columns, where=f"resource = '{topic}'", order="1") == [
        ("Read", "denied", "TopicAuthorizationFailed", "witness", "bob", 0, None),
        ("Write", "denied", "TopicAuthorizationFailed", "witness", "bob", 0, None),
    ]


def test_the_broker_hides_a_topic(through: Proxy, broker: Broker) -> None:
    """Where Metadata is refused, the operation is DESCRIBE; no write was attempted yet."""
    topic = broker.create_topic("hidden-from-bob")
    allow(broker, ResourceType.TOPIC, topic, "alice", AclOperation.ALL)
    (report,) = produce(through.client() | BOB, topic, 1)
    assert report.error == "TOPIC_AUTHORIZATION_FAILED"
    audit = through.stop()
    columns = ("DISTINCT action", "operation", "resource_type", "outcome", "status", "authority", "principal", "api")
    assert audit.rows(*columns, where=f"resource = '{topic}'", order="1") == [
        (
            "OperationDenied",
            "DESCRIBE",
            "Topic",
            "denied",
            "TopicAuthorizationFailed",
            "witness",
            "bob",
            "Metadata",
        )
    ]


def test_the_broker_denies_a_group(through: Proxy, broker: Broker) -> None:
    """A group has no event of its own: an operation that was denied."""
    topic = broker.create_topic("for-groups")
    allow(broker, ResourceType.GROUP, "alices", "alice", AclOperation.ALL)
    consumer = Consumer(through.client(group_id="alices") | BOB | QUICK)
    consumer.subscribe([topic])
    assert clients.error_of(consumer) == "GROUP_AUTHORIZATION_FAILED"
    consumer.close()
    rows = through.stop().rows(
        "DISTINCT action", "resource_type", "resource", "outcome", "status", "authority", "principal",
        where=DECISIONS, order="1",
    )  # fmt: skip
    assert rows == [("OperationDenied", "Group", "alices", "denied", "GroupAuthorizationFailed", "witness", "bob")]


def test_the_broker_denies_a_transactional_id(through: Proxy, broker: Broker) -> None:
    """And so has a transactional id."""
    allow(broker, ResourceType.TRANSACTIONAL_ID, "alices", "alice", AclOperation.ALL)
    producer = Producer(through.client(transactional_id="alices") | BOB | QUICK)
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(PATIENCE)
    assert refused.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    rows = through.stop().rows(
        "DISTINCT action", "resource_type", "resource", "outcome", "status", "authority", "principal",
        where=DECISIONS, order="1",
    )  # fmt: skip
    status = "TransactionalIdAuthorizationFailed"
    assert rows == [("OperationDenied", "TransactionalId", "alices", "denied", status, "witness", "bob")]


def test_one_partition_of_many(through: Proxy, broker: Broker) -> None:
    """One Fetch for a topic that may be read and one that may not: each has its own row."""
    mine, not_mine = broker.create_topic("bobs-1"), broker.create_topic("bobs-2")
    produce({"bootstrap.servers": broker.plain}, mine, 5)
    allow(broker, ResourceType.TOPIC, not_mine, "bob", AclOperation.DESCRIBE)
    consumer = Consumer(through.client(group_id="none") | BOB | QUICK)
    consumer.assign([TopicPartition(mine, 0, 0), TopicPartition(not_mine, 0, 0)])
    got: list[tuple[int, int]] = []
    told: list[str] = []

    def both() -> bool:
        message = consumer.poll(0.1)
        if message is not None:
            error = message.error()
            if error is None:
                offset = message.offset()
                assert offset is not None
                got.append((0, offset))
            else:
                told.append(error.name())
        return len(got) == 5 and bool(told)

    until(both, "five records and a refusal", pause=0)
    consumer.close()
    assert set(told) == {"TOPIC_AUTHORIZATION_FAILED"}
    audit = through.stop()
    assert audit.offsets("Read", mine) == Counter(got)
    rows = audit.rows("DISTINCT outcome", "status", where=f"action = 'Read' AND resource = '{not_mine}'", order="1")
    assert rows == [("denied", "TopicAuthorizationFailed")]

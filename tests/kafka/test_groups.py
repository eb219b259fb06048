"""Consumer groups: who read what, and who set a group's position, which is no ordinary commit."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPythonPartition

from harness import clients, java
from harness.clients import QUICK, consume, produce
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.proxy import Proxy

RESET = "action = 'ResetOffsets'"


def member(proxy: Proxy, group: str, topic: str, **settings: str | int) -> Consumer:
    """A member of a group that commits when it is told to."""
    own: dict[str, str | int] = {"group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False}
    consumer = Consumer(proxy.client(**own | settings) | QUICK)
    consumer.subscribe([topic])
    return consumer


def test_members_share_the_partitions(proxy: Proxy, broker: Broker) -> None:
    """Two members: together every offset, each its own, and in no one's rows another's."""
    topic = broker.create_topic("shared", partitions=4)
    members = {name: member(proxy, "sharing", topic, client_id=name) for name in ("left", "right")}
    got: dict[str, list[clients.Offset]] = {name: [] for name in members}

    def poll() -> None:
        for name, consumer in members.items():
            message = consumer.poll(0.02)
            if message is not None and message.error() is None:
                got[name].append(clients.where(message))

    def balanced() -> bool:
        poll()
        return [len(consumer.assignment()) for consumer in members.values()] == [2, 2]

    def consumed(count: int) -> bool:
        poll()
        return sum(map(len, got.values())) == count

    def fill(count: int) -> list[clients.Offset]:
        return [report.at for p in range(4) for report in produce(proxy.client(), topic, count, partition=p)]

    until(balanced, "each has two partitions", pause=0)
    # A fetch that the first member had under way for a partition that the second now has is answered with this record,
    # and the client throws it away; from then on each is sent only what it owns.
    told = fill(1)
    until(lambda: consumed(4), "the first of each partition is read", pause=0)
    told += fill(25)
    until(lambda: consumed(104), "all is read", pause=0)
    for consumer in members.values():
        consumer.commit(asynchronous=False)
        consumer.close()
    assert sorted(got["left"] + got["right"]) == sorted(told)
    audit = proxy.stop()
    for name, offsets in got.items():
        audited = audit.offsets("Read", topic, f"client_id = '{name}' AND outcome = 'success'")
        assert audited.keys() >= set(offsets)
        assert [at for at in sorted(audited.elements()) if at[1] > 0] == sorted(at for at in offsets if at[1] > 0)
    assert audit.rows("*", where=RESET) == []


def test_a_group_goes_on_where_it_committed(proxy: Proxy, topic: str) -> None:
    """Each offset once over two lives of the member; its commits are no changes of anybody's position."""
    produce(proxy.client(), topic, 20)
    first = member(proxy, "goes-on", topic, client_id="first", fetch_message_max_bytes=1)
    early = [clients.where(message) for message in consume(first, 20)]
    first.commit(asynchronous=False)
    first.close()
    produce(proxy.client(), topic, 5)
    second = member(proxy, "goes-on", topic, client_id="second")
    late = [clients.where(message) for message in consume(second, 5)]
    second.commit(asynchronous=False)
    second.close()
    assert (early, late) == ([(0, o) for o in range(20)], [(0, o) for o in range(20, 25)])
    audit = proxy.stop()
    assert audit.offsets("Read", topic, "client_id = 'first' AND outcome = 'success'") == Counter(early)
    assert audit.offsets("Read", topic, "client_id = 'second' AND outcome = 'success'") == Counter(late)
    assert audit.rows("*", where=RESET) == []


def test_the_newer_protocol_of_groups(proxy: Proxy, topic: str) -> None:
    """Where the broker assigns: the same offsets, and commits of members that are no changes of anybody's position."""
    produce(proxy.client(), topic, 20)
    own = {"group.id": "newer", "group.protocol": "consumer", "auto.offset.reset": "earliest"}
    consumer = Consumer(proxy.client(enable_auto_commit=False) | own | QUICK)
    consumer.subscribe([topic])
    got = [clients.where(message) for message in consume(consumer, 20)]
    consumer.commit(asynchronous=False)
    consumer.close()
    audit = proxy.stop()
    assert audit.offsets("Read", topic) == Counter(got) == Counter((0, offset) for offset in range(20))
    assert audit.rows("*", where=RESET) == []


def test_a_position_set_by_an_administrator(proxy: Proxy, topic: str) -> None:
    """A commit by nobody's member: who, which group, where it goes on."""
    produce(proxy.client(), topic, 20)
    consumer = member(proxy, "set-back", topic)
    consume(consumer, 20)
    consumer.commit(asynchronous=False)
    consumer.close()
    admin = AdminClient(proxy.client(client_id="admin") | QUICK)
    wanted = ConsumerGroupTopicPartitions("set-back", [TopicPartition(topic, 0, 7)])
    (future,) = admin.alter_consumer_group_offsets([wanted]).values()
    (done,) = future.result(PATIENCE).topic_partitions
    assert (done.topic, done.partition, done.offset, done.error) == (topic, 0, 7, None)
    columns = ("resource_type", "resource", "object_ref->>'topicName'", "partition", "context->>'offset'", "client_id")
    audit = proxy.stop()
    assert audit.rows(*columns, "outcome", "authority", "api", where=RESET) == [
        ("Group", "set-back", topic, 0, "7", "admin", "success", "witness", "OffsetCommit")
    ]


def test_the_positions_of_a_simple_consumer(proxy: Proxy, topic: str) -> None:
    """Who assigns partitions to himself commits without a generation too."""
    produce(proxy.client(), topic, 3)
    consumer = Consumer(proxy.client(group_id="simple", client_id="simple") | QUICK)
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    rows = proxy.stop().rows("resource", "partition", "context->>'offset'", "outcome", where=RESET)
    assert rows == [("simple", 0, "2", "success")]


def test_positions_that_are_forgotten(proxy: Proxy, topic: str) -> None:
    """OffsetDelete, also where the broker refuses it."""
    produce(proxy.client(), topic, 3)
    consumer = member(proxy, "forgotten", topic)
    consume(consumer, 3)
    consumer.commit(asynchronous=False)
    admin = KafkaAdminClient(bootstrap_servers=proxy.address(), client_id="admin")
    refused = admin.delete_group_offsets("forgotten", [KafkaPythonPartition(topic, 0)])
    consumer.close()
    done = admin.delete_group_offsets("forgotten", [KafkaPythonPartition(topic, 0)])
    admin.close()
    told = [answer[KafkaPythonPartition(topic, 0)].__name__ for answer in (refused, done)]
    assert told == ["GroupSubscribedToTopicError", "NoError"]
    columns = ("resource", "object_ref->>'topicName'", "partition", "outcome", "status", "api")
    assert proxy.stop().rows(*columns, where=RESET) == [
        ("forgotten", topic, 0, "failure", "GroupSubscribedToTopic", "OffsetDelete"),
        ("forgotten", topic, 0, "success", None, "OffsetDelete"),
    ]


def test_positions_set_by_the_command(proxy: Proxy, broker: Broker) -> None:
    """`kafka-consumer-groups --reset-offsets`, and what it prints."""
    topic = broker.create_topic("by-command", partitions=2)
    produce(proxy.client(), topic, 20)
    arguments = ("--bootstrap-server", proxy.address(), "--group", "by-command", "--topic", topic)
    printed = java.run(
        "consumer.group.ConsumerGroupCommand", *arguments, "--reset-offsets", "--to-earliest", "--execute"
    )
    told = sorted(tuple(line.split()) for line in printed.splitlines() if line.startswith("by-command"))
    assert told == [("by-command", topic, str(partition), "0") for partition in (0, 1)]
    columns = ("resource", "object_ref->>'topicName'", "partition::VARCHAR", "context->>'offset'")
    assert sorted(proxy.stop().rows(*columns, where=RESET)) == told


def test_ordinary_commits_are_requests(broker: Broker, proxy_for: Callable[..., Proxy], topic: str) -> None:
    """Off unless asked for, and then with the group."""
    proxy = proxy_for(log={"requests": True}, plain={"bootstrap": broker.plain})
    produce(proxy.client(), topic, 3)
    consumer = member(proxy, "ordinary", topic)
    consume(consumer, 3)
    consumer.commit(asynchronous=False)
    consumer.close()
    audit = proxy.stop()
    rows = audit.rows("object_ref", where="action = 'RequestIngress' AND api IN ('OffsetCommit', 'JoinGroup')")
    assert {json.loads(object_ref)["groupId"] for (object_ref,) in rows} == {"ordinary"}
    assert audit.rows("*", where=RESET) == []

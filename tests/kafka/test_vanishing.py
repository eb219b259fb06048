"""What goes wrong between client, proxy and broker: whatever was done is in the audit, and nothing that was not."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from kio.schema.create_topics.v5 import request as create_topics
from kio.schema.metadata.v9 import request as metadata_request
from kio.schema.metadata.v9 import response as metadata_response
from kio.schema.types import TopicName
from kio.static.primitive import i16, i32

from harness import records
from harness.clients import QUICK, produce, read, send
from harness.raw import Raw
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.clients import Report
    from harness.proxy import Proxy

NOT_YET = {"NotLeaderOrFollower", "UnknownTopicOrPartition", "LeaderNotAvailable"}
"""What a broker says of a partition that it has not taken up again."""
LARGE = 10_000
"""Bytes of a record that is told from whatever else comes to a broker meanwhile."""


def where_partitions_are(proxy: Proxy, topic: str) -> str:
    """The port of the proxy that leads to the partition's leader."""
    with Raw(proxy.address()) as raw:
        ask = metadata_request.MetadataRequest(
            topics=(metadata_request.MetadataRequestTopic(name=TopicName(topic)),),
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
        )
        (broker,) = raw.ask(ask, metadata_response.MetadataResponse).brokers
    return f"{broker.host}:{broker.port}"


def test_a_client_that_vanishes_within_a_request(proxy: Proxy, broker: Broker, topic: str) -> None:
    """Half a request is none: nothing was written; the close says that it was not as it should be."""
    raw = Raw(where_partitions_are(proxy, topic), "half")
    whole = raw.framed(records.produce(topic))
    raw.send(whole[: len(whole) // 2])
    proxy.recorded("client_id = 'half' OR (action = 'BrokerConnect' AND session IS NOT NULL)", 2)
    raw.vanish()
    proxy.recorded("action = 'ClientClose' AND status IS NOT NULL")
    audit = proxy.stop()
    assert audit.rows("*", where="action = 'Write'") == []
    ends = audit.rows("initiator", "outcome", where="action = 'ClientClose' AND status IS NOT NULL")
    assert ends == [("client", "failure")]
    assert read({"bootstrap.servers": broker.plain}, topic) == []


def test_a_client_that_does_not_wait(proxy: Proxy, broker: Broker, topic: str) -> None:
    """What changes something and was sent on, and whose answer nobody saw, is `forwarded`: before the session's end."""
    raw = Raw(where_partitions_are(proxy, topic), "gone")
    with broker.paused():
        raw.send(raw.framed(records.produce(topic)))
        new = create_topics.CreatableTopic(
            name=TopicName("made-by-nobody"),
            num_partitions=i32(1),
            replication_factor=i16(1),
            assignments=(),
            configs=(),
        )
        raw.send(raw.framed(create_topics.CreateTopicsRequest(topics=(new,))))
        proxy.recorded("action = 'ClientAccept'", 2)
        raw.vanish()
        proxy.recorded("client_id = 'gone' AND action = 'ClientClose'")
    audit = proxy.stop()
    (session,) = audit.one("session", where="action = 'Write'")
    story = audit.rows(
        "action", "resource", "outcome", "status", "first_offset", where=f"session = '{session}'", order="seq"
    )
    assert [row[0] for row in story[:2]] == ["ClientAccept", "BrokerConnect"]
    assert sorted(story[2:4]) == [
        ("CreateTopics", "made-by-nobody", "forwarded", None, None),
        ("Write", topic, "forwarded", None, None),
    ]
    assert [row[0] for row in story[4:]] == ["BrokerClose", "ClientClose"]


def test_the_broker_is_killed(proxy: Proxy, broker: Broker) -> None:
    """An idempotent producer goes on over `kill -9` of the broker: every offset is there, and what failed says so."""
    topic = broker.create_topic("killed")
    reports: list[Report] = []
    producer = Producer(proxy.client(enable_idempotence=True, linger_ms=1) | QUICK)
    count = 3_000
    for number in range(count):
        send(producer, topic, reports)
        if number == 1_000:
            until(lambda: producer.poll(0.01) is not None and len(reports) > 500, "some are acknowledged")
            broker.kill()
        if number == 2_000:
            broker.start()
    assert producer.flush(PATIENCE) == 0
    assert {report.error for report in reports} == {None}
    told = Counter(report.at for report in reports)
    assert told == Counter((0, offset) for offset in range(count))
    assert sorted(read({"bootstrap.servers": broker.plain}, topic)) == sorted(told)
    audit = proxy.stop()
    audited = audit.offsets("Write", topic)
    assert audited.keys() == told.keys()
    # An answer that the proxy saw last and the client never: it sends again by another connection, and the broker
    # answers with the same offset. Within one session none is there twice.
    assert set(audited.values()) <= {1, 2}
    for (session,) in audit.rows("DISTINCT session", where="action = 'Write'", order="1"):
        once = audit.offsets("Write", topic, f"session = '{session}' AND outcome = 'success'")
        assert set(once.values()) <= {1}


def test_requests_that_died_with_the_broker(proxy: Proxy, broker: Broker) -> None:
    """A broker that takes requests and is killed before it reads them: `forwarded`, and then once more, answered."""
    topic = broker.create_topic("died")
    producer = Producer(proxy.client(enable_idempotence=True, linger_ms=0, client_id="p") | QUICK)
    reports: list[Report] = []
    send(producer, topic, reports)
    assert producer.flush(PATIENCE) == 0
    with broker.paused():
        send(producer, topic, reports, size=LARGE)
        until(lambda: producer.poll(0.05) is not None and broker.unread() > LARGE, "the broker's kernel has it")
        broker.kill()
    broker.start()
    assert producer.flush(PATIENCE) == 0
    assert [report.at for report in reports] == [(0, 0), (0, 1)]
    audit = proxy.stop()
    columns = ("outcome", "status", "first_offset", "last_offset", "records", "client_id")
    # A broker that has just begun may answer that it does not yet lead the partition: then the client sends once more.
    early = "action = 'Write' AND outcome = 'failure'"
    assert {status for (status,) in audit.rows("status", where=early)} <= NOT_YET
    assert audit.rows(*columns, where="action = 'Write' AND outcome <> 'failure'", order="seq") == [
        ("success", None, 0, 0, 1, "p"),
        ("forwarded", None, None, None, 1, "p"),
        ("success", None, 1, 1, 1, "p"),
    ]
    (session,) = audit.one("session", where="action = 'Write' AND outcome = 'forwarded'")
    story = audit.rows("action", "initiator", "outcome", where=f"session = '{session}'", order="seq")
    assert story[-2:] == [("BrokerClose", "broker", "failure"), ("ClientClose", "broker", "failure")]


def test_no_broker_at_all(proxy_for: Callable[..., Proxy], broker: Broker) -> None:
    """A client comes while there is none: accepted, no connection to a broker, closed by the proxy."""
    proxy = proxy_for(plain={"bootstrap": broker.plain})
    broker.kill()
    try:
        producer = Producer(proxy.client() | QUICK)
        proxy.recorded("action = 'ClientClose'")
        del producer
        audit = proxy.stop()
    finally:
        broker.start()
    connects = audit.rows("DISTINCT outcome", "status", where="action = 'BrokerConnect'", order="1")
    assert connects == [("failure", "ECONNREFUSED")]
    ends = audit.rows("DISTINCT initiator", "outcome", where="action = 'ClientClose'", order="1")
    assert ("proxy", "failure") in ends


def test_the_proxy_stops_under_load(proxy_for: Callable[..., Proxy], broker: Broker, topic: str) -> None:
    """What was answered before it stopped is there; what it let through without an answer is `forwarded`."""
    proxy = proxy_for(drain=60, plain={"bootstrap": broker.plain})
    reports: list[Report] = []
    producer = Producer(proxy.client(linger_ms=1, retries=0, message_timeout_ms=60_000) | QUICK)
    stopped = threading.Event()

    def load() -> None:
        while not stopped.wait(0.0005):
            send(producer, topic, reports)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        until(lambda: len(reports) > 1_000, "there is load")
        audit = proxy.stop()
    finally:
        stopped.set()
        thread.join()
    producer.purge()
    producer.flush(PATIENCE)
    told = Counter(report.at for report in reports if report.error is None)
    audited = audit.offsets("Write", topic)
    # An answer that the proxy has seen may not come to the client any more.
    assert told <= audited
    written = Counter(read({"bootstrap.servers": broker.plain}, topic))
    assert audited <= written
    forwarded = audit.one("coalesce(sum(records), 0)", where="action = 'Write' AND outcome = 'forwarded'")[0]
    assert written.total() <= audited.total() + forwarded
    writers = "session IN (SELECT session FROM events WHERE action = 'Write')"
    assert audit.rows("initiator", "status", where=f"action = 'ClientClose' AND {writers}") == [("proxy", None)]


def test_the_proxy_is_killed(proxy_for: Callable[..., Proxy], broker: Broker, topic: str) -> None:
    """`kill -9`: all that a client was told is in the audit, as the next proxy finds it."""
    proxy = proxy_for(plain={"bootstrap": broker.plain})
    reports = produce(proxy.client(linger_ms=1), topic, 2_000)
    got = read(proxy.client(), topic)
    proxy.kill()
    proxy.start()
    more = produce(proxy.client(), topic, 5)
    audit = proxy.stop()
    told = Counter(report.at for report in reports + more)
    assert audit.offsets("Write", topic) == told
    assert audit.offsets("Read", topic) == Counter(got)
    assert audit.one("count(DISTINCT process)", where="true") == (2,)


def test_slow_clients_slow_nobody_else(proxy: Proxy, broker: Broker, topic: str) -> None:
    """One that asks for much and reads nothing of it; the other's offsets go on, and all is whole."""
    produce({"bootstrap.servers": broker.plain, "message.max.bytes": 1_000_000}, topic, 50, size=500_000)
    slow = Raw(where_partitions_are(proxy, topic), "slow")
    slow.send(slow.framed(records.fetch(topic, most=50_000_000)))
    got = read(proxy.client(client_id="quick"), topic)
    slow.vanish()
    audit = proxy.stop()
    assert audit.offsets("Read", topic, "client_id = 'quick' AND outcome = 'success'") == Counter(got)
    assert len(got) == 50

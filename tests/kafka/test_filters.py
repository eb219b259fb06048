"""Filters: one that gives topics other names, seen from both sides, and one that asks on its own account."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from auditring import query, questions
from harness.clients import QUICK, produce, read, results
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.proxy import Proxy

BOTH = ["client", "broker"]


def test_a_topic_under_two_names(proxy_for: Callable[..., Proxy], broker: Broker) -> None:
    """Each tap has the name that is said where it stands, and the same offsets; totals count the primary one alone."""
    theirs = broker.create_topic("payments.orders", partitions=2)
    renaming = {"bootstrap": broker.plain, "taps": BOTH, "rename": {"orders": theirs}}
    proxy = proxy_for(log={"primary_tap": "client"}, renaming=renaming)
    reports = produce(proxy.client(), "orders", 100)
    got = read(proxy.client(), "orders", (0, 1))
    assert sorted(got) == sorted(report.at for report in reports)
    assert sorted(read({"bootstrap.servers": broker.plain}, theirs, (0, 1))) == sorted(got)
    audit = proxy.stop()
    for tap, name in (("client", "orders"), ("broker", theirs)):
        for action in ("Write", "Read"):
            assert audit.offsets(action, name, f"tap = '{tap}' AND outcome = 'success'") == Counter(got)
            assert audit.rows("DISTINCT resource", where=f"tap = '{tap}' AND action = '{action}'") == [(name,)]
    pairs = audit.rows(
        "session", "client_correlation_id", "list(tap ORDER BY tap)",
        where="action = 'Write' GROUP BY session, client_correlation_id", order="1, 2",
    )  # fmt: skip
    assert {tuple(sorted(set(taps))) for *_, taps in pairs} == {("broker", "client")}
    with query.connect(audit.path) as con:
        relation = questions.who_touched("orders").on(con)
        at = relation.columns.index("records")
        assert sorted(row[at] for row in relation.fetchall()) == [100, 100]
        assert questions.who_touched(theirs).on(con).fetchall() == []


def test_administration_under_two_names(proxy_for: Callable[..., Proxy], broker: Broker) -> None:
    """What is made and removed has both names too."""
    renaming = {"bootstrap": broker.plain, "taps": BOTH, "rename": {"ledger": "payments.ledger"}}
    proxy = proxy_for(log={"primary_tap": "client"}, renaming=renaming)
    admin = AdminClient(proxy.client() | QUICK)
    assert results(admin.create_topics([NewTopic("ledger", 1, 1)], request_timeout=PATIENCE)) == {"ledger": None}
    behind = Producer({"bootstrap.servers": broker.plain})
    until(lambda: "payments.ledger" in behind.list_topics(timeout=PATIENCE).topics, "the broker has it")
    assert results(admin.delete_topics(["ledger"])) == {"ledger": None}
    audit = proxy.stop()
    for tap, name in (("client", "ledger"), ("broker", "payments.ledger")):
        rows = audit.rows("action", "resource", "outcome", where=f"tap = '{tap}' AND category = 'administration'")
        assert rows == [("CreateTopics", name, "success"), ("DeleteTopics", name, "success")]


def test_a_filter_that_asks_on_its_own(proxy_for: Callable[..., Proxy], broker: Broker, topic: str) -> None:
    """Its requests are its own, not the client's: who asked, under which id; and the client's offsets are as ever."""
    probing = {"bootstrap": broker.plain, "taps": BOTH, "probe": {"interval": 0.05}}
    proxy = proxy_for(log={"requests": True, "primary_tap": "client"}, probing=probing)
    reports = produce(proxy.client(linger_ms=1, client_id="c"), topic, 200)
    got = read(proxy.client(client_id="c"), topic)
    audit = proxy.stop()
    for tap in BOTH:
        at = f"tap = '{tap}' AND outcome = 'success'"
        assert audit.offsets("Write", topic, at) == Counter(report.at for report in reports)
        assert audit.offsets("Read", topic, at) == Counter(got)
    injected = audit.rows(
        "DISTINCT api", "origin", "filter", "outcome", "authority", where="action = 'RequestInject'", order="1"
    )
    assert injected == [("Metadata", "filter", "com.example.kafka_proxy.Probe", "forwarded", "decision")]
    seen = audit.rows(
        "DISTINCT origin", "filter", "object_ref->>'com.example.kafka_proxy.controller'",
        where="action = 'com.example.kafka_proxy.ControllerSeen'", order="1",
    )  # fmt: skip
    assert seen == [("filter", "com.example.kafka_proxy.Probe", "1")]
    # A request of the filter's takes an id of its own, so the client's go on under other ones; rows have both.
    ids = audit.rows("client_correlation_id", "server_correlation_id", where="action = 'Write' AND tap = 'client'")
    assert all(client is not None and server is not None for client, server in ids)
    assert any(client != server for client, server in ids)

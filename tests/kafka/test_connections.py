"""Processes, connections, and those who end them: what is there when no record has moved at all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from harness import clients
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.proxy import Proxy


def test_start_and_stop(proxy: Proxy, broker: Broker) -> None:
    """A proxy that nobody used has four rows beside the balance, in the order of their numbers."""
    address = proxy.address()
    columns = ("action", "outcome", "origin", "virtual_cluster", "listener", "server")
    rows = proxy.stop().rows(*columns, where="action NOT LIKE 'auditring.%Balance'", order="seq")
    assert rows == [
        ("ProxyStartup", "success", "proxy", None, None, None),
        ("VirtualClusterStartup", "success", "proxy", "plain", address, broker.plain),
        ("VirtualClusterShutdown", "success", "proxy", "plain", None, None),
        ("ProxyCleanShutdown", "success", "proxy", None, None, None),
    ]


def test_plain_connect(proxy: Proxy, broker: Broker) -> None:
    """Each of a client's connections is a session: accepted, connected to the broker, closed by the client."""
    producer = Producer(proxy.client(client_id="c-plain") | clients.QUICK)
    assert list(producer.list_topics(timeout=PATIENCE).brokers) == [1]
    del producer
    everything = "session IS NOT NULL"
    until(lambda: proxy.audit.actions("action = 'ClientClose'").total() >= 1, "the client's end is seen")
    audit = proxy.stop()
    sessions = audit.rows("session", "list(action ORDER BY seq)", where=f"{everything} GROUP BY session", order="1")
    assert sessions
    assert {tuple(actions) for _, actions in sessions} == {
        ("ClientAccept", "BrokerConnect", "BrokerClose", "ClientClose")
    }
    ends = audit.rows("DISTINCT initiator", "status", "outcome", where="action = 'ClientClose'", order="1")
    assert ends == [("client", None, "success")]
    assert audit.rows("DISTINCT server", where="action = 'BrokerConnect'", order="1") == [(broker.plain,)]
    peers = audit.rows("peer_ip", "peer_port", where="action = 'ClientAccept'")
    assert {ip for ip, _ in peers} == {"127.0.0.1"}
    assert max(Counter(port for _, port in peers).values()) == 1


def test_brokers_that_advertise_the_proxy(broker: Broker, proxy_for: Callable[..., Proxy]) -> None:
    """Without rewriting: the broker names the proxy's port, so every connection stays on the proxy."""
    node = {"port": broker.advertised, "address": broker.proxied, "node_id": 1}
    proxy = proxy_for(advertised={"brokers": [node], "taps": ["broker"]})
    topic = broker.create_topic("advertised")
    reports = clients.produce(proxy.client(), topic, 3)
    assert [report.at for report in reports] == [(0, 0), (0, 1), (0, 2)]
    assert clients.read(proxy.client(), topic) == [(0, 0), (0, 1), (0, 2)]
    audit = proxy.stop()
    assert audit.rows("DISTINCT server", "node_id", where="action = 'BrokerConnect'") == [(broker.proxied, 1)]


def test_two_virtual_clusters(broker: Broker, proxy_for: Callable[..., Proxy], topic: str) -> None:
    """One proxy, one topic, two doors: every row says by which one it came in."""
    proxy = proxy_for(left={"bootstrap": broker.plain}, right={"bootstrap": broker.plain})
    told = {name: clients.produce(proxy.client(name), topic, 10) for name in ("left", "right")}
    audit = proxy.stop()
    for name, reports in told.items():
        offsets = audit.offsets("Write", topic, f"virtual_cluster = '{name}' AND outcome = 'success'")
        assert offsets == Counter(report.at for report in reports)
    assert audit.rows("*", where="session IS NOT NULL AND virtual_cluster IS NULL") == []

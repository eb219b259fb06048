"""The broker that the other tests stand on is a real one, and comes back as the same after `kill -9`."""

from harness import clients
from harness.broker import Broker


def test_records_come_back(broker: Broker) -> None:
    """From the offsets that the delivery reports named."""
    topic = broker.create_topic("broker-records", partitions=2)
    plain = {"bootstrap.servers": broker.plain}
    reports = clients.produce(plain, topic, 20)
    assert {report.error for report in reports} == {None}
    assert sorted(clients.read(plain, topic, (0, 1))) == sorted(report.at for report in reports)


def test_it_survives_a_kill(broker: Broker) -> None:
    """With its ports and its records."""
    topic = broker.create_topic("broker-survives")
    plain = {"bootstrap.servers": broker.plain}
    clients.produce(plain, topic, 5)
    broker.kill()
    broker.start()
    assert clients.read(plain, topic) == [(0, offset) for offset in range(5)]

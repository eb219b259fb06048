"""Lives of the Kafka proxy before a real broker: clients under load, the proxy killed and started again.

What is acknowledged is a record of which the producer was told its offset: that offset is in one Write row, once. Of a
record whose producer was told nothing there may be a row, with an offset that the broker has. What a consumer was given
is in a Read row; it may have been fetched twice.

Producers do not try again by themselves: what was answered to a proxy that died at this moment would else be answered,
and seen, twice.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lives import PATIENCE, Found, judged, kill_recoveries, recover_all, standings, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

# The rig of the tests with a real Kafka.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kafka"))

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from harness import jars
from harness.broker import Broker
from harness.certs import Certificates
from harness.clients import QUICK, Report, read, send, where
from harness.ports import free_ports
from harness.proxy import Proxy

_PARTITIONS = 2


@contextmanager
def running() -> Iterator[Callable[[random.Random, Path], Found]]:
    """A broker for all lives; what lives one."""
    jars.require_java()
    with tempfile.TemporaryDirectory(prefix="auditring-kills-kafka-") as folder:
        broker = Broker(Path(folder) / "broker", Certificates(Path(folder) / "certs"))
        with broker.running():
            yield lambda rng, path: _one(broker, rng, path)


class Load:
    """A producer and a consumer of one topic, who know of no proxy that dies."""

    def __init__(self, rng: random.Random, proxy: Proxy, topic: str) -> None:
        self.reports: list[Report] = []
        self.got: set[tuple[int, int]] = set()
        self._stop = threading.Event()
        self._pause = rng.choice((0.0002, 0.001, 0.004))
        self._producer = Producer(
            proxy.client(
                linger_ms=rng.choice((0, 1, 5)), retries=0, message_timeout_ms=30_000, acks=rng.choice((1, -1))
            )
            | QUICK
        )
        own = {"group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
        self._consumer = Consumer(proxy.client() | own | QUICK)
        self._consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in range(_PARTITIONS)])
        self._threads = [threading.Thread(target=self._produce, args=(topic,)), threading.Thread(target=self._consume)]
        for thread in self._threads:
            thread.start()

    def _produce(self, topic: str) -> None:
        count = 0
        while not self._stop.wait(self._pause):
            send(self._producer, topic, self.reports, partition=count % _PARTITIONS)
            count += 1

    def _consume(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.05)
            if message is not None and message.error() is None:
                self.got.add(where(message))

    def stop(self) -> None:
        """No record more, and none under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._producer.purge()
        assert self._producer.flush(PATIENCE) == 0
        self._consumer.close()


def _one(broker: Broker, rng: random.Random, folder: Path) -> Found:
    """One life of a directory, of several proxies. Raises `AssertionError`."""
    found = Found()
    topic = broker.create_topic(f"kills-{time.monotonic_ns()}", _PARTITIONS)
    first, others = free_ports(2)
    cluster = {"bootstrap": broker.plain, "port": first, "broker_ports": others - 1}
    proxy = Proxy(folder / "proxy", drain=1.0, log={"directory": "audit"}, clusters={"plain": cluster})
    path = folder / "proxy" / "audit"
    proxy.start()
    load = Load(rng, proxy, topic)
    try:
        for last in (False,) * rng.choice((0, 1, 2)) + (True,):
            # A machine may be slow to come to its load: then it lives a little longer.
            before = len(load.reports)
            until(lambda before=before: len(load.reports) > before + 50, lambda: "nothing is acknowledged")
            time.sleep(rng.uniform(0, 0.7))
            proxy.kill()
            found.kills += 1
            found.kinds["proxies killed under load"] += 1
            if rng.random() < 0.5:
                kill_recoveries(rng, path, found)
            if not last:
                proxy.start()
    finally:
        if proxy.running:
            proxy.kill()
        load.stop()
    recover_all(rng, path, found)
    judged(path, found, in_lines=False)
    standings(path)
    told = Counter(report.at for report in load.reports if report.error is None)
    assert max(told.values(), default=1) == 1
    rows = proxy.audit.offsets("Write", topic)
    twice = [at for at, count in rows.items() if count > 1]
    assert not twice, f"twice: {sorted(twice)[:5]}"
    assert told.keys() <= rows.keys(), f"acknowledged, and no row: {sorted(told.keys() - rows.keys())[:5]}"
    written = set(read({"bootstrap.servers": broker.plain}, topic, range(_PARTITIONS)))
    assert rows.keys() <= written, f"rows of what was never written: {sorted(rows.keys() - written)[:5]}"
    seen = proxy.audit.offsets("Read", topic)
    assert load.got <= seen.keys(), f"consumed, and no row: {sorted(load.got - seen.keys())[:5]}"
    found.accepted += len(told)
    found.kinds["records acknowledged"] += len(told)
    found.kinds["records written that nobody was told of, with a row"] += len(rows.keys() - told.keys())
    found.kinds["records consumed"] += len(load.got)
    broker.delete_topic(topic)
    return found

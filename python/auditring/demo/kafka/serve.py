"""`python -m auditring.demo.kafka.serve`: a child of the demo, the mock cluster or the proxy before a cluster.

What must always hold: it ends when its standard input does, so it cannot outlive its parent, however that ended. What
it says on standard output are JSON objects, one a line: first where clients begin (`bootstrap`), then, of the proxy,
its log's balance, the last time after the log has closed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import auditring
from auditring.demo import balance
from auditring.demo.children import when_told
from auditring.demo.kafka.settings import TOPIC

if TYPE_CHECKING:
    from auditring.log import AuditLog
    from kafka_proxy import Config

EXAMPLES = Path(__file__).parents[1] / "examples"


def main() -> None:
    """Serves until standard input ends."""
    if sys.argv[1] == "cluster":
        mock()
    else:
        proxy(Path(sys.argv[2]))


def mock() -> None:
    """The cluster of three brokers that librdkafka has in it for tests; topics have four partitions."""
    from confluent_kafka import Producer  # noqa: PLC0415 - the proxy has no use for it

    over = threading.Event()
    when_told(over.set)
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, "log_level": 0})
    # To ask for a topic makes it.
    brokers = cluster.list_topics(TOPIC, timeout=10).brokers.values()
    first = next(iter(brokers))
    balance.say({"bootstrap": f"{first.host}:{first.port}"})
    over.wait()


def proxy(settings: Path) -> None:
    """The proxy among the examples, with the settings in that file."""
    sys.path.insert(0, str(EXAMPLES))
    from kafka_proxy import load  # noqa: PLC0415 - only here is it to be found

    config = load(settings)
    with auditring.open(config.log.directory, instance=config.log.instance, primary_tap=config.log.primary_tap) as log:
        asyncio.run(_serve(config, log))
    balance.say(balance.of(log.stats()))


async def _serve(config: Config, log: AuditLog) -> None:
    from kafka_proxy import Proxy  # noqa: PLC0415 - the same

    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    when_told(lambda: loop.call_soon_threadsafe(over.set))
    proxy = Proxy(config, log)
    await proxy.start()
    (cluster,) = proxy.clusters.values()
    while not over.is_set():
        balance.say({"bootstrap": cluster.bootstrap, **balance.of(log.stats())})
        try:
            await asyncio.wait_for(over.wait(), balance.EVERY)
        except TimeoutError:
            continue
    await proxy.stop()


if __name__ == "__main__":
    main()

"""The cluster behind the proxy: librdkafka's mock in a child, or a real one, where the demo cleans up after itself."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from auditring.demo import balance
from auditring.demo.children import Child, ChildFailed
from auditring.demo.kafka.settings import TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

SERVE: Final = "auditring.demo.kafka.serve"
PARTITIONS: Final = 4
PATIENCE: Final = 15.0
CONNECT_SECONDS: Final = 5.0


class Cluster(NamedTuple):
    """Where it is, and what it calls the topic that the clients call `orders`."""

    bootstrap: str
    topic: str
    child: Child | None = None


@contextmanager
def mock(console: Console) -> Iterator[Cluster]:
    """Three brokers in librdkafka, which it has for tests."""
    with Child("cluster", SERVE, "cluster") as child:
        bootstrap = balance.heard(child.hear())["bootstrap"]
        console.print(f"cluster  {bootstrap}  (pid {child.pid}), librdkafka's mock, three brokers", highlight=False)
        yield Cluster(bootstrap, TOPIC, child)


@contextmanager
def real(console: Console, bootstrap: str) -> Iterator[Cluster]:
    """A topic of our own on the cluster there, which goes when we go. Raises `ChildFailed` where it cannot be made."""
    host, _, port = bootstrap.rpartition(":")
    topic = f"auditring-demo-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        # librdkafka would try again and again.
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        admin.create_topics([NewTopic(topic, PARTITIONS)], request_timeout=PATIENCE)[topic].result(PATIENCE)
    except (KafkaException, OSError) as error:
        # What waited in vain has no text of its own.
        why = str(error) or f"{type(error).__name__}; it needs a listener without TLS and login"
        message = f"no topic can be made on {bootstrap}: {why}"
        raise ChildFailed(message) from error
    console.print(
        f"cluster  {bootstrap}, where {TOPIC} are in the topic {topic}, made for this and deleted at the end",
        highlight=False,
        soft_wrap=True,
    )
    try:
        yield Cluster(bootstrap, topic)
    finally:
        try:
            admin.delete_topics([topic], request_timeout=PATIENCE)[topic].result(PATIENCE)
        except (KafkaException, TimeoutError) as error:
            console.print(f"Note: the topic {topic} is still there: {error}", style="bold red", soft_wrap=True)

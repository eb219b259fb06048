"""Audit Kafka traffic by showing it the bytes: a tap per client connection.

    session = log.session(peer=writer.get_extra_info("peername"), virtual_cluster="payments")
    broker = session.broker("10.0.0.5:9092", node_id=5)
    tap = Tap(broker)
    ...
    tap.from_client(data); upstream.write(data)         # whatever the client sent, in whatever pieces
    tap.from_broker(data); client.write(data)           # whatever the broker answered

What the tap sees goes straight into the ring; no Python object is made for an event. It never changes, keeps back or
refuses a byte, and raises for nothing that the bytes say: what it cannot read is an `auditring.TapBlind` row.
"""

from __future__ import annotations

from typing import NamedTuple

from auditring._core import Tap, Topics, kafka_apis

__all__ = ["APIS", "Api", "Tap", "Topics"]


class Api(NamedTuple):
    """One of Kafka's APIs, as far as a tap reads it."""

    key: int
    """Kafka's number of it."""
    name: str
    """Kafka's name of it, as in the column `api`."""
    first: int
    """First version that is read."""
    last: int
    """Last version that is read; of later ones only the header is, and an `auditring.TapBlind` row says so once."""
    flexible: int | None
    """First version with compact lengths and tagged fields, if there is one."""
    events: str
    """What comes from it."""


APIS: tuple[Api, ...] = tuple(Api(*row) for row in kafka_apis())
"""What a tap reads, in the order of the keys."""

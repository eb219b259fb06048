"""The filter that asks on its own: every so often, on each connection, which broker is the cluster's controller.

The request and its answer are between proxy and broker; the client sees neither. It is an event (`RequestInject`), and
so is a change of what it finds out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kafka_proxy import wire

if TYPE_CHECKING:
    import auditring
    from kafka_proxy.exchange import Exchange

NAME: Final = "com.example.kafka_proxy.Probe"
NAMESPACE: Final = "com.example.kafka_proxy"
VERSION: Final = 4


async def probe(exchange: Exchange, session: auditring.Session, broker: auditring.Broker, interval: float) -> None:
    """Asks until it is cancelled."""
    codec = wire.codec(wire.METADATA, VERSION)
    nothing = codec.request_type(topics=(), allow_auto_topic_creation=False)
    plugin = session.plugin(filter=NAME, namespace=NAMESPACE)
    last = None
    while True:
        number, size, answer = exchange.ask(codec, nothing)
        broker.request_inject(codec.name, codec.version, number, size, filter=NAME)
        controller = (await answer).controller_id
        if controller != last:
            last = controller
            plugin.emit(f"{NAMESPACE}.ControllerSeen", object_ref={f"{NAMESPACE}.controller": str(controller)})
        await asyncio.sleep(interval)

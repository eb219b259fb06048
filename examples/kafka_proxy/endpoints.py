"""The filter that keeps clients on the proxy: addresses of brokers in what they answer become addresses of gates.

They are in Metadata, FindCoordinator and DescribeCluster, and in the node endpoints that Produce, Fetch, ShareFetch and
ShareAcknowledge give where a partition has moved. Those stand behind all partitions, and the size of the frame before
them: so these responses are held whole (kio reads 1 MiB of Fetch in some 50 µs, as it steps over the records). Nearly
always there is no endpoint, and the bytes go on as they came. Older versions have none and are not held.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kafka_proxy import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_proxy.steps import Request

    AddressOf = Callable[[int, str, int], tuple[str, int]]

FIRST_VERSION: Final = {
    wire.METADATA: 0,
    wire.FIND_COORDINATOR: 0,
    wire.DESCRIBE_CLUSTER: 0,
    wire.PRODUCE: 10,
    wire.FETCH: 16,
    wire.SHARE_FETCH: 0,
    wire.SHARE_ACKNOWLEDGE: 0,
}
LISTS: Final = ("brokers", "coordinators", "node_endpoints")


class Endpoints:
    """`address_of(node, host, port)` is where clients find that broker: the host and port of a gate."""

    def __init__(self, address_of: AddressOf) -> None:
        self._address_of = address_of

    def wants_request(self, key: int, version: int) -> bool:
        """None: a client names brokers by their ids."""
        return False

    def wants_response(self, key: int, version: int) -> bool:
        """Those with addresses."""
        return version >= FIRST_VERSION.get(key, 1 << 15)

    def request(self, request: Request, body: Any) -> Any:
        """Goes on as it is."""
        return body

    def response(self, request: Request, body: Any) -> Any:
        """The same with other addresses."""
        if hasattr(body, "host"):  # FindCoordinator up to version 3
            return self._moved(body)
        for name in LISTS:
            if places := getattr(body, name, None):
                body = replace(body, **{name: tuple(self._moved(place) for place in places)})
        return body

    def _moved(self, place: Any) -> Any:
        node = place.broker_id if hasattr(place, "broker_id") else place.node_id
        if node < 0 or not place.host:  # no coordinator, and an error beside it
            return place
        host, port = self._address_of(node, place.host, place.port)
        return replace(place, host=host, port=port)

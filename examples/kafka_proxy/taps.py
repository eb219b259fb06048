"""The taps of one connection: what the client and the brokers say, seen at named points of the chain.

`client` is before the filters, `broker` behind them. Where a filter renames topics the two see different names, so each
place has a table of topic ids of its own, shared by all connections of the virtual cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from auditring.exceptions import ConfigError

try:
    from auditring.kafka import Tap, Topics  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # without the tap in the build the proxy runs with `taps = []`
    Tap = Topics = None

if TYPE_CHECKING:
    from collections.abc import Sequence

    import auditring


class TapLike(Protocol):
    """What the proxy needs of `auditring.kafka.Tap`."""

    in_flight: int

    def from_client(self, data: bytes | memoryview, /) -> None:
        """Shows what goes by in this direction."""

    def from_broker(self, data: bytes | memoryview, /) -> None:
        """Shows what goes by in this direction."""

    def rewrote(self, client_id: int, server_id: int) -> None:
        """The request goes on under another correlation id."""

    def answered(self, correlation_id: int) -> None:
        """The proxy answers this request itself."""

    def close(self) -> None:
        """No more will be shown."""


class Taps:
    """The taps of one virtual cluster: makes those of each connection."""

    def __init__(self, names: Sequence[str]) -> None:
        if names and Tap is None:
            raise ConfigError("taps: this build has no auditring.kafka; set taps = []")
        self._topics = {name: Topics() for name in names}

    def open(self, broker: auditring.Broker) -> dict[str, TapLike]:
        """A tap at each configured place."""
        return {name: Tap(broker, name=name, topics=topics) for name, topics in self._topics.items()}

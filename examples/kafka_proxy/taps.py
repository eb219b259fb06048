"""The taps of one connection: what the client and the brokers say, seen at named points of the chain.

`client` is before the filters, `broker` behind them. Where a filter renames topics the two see different names, so each
place has a table of topic ids of its own, shared by all connections of the virtual cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditring.kafka import Tap, Topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    import auditring


class Taps:
    """The taps of one virtual cluster: makes those of each connection."""

    def __init__(self, names: Sequence[str]) -> None:
        self._topics = {name: Topics() for name in names}

    def open(self, broker: auditring.Broker) -> dict[str, Tap]:
        """A tap at each configured place."""
        return {name: Tap(broker, name=name, topics=topics) for name, topics in self._topics.items()}

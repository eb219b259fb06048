"""The Kafka sink before a real broker, by the rules that every sink has to keep."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from auditring.sinks import KafkaSink
from auditring.testing import SinkConformance
from harness.clients import QUICK
from harness.topics import end, messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.broker import Broker

_SERVERS = "AUDITRING_TEST_KAFKA_SERVERS"
_TOPIC = "AUDITRING_TEST_KAFKA_TOPIC"


class TestKafkaSink(SinkConformance):
    """Each rule has a topic of its own."""

    broker: Broker
    more: Mapping[str, Any] = MappingProxyType({})
    """What else the sink is told."""

    @pytest.fixture(autouse=True)
    def _topic(self, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Processes that are started and killed find it in the environment."""
        self.broker = broker
        monkeypatch.setenv(_SERVERS, broker.plain)
        monkeypatch.setenv(_TOPIC, topic)

    def make_sink(self, folder: Path) -> KafkaSink:
        """All of them write to the topic of the rule."""
        del folder
        return KafkaSink(os.environ[_SERVERS], os.environ[_TOPIC], config=QUICK, **self.more)

    def delivered(self, folder: Path) -> Iterable[str]:
        """As a consumer finds them."""
        del folder
        servers, topic = os.environ[_SERVERS], os.environ[_TOPIC]
        return [one.event_id for one in messages(servers, topic)] if end(servers, topic) else []

    def test_outage(self, tmp_path: Path) -> None:
        """The sink gives up while the broker is away; in the other rules no stall of the machine may make it do so."""
        self.more = {"timeout": 2}
        super().test_outage(tmp_path)

    @contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """The broker takes what is sent to it, and answers nothing."""
        del folder
        with self.broker.paused():
            yield

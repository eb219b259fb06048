"""Kafka's sink keeps the rules that every sink has to keep, before a real broker."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from auditring.sinks import KafkaSink
from auditring.testing import SinkConformance
from harness.topics import messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auditring.sinks import Sink
    from harness.broker import Broker

_SERVERS, _TOPIC = "AUDITRING_TEST_SERVERS", "AUDITRING_TEST_TOPIC"


def topic_of(folder: Path) -> str:
    """The topic that is known by a folder: the test's, and two more where it has folders of its own."""
    parts = {"first": "-first", "second": "-second"}
    return os.environ[_TOPIC] + parts.get(folder.name, "")


class TestKafkaSink(SinkConformance):
    """At least once; a topic with one partition has the order of each process."""

    @pytest.fixture(autouse=True)
    def _cluster(
        self, broker: Broker, topic: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the sink finds it, in the process that a check starts, too."""
        self.broker = broker
        monkeypatch.setenv(_SERVERS, broker.plain)
        monkeypatch.setenv(_TOPIC, topic)
        if request.node.name == "test_close":
            for part in ("first", "second"):
                broker.create_topic(f"{topic}-{part}")

    def make_sink(self, folder: Path) -> Sink:
        """With little patience, so that a broker that is away is soon noticed."""
        return KafkaSink(os.environ[_SERVERS], topic_of(folder), timeout=3.0)

    def delivered(self, folder: Path) -> list[str]:
        """As a consumer finds them."""
        return [one.event_id for one in messages(os.environ[_SERVERS], topic_of(folder))]

    @contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """The broker is killed, and started again."""
        del folder
        self.broker.kill()
        try:
            yield
        finally:
            self.broker.start()

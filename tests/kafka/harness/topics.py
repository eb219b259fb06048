"""What an auditor has put into a topic, as a consumer finds it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from harness.clients import QUICK
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Got:
    """One message."""

    key: str
    value: bytes
    time_ms: int
    headers: dict[str, str]

    @property
    def event_id(self) -> str:
        """Which event it is."""
        return self.headers["event_id"]

    @property
    def row(self) -> dict[str, Any]:
        """Its value as JSON."""
        row: dict[str, Any] = json.loads(self.value)
        return row


def end(servers: str, topic: str, partitions: int = 1) -> int:
    """How many messages were ever put into a topic; none where it is not there."""
    consumer = Consumer({**QUICK, "bootstrap.servers": servers, "group.id": "none"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE)[1]
            for number in range(partitions)
        )
    except KafkaException as error:
        if error.args[0].name() in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC"}:
            return 0
        raise
    finally:
        consumer.close()


def messages(servers: str, topic: str, partitions: Iterable[int] = (0,)) -> list[Got]:
    """All that is in it now, partition by partition in its order."""
    settings = {"group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**QUICK, "bootstrap.servers": servers, **settings})
    got: list[Got] = []
    ended: set[int | None] = set()
    wanted = set(partitions)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in wanted])

    def all_ended() -> bool:
        for message in consumer.consume(10_000, 0.2):
            error = message.error()
            if error is None:
                pairs: Any = message.headers() or []
                headers = {name: (value or b"").decode() for name, value in pairs}
                key = (message.key() or b"").decode()
                got.append(Got(key, message.value() or b"", message.timestamp()[1], headers))
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error  # noqa: SLF001 - librdkafka's own spelling
                ended.add(message.partition())
        return ended >= wanted

    until(all_ended, f"{topic} is read to its end", pause=0)
    consumer.close()
    return got


def doubled(got: list[Got]) -> Counter[str]:
    """How often each event came beyond the first time."""
    counted = Counter(one.event_id for one in got)
    return Counter({event_id: n - 1 for event_id, n in counted.items() if n > 1})

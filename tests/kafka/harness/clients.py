"""confluent-kafka's clients, and what their own API says: the side of the truth that is not ours."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from harness import planted
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    Settings = dict[str, Any]
    Offset = tuple[int, int]
    """A partition and an offset in it."""

QUICK: Final[dict[str, Any]] = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "log_level": 0}
"""What every client of the suite is told: a broker that went is soon back."""

_numbers = itertools.count(1)


class Report(NamedTuple):
    """What a producer's delivery callback was told."""

    partition: int
    offset: int
    error: str | None

    @property
    def at(self) -> Offset:
        """Where the record is."""
        return self.partition, self.offset


def sasl(user: str, mechanism: str, password: str | None = None) -> Settings:
    """Credentials; by default the right ones."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": planted.password(user) if password is None else password,
    }


def produce(settings: Settings, topic: str, count: int, *, partition: int | None = None, size: int = 0) -> list[Report]:
    """Sends so many records, each with planted key, value and header; what the broker said of each."""
    reports: list[Report] = []
    producer = Producer({**QUICK, **settings})
    for _ in range(count):
        send(producer, topic, reports, partition=partition, size=size)
    assert producer.flush(PATIENCE) == 0, "records are still under way"
    return reports


def send(producer: Producer, topic: str, reports: list[Report], *, partition: int | None = None, size: int = 0) -> None:
    """Sends one planted record; its report is appended to `reports`."""

    def delivered(error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        # What came to no partition has none.
        at = (-1 if partition is None else partition), (-1 if offset is None else offset)
        reports.append(Report(*at, None if error is None else error.name()))

    number = next(_numbers)
    producer.produce(
        topic,
        planted.value(number, size),
        planted.key(number),
        partition=-1 if partition is None else partition,
        headers=[("h", planted.value(number))],
        on_delivery=delivered,
    )
    producer.poll(0)


def read(
    settings: Settings, topic: str, partitions: Iterable[int] = (0,), start: int = OFFSET_BEGINNING
) -> list[Offset]:
    """Reads partitions to their end, without a group; where every record was that the application got."""
    consumer = Consumer(
        {**QUICK, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True, **settings}
    )
    wanted = list(partitions)
    consumer.assign([TopicPartition(topic, partition, start) for partition in wanted])
    got: list[Offset] = []
    ended: set[int] = set()

    def all_ended() -> bool:
        message = consumer.poll(0.1)
        if message is None:
            return False
        error = message.error()
        if error is None:
            got.append(where(message))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are spelled so
            ended.add(where(message)[0])
        else:
            raise AssertionError(f"the consumer was told: {error}")
        return ended == set(wanted)

    until(all_ended, f"{topic} is read to its end", pause=0)
    consumer.close()
    return got


def error_of(consumer: Consumer) -> str:
    """The name of the first error that a consumer is told, before any record."""
    message = until(lambda: consumer.poll(0.1), "the consumer is told", pause=0)
    assert message is not None
    error = message.error()
    assert error is not None, "a record, not an error"
    return error.name()


def refused(settings: Settings, *names: str) -> None:
    """Tries to connect until the client is told an error with one of these names."""
    told: list[KafkaError] = []
    # The audit is to have the try that was refused, and not the beginning of one more that the client's end breaks off.
    seldom = {"reconnect.backoff.ms": 10_000, "reconnect.backoff.max.ms": 10_000}
    producer = Producer({**settings, "log_level": 0, "error_cb": told.append, **seldom})

    def one_of_them() -> bool:
        producer.poll(0.05)
        return any(error.name() in names for error in told)

    until(one_of_them, f"the client is told {names}")


def where(message: Message) -> Offset:
    """A message's place."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def consume(consumer: Consumer, count: int) -> list[Message]:
    """So many messages from a consumer that is subscribed or assigned."""
    got: list[Message] = []

    def enough() -> bool:
        message = consumer.poll(0.1)
        if message is not None:
            assert message.error() is None, message.error()
            got.append(message)
        return len(got) >= count

    until(enough, f"{count} messages", pause=0)
    return got


def results(futures: dict[Any, Any]) -> dict[Any, str | None]:
    """What the admin client was told of each resource: `None`, or the error's name."""
    told: dict[Any, str | None] = {}
    for resource, future in futures.items():
        error = future.exception(PATIENCE)
        told[resource] = None if error is None else error.args[0].name()
    return told


def camel(name: str | None) -> str | None:
    """An error's name as the audit spells it: TOPIC_AUTHORIZATION_FAILED is TopicAuthorizationFailed."""
    return None if name is None else "".join(word.capitalize() for word in name.split("_"))

"""The clients, all of confluent-kafka: alice writes orders, bob reads them, and three who get nowhere.

What must always hold: whatever Kafka's API tells a client is noted in `Seen`, record by record. alice is never further
ahead of bob than the mock cluster keeps, so that nothing is gone before it is read.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from auditring.demo.kafka.seen import Seen
from auditring.demo.kafka.settings import ALICE, BOB, CAROL, MALLORY, TOPIC, Login

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD: Final = b'{"item": 7, "amount": 3, "to": "12 Abbey Road", "note": "' + b"x" * 140 + b'"}'
AHEAD: Final = 10_000
"""Records; some 2 MiB."""
PATIENCE: Final = 10.0
"""Seconds that an answer may take."""
BREATH: Final = 0.02
_AUTHENTICATION: Final = KafkaError._AUTHENTICATION  # noqa: SLF001 - so librdkafka calls errors of its own


class ClientFailed(Exception):  # noqa: N818 - it says what happened
    """A client was told what it should not have been."""


class Clients:
    """`jobs` to run in a thread each; they end by themselves, and soon after `give_up`."""

    def __init__(self, bootstrap: str, seconds: float) -> None:
        self.seen = Seen()
        self.seconds = seconds
        self._bootstrap = bootstrap
        self._until = monotonic() + seconds
        self._given_up = threading.Event()
        self._all_written = threading.Event()

    @property
    def jobs(self) -> tuple[Callable[[], None], ...]:
        """Raise `ClientFailed` and `KafkaException`."""
        return self.write, self.read, self.get_nowhere

    def give_up(self) -> None:
        """Whatever is not done will not be."""
        self._given_up.set()

    def write(self) -> None:
        """Alice writes orders until the time is over, and waits until all are acknowledged."""
        written, failed = self.seen.written, list[KafkaError]()

        def reported(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                written.add(_known(message.partition()), _known(message.offset()), len(RECORD))

        producer = Producer(self._settings(ALICE, "shop") | {"enable.idempotence": True, "linger.ms": 5})
        number = 0
        while monotonic() < self._until and not failed and not self._given_up.is_set():
            if number - self.seen.read.records >= AHEAD:
                producer.poll(BREATH)
                continue
            producer.produce(TOPIC, RECORD, key=b"%d" % number, on_delivery=reported)
            number += 1
            if number % 100 == 0:
                producer.poll(0)
        if self._given_up.is_set():
            producer.purge()
        unanswered = producer.flush(PATIENCE)
        if failed or unanswered:
            message = f"{len(failed)} of alice's records were refused, {unanswered} not acknowledged: {failed[:1]}"
            raise ClientFailed(message)
        self._all_written.set()

    def read(self) -> None:
        """Bob reads every partition from its beginning, until he has all that was acknowledged."""
        consumer = Consumer(self._settings(BOB, "billing") | _READER)
        try:
            consumer.assign(_beginnings(consumer))
            late = float("inf")
            while not self._given_up.is_set():
                for message in consumer.consume(500, timeout=0.1):
                    if message.error() is not None:
                        raise ClientFailed(f"bob may read orders, and was told: {message.error()}")
                    value = message.value() or b""
                    self.seen.read.add(_known(message.partition()), _known(message.offset()), len(value))
                if self._all_written.is_set():
                    late = min(late, monotonic() + PATIENCE)
                    if self.seen.read.records >= self.seen.written.records:
                        return
                if monotonic() > late:
                    break
        finally:
            consumer.close()
        raise ClientFailed(f"bob got {self.seen.read.records:,} of {self.seen.written.records:,} records")

    def get_nowhere(self) -> None:
        """One after the other, somebody tries what he may not."""
        for attempt in (self._guess, self._read_as_carol, self._write_as_bob):
            self._given_up.wait(self.seconds / 6)
            attempt()

    def _guess(self) -> None:
        """Somebody says that he is bob, and does not know the password."""
        errors = list[KafkaError]()
        # Without a second try in the meantime there is one failed login, and not as many as there is time for.
        once = {"reconnect.backoff.ms": 10_000, "error_cb": errors.append}
        client = Producer(self._settings(MALLORY, "guess") | once)
        client.produce(TOPIC, RECORD)  # else it would not connect
        self._patiently(lambda: client.poll(BREATH), lambda: _codes(errors) & {_AUTHENTICATION})
        client.purge()
        client.flush(PATIENCE)
        self.seen.failed_logins[MALLORY.name] += sum(e.code() == _AUTHENTICATION for e in errors)

    def _read_as_carol(self) -> None:
        """Carol may know that there are orders, and tries to read them."""
        errors = list[KafkaError]()
        consumer = Consumer(self._settings(CAROL, "curious") | _READER)
        try:
            consumer.assign(_beginnings(consumer))

            def consume() -> None:
                for message in consumer.consume(10, timeout=BREATH):
                    error = message.error()
                    if error is None:
                        raise ClientFailed("carol may not read orders, and got one")
                    errors.append(error)

            self._patiently(consume, lambda: _codes(errors) & {KafkaError.TOPIC_AUTHORIZATION_FAILED})
        finally:
            consumer.close()
        self.seen.refused.add((CAROL.name, "READ", TOPIC))

    def _write_as_bob(self) -> None:
        """Bob may read orders, and tries to write one."""
        errors = list[KafkaError | None]()
        client = Producer(self._settings(BOB, "slip"))
        client.produce(TOPIC, RECORD, on_delivery=lambda error, _: errors.append(error))
        self._patiently(lambda: client.poll(BREATH), lambda: bool(errors))
        (error,) = errors
        if error is None or error.code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise ClientFailed(f"bob may not write orders, and was told: {error}")
        self.seen.refused.add((BOB.name, "WRITE", TOPIC))

    def _patiently(self, go_on: Callable[[], object], told: Callable[[], object]) -> None:
        """Goes on until the client was told what it waits for."""
        late = monotonic() + PATIENCE
        while not told():
            if self._given_up.is_set() or monotonic() > late:
                raise ClientFailed("a client was not told in time that it gets nowhere")
            go_on()

    def _settings(self, who: Login, client_id: str) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._bootstrap,
            "client.id": f"{who.name}-{client_id}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": who.mechanism,
            "sasl.username": who.name,
            "sasl.password": who.password,
            "log_level": 0,  # what goes wrong is the demo's to tell
        }


_READER: Final = {
    "group.id": "auditring-demo",  # wanted, but of no use: partitions are assigned, and no offset is committed
    "enable.auto.commit": False,
    "fetch.wait.max.ms": 100,
}


def _beginnings(consumer: Consumer) -> list[TopicPartition]:
    topic = consumer.list_topics(TOPIC, timeout=PATIENCE).topics[TOPIC]
    if topic.error is not None:
        raise KafkaException(topic.error)
    return [TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in topic.partitions]


def _codes(errors: list[KafkaError]) -> set[int]:
    return {error.code() for error in errors}


def _known(number: int | None) -> int:
    if number is None:
        raise ClientFailed("a record has no place")
    return number

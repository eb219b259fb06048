"""One producer: made with secrets as they are now, checked against its cluster, drained, and let go of.

What must always hold: `drain` returns only when the cluster has acknowledged every message that was produced.
librdkafka gives each message one report, of success or of failure, and counts it as under way until that was served; so
nothing being under way, with no failure among the reports, is the proof, and reports of success need call no Python.

A producer that has failed is never used again: what it still has is purged, and a message of it that is on its way may
arrive all the same, which is why rows that come again are marked.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from auditring.exceptions import SinkError
from auditring.secrets import scrubbed
from auditring.sinks._kafka_errors import TOO_LARGE, failure, worst

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

__all__ = ["Cluster", "Lines"]

_SLICE: Final = 0.2
_FIRST_LOOK: Final = 0.5
_LOGGER: Final = logging.getLogger("auditring.kafka")
_LOGGER.addHandler(logging.NullHandler())


class Lines:
    """librdkafka's log lines, without secrets, for whoever listens to the logger."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    def log(self, level: int, line: str, *args: object) -> None:
        """As `logging.Logger.log`."""
        _LOGGER.log(level, "%s", scrubbed(line % args if args else line, self._secrets))


class _Reports:
    """What callbacks have said. Knows nothing of the producer, so that this goes as soon as it is let go of."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self.failed: SinkError | None = None
        """The first failure of a message, or of the whole producer."""
        self.names: dict[str, str] = {}
        """The last errors that are nobody's but the connection's: by name, what was said."""
        self.too_large = False

    def delivered(self, error: "KafkaError | None", message: "Message") -> None:
        """A message has failed for good; those that have not are not told of."""
        if error is None:
            return
        name = error.name()
        self.too_large = self.too_large or name == TOO_LARGE
        if self.failed is None:
            self.failed = self.explained(name, message.topic(), error.str())

    def client(self, error: "KafkaError") -> None:
        """Something is wrong with connections."""
        self.names[error.name()] = self.scrub(error.str())

    def fatal(self, error: "KafkaError") -> SinkError:
        """The producer has come to its end; why is what a message was told before, if one was."""
        if self.failed is None:
            self.failed = failure(error.name(), None, f"fatal: {self.scrub(error.str())}")
        return self.failed

    def explained(self, name: str, topic: str | None, said: str) -> SinkError:
        """The error of that name, or the one that explains it."""
        serious = worst(self.names) if name.startswith("_") else None
        if serious is not None:
            return failure(serious, topic, self.names[serious])
        return failure(name, topic, self.scrub(said))

    def scrub(self, text: str) -> str:
        """Without secrets."""
        return scrubbed(text, self._secrets)


class Cluster:
    """A producer, and what it is told of the cluster that it writes to."""

    def __init__(self, settings: Mapping[str, Any], secrets: Mapping[str, str], *, each: bool = False) -> None:
        """Makes the producer; waits for nobody. Raises `SinkError`. `each`: reports of success call Python, too."""
        from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - only who has such a sink needs it

        self.exception = KafkaException
        """What its calls raise."""
        self._reports = _Reports(secrets)
        callbacks = {
            "on_delivery": self._reports.delivered,
            "error_cb": self._reports.client,
            "logger": Lines(secrets),
            # Handled by confluent-kafka: librdkafka itself reports all, and what is under way is counted.
            "delivery.report.only.error": not each,
        }
        try:
            self._producer: Producer = Producer({**settings, **callbacks})
        except KafkaException as error:
            # What is wrong here is a setting or a file; neither is the cluster's.
            raise SinkError(f"no producer can be made: {self._reports.scrub(error.args[0].str())}") from None
        self.produce = self._producer.produce
        """librdkafka's own; raises `BufferError` where its queue is full."""
        self._checked: set[str] = set()

    @property
    def too_large(self) -> bool:
        """Whether a message failed for its size, or for that of the batch it was in."""
        return self._reports.too_large

    def reach(self, patience: float, stopping: Callable[[], bool]) -> None:
        """Waits until a broker answers. Raises `SinkError`."""
        self._ask(self._producer.cluster_id, None, patience, stopping)

    def blaming(self, seq: int, refused: list[int]) -> "Callable[[KafkaError | None, Message], None]":
        """A report for one row's message, which notes the row where it is too large, and goes on."""
        reports = self._reports

        def delivered(error: "KafkaError | None", message: "Message") -> None:
            if error is not None and error.name() == TOO_LARGE:
                refused.append(seq)
            else:
                reports.delivered(error, message)

        return delivered

    def check(self, topic: str, patience: float, stopping: Callable[[], bool]) -> None:
        """Looks, once, whether a topic is there and may be written to. Raises `SinkError`."""
        if topic in self._checked:
            return
        found = self._ask(
            lambda seconds: self._producer.list_topics(topic, timeout=seconds).topics.get(topic),
            topic,
            patience,
            stopping,
        )
        error = None if found is None else found.error
        if error is not None:
            raise failure(error.name(), topic, self._reports.scrub(error.str()))
        self._checked.add(topic)

    def _ask(
        self, question: Callable[[float], Any], topic: str | None, patience: float, stopping: Callable[[], bool]
    ) -> Any:  # noqa: ANN401 - whatever the answer is
        """Asks, with ever more patience, so that what is said meanwhile (a login that is refused) ends it."""
        deadline, look = time.monotonic() + patience, _FIRST_LOOK
        while True:
            try:
                return question(max(0.05, min(look, deadline - time.monotonic())))
            except self.exception as error:
                self._poll(0)
                name, said = error.args[0].name(), error.args[0].str()
                if worst(self._reports.names) is not None or stopping() or time.monotonic() >= deadline:
                    raise self._reports.explained(name, topic, said) from None
                look *= 2

    def serve(self, seconds: float = 0) -> None:
        """Takes reports, and waits for some. Raises the first failure."""
        self._poll(seconds)
        self.raise_failure()

    def _poll(self, seconds: float) -> None:
        """Calls back. Raises `SinkError` where the producer has come to its end."""
        self._served(self._producer.poll, seconds)

    def _served(self, serve: Callable[[float], int], seconds: float) -> int:
        """A fatal error does not come to `error_cb`, but is raised by whatever serves callbacks, once."""
        try:
            return serve(seconds)
        except self.exception as error:
            raise self._reports.fatal(error.args[0]) from None

    def raise_failure(self) -> None:
        """Raises the first failure that was reported, if there is one."""
        if self._reports.failed is not None:
            raise self._reports.failed

    def explain(self, name: str, topic: str | None, said: str) -> SinkError:
        """The sink's error for the one of that name, without secrets."""
        return self._reports.explained(name, topic, said)

    def explained(self, error: "KafkaError", topic: str) -> SinkError:
        """The sink's error for one that `produce` raised."""
        self._reports.too_large = self._reports.too_large or error.name() == TOO_LARGE
        if error.name() == "_FATAL":
            # Why the producer has come to its end is told by its callbacks.
            with contextlib.suppress(SinkError):
                self._poll(0)
        if self._reports.failed is not None:
            return self._reports.failed
        return self._reports.explained(error.name(), topic, error.str())

    def drain(self, stopping: Callable[[], bool]) -> None:
        """Waits until every message is acknowledged. Raises the first failure, and when `stopping` says so."""
        while left := self._served(self._producer.flush, _SLICE):
            self.raise_failure()
            if stopping():
                raise SinkError(f"{left} messages have no report yet, and the log is being closed")
        self.raise_failure()

    def end(self) -> None:
        """Gives up what is under way, and lets go of the producer. What was sent may arrive all the same."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        with contextlib.suppress(SinkError):  # it has failed already, or nobody waits for it
            self._poll(0)
        del self.produce, self._producer

    def forked(self) -> None:
        """In a forked child: the producer's threads are the parent's, so it is not ended but left as it is."""
        _LEFT.append(self._producer)


_LEFT: Final[list[object]] = []
"""Producers of parents: to end one without its threads would wait for ever."""

"""One producer for the sinks of many processes, as an agent drives them.

What must always hold: each sink knows of its own messages alone, by a report for each of them; a producer that has
failed is left by all who share it, each at its own next call, and the first who begins anew makes the next; and what a
sink that has begun anew sends goes behind what it had sent before, for there is one queue.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from auditring.exceptions import SinkError
from auditring.sinks._kafka_errors import TOO_LARGE
from auditring.sinks._kafka_producer import Cluster

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

__all__ = ["Member", "Pool"]

_SLICE: Final = 0.05


class _Shared:
    """One producer, and who uses it."""

    def __init__(self, cluster: Cluster, most: int) -> None:
        self.cluster = cluster
        self.most = most
        self.members = 0
        self.over: SinkError | None = None
        """Why nobody may go on with it."""


class Pool:
    """Gives each sink a share of the one producer that there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: _Shared | None = None

    def join(self, make: Callable[[], Cluster], most: int) -> "Member":
        """A share of the producer; of the next, which `make` makes, where it has failed or sends more than `most`."""
        with self._lock:
            shared = self._shared
            if shared is not None and shared.over is None and shared.most > most:
                shared.over = SinkError("the producer that sinks share is made anew: a topic takes less")
            if shared is None or shared.over is not None:
                shared = self._shared = _Shared(make(), most)
            shared.members += 1
            return Member(self, shared)

    @property
    def members(self) -> int:
        """How many have a share now."""
        with self._lock:
            return 0 if self._shared is None else self._shared.members

    def leave(self, shared: _Shared) -> None:
        """One fewer has it; the last one ends what is of no more use."""
        with self._lock:
            shared.members -= 1
            if shared.members == 0 and shared.over is not None:
                shared.cluster.end()

    def end(self) -> None:
        """Nobody will join any more."""
        with self._lock:
            shared, self._shared = self._shared, None
            if shared is not None and shared.over is None:
                shared.over = SinkError("the producer that sinks share has ended")
                if shared.members == 0:
                    shared.cluster.end()


class Member:
    """What one sink sees of the producer: the same as a `Cluster` of its own."""

    def __init__(self, pool: Pool, shared: _Shared) -> None:
        self._pool = pool
        self._shared = shared
        self._lock = threading.Lock()
        self._under_way = 0
        self._failed: SinkError | None = None
        self.too_large = False
        self.exception = shared.cluster.exception
        self.check = shared.cluster.check
        self.explain = shared.cluster.explain

    def produce(self, topic: str, *message: Any) -> None:  # noqa: ANN401 - librdkafka's own
        """As librdkafka's; the report is this sink's."""
        value, key, partition, report, _, time_ms, headers = message

        def delivered(error: "KafkaError | None", of: "Message") -> None:
            # Called in whichever thread polls.
            if report is not None:
                report(error, of)
            elif error is not None:
                self._fail(error, of.topic())
            with self._lock:
                self._under_way -= 1

        with self._lock:
            self._under_way += 1
        try:
            self._shared.cluster.produce(topic, value, key, partition, delivered, None, time_ms, headers)
        except BaseException:
            with self._lock:
                self._under_way -= 1
            raise

    def _fail(self, error: "KafkaError", topic: str | None) -> None:
        self.too_large = self.too_large or error.name() == TOO_LARGE
        failed = self.explain(error.name(), topic, error.str())
        self._failed = self._failed or failed
        # What a topic refuses is that topic's matter; librdkafka's own errors are everybody's.
        if error.name().startswith("_"):
            self._shared.over = self._shared.over or failed

    def blaming(self, seq: int, refused: list[int]) -> "Callable[[KafkaError | None, Message], None]":
        """A report for one row's message, which notes the row where it is too large, and goes on."""

        def delivered(error: "KafkaError | None", message: "Message") -> None:
            if error is not None and error.name() == TOO_LARGE:
                refused.append(seq)
            elif error is not None:
                self._fail(error, message.topic())

        return delivered

    def explained(self, error: "KafkaError", topic: str) -> SinkError:
        """The sink's error for one that `produce` raised."""
        self.too_large = self.too_large or error.name() == TOO_LARGE
        explained = self._shared.cluster.explained(error, topic)
        if error.name().startswith("_"):
            self._shared.over = self._shared.over or explained
        return explained

    def reach(self, patience: float, stopping: Callable[[], bool]) -> None:
        """Waits until a broker answers. Raises `SinkError`; then nobody goes on with this producer."""
        try:
            self._shared.cluster.reach(patience, stopping)
        except SinkError as error:
            self._shared.over = self._shared.over or error
            raise

    def serve(self, seconds: float = 0) -> None:
        """Takes reports, of all sinks. Raises the first failure of this one, and that of the producer."""
        try:
            self._shared.cluster.serve(seconds)
        except SinkError as error:
            self._shared.over = self._shared.over or error
        for failed in (self._failed, self._shared.over):
            if failed is not None:
                raise failed

    def drain(self, stopping: Callable[[], bool]) -> None:
        """Waits until every message of this sink is acknowledged. Raises as `serve`, and when `stopping` says so."""
        self.serve()
        while self._under_way:
            self.serve(_SLICE)
            if self._under_way and stopping():
                raise SinkError(f"{self._under_way} messages have no report yet, and the log is being closed")
        # Another thread may have taken the last report since this one last looked.
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """Leaves it to the others."""
        self._pool.leave(self._shared)

    def forked(self) -> None:
        """In a forked child: it is the parent's."""
        self._shared.cluster.forked()

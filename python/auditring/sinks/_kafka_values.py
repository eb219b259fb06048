"""What a message holds: a row's JSON, or what a serializer makes of it, within the bytes that a topic takes.

What must always hold: a row is either a message, whole or cut and marked, or it is refused by its seq; one row never
keeps the next from being sent.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from auditring.exceptions import SinkRejected
from auditring.sinks._kafka_cut import cut

__all__ = ["KafkaRecord", "Serializer", "Values"]

_TRIES: Final = 4


class KafkaRecord(NamedTuple):
    """A row as a serializer gets it."""

    json: bytes
    """Canonical JSON; of a row that was too large, cut and marked."""
    seq: int
    time_ns: int
    action: str
    category: str
    outcome: str
    session: str | None
    virtual_cluster: str | None


Serializer = Callable[[KafkaRecord], bytes | str]
"""Makes a message's value of a row. A row at which it raises is refused for good."""


class Values:
    """Values of rows, one after the other, and what had to be done to them."""

    def __init__(self, serializer: Serializer | None) -> None:
        self._serializer = serializer
        self._refused: list[int] = []
        self._why = ""
        self.cut = 0
        """Rows that were cut."""

    def of(self, record: KafkaRecord, room: int) -> bytes:
        """The value of a row in at most `room` bytes; empty where it is refused."""
        try:
            value = self._made(record)
            if len(value) <= room:
                return value
            return self._smaller(record, room)
        except Exception as error:  # noqa: BLE001 - a serializer may raise whatever it likes
            self._refused.append(record.seq)
            self._why = self._why or f"{type(error).__name__}: {error}"
            return b""

    def raise_refused(self) -> None:
        """Raises `SinkRejected` with the rows that were refused since the last call, if there are any."""
        if self._refused:
            (refused, why), self._refused, self._why = (self._refused, self._why), [], ""
            raise SinkRejected(f"{len(refused)} row(s) cannot be made a message of: {why}", refused)

    def _made(self, record: KafkaRecord) -> bytes:
        if self._serializer is None:
            return record.json
        value: object = self._serializer(record)
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes):
            return value
        raise TypeError(f"the serializer gave a {type(value).__name__}, neither bytes nor str")

    def _smaller(self, record: KafkaRecord, room: int) -> bytes:
        """Of a row that is cut until its value fits, whatever a serializer makes of that."""
        target = room
        for _ in range(_TRIES):
            shorter = cut(record.json, target)
            if shorter is None:
                break
            value = self._made(record._replace(json=shorter))
            if len(value) <= room:
                self.cut += 1
                return value
            target = min(target, len(shorter)) * room // len(value) - 1
        raise ValueError(f"it cannot be cut to the {room} bytes that the topic has room for")

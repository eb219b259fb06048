"""Sinks that change hands: between a log and an agent, or the other way, while both run.

Who drives a sink over a process's journal is told by its lock alone, so there are never two; whose turn it is while the
lock is free stands in the journal's list of followers. A log that lets go of a sink says that it is an agent's turn,
then commits, then lets go of the lock. One that wants it back says so, and takes it as soon as the lock is free: an
agent that sees that it is not its turn any more commits and lets go; of one that was killed the lock is free at once.

What must always hold: whoever has the lock begins at the cursor, which the one before has moved only over what is
safe; so a sink may change hands at any moment, and nothing is missing and nothing there twice.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from auditring.exceptions import ConfigError
from auditring.health import HealthBoard
from auditring.sinks.base import Batching, RowBatch, Sink, SinkContext
from auditring.threads import started

__all__ = ["Waiting", "named"]

_POLL: Final = 0.1
_TABLES: Final = "parquet"
_ADVICE: Final = "look at the cause; the sink's rows wait in the journal, and it is tried again by itself"


class _Named(Sink):
    """A sink of which only the name is known here: an agent has the rest of it, and nobody drives this."""

    def __init__(self, name: str) -> None:
        self.name = name
        # What is told by the name of the first table sink, where somebody asks which one that is.
        self.batching = Batching(rows=1, tables=name == _TABLES)

    def probe(self, root: Path) -> None:  # noqa: ARG002 - the protocol's signature
        """What it writes to is an agent's to look at."""
        return

    def open(self, context: SinkContext) -> None:
        raise NotImplementedError

    def start(self, state: bytes) -> None:
        raise NotImplementedError

    def write(self, batch: RowBatch) -> int:
        raise NotImplementedError

    def commit(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def forked(self) -> None:
        return


def named(sinks: object) -> list[object]:
    """An agent's sinks, each as a sink, whatever it was given as; what is none is left for others to complain of."""
    if isinstance(sinks, str | bytes | Sink) or not isinstance(sinks, Iterable):
        raise ConfigError(f"agent_sinks: a collection of sinks' names, or of sinks, not {sinks!r}")
    return [_Named(one) if isinstance(one, str) else one for one in sinks]


class Waiting:
    """Sinks that a log is to drive, and whose locks somebody else has at the moment."""

    def __init__(self, take: Callable[[Sink], bool], board: HealthBoard) -> None:
        """`take` drives the sink from then on, and returns whether it could."""
        self._take = take
        self._board = board
        self._changed = threading.Condition()
        self._sinks: dict[str, Sink] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Who is waited for."""
        with self._changed:
            return tuple(self._sinks)

    def add(self, sink: Sink) -> None:
        """Waits for its lock. Raises `OSError` where there is no thread to be had."""
        with self._changed:
            self._sinks[sink.name] = sink
            if self._thread is None:
                self._thread = started(self._run, "auditring-handover")

    def drop(self, name: str) -> bool:
        """Waits for it no longer; whether it did."""
        with self._changed:
            dropped = self._sinks.pop(name, None) is not None
        if dropped:
            self._board.good(f"handover:{name}")
        return dropped

    def stop(self) -> None:
        """The log is being closed: nothing more is taken."""
        with self._changed:
            self._stopping = True
            self._sinks.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                if not self._sinks:
                    self._thread = None
                    return
                waiting = list(self._sinks.values())
            for sink in waiting:
                with self._board.told(f"handover:{sink.name}", _ADVICE), self._changed:
                    # Under the lock: who drops it, or closes, finds it taken or not.
                    if sink.name in self._sinks and self._take(sink):
                        del self._sinks[sink.name]
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _POLL)

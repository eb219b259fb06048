"""What a follower counts: what has gone into the checkpoint that is open, and what was lost and is told of.

What must always hold: a checkpoint takes no more rows than it may; and each lost row is told of once, in a row of the
log's own that says of which sink, why, and between when.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from auditring.sinks.base import Checkpoint

__all__ = ["Losses", "Tally"]

_LOSSES: Final = 1.0
"""Seconds between two rows about losses."""
_CAUSES: Final = ("budget", "corrupt", "rejected")


class Tally:
    """What has gone into the checkpoint that is open, against its limits."""

    def __init__(self, limits: Checkpoint, now: float) -> None:
        """Begins a checkpoint."""
        self._limits = limits
        self._began = now
        self._rows = 0
        self._bytes = 0

    def room(self, most: int) -> int:
        """How many rows the next batch may have."""
        return most if self._limits.rows is None else max(1, min(most, self._limits.rows - self._rows))

    def room_after(self, batch: int, most: int) -> int:
        """How many rows the batch after one of `batch` rows may have; 0 if that is for the next checkpoint to say."""
        rows = self._limits.rows
        return most if rows is None else max(0, min(most, rows - self._rows - batch))

    def left(self, now: float) -> float | None:
        """Seconds until the checkpoint is due by age; `None` if it never is."""
        return None if self._limits.age is None else max(0.0, self._began + self._limits.age - now)

    def add(self, rows: int, size: int) -> None:
        """Counts a batch that was written."""
        self._rows += rows
        self._bytes += size

    def full(self) -> bool:
        """Whether rows or bytes have reached their limit."""
        limits = self._limits
        return (limits.rows is not None and self._rows >= limits.rows) or (
            limits.bytes is not None and self._bytes >= limits.bytes
        )


class Losses:
    """What the cursor of one sink has counted as lost, as far as it was told."""

    def __init__(self, sink: str, totals: Mapping[str, int], tell: Callable[..., None]) -> None:
        """Begins with what is known of by now; `tell` records one of the library's own events."""
        self._sink = sink
        self._tell = tell
        self._told = dict(totals), time.time_ns(), time.monotonic()

    def tell(self, totals: dict[str, int], now: float) -> None:
        """Rows for what has come since the last, at most once a second; `now` is of `time.monotonic`."""
        told, since_ns, at = self._told
        until_ns = time.time_ns()
        lost = {cause: max(0, totals.get(f"lost_{cause}", 0) - told.get(f"lost_{cause}", 0)) for cause in _CAUSES}
        if now - at < _LOSSES or not any(lost.values()):
            return
        self._told = totals, until_ns, now
        for cause, rows in lost.items():
            if rows:
                self._tell(
                    "auditring.EventsLost",
                    lost=rows,
                    cause=cause,
                    sink=self._sink,
                    from_ns=since_ns,
                    to_ns=until_ns,
                )

"""How near a limit is that deleting cannot keep: two stages before it, and one when it is not kept.

What counts is what would be left if all went that may go: a directory that retention keeps at its limit is no trouble,
one whose journal or open files take four fifths of the limit is. What must always hold: a stage is told of once, and
again only after the trouble has been clearly less.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditring.config import Retention
    from auditring.health import HealthBoard
    from auditring.retention.survey import Survey

__all__ = ["Warnings", "stage"]

_STAGES: Final = ((3, 1.0), (2, 0.95), (1, 0.8))
_HYSTERESIS: Final = 0.05
_ADVICE: Final = {
    "max_bytes": "look at what takes the room: a sink that lags keeps its journal and its files (see stats); "
    "or give retention more (max_bytes)",
    "min_free": "free space on the disk of the audit directory: what takes it is not what retention may delete",
}


def stage(share: float, before: int) -> int:
    """The stage of a limit of which so much is taken; from the one `before` it comes down only a little later."""
    for number, bound in _STAGES:
        if share >= (bound - _HYSTERESIS if number <= before else bound):
            return number
    return 0


class Warnings:
    """What was told of each limit."""

    def __init__(self, retention: Retention, board: HealthBoard, tell: Callable[..., object]) -> None:
        """`tell` records one of the library's own events."""
        self._retention = retention
        self._board = board
        self._tell = tell
        self._stages: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def look(self, seen: Survey) -> None:
        """Holds what was seen against the limits."""
        bound, left = self._retention.max_bytes, seen.used - seen.deletable
        if bound is not None:
            self._limit("max_bytes", bound, left / bound, seen)
        bound, left = self._retention.min_free, seen.free + seen.deletable
        if bound is not None:
            self._limit("min_free", bound, bound / max(1, left), seen)

    def _limit(self, limit: str, bound: int, share: float, seen: Survey) -> None:
        before = self._stages.get(limit, 0)
        now = self._stages[limit] = stage(share, before)
        component = f"retention:{limit}"
        if now:
            how = "cannot be kept" if share >= 1 else f"is near, {share:.0%} of it is taken"
            cause = f"{limit}={bound} {how} by what may not be deleted ({seen.used} bytes used, {seen.free} free)"
            self._board.bad(component, cause, _ADVICE[limit])
        if now > before:
            self._since.setdefault(limit, time.monotonic())
            self._tell(
                "auditring.StorageLow",
                limit=limit,
                stage=now,
                bound=bound,
                used=seen.used,
                free=seen.free,
                deletable=seen.deletable,
            )
        elif before and not now:
            self._board.good(component)
            lasted = int((time.monotonic() - self._since.pop(limit)) * 1e9)
            self._tell("auditring.StorageRecovered", limit=limit, duration_ns=lasted)

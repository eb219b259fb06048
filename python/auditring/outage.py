"""How often trouble that goes on is told of: at once, then ever more seldom, and never not at all.

What must always hold: an outage that lasts is told of at least once an hour.
"""

from typing import Final

__all__ = ["Outage"]

_FIRST: Final = 60.0
_LONGEST: Final = 3600.0


class Outage:
    """One unbroken run of trouble."""

    def __init__(self, now: float) -> None:
        """Begins now, on the clock that is `time.monotonic`."""
        self.attempts = 0
        """Failures so far."""
        self._began = now
        self._due = now
        self._step = _FIRST

    def lasted_ns(self, now: float) -> int:
        """For how long it has lasted."""
        return int((now - self._began) * 1e9)

    def is_due(self, now: float) -> bool:
        """Whether it is to be told of now; who asks tells."""
        if now < self._due:
            return False
        self._due = now + self._step
        self._step = min(self._step * 2, _LONGEST)
        return True

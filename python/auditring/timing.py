"""How long something takes, time after time: a histogram that one thread fills and others read."""

import bisect
import threading
from typing import Final

from auditring.stats import Histogram

__all__ = ["Timings"]

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from a flush of a few lines to a seal on a disk that hardly works."""


class Timings:
    """Safe from any thread."""

    def __init__(self) -> None:
        """Nothing was timed yet."""
        self._lock = threading.Lock()
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        with self._lock:
            # A bucket holds what is not more than its bound.
            self._counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
            self._sum += seconds

    def histogram(self) -> Histogram:
        """All until now."""
        with self._lock:
            return Histogram(bounds=_BOUNDS, counts=tuple(self._counts), sum=self._sum)

"""How tests wait: for a condition, and never for a time."""

import time
from collections.abc import Callable

__all__ = ["until"]


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition never came to hold"
        time.sleep(0.005)

"""How tests wait: for a condition, and never for a time."""

import time
from collections.abc import Callable

import auditring

__all__ = ["flushed", "until"]


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition never came to hold"
        time.sleep(0.005)


def flushed(log: auditring.AuditLog) -> bool:
    """Whether every sink has what there is; `False` where one has failed meanwhile, which tries again."""
    try:
        log.flush(30.0)
    except auditring.SinkError:
        return False
    return True

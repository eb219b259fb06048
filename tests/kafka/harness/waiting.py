"""Waiting for what another thread or process brings about: never for a time, always for a condition."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 60.0
"""Seconds after which something that did not happen is taken never to happen: generous, machines are slow at times."""


def until(condition: Callable[[], T], what: str, *, patience: float = PATIENCE, pause: float = 0.01) -> T:
    """The first true answer of `condition`; fails with `what` when there is none in time.

    A condition that waits a little by itself, as a consumer's poll does, wants no `pause`.
    """
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not in {patience:g} s: {what}"
        time.sleep(pause)
    return answer

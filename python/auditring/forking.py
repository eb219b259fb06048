"""A fork does not happen in the middle of a sink's call, as far as that can be waited for.

A child has its parent's memory and none of its threads: a lock that one of them held is held there for ever. What the
library holds itself it makes anew in the child, but what a sink holds while it is called it cannot know: the lock of a
stream that a handler writes to is of that kind. What must always hold: a fork waits for calls that have begun, and
calls for forks, and nobody for anybody longer than a moment; so a call that hangs is waited for once, and not by every
fork.

There is no lock in here, and what is left behind expires by itself: hooks are interrupted by signal handlers, which may
fork, end the log, or raise, wherever they like.
"""

import _thread
import contextlib
import logging  # noqa: F401 - hooks run in the order of their coming, last first: its own takes a lock, after ours
import os
import threading
import time
from collections.abc import Iterator
from typing import Final

__all__ = ["calling"]

_PATIENCE: Final = 0.5
"""Seconds from when a call or a fork began in which others wait for it."""
_LOOK: Final = 0.001
_AFTERWARDS: Final = 0.01


class _Calls:
    """The calls and the forks that are being made: by thread, until when they are waited for."""

    def __init__(self) -> None:
        self.made: dict[int, float] = {}
        self.forks: dict[int, float] = {}
        self.interrupted = False

    def before(self) -> None:
        """Waits for the calls of other threads; from here on none begins."""
        own = threading.get_ident()
        self.forks[own] = time.monotonic() + _PATIENCE
        try:
            while _is_awaited(self.made, own):
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            # What a hook raises is printed and forgotten.
            self.interrupted = True

    def in_parent(self) -> None:
        """Calls go on. An interrupt comes again, when all hooks have run."""
        self.forks.pop(threading.get_ident(), None)
        if self.interrupted:
            self.interrupted = False
            threading.Timer(_AFTERWARDS, _thread.interrupt_main).start()

    def in_child(self) -> None:
        """Nobody is in a call but this thread, if it was."""
        own = threading.get_ident()
        until = self.made.get(own)
        self.made = {} if until is None else {own: until}
        self.forks = {}
        self.interrupted = False


def _is_awaited(others: dict[int, float], own: int) -> bool:
    now = time.monotonic()
    # A copy is made in one step, which nobody comes between, with a GIL and without.
    return any(thread != own and until > now for thread, until in others.copy().items())


_CALLS: Final = _Calls()
os.register_at_fork(before=_CALLS.before, after_in_parent=_CALLS.in_parent, after_in_child=_CALLS.in_child)


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """A call of a sink, in whose middle no fork shall happen. Not to be entered twice by one thread."""
    own = threading.get_ident()
    patience = time.monotonic() + _PATIENCE
    while True:
        # Told before the look: of a call and a fork that begin at once at least one sees the other.
        _CALLS.made[own] = time.monotonic() + _PATIENCE
        if time.monotonic() >= patience or not _is_awaited(_CALLS.forks, own):
            break
        _CALLS.made.pop(own, None)
        time.sleep(_LOOK)
    try:
        yield
    finally:
        _CALLS.made.pop(own, None)

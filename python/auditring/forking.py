"""A fork does not happen in the middle of a sink's call, as far as that can be waited for.

A child has its parent's memory and none of its threads: a lock that one of them held is held there for ever. What the
library holds itself it makes anew in the child, but what a sink holds while it is called it cannot know: the lock of a
stream that a handler writes to is of that kind. What must always hold: a fork waits for calls that have begun, keeps
new ones waiting, and waits no longer than a moment, since a sink may hang; a call that forks does not wait for itself.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["calling"]

_PATIENCE: Final = 0.5
"""Seconds that a fork waits for calls. One that takes longer is with another machine or a disk that hangs."""


class _Calls:
    """The calls that are being made, by thread, and how many forks wait for them."""

    def __init__(self) -> None:
        self.reset(set())

    def reset(self, made: set[int]) -> None:
        """As if no other calls had ever been made."""
        self.changed = threading.Condition(threading.Lock())
        self.made = made
        self.forks = 0

    def before(self) -> None:
        """Waits until no other thread is in a call; from here on none begins."""
        own = {threading.get_ident()}
        with self.changed:
            self.forks += 1
            self.changed.wait_for(lambda: self.made <= own, _PATIENCE)

    def in_parent(self) -> None:
        """Calls go on."""
        with self.changed:
            # An interrupt may have come before it was counted.
            self.forks = max(0, self.forks - 1)
            self.changed.notify_all()

    def in_child(self) -> None:
        """Nobody is in a call but whom this thread is in one for; the lock may have been a dead thread's."""
        self.reset(self.made & {threading.get_ident()})


_CALLS: Final = _Calls()
os.register_at_fork(before=_CALLS.before, after_in_parent=_CALLS.in_parent, after_in_child=_CALLS.in_child)


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """A sink's call, which no fork shall happen in the middle of. Not to be entered twice by one thread."""
    thread = threading.get_ident()
    with _CALLS.changed:
        _CALLS.changed.wait_for(lambda: not _CALLS.forks)
        _CALLS.made.add(thread)
    try:
        yield
    finally:
        with _CALLS.changed:
            _CALLS.made.discard(thread)
            if _CALLS.forks:
                _CALLS.changed.notify_all()

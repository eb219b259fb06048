"""The logs that are open in this process: each is closed at exit if nobody does before, and hears of a fork.

What must always hold: a log is closed in its place among the host's exit handlers, for what was registered after it may
still use it; a child of `multiprocessing`, which has an exit of its own kind, closes its logs there; and whoever has
forgotten a log does nothing to it any more.
"""

import atexit
import multiprocessing
import multiprocessing.util
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["after_fork", "forget", "remember"]


class _Ends(NamedTuple):
    """What is called of a log when the process is at its end, and when it is a fork of another."""

    at_exit: Callable[[], None]
    forked: Callable[[], None]


_OPEN: Final[dict[object, _Ends]] = {}


def remember(log: object, at_exit: Callable[[], None], forked: Callable[[], None]) -> None:
    """Closes the log at exit, if nobody does before; a child of `multiprocessing` has an exit of its own kind."""
    if log not in _OPEN:
        _OPEN[log] = _Ends(at_exit, forked)
        # In its place among the host's exit handlers: what was registered after it may still use it.
        atexit.register(at_exit)
    if multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, _close_all, exitpriority=100)


def forget(log: object) -> None:
    """The log is closed, or nobody minds that it is not."""
    ends = _OPEN.pop(log, None)
    if ends is not None:
        atexit.unregister(ends.at_exit)


def _close_all() -> None:
    for ends in list(_OPEN.values()):
        ends.at_exit()


def after_fork() -> None:
    """In a forked child, before it goes on."""
    for ends in list(_OPEN.values()):
        ends.forked()

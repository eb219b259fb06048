"""The library's threads, all started one way: what the system refuses is an `OSError`, as with all that it refuses."""

import errno
import threading
from collections.abc import Callable

__all__ = ["started"]


def started(run: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread that runs. Raises `OSError` where the system has none to give."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"cannot start the thread {name}: {error}") from error
    return thread

"""One agent a directory, told by a lock and never by a time-out: the second waits, and takes over when the first ends.

Two would do no harm (each sink has a lock of its own), but neither would do all of the work.
"""

import os
from pathlib import Path

from auditring.sinks._files import lock_at_once, open_plain

__all__ = ["Single"]


class Single:
    """The lock `agent.lock` of a directory."""

    def __init__(self, root: Path) -> None:
        """Nothing is taken yet."""
        self._path = root / "agent.lock"
        self._fd = -1

    def take(self) -> bool:
        """Whether it is ours, by now. Raises `OSError`."""
        fd = open_plain(self._path, os.O_RDWR)
        try:
            # Taken away between the two it is as good as another's.
            ours = lock_at_once(fd, self._path) and os.fstat(fd).st_ino == self._path.stat().st_ino
            if ours:
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except FileNotFoundError:
            ours = False
        except BaseException:
            os.close(fd)
            raise
        if not ours:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def holder(self) -> str:
        """Who has it, as far as it says."""
        try:
            return self._path.read_text(encoding="ascii", errors="replace").strip()[:20] or "?"
        except OSError:
            return "?"

    def release(self) -> None:
        """Lets go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

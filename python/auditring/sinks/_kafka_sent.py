"""How far rows were handed to a producer: a file beside the cursor, so that rows that may come twice are known as such.

    kafka/<process>-<sink>.sent     the seq after the last row that may have been sent, 20 digits

What must always hold: it is raised before a row is handed over, so what lies behind it was never sent. It is written,
not synced: it outlives any death of the process, and after a power loss it may say too little.
"""

import os
from pathlib import Path
from typing import Final

from auditring.sinks._files import open_plain, own_directory

__all__ = ["SentMark"]

_DIGITS: Final = 20
_UUID: Final = 36


class SentMark:
    """The mark of one sink for one process; the file is made when there is something to say."""

    def __init__(self, root: Path, process: str, sink: str) -> None:
        """Takes what was left there. Raises `OSError`."""
        self._path = root / "kafka" / f"{process}-{sink}.sent"
        self._fd = -1
        self.seq = 0
        """Rows from here on were never sent."""
        self._tidy(root, sink)
        if self._path.exists():
            self._open()
            said = os.pread(self._fd, _DIGITS, 0)
            # One that was cut off by a power loss says nothing.
            self.seq = int(said) if len(said) == _DIGITS and said.isdigit() else 0

    def rise(self, seq: int) -> None:
        """Rows below `seq` are about to be handed over. Raises `OSError`."""
        if seq > self.seq:
            if self._fd < 0:
                self._open()
            os.pwrite(self._fd, f"{seq:0{_DIGITS}}".encode("ascii"), 0)
            self.seq = seq

    def close(self, *, safe: int) -> None:
        """Lets go of it; all below `safe` is, and a mark that says no more than that goes."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self.seq <= safe:
            self._path.unlink(missing_ok=True)

    def forked(self) -> None:
        """In a forked child: closes the inherited descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        own_directory(self._path.parent)
        self._fd = open_plain(self._path, os.O_RDWR)

    def _tidy(self, root: Path, sink: str) -> None:
        """Removes marks of processes whose journal has gone: their last row was safe, or nobody waits for it."""
        for path in self._path.parent.glob(f"*-{sink}.sent"):
            process = path.name.removesuffix(f"-{sink}.sent")
            if len(process) == _UUID and path != self._path and not (root / "journal" / process).exists():
                path.unlink(missing_ok=True)

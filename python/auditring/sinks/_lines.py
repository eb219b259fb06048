"""A file of lines that grows, can be compared with what it should hold, and is compressed when it has ended.

What must always hold: what an attempt that failed has left behind is written anew, also where it is what it should be.
That it can be read says nothing of the disk: the attempt may have failed because the disk would not take it, and the
kernel tells of that once.
"""

import os
import time
from pathlib import Path
from typing import BinaryIO

from auditring import _core
from auditring.sinks._files import create, gone, open_plain, own_directory, sync_directory, write_all
from auditring.sinks.base import RowBatch
from auditring.types import Dialect

__all__ = ["LineFile", "compress"]


class LineFile:
    """One open file: `size` bytes of it are ours, what lies behind them was left by an attempt that failed."""

    def __init__(
        self, path: Path, *, offset: int = 0, rows: int = 0, day: int = 0, dialect: Dialect | None = None
    ) -> None:
        """Opens the file, or makes it."""
        self.path = path
        self.size = offset
        self.rows = rows
        self.day = day
        self.clean = True
        """Nothing was appended since the last `sync`."""
        self.safe = rows
        """Rows up to the last `sync`."""
        self._dialect = dialect
        self._born = time.monotonic()
        self._fd = open_plain(path, os.O_RDWR)
        try:
            status = os.fstat(self._fd)
            self._identity = status.st_dev, status.st_ino
            self._writer = _core.LineWriter(str(path), status.st_ino, dialect)
        except BaseException:
            os.close(self._fd)
            raise
        self._left = status.st_size - offset
        # A cursor stands in a file only after its first `sync`.
        self._named = offset > 0
        self.nameless = False
        """The name could not be made safe; so the file must be made anew."""

    @property
    def age(self) -> float:
        """Seconds since the file was opened."""
        return time.monotonic() - self._born

    def append(self, batch: RowBatch) -> int:
        """Puts the lines of a batch behind what is ours and returns their bytes. An error leaves whole lines."""
        self.clean = False
        size = self._complete(batch.json_lines(self._dialect)) if self._left else self._writer.write(batch, self.size)
        self.size += size
        self.rows += batch.rows
        return size

    def sync(self) -> None:
        """Makes all that was appended safe, and the file's name with it."""
        os.fsync(self._fd)
        if not self._named:
            self.nameless = True
            sync_directory(self.path.parent)
            self._named, self.nameless = True, False
        self.clean = True
        self.safe = self.rows

    def gone(self) -> str | None:
        """Whether the file was taken away, and how; from any thread."""
        return gone(self.path, self._fd, self._identity)

    def end(self) -> None:
        """Closes the file for good: no row will come for what a failed attempt left behind."""
        try:
            if self._left:
                os.ftruncate(self._fd, self.size)
                os.fsync(self._fd)
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._writer.close()
        os.close(self._fd)

    def forked(self) -> None:
        """In a forked child: closes the inherited descriptors. The file goes on being the parent's."""
        self._writer.forked()
        os.close(self._fd)

    def _complete(self, lines: bytes) -> int:
        """Writes `lines` over what lies behind what is ours."""
        self._compare(lines)
        try:
            write_all(self._fd, lines, self.size)
        except OSError:
            self._cut_to_line(lines)
            raise
        return len(lines)

    def _compare(self, lines: bytes) -> None:
        """Cuts the file at the first difference between `lines` and what lies behind what is ours.

        What is the same stays where it is, so that a tailer who has read it sees no change.
        """
        old = os.pread(self._fd, min(len(lines), self._left), self.size)
        same = _common(old, lines)
        if same == len(old):
            self._left -= same
        else:
            os.ftruncate(self._fd, self.size + same)
            self._left = 0

    def _cut_to_line(self, lines: bytes) -> None:
        """Cuts half a line off after a write that failed, so that a tailer never sees one."""
        added = os.fstat(self._fd).st_size - self.size
        if 0 < added < len(lines):
            os.ftruncate(self._fd, self.size + lines.rfind(b"\n", 0, added) + 1)


def _common(a: bytes, b: bytes) -> int:
    """Length of the common prefix."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def compress(path: Path, into: Path, *, begin: bool = True) -> None:
    """Replaces a file that has ended by its compressed form; can be broken off anywhere and done again.

    Without `begin` it only ends what was broken off behind the new name: or each row would be there twice. As long as
    the plain one is there nobody knows whether that name is safe, so it is made anew.
    """
    target = into / f"{path.name}.zst"
    if not path.exists() if target.exists() else not (begin and path.is_file()):
        return  # one that was taken away meanwhile is told of by who watches
    own_directory(into)
    part = into / f".{path.name}.zst.tmp"
    part.unlink(missing_ok=True)
    with (
        os.fdopen(open_plain(path, os.O_RDONLY), "rb") as plain,
        os.fdopen(create(part, os.O_WRONLY), "wb") as packed,
    ):
        _pack(plain, packed)
    part.rename(target)
    sync_directory(into)
    path.unlink(missing_ok=True)


def _pack(plain: BinaryIO, packed: BinaryIO) -> None:
    # Where there is no GIL, importing it may bring that back: not before somebody wants it.
    import zstandard  # noqa: PLC0415

    zstandard.ZstdCompressor(level=3, write_checksum=True).copy_stream(
        plain, packed, size=os.fstat(plain.fileno()).st_size
    )
    packed.flush()
    os.fsync(packed.fileno())

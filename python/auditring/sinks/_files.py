"""Steps that make a file safe, shared by the sinks that write some. Each returns only when the disk has it.

What must always hold: a sync that failed is never simply tried again. The kernel tells of a failed write-back once, so
a second one that succeeds proves nothing: what the first was about is made anew, data or name.
"""

import contextlib
import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = ["DIRECTORY_MODE", "FILE_MODE", "day_of", "make_directory", "probe_directory", "sync_directory", "write_all"]

FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400
_NAMELESS: Final = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
"""What is said where there are no files without a name."""


def day_of(time_ns: int) -> int:
    """The UTC day of a wall time, counted from the epoch."""
    return time_ns // (_DAY * _SECOND)


def date_of(time_ns: int) -> str:
    """The UTC date of a wall time as a folder is named."""
    return datetime.fromtimestamp(time_ns // _SECOND, UTC).strftime("%Y-%m-%d")


def sync_directory(path: Path) -> None:
    """Makes the names in a directory safe."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Makes a directory and all above it, and makes their names safe; one that is there is left as it is."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for new in reversed(missing):
        new.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        try:
            sync_directory(new.parent)
        except OSError:
            with contextlib.suppress(OSError):  # somebody else has put something into it, and made its name safe
                new.rmdir()
            raise


def probe_directory(path: Path) -> None:
    """Looks whether a file could be written there, or where the directory is still to be made in.

    Raises `OSError`. Nothing is left behind, also by a process that is killed meanwhile.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    try:
        fd = os.open(path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, FILE_MODE)
    except (AttributeError, OSError) as error:
        # Systems and file systems that know no file without a name are only asked.
        if isinstance(error, OSError) and error.errno not in _NAMELESS:
            raise
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
        return
    try:
        os.pwrite(fd, b"\0", 0)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Writes all of `data` at `offset`, however many calls that takes. Raises `OSError` when a part did not fit."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written

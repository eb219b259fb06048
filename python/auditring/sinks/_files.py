"""Steps that make a file safe, shared by the sinks that write some. Each returns only when the disk has it.

What must always hold: what is made here is its owner's alone, whatever the umask; no link is followed inside of the
audit directory, nor anything waited for or written to that is no plain file; and a sync that failed is never simply
tried again. The kernel tells of a failed write-back once, so a second one that succeeds proves nothing: what the first
was about is made anew, data or name.
"""

import contextlib
import errno
import fcntl
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = [
    "create",
    "date_of",
    "day_of",
    "gone",
    "lock_at_once",
    "make_directory",
    "open_plain",
    "own_directory",
    "probe_directory",
    "sync_directory",
    "write_all",
]

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
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


def gone(path: Path, fd: int, identity: tuple[int, int]) -> str | None:
    """Whether a name does not mean the file any more that is open as `fd`: deleted, moved or replaced.

    May be asked while another thread closes the file: the descriptor may then be another file's, which its `identity`
    tells.
    """
    try:
        ours = os.fstat(fd)
    except OSError:
        return None
    if (ours.st_dev, ours.st_ino) != identity:
        return None
    try:
        there = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "deleted" if ours.st_nlink == 0 else "moved"
    return None if (there.st_dev, there.st_ino) == identity else "replaced"


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
        _make(new)


def own_directory(path: Path) -> None:
    """Makes a directory of ours, and what is missing above it. Raises `OSError` for a link, or for another user's."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        make_directory(path.parent)
        _make(path)
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        what = "a symbolic link, and none is followed here" if stat.S_ISLNK(status.st_mode) else "no directory"
        raise NotADirectoryError(errno.ENOTDIR, f"it is {what}", str(path))
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to user {status.st_uid}, and we are {os.geteuid()}", str(path))


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        return  # somebody was faster
    try:
        path.chmod(_DIRECTORY_MODE)
        sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):  # somebody else has put something into it, and made its name safe
            path.rmdir()
        raise


def create(path: Path, flags: int) -> int:
    """Makes a file that is not there, for its owner alone, and opens it. Raises `FileExistsError`."""
    fd = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    try:
        os.fchmod(fd, _FILE_MODE)
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return fd


def open_plain(path: Path, flags: int) -> int:
    """Opens what is there if it is a plain file, and makes it if nothing is. Raises `OSError`."""
    try:
        return create(path, flags)
    except FileExistsError:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def lock_at_once(fd: int, path: Path) -> bool:
    """Whether the lock of an open file is ours by now, and no other process's. Raises `OSError`, with its name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Of a descriptor the system says no name.
        raise OSError(error.errno, error.strerror, str(path)) from None
    return True


def probe_directory(path: Path) -> None:
    """Looks whether a file could be written there, or where the directory is still to be made in.

    Raises `OSError`. Nothing is left behind, also by a process that is killed meanwhile.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    try:
        fd = os.open(path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, _FILE_MODE)
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

"""The matrix: which system call fails, with which error, at which use, in whose hands, and for how long.

A call is failed only where the library makes it, and only with errors that it can return there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CALLS", "Cell", "matrix"]

CALLS: Final = {
    "openat": "openat",
    "write": "write,writev",
    "pwrite64": "pwrite64",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat,rmdir",
    "mkdir": "mkdir,mkdirat",
    "ftruncate": "ftruncate",
    "fallocate": "fallocate",
    "mmap": "mmap",
    "fcntl": "fcntl",
}
"""By the name that it has here: the calls that the kernel knows."""

ERRORS: Final = {
    "openat": ("ENOSPC", "EIO", "EDQUOT", "EINTR", "EMFILE", "ENOMEM", "EACCES"),
    "write": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
    "fsync": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
    "fdatasync": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
    "rename": ("ENOSPC", "EIO", "EDQUOT", "ENOMEM", "EACCES"),
    "unlink": ("EIO", "ENOMEM", "EACCES"),
    "mkdir": ("ENOSPC", "EIO", "EDQUOT", "ENOMEM", "EACCES"),
    "ftruncate": ("ENOSPC", "EIO", "EINTR"),
    "fallocate": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
    "mmap": ("ENOMEM",),
    # Locks, and descriptors that are duplicated: EACCES says that another holds the lock.
    "fcntl": ("EACCES", "EIO", "ENOMEM", "EMFILE"),
}

QUIET: Final = {("pump", "ftruncate"), ("pump", "fcntl"), ("parquet", "mmap"), ("jsonl", "mmap")}
"""What was torn need not be cut off: readers pass it over. The call that has torn it is told of.

The pump locks nothing while it pumps: it looks who holds the locks of sinks, as `health()` does in another thread.
The sinks map nothing themselves. Memory that the allocator cannot map it may find in what it has: then nothing failed.
"""

USES: Final = (1, 2, 10)
SYNC_USES: Final = (1, 2, 3, 10)
"""The third of a file that is sealed is that of its name."""
BIRTH_USES: Final = (1, 2, 3, 5, 10)
"""`open` makes each call a few times, and always in the same order: more of them are worth a look."""


@dataclass(frozen=True)
class Cell:
    """One fault."""

    place: str
    """Whose calls fail: `open`, `adopt`, `close`, or a thread of the library under load."""
    call: str
    error: str
    use: int
    """Counted from when the fault was laid, by each thread."""
    lasting: bool
    """Whether it stays until it was seen; else it is over with this use (EINTR: with three)."""
    beside: tuple[str, ...] = ()
    """Other faults, so that the call is made at all."""
    path: str = ""
    """Where not all of these calls count, but those about this one in the audit directory."""

    @property
    def name(self) -> str:
        """As one asks for it: `--only`."""
        about = f":{self.path}" if self.path else ""
        return f"{self.place}/{self.call}{about}/{self.error}/{self.use}{'+' if self.lasting else ''}"

    @property
    def row(self) -> tuple[str, str, str]:
        """Its line in the matrix."""
        return self.place, f"{self.call} {self.path}".rstrip(), self.error

    @property
    def quiet(self) -> bool:
        """Whether nobody need hear of it, however long it lasts."""
        return (self.place, self.call) in QUIET

    def inject(self) -> list[str]:
        """As strace takes it."""
        if self.lasting:
            when = f"{self.use}+"
        elif self.error == "EINTR":
            when = f"{self.use}..{self.use + 2}"
        else:
            when = str(self.use)
        return [f"{CALLS[self.call]}:error={self.error}:when={when}", *self.beside]


_TORN_BATCHES: Final = ("writev:error=ENOSPC:when=2+4",)
_EMPTY_SEGMENTS: Final = ("writev:error=ENOSPC:when=2..14",)
_FAILED_SYNCS: Final = ("fsync:error=EIO:when=2..11+3",)
_FAILED_SEGMENTS: Final = ("fdatasync:error=EIO:when=1+2",)

PLACES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "open": dict.fromkeys(("openat", "write", "fsync", "rename", "mkdir", "fallocate", "mmap", "fcntl"), ()),
    # A directory with a process that died: its ring is emptied, its journal brought to the sinks, its remains go.
    "adopt": dict.fromkeys(("openat", "write", "fsync", "fdatasync", "rename", "unlink", "mmap", "fcntl"), ()),
    "pump": {
        "openat": (),
        "write": (),
        "fcntl": (),
        "ftruncate": _TORN_BATCHES,
        "unlink": _EMPTY_SEGMENTS,
        "mmap": (),
    },
    # The ring's file is deleted, and a new one has to be made.
    "ring": dict.fromkeys(("openat", "fallocate", "mmap"), ()),
    "sync": {
        "fdatasync": (),
        "fsync": (),
        "openat": (),
        "write": _FAILED_SEGMENTS,
        "rename": _FAILED_SEGMENTS,
    },
    "parquet": dict.fromkeys(("openat", "write", "fsync", "rename", "unlink", "mkdir", "mmap"), ()),
    "jsonl": {
        **dict.fromkeys(("openat", "write", "pwrite64", "fsync", "rename", "unlink", "mkdir", "mmap"), ()),
        "ftruncate": _FAILED_SYNCS,
    },
    "close": dict.fromkeys(
        ("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "mkdir", "mmap"), ()
    ),
}


FOLDERS: Final = (
    ("parquet", "events"),
    ("parquet", "events/{date}"),
    ("parquet", "journal/{process}"),
    ("jsonl", "jsonl"),
    ("jsonl", "jsonl/closed"),
    ("jsonl", "journal/{process}"),
    ("sync", "journal/{process}"),
)
"""Whose names a thread makes safe, one sync after the other."""


def _uses(place: str, call: str) -> tuple[int, ...]:
    if place in {"open", "adopt"}:
        return BIRTH_USES
    return SYNC_USES if call == "fsync" else USES


def matrix() -> Iterator[Cell]:
    """All cells, in the order of the table."""
    for place, calls in PLACES.items():
        for call, beside in calls.items():
            for error in ERRORS[call]:
                for use in _uses(place, call):
                    cell = Cell(place, call, error, use, lasting=False, beside=beside)
                    yield cell
                    # A call that is interrupted for ever is no fault that a system has.
                    if error != "EINTR":
                        yield replace(cell, lasting=True)
    yield from _once_and_lasting(Cell(place, "fsync", "EIO", 1, lasting=False, path=path) for place, path in FOLDERS)
    yield from _once_and_lasting(Cell(place, "fsync", "EIO", 2, lasting=False, path=path) for place, path in FOLDERS)
    yield from _once_and_lasting(Cell("rlimit", "FSIZE", "EFBIG", use, lasting=False) for use in USES)
    yield from _once_and_lasting(Cell("tmpfs", "full", "ENOSPC", use, lasting=False) for use in USES)


def _once_and_lasting(cells: Iterable[Cell]) -> Iterator[Cell]:
    for cell in cells:
        yield cell
        yield replace(cell, lasting=True)

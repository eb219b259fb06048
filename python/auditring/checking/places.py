"""The places that a deployment needs: the audit directory and its disk, the ring's, its file, and the clock.

Everything is looked at and nothing is made.
"""

import ctypes
import os
import stat
import sys
import time
from pathlib import Path
from typing import Final

from auditring import _core, directory
from auditring.checking.findings import Finding, Findings, note, ok, wrong
from auditring.checking.words import size
from auditring.config import Retention

__all__ = ["audit_directory", "clock", "configuration_file", "ring", "ring_place", "room"]

_SHM: Final = Path("/dev/shm")  # noqa: S108 - where rings lie by default, for their owner alone
_CONTAINERS: Final = ("/.dockerenv", "/run/.containerenv")
_SOURCE: Final = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_TIMEX: Final = 512
"""More bytes than the kernel's `struct timex` has."""
_TIME_ERROR: Final = 5
_EPOCH: Final = 1_704_067_200
"""2024: no clock that is right is before."""


def configuration_file(path: Path) -> Finding:
    """Whose the file is. That others may not write to it was looked at when it was read."""
    status = path.stat()
    if status.st_uid not in {0, os.geteuid()}:
        return note("file", f"{path} belongs to user {status.st_uid}, who can switch the audit off; chown it")
    return ok("file", f"{path} is for its owner to change, mode {stat.S_IMODE(status.st_mode):04o}")


def audit_directory(root: Path) -> Finding:
    """Whether it can be written to or made, and who else may."""
    there = _nearest(root)
    if not there.is_dir():
        return wrong("path", f"{there} is not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        return wrong("path", f"{there} cannot be written to by user {os.geteuid()}")
    if there != root:
        return ok("path", f"{root} will be made, for its owner alone")
    if (why := directory.exposed(root)) is not None:
        return note("path", f"{why}; make it 0700 and your own")
    return ok("path", f"{root} is there, and its owner's alone to change")


def room(root: Path, journal_bytes: int, retention: Retention | None) -> Findings:
    """Whether the disk has what the journal may take, and what retention wants free."""
    disk = os.statvfs(_nearest(root))
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    taken = _length(root / "journal")
    if free + taken < journal_bytes:
        yield wrong(
            "disk",
            f"{size(free)} are free, and the journal of each process may take {size(journal_bytes)}: the disk would be "
            "full before the journal is; lower journal_bytes, or make room",
        )
    else:
        yield ok(
            "disk",
            f"{size(free)} of {size(total)} are free; the journal of each process may take {size(journal_bytes)}",
        )
    if retention is None:
        yield note("disk", "sealed files are never deleted by the log: there is no retention")
        return
    if retention.min_free is not None and retention.min_free > free:
        yield note("disk", f"retention.min_free is {size(retention.min_free)}: files would go from the first minute on")
    if retention.max_bytes is not None and retention.max_bytes > free + _length(root):
        yield wrong("disk", f"retention.max_bytes is {size(retention.max_bytes)}, more than the disk has room for")


def ring_place(root: Path, ring_dir: Path | None, *, redacts: bool) -> Path:
    """Where the ring will lie if there is room, by the core's rules: in a container `/dev/shm` dies with process 1."""
    if ring_dir is not None:
        return ring_dir
    contained = any(Path(mark).exists() for mark in _CONTAINERS)
    return _SHM if redacts or (_SHM.is_dir() and not contained) else root


def ring(root: Path, ring_dir: Path | None, ring_bytes: int, *, redacts: bool = False) -> Finding:
    """Whether the ring has its place, and whether that is memory."""
    place = ring_place(root, ring_dir, redacts=redacts)
    where = _nearest(place) if place == root else place
    elsewhere = f"the ring will lie in {root}" if ring_dir is None and place != root and not redacts else None
    free = 0
    said = f"{where} is no directory that user {os.geteuid()} can write to"
    if where.is_dir() and os.access(where, os.W_OK | os.X_OK):
        disk = os.statvfs(where)
        free = disk.f_bavail * disk.f_frsize
        said = f"{where} has {size(free)} free, and a ring takes {size(ring_bytes)}"
    if free < ring_bytes:
        return wrong("ring", said) if elsewhere is None else note("ring", f"{said}: {elsewhere}")
    if not _core.in_memory(str(where)):
        return note("ring", f"it lies in {place}, which is not on tmpfs: an emit may wait for a page; see ring_dir")
    return ok(
        "ring", f"it lies in {place}, which is memory, {size(free)} of it free; each process takes {size(ring_bytes)}"
    )


def clock() -> Findings:
    """Whether stamps are cheap, and whether the wall clock is one to go by."""
    try:
        source = _SOURCE.read_text().strip()
    except OSError:
        source = "not known"
    if source == "tsc":
        yield ok("clock", "stamps are reads of the TSC")
    else:
        yield note("clock", f"the kernel's clock source is {source}: a stamp is a system call, and costs more")
    if time.time() < _EPOCH:
        yield wrong("clock", "the wall clock is years behind")
    elif (state := _adjusted()) == _TIME_ERROR:
        yield note("clock", "the kernel does not hold the wall clock for synchronised; run chrony or ntpd")
    elif state is not None:
        yield ok("clock", "the wall clock is synchronised")


def _adjusted() -> int | None:
    """What the kernel says of its clock; `None` where it cannot be asked."""
    if sys.platform != "linux":
        return None
    try:
        return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX)))
    except (AttributeError, OSError):
        return None


def _nearest(path: Path) -> Path:
    """The path, or the nearest above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _length(folder: Path) -> int:
    """What the files below take; what goes meanwhile takes nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118 - of as many files as there may be
            except FileNotFoundError:
                continue
    return total

"""What retention has deleted, one account a process: it stays when the files have gone, and the rows that told of them.

```
retention/<process>      auditring retention 1 <CRC of the body, 8 hex digits> <length of the body>, then the body: JSON
```

What must always hold: a file is `pending` here, durably, before it goes, so that a crash deletes nothing silently and
whoever comes next ends what was begun; an account only grows. Its sums are those that the file said of itself, so what
is left and what has gone add up to the sink's totals; its chain is the SHA-256 over the digests of all files in the
order in which they went, so that copies kept elsewhere can be proved to be the files that were here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import stat
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["FOLDER", "KINDS", "Account", "Entry", "Kind", "LedgerDamaged", "load", "load_all", "store", "sweep"]

FOLDER: Final = "retention"
Kind = Literal["parquet", "jsonl"]
"""Which files: those under `events/`, or those under `jsonl/`."""
KINDS: Final[tuple[Kind, ...]] = ("parquet", "jsonl")


class LedgerDamaged(ValueError):  # noqa: N818 - names a state
    """An account is not what was written; nothing is deleted on its ground."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file that goes, or has gone."""

    file: str
    """Its path in the audit directory."""
    kind: Kind
    process: str
    sink: str
    first_seq: int
    last_seq: int
    bytes: int
    sha256: str
    cause: str
    rows: int | None
    """`None` where it could not be read, as all that follows."""
    events: int | None = None
    sampled_out: int | None = None
    filtered_out: int | None = None
    lost: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None


_SUMS: Final = ("rows", "events", "sampled_out", "filtered_out", "lost")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """All files of one process and one kind that have gone."""

    files: int = 0
    bytes: int = 0
    rows: int = 0
    events: int = 0
    sampled_out: int = 0
    filtered_out: int = 0
    lost: int = 0
    exact: bool = True
    """Every file could be read, so the sums are right."""
    ranges: tuple[tuple[int, int], ...] = ()
    """What they covered, both ends included, in order."""
    chain: str = ""
    pending: Entry | None = None
    """This one is about to go, or has gone and is not counted yet."""
    untold: tuple[Entry, ...] = ()
    """Gone, counted, and not known to have a row: there was no room for one."""

    def gone(self, entry: Entry, *, told: bool) -> Account:
        """With a file that has gone."""
        sums = {name: getattr(self, name) + (getattr(entry, name) or 0) for name in _SUMS}
        chain = hashlib.sha256(bytes.fromhex(self.chain) + bytes.fromhex(entry.sha256)).hexdigest()
        return dataclasses.replace(
            self,
            **sums,
            files=self.files + 1,
            bytes=self.bytes + entry.bytes,
            exact=self.exact and entry.events is not None,
            ranges=_joined([*self.ranges, (entry.first_seq, entry.last_seq)]),
            chain=chain,
            pending=None,
            untold=self.untold if told else (*self.untold, entry),
        )

    def covers(self, first: int, last: int) -> bool:
        """Whether a range lies within what has gone."""
        return any(low <= first and last <= high for low, high in self.ranges)

    def without(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of a range that have not gone."""
        left = []
        for low, high in self.ranges:
            if high < first or low > last:
                continue
            if low > first:
                left.append((first, low - 1))
            first = high + 1
        return [*left, (first, last)] if first <= last else left


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return tuple(joined)


def load(root: Path, process: str) -> dict[Kind, Account]:
    """The accounts of a process, by kind. Raises `OSError`, `LedgerDamaged`."""
    path = root / FOLDER / process
    try:
        line, _, body = _read(path).partition(b"\n")
    except FileNotFoundError:
        return {}
    if line != _first_line(body):
        raise LedgerDamaged(f"{path} is not what was written there")
    try:
        said = json.loads(body)
        return {kind: _account(said[kind]) for kind in KINDS if kind in said}
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerDamaged(f"{path}: {error}") from error


def load_all(root: Path) -> tuple[dict[str, dict[Kind, Account]], list[str]]:
    """The accounts of all processes, and what is wrong with those that cannot be read."""
    accounts: dict[str, dict[Kind, Account]] = {}
    wrong = []
    folder = root / FOLDER
    if folder.is_symlink():
        return {}, [f"{folder} is a symbolic link, and none is followed here"]
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            # One with a dot before it is being written, or was when its writer was killed: nothing is known by it.
            if entry.name.count("-") == _DASHES and not entry.name.startswith(".")
        )
    except FileNotFoundError:
        return {}, []
    for name in names:
        try:
            accounts[name] = load(root, name)
        except (OSError, LedgerDamaged) as error:
            wrong.append(str(error))
    return accounts, wrong


_DASHES: Final = 4
"""Of a UUID; nothing else in the folder has as many, but what such a one is written to."""


def store(root: Path, process: str, accounts: Mapping[Kind, Account]) -> None:
    """Replaces the accounts of a process, durably; only the holder of retention's lock may. Raises `OSError`."""
    folder = root / FOLDER
    body = json.dumps({kind: dataclasses.asdict(account) for kind, account in accounts.items()}, indent=1).encode()
    beside = folder / f".{process}.tmp"
    # What was left there goes by its name, so that nothing is written through another one.
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)
        file.write(_first_line(body) + b"\n" + body)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / process)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(root: Path) -> None:
    """Removes what a writer that was killed has left half written; only the holder of retention's lock may."""
    for beside in (root / FOLDER).glob(".*.tmp"):
        with contextlib.suppress(OSError):  # a folder of that name: nobody looks at it
            beside.unlink()


def _read(path: Path) -> bytes:
    """A plain file, whole: a link is not followed, and a pipe or a device not waited for. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no plain file, and left alone", str(path))
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _first_line(body: bytes) -> bytes:
    return f"auditring retention 1 {zlib.crc32(body):08x} {len(body)}".encode()


def _account(said: dict[str, Any]) -> Account:
    pending = said["pending"]
    return Account(
        **{
            **said,
            "ranges": tuple((int(low), int(high)) for low, high in said["ranges"]),
            "pending": None if pending is None else Entry(**pending),
            "untold": tuple(Entry(**entry) for entry in said["untold"]),
        }
    )

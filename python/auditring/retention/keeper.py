"""The thread that deletes what retention says, in a log that runs.

A file goes in these steps, and a crash between any two of them neither deletes silently nor claims what never happens:

```
1  the ledger has the file as pending, durably                    whoever holds the lock next ends what was begun
2  a row `auditring.FileDeleted` is in the journal, durably       if not (a full disk takes no row): it is `untold`,
3  the file is unlinked                                             and told as soon as there is room for it
4  the ledger counts it as gone
```

So after a crash a row may come twice, about the same file with the same digest; and between 2 and 3 there may be a row
of a file that is still there, until the next holder of the lock comes. What must always hold: one process deletes at a
time, told by a lock and never by a time-out.
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from auditring import _core, ledger
from auditring.config import Retention
from auditring.health import HealthBoard
from auditring.ledger import Account, Entry, LedgerDamaged
from auditring.retention.contents import describe, is_older
from auditring.retention.stages import Warnings
from auditring.retention.survey import Candidate, plan, survey
from auditring.sinks._files import lock_at_once, open_plain, own_directory
from auditring.threads import started

__all__ = ["Keeper"]

_LOOK: Final = 1.0
_SHARE: Final = 20.0
"""A look that takes long comes seldom: at most a twentieth of the time is spent on looking."""
_POLL: Final = 0.01
_PATIENCE: Final = 0.5
"""How long a row may take before it is asked whether the journal can be written at all."""
_PARTING: Final = 5.0
_BALLAST: Final = 16 << 10
_ADVICE: Final = "look at the cause; retention tries again by itself, and what it has not deleted is there"


class Keeper:
    """Keeps the limits of one log's `Retention` over its whole directory."""

    def __init__(
        self,
        root: Path,
        retention: Retention,
        rows: _core.Log,
        board: HealthBoard,
        tell: Callable[..., object],
        troubled: Callable[[], bool],
    ) -> None:
        """`tell` records one of the library's own events; `troubled`: whether the journal takes no rows now."""
        self._root = root
        self._retention = retention
        self._rows = rows
        self._board = board
        self._troubled = troubled
        self._stages = Warnings(retention, board, tell)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = -1
        self._first = True
        self._delay = 0.0
        self._untold: list[tuple[int, Entry]] = []

    def start(self) -> None:
        """Starts the thread. Raises `OSError`."""
        self._thread = started(self._run, "auditring-retention")

    def stop(self, timeout: float | None = None) -> None:
        """Ends it; a deletion that has not come to its unlink is left for the next holder of the lock."""
        self._stopping.set()
        if self._thread is not None:
            # A disk that does not answer is not waited for: without the log there is no row, and so no deletion.
            self._thread.join(_PARTING if timeout is None else min(timeout, _PARTING))

    def forked(self) -> None:
        """In a forked child: the lock is the parent's."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _run(self) -> None:
        while not self._stopping.wait(self._delay):
            with self._board.told("retention", _ADVICE):
                self.sweep()

    def sweep(self) -> None:
        """Looks, and deletes what has to go. Raises `OSError` and `LedgerDamaged`."""
        self._delay = _LOOK
        with self._locked() as lock:
            if lock is not None:
                self._resume(lock)
                self._delete_all(lock)
        self._delay = _LOOK
        began = time.monotonic()
        seen = survey(self._root)
        self._delay = max(_LOOK, _SHARE * (time.monotonic() - began))
        self._stages.look(seen)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Holds the lock: its descriptor, or `None` where another process has it."""
        folder = self._root / ledger.FOLDER
        own_directory(folder)
        self._lock = open_plain(folder / "lock", os.O_RDWR)
        try:
            if not lock_at_once(self._lock, folder / "lock"):
                yield None
                return
            try:
                yield self._lock
            finally:
                # A child that was forked at an unlucky moment may have a copy, which would go on holding it.
                fcntl.flock(self._lock, fcntl.LOCK_UN)
        finally:
            self.forked()

    def _resume(self, lock: int) -> None:
        """Ends what a holder before us has begun, who says in the lock's file that it was at work."""
        ours = self._rows.process.encode()
        left = os.pread(lock, 64, 0)
        if self._first or (left and left != ours):
            ledger.sweep(self._root)
            accounts, wrong = ledger.load_all(self._root)
            for process in accounts:
                self._end(process)
            os.ftruncate(lock, 0)
            self._first = False
            if wrong:
                raise LedgerDamaged("; ".join(wrong))
        self._confirm()

    def _end(self, process: str) -> None:
        accounts = ledger.load(self._root, process)
        for kind, account in list(accounts.items()):
            for entry in account.untold:
                # Its own poster has died with it, or had it written and died before it could say so.
                number = self._post(entry)
                if number is not None and all(entry != known for _, known in self._untold):
                    self._untold.append((number, entry))
            if (pending := account.pending) is not None:
                path = self._root / pending.file
                told = self._told(pending)
                if told is None:
                    return
                path.unlink(missing_ok=True)
                accounts[kind] = account.gone(pending, told=told)
                self._store(process, accounts)
                self._tidy(path)

    def _delete_all(self, lock: int) -> None:
        seen = survey(self._root)
        deleted = False
        for candidate, cause in plan(seen, self._retention):
            if self._stopping.is_set():
                return
            os.pwrite(lock, self._rows.process.encode(), 0)
            deleted = True
            if not self._delete(candidate, cause):
                seen.drop(candidate, whole_group=True)
        if deleted and not self._untold and not self._stopping.is_set():
            os.ftruncate(lock, 0)

    def _delete(self, candidate: Candidate, cause: str) -> bool:
        """Deletes one file; `False` where it must stay for now."""
        entry = describe(candidate, cause)
        age = self._retention.age_seconds
        if cause == "max_age" and age is not None and not is_older(entry, time.time_ns() - int(age * 1e9)):
            return False
        accounts = ledger.load(self._root, candidate.process)
        account = accounts.get(candidate.kind, Account())
        if (before := account.pending) is not None and before.file != entry.file:
            # Its end was never counted: of a machine that went down.
            account = account.gone(before, told=False)
        accounts[candidate.kind] = dataclasses.replace(account, pending=entry)
        self._store(candidate.process, accounts)
        told = self._told(entry)
        if told is None:
            return False
        if candidate.path.stat().st_ino != candidate.inode:
            accounts[candidate.kind] = account
            self._store(candidate.process, accounts)
            return False
        candidate.path.unlink()
        accounts[candidate.kind] = account.gone(entry, told=told)
        self._store(candidate.process, accounts)
        self._tidy(candidate.path)
        return True

    def _told(self, entry: Entry) -> bool | None:
        """Whether there is a row of it, in the journal and on the disk. `None`: the log is being closed.

        A journal that takes no rows is not waited for: what is deleted may be what makes room for them.
        """
        number = self._post(entry)
        began = time.monotonic()
        while number is None or not self._rows.posted(number):
            if self._stopping.wait(_POLL):
                return None
            if time.monotonic() - began > _PATIENCE and self._troubled():
                if number is not None:
                    self._untold.append((number, entry))
                return False
            number = self._post(entry) if number is None else number
        self._sync()
        return True

    def _post(self, entry: Entry) -> int | None:
        numbers = ("rows", "from_ns", "to_ns")
        known = {name: getattr(entry, name) for name in numbers if getattr(entry, name) is not None}
        try:
            return self._rows.post(
                "auditring.FileDeleted",
                file=entry.file,
                sink=entry.sink,
                of_process=entry.process,
                first_seq=entry.first_seq,
                last_seq=entry.last_seq,
                bytes=entry.bytes,
                sha256=entry.sha256,
                cause=entry.cause,
                **known,
            )
        except RuntimeError:
            return None

    def _sync(self) -> None:
        """What is journaled by now is on the disk. Raises `OSError`."""
        self._rows.sync(self._rows.stats()["next_seq"])

    def _confirm(self) -> None:
        """What was untold has its row by now, or has to wait on."""
        written = [entry for number, entry in self._untold if self._rows.posted(number)]
        if not written:
            return
        self._sync()
        for entry in written:
            accounts = ledger.load(self._root, entry.process)
            account = accounts[entry.kind]
            left = tuple(one for one in account.untold if one != entry)
            accounts[entry.kind] = dataclasses.replace(account, untold=left)
            self._store(entry.process, accounts)
        self._untold = [(number, entry) for number, entry in self._untold if entry not in written]

    def _store(self, process: str, accounts: dict[ledger.Kind, Account]) -> None:
        """Replaces the ledger's account; on a disk without a byte left the ballast makes room for it."""
        ballast = self._root / ledger.FOLDER / "ballast"
        try:
            ledger.store(self._root, process, accounts)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not ballast.exists():
                raise
            ballast.unlink()
            ledger.store(self._root, process, accounts)
        if not ballast.exists():
            # There may be no room for it yet; it is tried again with the next file that goes.
            with contextlib.suppress(OSError):
                ballast.write_bytes(os.urandom(_BALLAST))

    def _tidy(self, path: Path) -> None:
        """Removes the folder of a day that has nothing more in it."""
        if path.parent.parent == self._root / "events":
            with contextlib.suppress(OSError):  # something is in it, or has come to be
                path.parent.rmdir()

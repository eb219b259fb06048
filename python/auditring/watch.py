"""The thread that looks twice a second whether the audit directory is still what it was.

```
the directory itself, its folders     deleted, moved, replaced, read-only
files that a sink has open            the sink is told, and begins another (see the follower)
sealed files                          by the names in the folders, each of which is read only when it has changed
the journal                           is the pump's to keep (see the core)
```

What must always hold: whatever is found is told once, as a problem and as an event, and what retention or a sink did
itself is not; a look costs a few calls of the system, however many files there are.
"""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from auditring import ledger
from auditring.exceptions import AuditError
from auditring.follower import SinkFollower
from auditring.health import STAYS, HealthBoard
from auditring.sealed import SealedFile
from auditring.sinks._files import gone
from auditring.threads import started

__all__ = ["Watch"]

_LOOK: Final = 0.5
_PARTING: Final = 5.0
_TICK_NS: Final = 50_000_000
"""A folder's mtime may hide later changes within one tick of the kernel's clock; far more than any tick."""
_MOST_TOLD: Final = 32
"""Files that are told of one by one at a time; of more it is told how many they are."""
_ADVICE: Final = (
    "look who takes files of the audit directory away: `auditring verify` says what is missing; "
    "retention deletes files with a row for each"
)
_READ_ONLY: Final = "make it writable: events wait in the ring and in the journal, and when_full says what happens then"


_Files = dict[str, tuple[int, int, int]]


def _identity(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    status = entry.stat(follow_symlinks=False)
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclasses.dataclass(slots=True)
class _Folder:
    """The files of one folder, as they were seen last."""

    changed_ns: int
    settled: bool
    files: _Files
    """Inode, length and time of the last change, by name: an inode alone may be given to the next file at once."""


def _is_being_compressed(folder: Path, name: str) -> bool:
    """Whether it is the compressed form of lines that lie there plain, too: until those go it may be made anew."""
    return folder.name == "closed" and (folder.parent / name.removesuffix(".zst")).exists()


class Watch:
    """Watches one audit directory for the log of one process."""

    def __init__(
        self,
        root: Path,
        journal: Path,
        followers: Sequence[SinkFollower],
        board: HealthBoard,
        tell: Callable[..., object],
    ) -> None:
        """`tell` records one of the library's own events."""
        self._root = root
        self._journal = journal
        self._followers = followers
        self._board = board
        self._tell = tell
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._fd = -1
        self._identity = 0, 0
        self._folders: dict[Path, _Folder] = {}
        self._read_only: set[Path] = set()
        self._vanished_at = -STAYS
        self._missing_root = False
        self._open_root()
        self._look_at_folders(told=False)

    def start(self) -> None:
        """Starts the thread. Raises `OSError`."""
        self._thread = started(self._run, "auditring-watch")

    def stop(self) -> None:
        """Ends it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_PARTING)
            if self._thread.is_alive():
                return  # a disk that does not answer; the descriptor goes with the process
        self._close_root()

    def forked(self) -> None:
        """In a forked child: the descriptor is the parent's."""
        self._close_root()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK):
            with self._board.told("watch", _ADVICE):
                self.look()

    def look(self) -> None:
        """Looks at everything once. Raises `OSError`."""
        here = self._look_at_root()
        for follower in list(self._followers):
            follower.look()
            self._show(follower)
        if here:
            self._look_at_folders(told=True)
            self._look_at_modes()
        if time.monotonic() - self._vanished_at > STAYS:
            self._board.good("files")

    def _show(self, follower: SinkFollower) -> None:
        component = f"files:{follower.sink.name}"
        if follower.vanished is not None and time.monotonic() - follower.vanished[0] <= STAYS:
            self._board.bad(component, follower.vanished[1], _ADVICE)
        else:
            self._board.good(component)

    # The directory itself

    def _open_root(self) -> None:
        self._close_root()
        self._fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        status = os.fstat(self._fd)
        self._identity = status.st_dev, status.st_ino

    def _close_root(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _look_at_root(self) -> bool:
        """Whether the directory is there; another one in its place is the one from then on."""
        what = gone(self._root, self._fd, self._identity)
        if what is None:
            return True
        if not self._missing_root:
            self._missing_root = True
            files = sum(len(folder.files) for folder in self._folders.values())
            self._found(f"the audit directory {self._root} was {what}")
            self._tell("auditring.FileVanished", file=str(self._root), kind="directory", what=what, files=files)
        self._board.bad("directory", f"{self._root} was {what}", _ADVICE)
        if not self._root.is_dir():
            return False
        self._open_root()
        self._missing_root = False
        self._folders = {}
        self._look_at_folders(told=False)
        self._board.good("directory")
        return True

    # Sealed files

    def _look_at_folders(self, *, told: bool) -> None:
        """Looks at each folder that has changed, and holds what is in it against what was."""
        events = self._root / "events"
        wanted = {self._root / "jsonl", self._root / "jsonl" / "closed", events}
        before = self._folders.get(events)
        here = self._look_at_folder(events, told=False)
        wanted |= {events / name for name in (here.files if here is not None else {})}
        for folder in sorted((wanted | self._folders.keys()) - {events}):
            self._look_at_folder(folder, told=told)
        if told and before is not None and here is None:
            self._tell_folder(events, 0)

    def _look_at_folder(self, folder: Path, *, told: bool) -> _Folder | None:
        before = self._folders.get(folder)
        now: _Folder | None = None
        try:
            changed_ns = folder.stat().st_mtime_ns
            if before is not None and before.settled and before.changed_ns == changed_ns:
                return before
            settled = time.time_ns() - changed_ns > _TICK_NS
            # Dates are folders in `events`, all else that counts is a file.
            only_folders = folder.name == "events"
            entries = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False) is only_folders]
            # Looked at first: one whose plain form has gone is not made anew any more.
            whole = [entry for entry in entries if not _is_being_compressed(folder, entry.name)]
            now = _Folder(changed_ns, settled and len(whole) == len(entries), {})
            for entry in whole:
                # What goes while we look is seen to be gone, and is no reason to take the folder for gone.
                with contextlib.suppress(FileNotFoundError):
                    now.files[entry.name] = _identity(entry)
            self._folders[folder] = now
        except (FileNotFoundError, NotADirectoryError):
            self._folders.pop(folder, None)
        if told and before is not None:
            self._compare(folder, before.files, {} if now is None else now.files, here=now is not None)
        return now

    def _compare(self, folder: Path, before: _Files, now: _Files, *, here: bool) -> None:
        """Tells of what is missing in a folder, or another file by now."""
        found = [name for name, identity in before.items() if now.get(name) != identity]
        found = [name for name in found if self._is_ours(folder, name, before) and not self._is_expected(folder, name)]
        if not found:
            return
        if not here or len(found) > _MOST_TOLD:
            self._tell_folder(folder, len(found))
            return
        for name in found:
            what = "replaced" if name in now else "deleted"
            path = folder / name
            self._found(f"{path.relative_to(self._root)} was {what}")
            sealed = SealedFile.from_path(path)
            range_ = {} if sealed is None else {"first_seq": sealed.first_seq, "last_seq": sealed.last_seq}
            self._tell("auditring.FileVanished", file=str(path), kind="sealed", what=what, **range_)

    def _tell_folder(self, folder: Path, files: int) -> None:
        what = "deleted" if not folder.exists() else "emptied"
        self._found(f"{folder.relative_to(self._root)} was {what}, {files} files")
        self._tell("auditring.FileVanished", file=str(folder), kind="directory", what=what, files=files)

    @staticmethod
    def _is_ours(folder: Path, name: str, before: _Files) -> bool:
        """Whether it is a sealed file; of lines one that has ended: the last of a process is its sink's to watch."""
        if name.startswith("."):
            return False
        if folder.name != "jsonl":
            return name.endswith((".parquet", ".jsonl.zst"))
        process = name.rpartition("-")[0]
        return name.endswith(".jsonl") and any(other.rpartition("-")[0] == process and other > name for other in before)

    def _is_expected(self, folder: Path, name: str) -> bool:
        """Whether retention deleted it, a sink compressed it, or a compaction merged it."""
        if folder.name == "jsonl":
            if (folder / "closed" / f"{name}.zst").exists():
                return True
            process, _, first = name.removesuffix(".jsonl").rpartition("-")
            return self._is_deleted(process, "jsonl", int(first), int(first), name)
        if folder.name == "closed":
            process, _, first = name.removesuffix(".jsonl.zst").rpartition("-")
            return self._is_deleted(process, "jsonl", int(first), int(first), name)
        sealed = SealedFile.from_path(folder / name)
        if sealed is None:
            return True
        of, first_seq, last_seq = sealed.range
        others = (SealedFile.from_path(Path(other)) for one in self._folders.values() for other in one.files)
        merged = any(
            one is not None
            and one.path.name != name
            and one.process == of
            and one.first_seq <= first_seq
            and last_seq <= one.last_seq
            for one in others
        )
        return merged or self._is_deleted(of, "parquet", first_seq, last_seq, name)

    def _is_deleted(self, process: str, kind: ledger.Kind, first: int, last: int, name: str) -> bool:
        with contextlib.suppress(OSError, ValueError, AuditError):
            account = ledger.load(self._root, process).get(kind)
            if account is not None:
                pending = account.pending is not None and account.pending.file.endswith(f"/{name}")
                return pending or account.covers(first, last)
        return False

    def _found(self, text: str) -> None:
        self._vanished_at = time.monotonic()
        self._board.bad("files", text, _ADVICE)

    # Read-only

    def _look_at_modes(self) -> None:
        """Whether what is written to can be written to: also of an idle host, which would notice only later."""
        for path in (self._root, self._root / "events", self._root / "jsonl", self._journal):
            if not path.is_dir():
                continue
            writable = os.access(path, os.W_OK)
            if not writable and path not in self._read_only:
                self._read_only.add(path)
                self._tell("auditring.FileVanished", file=str(path), kind="directory", what="read_only")
            if writable:
                self._read_only.discard(path)
        if self._read_only:
            names = ", ".join(str(path) for path in sorted(self._read_only))
            self._board.bad("read-only", f"not writable: {names}", _READ_ONLY)
        else:
            self._board.good("read-only")

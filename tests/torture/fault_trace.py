"""strace on threads that run already: it makes their calls fail, and its record says whether an error was forgotten.

What must always hold: calls are counted from the moment that strace has the thread, each thread on its own; and they
fail no longer than strace has it.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

__all__ = ["Tracer", "failed", "forgotten", "strace", "uses"]

_ATTACH = 15.0
_WATCHED = (
    "openat,write,writev,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir"
)
_LINE = re.compile(r"^(?P<call>\w+)\((?P<args>.*)\)\s+= (?P<result>-?\d+)(?P<rest>.*)$")
_FD = re.compile(r"^(?:AT_FDCWD|\d+)<(?P<path>[^>]*)>")
_NAME = re.compile(r'"(?P<path>[^"]*)"')
_OF_FD = re.compile(r"^<(?P<path>[^>]*)>")


def strace() -> str:
    """Where it is."""
    found = shutil.which("strace")
    assert found is not None, "strace is not installed: `make ci-tools`, or your distribution's package"
    return found


class Tracer:
    """One strace, as long as the block lasts."""

    def __init__(self, record: Path, threads: Iterable[int], inject: Sequence[str], *, follow: bool = False) -> None:
        """`inject`: as strace takes it. `follow`: all threads of the process, also those that come."""
        self._record = record
        calls = ",".join({*_WATCHED.split(","), *(call for one in inject for call in one.split(":")[0].split(","))})
        command = [strace(), "-y", "-s", "0", "-o", str(record), "-e", f"trace={calls}", "-e", "signal=none"]
        self._threads = list(threads)
        for thread in self._threads:
            command += ["-p", str(thread)]
        for one in inject:
            command += ["-e", f"inject={one}"]
        self._command = [*command, "-f"] if follow else command
        of = "|".join(inject[0].split(":")[0].split(",")) if inject else "none"
        self._injected = re.compile(rf"^.*\b(?:{of})\b.*\(INJECTED\)$", re.MULTILINE)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        attached, deadline = 0, time.monotonic() + _ATTACH
        while attached < len(self._threads):
            line = self._process.stderr.readline()
            assert line, "strace ended"
            assert time.monotonic() < deadline, "strace does not come to its threads"
            attached += " attached" in line
            # A thread of the library that has ended meanwhile is no fault.
            attached += "No such process" in line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Lets go: nothing fails any more."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_ATTACH)

    def injected(self) -> int:
        """How many calls of the first kind have failed so far; the others are only to bring them about."""
        return len(self._injected.findall(self.text()))

    def text(self) -> str:
        """The record so far."""
        return self._record.read_text(errors="replace") if self._record.exists() else ""


@dataclass
class _File:
    """What is known of a file by its path."""

    since: list[tuple[int, int]] = field(default_factory=list)
    """Written since its last sync."""
    lost: list[tuple[int, int]] = field(default_factory=list)
    """What was, when a sync failed; nobody knows where it is."""


@dataclass
class _Names:
    """What one thread has named in a folder: another thread's names are that one's to make safe."""

    since: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def made(self, path: str) -> None:
        """A name is there, or leads elsewhere."""
        self.since.add(path)
        self.lost.discard(path)

    def gone(self, path: str) -> None:
        """It is not there any more; a removal that a crash undoes does no harm."""
        self.since.discard(path)
        self.lost.discard(path)


_HOLD = ".followers.lock"
"""Held for moments, and empty: whoever wants it makes it, so its name need not survive anything."""
_UNKNOWN = (-1, 0)
"""What was written before strace came: any write is taken for its being written anew."""


class _Ledger:
    """Follows a record, call by call."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._files: dict[str, _File] = {}
        self._names: dict[tuple[str, str], _Names] = {}
        self._folders: set[str] = set()

    def seen(self, path: str, flags: str) -> None:
        """What a path is: a file's data is lost by a failed sync, and a folder's names."""
        self._folders.add(str(Path(path).parent))
        if "O_DIRECTORY" in flags:
            self._folders.add(path)

    def _file(self, path: str) -> _File:
        return self._files.setdefault(path, _File())

    def _folder(self, tid: str, path: str) -> _Names:
        return self._names.setdefault((tid, path), _Names())

    def _around(self, tid: str, path: str) -> _Names:
        return self._folder(tid, str(Path(path).parent))

    def failed(self, tid: str, path: str) -> None:
        """A sync failed."""
        if path in self._folders:
            names = self._folder(tid, path)
            names.lost |= names.since
        else:
            file = self._file(path)
            file.lost += file.since or [_UNKNOWN]

    def synced(self, tid: str, call: str, path: str) -> None:
        """A sync did not."""
        file, names = self._file(path), self._folder(tid, path)
        if names.lost or file.lost:
            what = sorted(names.lost) or file.lost
            self.found.append(f"{call} of {path} was believed after one that failed, without {what} written anew")
        self._files[path], self._names[tid, path] = _File(), _Names()

    def written(self, path: str, begin: int, end: int) -> None:
        """Bytes were written; where nobody knows, at 0."""
        file = self._file(path)
        file.since.append((begin, end))
        file.lost = [rest for one in file.lost if one != _UNKNOWN for rest in _without(one, begin, end)]

    def cut(self, path: str, end: int) -> None:
        """A file was cut."""
        file = self._file(path)
        file.lost = [(low, min(high, end)) for low, high in file.lost if low < end]

    def opened(self, tid: str, path: str, flags: str) -> None:
        """A file was opened, and made or emptied where that was asked."""
        if "O_TRUNC" in flags or "O_EXCL" in flags:
            self._files[path] = _File()
        if "O_CREAT" in flags and Path(path).name != _HOLD:
            self._around(tid, path).made(path)

    def made(self, tid: str, path: str) -> None:
        """A folder was made."""
        self._around(tid, path).made(path)

    def removed(self, tid: str, path: str) -> None:
        """A name has gone."""
        self._files.pop(path, None)
        self._around(tid, path).gone(path)

    def renamed(self, tid: str, old: str, new: str) -> None:
        """A name leads elsewhere."""
        file = self._files.pop(old, _File())
        if file.lost:
            self.found.append(f"{old} was renamed although its sync had failed")
        self._files[new] = file
        self._around(tid, old).gone(old)
        self._around(tid, new).made(new)


def uses(record: str, call: str, path: Path) -> list[int]:
    """Which uses of a call are about a path, by the count of its thread."""
    counts: Counter[str] = Counter()
    found = []
    for tid, made, args, _, rest in _calls(record):
        if made == call:
            counts[tid] += 1
            if _path(made, args, rest) == str(path):
                found.append(counts[tid])
    return found


def failed(record: str) -> list[str]:
    """The paths of the calls that were made to fail, in their order."""
    return [_path(call, args, rest) or "" for _, call, args, _, rest in _calls(record) if "(INJECTED)" in rest]


def forgotten(record: str) -> list[str]:
    """Syncs that were believed after one that had failed, with nothing written anew between them.

    The kernel tells of a failed write-back once. So what a failed sync was about must be written again, or its file
    must go, before another sync of it can be believed; and a name must be made anew.
    """
    ledger = _Ledger()
    for tid, call, args, result, rest in _calls(record):
        path = _path(call, args, rest)
        if path is None:
            continue
        ledger.seen(path, args)
        if call in {"fsync", "fdatasync"}:
            if result == 0:
                ledger.synced(tid, call, path)
            elif "EINTR" not in rest:
                ledger.failed(tid, path)
        elif result >= 0:
            _done(ledger, tid, call, path, args, result)
    return ledger.found


def _done(ledger: _Ledger, tid: str, call: str, path: str, args: str, result: int) -> None:
    """A call that has changed something."""
    last = args.rsplit(",", 1)[-1].strip()
    match call:
        case "write" | "writev":
            ledger.written(path, 0, 0)
        case "pwrite64":
            ledger.written(path, int(last), int(last) + result)
        case "ftruncate":
            ledger.cut(path, int(last))
        case "openat":
            ledger.opened(tid, path, args)
        case "mkdir":
            ledger.made(tid, path)
        case "unlink" | "unlinkat" | "rmdir":
            ledger.removed(tid, path)
        case "rename" | "renameat" | "renameat2":
            names = [match["path"] for match in _NAME.finditer(args)]
            ledger.renamed(tid, names[0], names[1])


def _without(one: tuple[int, int], begin: int, end: int) -> list[tuple[int, int]]:
    """A range less what was written anew of it."""
    low, high = one
    return [(a, b) for a, b in ((low, min(high, begin)), (max(low, end), high)) if a < b]


def _calls(record: str) -> Iterator[tuple[str, str, str, int, str]]:
    """The calls in the order of their ends; those that strace had to break in two are put together."""
    unfinished: dict[str, str] = {}
    for line in record.splitlines():
        tid, _, said = line.partition(" ") if line[:1].isdigit() else ("", "", line)
        said = said.strip()
        if said.endswith("<unfinished ...>"):
            unfinished[tid] = said.removesuffix("<unfinished ...>").strip()
            continue
        if said.startswith("<..."):
            said = unfinished.pop(tid, "") + said.partition("resumed>")[2]
        match = _LINE.match(said)
        if match is not None:
            yield tid, match["call"], match["args"], int(match["result"]), match["rest"]


def _path(call: str, args: str, rest: str) -> str | None:
    """The file or folder that a call is about."""
    if call == "openat":
        opened = _OF_FD.match(rest)
        return opened["path"] if opened is not None else None
    if call == "unlinkat":
        folder, name = _FD.match(args), _NAME.search(args)
        return str(Path(folder["path"]) / name["path"]) if folder and name else None
    match = _NAME.match(args) if args.startswith('"') else _FD.match(args)
    return match["path"] if match is not None else None

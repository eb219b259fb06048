"""What an audit directory takes, and which of its files may go, oldest first.

What must always hold: the cursors are read before the files are listed, so a file that a cursor has passed is whole and
closed; of each process and kind only files from the front on may go, so that what has gone is one range; and where
nothing says how far a sink is, nothing of it goes.
"""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING, Final

from auditring import _core
from auditring.retention.contents import newest_ns
from auditring.sealed import SealedFile
from auditring.verify.lines import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from auditring.config import Retention
    from auditring.ledger import Kind

__all__ = ["Candidate", "Survey", "plan", "survey"]

_DATED: Final = 2
"""How deep a Parquet file lies: in `events/` and a date."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A file of one process and kind."""

    path: Path
    file: str
    """Its path in the audit directory."""
    kind: Kind
    process: str
    sink: str
    first_seq: int
    last_seq: int
    bytes: int
    inode: int
    mtime_ns: int

    @property
    def newest_ns(self) -> int:
        """The greatest time of its events. Raises `OSError`."""
        return newest_ns(self.path, self.kind, self.inode, self.bytes)


@dataclasses.dataclass(kw_only=True, slots=True)
class Survey:
    """The directory at one moment."""

    used: int
    """Bytes of all its files."""
    free: int
    """Bytes that are free on its disk."""
    groups: list[list[Candidate]]
    """Files that may go, by process and kind, each from the oldest on."""

    @property
    def deletable(self) -> int:
        """Bytes of all files that may go."""
        return sum(one.bytes for group in self.groups for one in group)

    def oldest(self) -> Candidate | None:
        """The file that goes first: of the first of each group the one whose newest event is the oldest."""
        heads = [group[0] for group in self.groups if group]
        return min(heads, key=lambda one: (one.newest_ns, one.file), default=None)

    def drop(self, candidate: Candidate, *, whole_group: bool = False) -> None:
        """Takes a file out that has gone, or with it all behind it where it cannot go."""
        for group in self.groups:
            if group and group[0] is candidate:
                if whole_group:
                    group.clear()
                else:
                    group.pop(0)
                    self.used -= candidate.bytes
                    self.free += candidate.bytes


def survey(root: Path) -> Survey:
    """Look at everything once. Raises `OSError`."""
    cursors, closed = _core.cursors(str(root))
    used = 0
    tables: dict[str, list[Candidate]] = {}
    lines: dict[str, list[Candidate]] = {}
    for entry, parts in _files(str(root), ()):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        used += status.st_size
        _file(root, parts, status, tables, lines)
    groups = [_tables(process, files, cursors, closed) for process, files in tables.items()]
    groups += [_lines(process, files, cursors, closed) for process, files in lines.items()]
    disk = os.statvfs(root)
    return Survey(used=used, free=disk.f_bavail * disk.f_frsize, groups=[group for group in groups if group])


def plan(seen: Survey, retention: Retention, now: float | None = None) -> Iterator[tuple[Candidate, str]]:
    """The files that go, in their order, each with the limit that it goes for; `seen` is changed meanwhile."""
    now_ns = time.time_ns() if now is None else int(now * 1e9)
    while (candidate := seen.oldest()) is not None:
        cause = _cause(seen, retention, candidate, now_ns)
        if cause is None:
            return
        yield candidate, cause
        # Whoever could not delete it has taken it out with all behind it.
        seen.drop(candidate)


def _cause(seen: Survey, retention: Retention, oldest: Candidate, now_ns: int) -> str | None:
    age = retention.age_seconds
    if age is not None and oldest.newest_ns < now_ns - int(age * 1e9):
        return "max_age"
    if retention.max_bytes is not None and seen.used > retention.max_bytes:
        return "max_bytes"
    if retention.min_free is not None and seen.free < retention.min_free:
        return "min_free"
    return None


def _files(folder: str, parts: tuple[str, ...]) -> Iterator[tuple[os.DirEntry[str], tuple[str, ...]]]:
    """All plain files below a folder, with the names on the way to each; what goes meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, (*parts, entry.name))
        elif entry.is_file(follow_symlinks=False):
            yield entry, (*parts, entry.name)


def _file(
    root: Path,
    parts: tuple[str, ...],
    status: os.stat_result,
    tables: dict[str, list[Candidate]],
    lines: dict[str, list[Candidate]],
) -> None:
    """Takes a file in under its process, if it is one that might go."""
    path, file = root.joinpath(*parts), "/".join(parts)
    common = {"bytes": status.st_size, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    if parts[0] == "events" and len(parts) == _DATED + 1:
        sealed = SealedFile.from_path(path)
        if sealed is not None:
            of, first, last = sealed.range
            one = Candidate(
                path=path, file=file, kind="parquet", sink="", process=of, first_seq=first, last_seq=last, **common
            )
            tables.setdefault(of, []).append(one)
    elif parts[:-1] in {("jsonl",), ("jsonl", "closed")} and (name := named(path)) is not None:
        of, first = name
        one = Candidate(
            path=path, file=file, kind="jsonl", sink="", process=of, first_seq=first, last_seq=first, **common
        )
        lines.setdefault(of, []).append(one)


def _tables(
    process: str,
    files: list[Candidate],
    cursors: Mapping[str, Mapping[str, int]],
    closed: Mapping[str, int],
) -> list[Candidate]:
    """The sealed files of a process that may go: those that lie before the cursor."""
    passed = closed.get(process, 0) if process not in cursors else cursors[process].get("parquet", 0)
    group = []
    for one in sorted(files, key=lambda one: (one.first_seq, one.last_seq)):
        if one.last_seq >= passed:
            break
        group.append(dataclasses.replace(one, sink="parquet"))
    return group


def _lines(
    process: str,
    files: list[Candidate],
    cursors: Mapping[str, Mapping[str, int]],
    closed: Mapping[str, int],
) -> list[Candidate]:
    """The files of lines of a process that may go.

    One that the sink may still have open is the last, or the one before it as long as the cursor stands at its end: so
    a file goes only when the cursor is past the begin of the next. Where the process has gone, every one is closed.
    """
    sinks = cursors.get(process)
    sink = "jsonl" if sinks is None else _writer(sinks)
    if sink is None or (sinks is None and process not in closed):
        return []
    ordered = sorted(files, key=lambda one: (one.first_seq, one.file))
    group: list[Candidate] = []
    for at, one in enumerate(ordered):
        after = ordered[at + 1].first_seq if at + 1 < len(ordered) else None
        if after == one.first_seq:
            break  # it is there compressed, too: its sink is not done with it
        if sinks is None:
            end = closed[process] if after is None else after
        elif after is not None and after < sinks[sink]:
            end = after
        else:
            break
        group.append(dataclasses.replace(one, sink=sink, last_seq=end - 1))
    return group


def _writer(sinks: Mapping[str, int]) -> str | None:
    """Which sink writes `jsonl/`: the one of that name, or the only one beside the tables."""
    others = sorted(set(sinks) - {"parquet"})
    return "jsonl" if "jsonl" in others else others[0] if len(others) == 1 else None

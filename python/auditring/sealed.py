"""Sealed Parquet files as a reader finds them: what each covers, and which of them count.

A sealed file says in its name which rows it holds: `<process>-<first seq>-<last seq>.parquet`, one process and one
contiguous range. What must always hold: of two files of which one's range lies inside the other's (compaction has
merged it, and has not removed it yet) only the wider one counts, so that no row is seen twice; and what is no plain
file in a plain folder is nobody's, whatever it is called: no link is followed, no pipe waited for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NAME = re.compile(
    r"(?P<process>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19})\.parquet"
)
_MOST: Final = 1 << 62
"""No seq is beyond it."""


@dataclass(frozen=True, slots=True, order=True)
class SealedFile:
    """One immutable Parquet file and the range of rows that it covers, both ends included."""

    process: str
    first_seq: int
    last_seq: int
    path: Path

    @classmethod
    def from_path(cls, path: Path) -> SealedFile | None:
        """Read the range from the file's name; `None` for a file that is not named like a sealed one."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        first, last = int(match["first"]), int(match["last"])
        return cls(match["process"], first, last, path) if first <= last <= _MOST else None

    @property
    def range(self) -> tuple[str, int, int]:
        """The range as the core's snapshot wants it."""
        return self.process, self.first_seq, self.last_seq


def list_sealed(root: Path) -> tuple[list[SealedFile], list[Path]]:
    """List the sealed files under `root` that count, in order, and the Parquet files that are none of ours."""
    files: list[SealedFile] = []
    strangers: list[Path] = []
    for folder in _folders(root / "events", strangers):
        for entry in _entries(folder):
            path = folder / entry.name
            if path.suffix != ".parquet":
                continue
            sealed = SealedFile.from_path(path) if entry.is_file(follow_symlinks=False) else None
            if sealed is None:
                strangers.append(path)
            else:
                files.append(sealed)
    return without_covered(files), sorted(strangers)


def _folders(events: Path, strangers: list[Path]) -> list[Path]:
    """The folders in `events`; a link in the place of one, or of `events` itself, is a stranger."""
    if events.is_symlink():
        strangers.append(events)
        return []
    folders = []
    for entry in _entries(events):
        if entry.is_dir(follow_symlinks=False):
            folders.append(events / entry.name)
        elif entry.is_symlink():
            strangers.append(events / entry.name)
    return folders


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where there is none, or it goes meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def without_covered(files: Iterable[SealedFile]) -> list[SealedFile]:
    """Leave out every file whose range lies inside that of another file of the same process."""
    kept: list[SealedFile] = []
    # The widest of those that begin at one seq comes first, so a covered file always comes behind its cover.
    for file in sorted(files, key=lambda file: (file.process, file.first_seq, -file.last_seq, file.path)):
        covers = kept and kept[-1].process == file.process and kept[-1].last_seq >= file.last_seq
        if not covers:
            kept.append(file)
    return kept


def unglobbed(path: str) -> str:
    """A path as DuckDB takes it for what it is.

    DuckDB expands `*`, `?` and `[` in a name that is given to it; a set of one character stands for itself.
    """
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)

"""JSON lines: one object a line, in files that a tailer can follow, or on standard output.

```
jsonl/<process>-<first seq>.jsonl              named at birth, never renamed while it is open
jsonl/closed/<process>-<first seq>.jsonl.zst   after rotation, if asked; then the plain one is unlinked
```

What must always hold: a living process never leaves half a line behind a write (a tailer that reads meanwhile may see
the front of one: it goes on from the last newline, as every tailer does); what lies before the cursor's offset
is never touched; what lies behind it is compared with the rows as they come again: equal bytes stay (and are written
once more, as nobody knows whether the disk has them), a partial line is completed, and at the first difference the file
is cut. A file ends only between two checkpoints, and is compressed only when the cursor is past it. Standard output has
no offsets: each row at least once.
"""

import json
import os
import select
import sys
from pathlib import Path
from typing import Final, TypeVar, get_args

from auditring.config import Rotation
from auditring.exceptions import ConfigError, CursorError, FileGone
from auditring.policy import Policy
from auditring.sinks._files import day_of, make_directory, own_directory, probe_directory, sync_directory
from auditring.sinks._lines import LineFile, compress
from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext
from auditring.types import Dialect

__all__ = ["JsonlSink"]

_CHECKPOINT: Final = Checkpoint(bytes=64 << 20, age=1.0)
_ROTATION: Final = Rotation(bytes=256 << 20)
_N = TypeVar("_N", int, float)


def _least(own: _N | None, limit: _N | None, used: _N) -> _N | None:
    """The nearer of a checkpoint's limit and what is left of a file's."""
    left = None if limit is None else max(limit - used, type(limit)(0))
    return min((one for one in (own, left) if one is not None), default=None)


class JsonlSink(Sink):
    """Canonical JSON, a line an event."""

    batching = Batching(rows=32_768, partial=True, linger=0.03)

    def __new__(cls, path: str | os.PathLike[str] | None = None, **_: object) -> "JsonlSink":  # noqa: PYI034 - another class for `"-"`
        """`"-"` makes a sink that writes to standard output."""
        return super().__new__(_StdoutSink if path == "-" else cls)

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        rotation: Rotation | None = None,
        compress: bool = False,
        dialect: Dialect | None = None,
        checkpoint: Checkpoint | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`path`: a directory instead of `jsonl/` in the audit directory, or `"-"` for standard output.

        `rotation`: by default at 256 MiB or a new UTC date. `checkpoint`: by default 64 MiB or a second.
        `dialect`: whose names actions have, by default our own; such a sink beside another wants a `name` and a `path`.
        `policy`: what this sink keeps, by default what the log keeps.
        """
        if dialect is not None and dialect not in get_args(Dialect):
            raise ConfigError(f"dialect: there is no {dialect!r}; known: {', '.join(get_args(Dialect))}")
        self.name = name or ("stdout" if path == "-" else "jsonl")
        self.policy = policy
        self._path = None if path is None else Path(path)
        self._rotation = rotation or _ROTATION
        self._limits = checkpoint or _CHECKPOINT
        self._compress = compress
        self._dialect = dialect
        self._file: LineFile | None = None
        self._nameless: Path | None = None
        self._cursor: int | None = None
        self._next = 0
        self._closed: list[Path] = []
        self._given_up: set[str] = set()
        """Names of files that were taken away: what lies there now is not ours."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The sink's own limits, and never further than what the open file may still take."""
        own, limits, file = self._limits, self._rotation, self._file
        rows, size, age = (0, 0, 0.0) if file is None else (file.rows, file.size, file.age)
        return Checkpoint(
            rows=_least(own.rows, limits.rows, rows),
            bytes=_least(own.bytes, limits.bytes, size),
            age=_least(own.age, limits.age_seconds, age),
        )

    def probe(self, root: Path) -> None:
        """Looks whether files could be written."""
        probe_directory(self._path if self._path is not None else root / "jsonl")

    def open(self, context: SinkContext) -> None:
        """Makes the directory."""
        self._process = context.process
        self._directory = self._path if self._path is not None else context.root / "jsonl"
        self._make_directory()

    def start(self, state: bytes) -> None:
        """Goes back to the offset of the last commit; what lies behind it is compared as the rows come again."""
        self._release()
        if self._nameless is not None:
            # Its name may not be on the disk, and no cursor knows of it: it is made anew.
            self._nameless.unlink(missing_ok=True)
            self._nameless = None
        self._make_directory()
        self._closed = []
        self._cursor = None
        for leftover in (self._directory / "closed").glob(f".{self._process}-*.tmp"):
            leftover.unlink()
        if not state:
            return
        said = json.loads(state)
        name, self._cursor = said["file"], said["seq"]
        # A file goes on in the names that it began with, whoever ends it.
        self._dialect = said.get("dialect", self._dialect)
        current = None
        # A file born at the cursor says that the one before it was ended after the last commit.
        born = self._named(self._cursor)
        # So does its compressed form: a close that was broken off had nothing more to write to it.
        packed = None if name is None else self._directory / "closed" / f"{name}.zst"
        if name is not None and packed is not None and packed.exists():
            self._closed = [self._directory / name]
        elif name is not None and name not in self._given_up and not born.exists():
            current = self._directory / name
            if not current.is_file():
                raise self._gone(current, "replaced" if os.path.lexists(current) else "deleted", said["rows"])
            if current.stat().st_size < said["offset"]:
                raise CursorError(f"{current} is shorter than its cursor says ({said['offset']} bytes)")
            self._file = LineFile(
                current, offset=said["offset"], rows=said["rows"], day=said["day"], dialect=self._dialect
            )
        ended = sorted(self._directory.glob(f"{self._process}-*.jsonl"))
        ended = [path for path in ended if path != current and path.name not in self._given_up]
        self._closed += [path for path in ended if path.name < born.name]

    def write(self, batch: RowBatch) -> int:
        """Appends the lines of a batch in whole lines."""
        self._tidy()
        if self._cursor is None:
            self._cursor = batch.first_seq
        self._next = batch.last_seq + 1
        if not batch.rows:
            return 0
        day = day_of(batch.min_time_ns)
        if self._file is not None and self._rotation.utc_date and day > self._file.day and self._file.clean:
            self._rotate()
        if self._file is None:
            self._make_directory()
            self._file = LineFile(self._named(self._cursor), day=day, dialect=self._dialect)
        return self._file.append(batch)

    def commit(self) -> bytes:
        """Syncs the file, and ends it if it is full. The state says where the next line goes."""
        file = self._file
        if file is not None and (what := file.gone()) is not None:
            raise self._gone(file.path, what, file.safe)
        began, self._cursor = self._cursor, self._next
        if file is None:
            self._forget(began)
            return self._state(None)
        file.sync()
        limits, age = self._rotation, self._rotation.age_seconds
        full = (
            (limits.rows is not None and file.rows >= limits.rows)
            or (limits.bytes is not None and file.size >= limits.bytes)
            or (age is not None and file.age >= age)
        )
        if full:
            self._rotate()
            return self._state(None)
        return self._state(file)

    def missing(self) -> FileGone | None:
        """Whether the open file was taken away; from any thread."""
        file = self._file
        what = None if file is None else file.gone()
        return None if file is None or what is None else self._gone(file.path, what, file.safe)

    def _gone(self, path: Path, what: str, rows: int) -> FileGone:
        self._given_up.add(path.name)
        return FileGone(path, what, rows=rows, first_seq=int(path.stem.rpartition("-")[2]))

    def close(self) -> None:
        """Closes the file, and compresses what has been waiting for the cursor to pass."""
        if self._file is not None and self._file.clean:
            self._rotate()
        # All that is closed lies before the cursor: this comes after the last commit.
        self._tidy()
        self._release()

    def forked(self) -> None:
        """Closes the child's descriptors; the file goes on being the parent's."""
        if self._file is not None:
            self._file.forked()

    def _forget(self, began: int | None) -> None:
        """A longer attempt that failed may have begun a file here: its rows come again, in the next one."""
        if began is not None and (leftover := self._named(began)).exists():
            leftover.unlink()
            sync_directory(self._directory)

    def _make_directory(self) -> None:
        if self._path is None:
            own_directory(self._directory)
        else:
            # Named by whoever opened the log, by whatever links.
            make_directory(self._directory)

    def _named(self, seq: int) -> Path:
        return self._directory / f"{self._process}-{seq:016}.jsonl"

    def _state(self, file: LineFile | None) -> bytes:
        where: dict[str, object] = {"file": None, "offset": 0, "rows": 0, "day": 0}
        if file is not None:
            where = {"file": file.path.name, "offset": file.size, "rows": file.rows, "day": file.day}
        return json.dumps({**where, "seq": self._next, "dialect": self._dialect}).encode("ascii")

    def _rotate(self) -> None:
        """Ends the open file; it is compressed at the next write, when the cursor is past it."""
        if self._file is not None:
            file, self._file = self._file, None
            file.end()
            self._closed.append(file.path)

    def _release(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            if file.nameless:
                self._nameless = file.path
            file.close()

    def _tidy(self) -> None:
        """Compresses files that have ended, now that the cursor is past them."""
        while self._closed:
            compress(self._closed[0], self._directory / "closed", begin=self._compress)
            self._closed.pop(0)


class _StdoutSink(JsonlSink):
    """Lines on standard output."""

    # All lines of a batch are in memory at a time.
    batching = Batching(rows=8192, partial=True, linger=0.03)

    @property
    def checkpoint(self) -> Checkpoint:
        return self._limits

    def probe(self, root: Path) -> None:
        """Looks whether there is a standard output."""
        del root
        os.fstat(sys.stdout.fileno())

    def open(self, context: SinkContext) -> None:
        """Takes the descriptor that standard output has now."""
        del context
        self._fd = sys.stdout.fileno()

    def start(self, state: bytes) -> None:
        """Nothing can be undone on a pipe."""

    def write(self, batch: RowBatch) -> int:
        """Writes all lines; a reader that has gone is an error."""
        lines = batch.json_lines(self._dialect) if batch.rows else b""
        view = memoryview(lines)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                # Somebody made the pipe non-blocking.
                select.select([], [self._fd], [], 1.0)
        return len(lines)

    def commit(self) -> bytes:
        """Nothing can be made safer."""
        return b""

    def close(self) -> None:
        """Standard output is the process's."""

    def forked(self) -> None:
        """The child has it as well."""

"""Sealed Parquet files: a checkpoint is a file, a batch is a row group.

```
events/.<process>-<first seq>.tmp                                 while it is written; its name never ends in .parquet
events/<UTC date>/<process>-<first seq>-<last seq>.parquet        sealed: closed, fsynced, renamed, folder fsynced
```

What must always hold: whatever ends in `.parquet` is complete and never changes. A file says in its metadata which
range of seq it covers and what was left out of it, so that `sum(count)` of its rows and these terms are exactly the
length of the range; a checkpoint of which no row was kept is a file too. A row is in one file only: what a crash
sealed before the cursor knew of it is recognised by its name and not written again. What a file says of who touched
what is what its rows say (`auditring.rollup`).
"""

import contextlib
import ctypes
import inspect
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from auditring import _core
from auditring.config import Rotation
from auditring.exceptions import FileGone
from auditring.policy import Policy
from auditring.rollup import METADATA, Rollup
from auditring.sinks._files import create, date_of, gone, own_directory, probe_directory, sync_directory
from auditring.sinks._sealed import Terms, sealed_from
from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext

__all__ = ["ParquetSink"]

ROW_GROUP: Final = 122_880
_WRITE_BATCH: Final = 16_384
"""Values that pyarrow encodes at a time; its 1,024 are for rows far larger than ours."""
_PAGES: Final = (
    {"max_rows_per_page": ROW_GROUP} if "max_rows_per_page" in inspect.signature(pq.ParquetWriter).parameters else {}
)
"""One page a column chunk, as before pyarrow 23 cut pages at 20,000 rows: a compressor's state is made anew for each
page, which took longer than compressing, and what it had learnt is lost, so files were a quarter larger."""
_UNASKED: Final = 16
"""Most row groups between two looks at a file's size: later ones may be larger than the first were."""
_NAMES: Final = 16
"""Names that are tried for a file that is begun: in the place of one that was taken away there may be anything."""
_CLOSED: Final = -1
_STATISTICS: Final = ["time", "seq", "first_offset", "last_offset", "resource"]


def _encodings(schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    """Which columns go into a dictionary, and how the others are packed; a column may be in one of them only."""
    strings, packed = [], {}
    for field in schema:
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            packed[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_list(field.type):
            strings.append(f"{field.name}.list.element")
        else:
            strings.append(field.name)
    return strings, packed


def _created(path: Path) -> tuple[Path, int]:
    """Makes a file of this name, or, where something else lies there, of one like it."""
    for name in (path, *(path.with_suffix(f".{number}.tmp") for number in range(1, _NAMES))):
        try:
            return name, create(name, os.O_RDWR)
        except FileExistsError:
            continue
    return path, create(path, os.O_RDWR)


class _OpenFile:
    """A file that is being written, under its temporary name."""

    def __init__(self, path: Path, schema: pa.Schema, level: int, limit: int | None = None) -> None:
        self._limit = limit
        self._size = 0
        self._groups = 0
        self._ask_at = 1
        # Ours, open from before the first byte: an error of writing back is told to whoever had the file open then.
        own_directory(path.parent)
        self.path, self.fd = _created(path)
        path = self.path
        try:
            status = os.fstat(self.fd)
            self._identity = status.st_dev, status.st_ino
            # pyarrow's own file, so that no write needs the GIL.
            self.stream = pa.OSFile(str(path), "wb")
            strings, packed = _encodings(schema)
            self.writer = pq.ParquetWriter(
                self.stream,
                schema,
                compression="zstd",
                compression_level=level,
                write_batch_size=_WRITE_BATCH,
                # pyarrow's own pool gives memory back so soon that each row group would take it anew, page by page.
                memory_pool=pa.system_memory_pool(),
                **_PAGES,
                use_dictionary=strings,
                column_encoding=packed,
                write_statistics=_STATISTICS,
                # Or a flipped bit is found only where it happens to spoil what a page is packed with.
                write_page_checksum=True,
            )
        except BaseException:
            os.close(self.fd)
            with contextlib.suppress(OSError):  # why there is no file says more, and `start` removes what is left of it
                path.unlink()
            raise

    def write(self, batch: pa.RecordBatch) -> int:
        """Writes one row group and returns by how much the file has grown since that was last asked.

        It is asked often enough to end a file in time, and no more: the question lets go of the GIL, and getting it
        back from a thread that emits all the time takes milliseconds.
        """
        self.writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
        self._groups += 1
        if self._limit is None or self._groups < self._ask_at:
            return 0
        before, self._size = self._size, int(self.stream.tell())
        self._ask_at = self._groups + max(1, min(_UNASKED, self._limit // 16 * self._groups // self._size))
        return self._size - before

    def gone(self) -> str | None:
        """Whether the file was taken away, and how; from any thread."""
        return gone(self.path, self.fd, self._identity)

    def seal(self, metadata: Mapping[str | bytes, str | bytes], path: Path) -> None:
        """Ends the file and gives it its name; afterwards both are on disk."""
        self.writer.add_key_value_metadata(metadata)
        self.writer.close()
        self.stream.close()
        os.fsync(self.fd)
        if (what := self.gone()) is not None:
            raise FileGone(self.path, what)
        own_directory(path.parent)
        try:
            self.path.rename(path)
        except FileNotFoundError:
            # Retention may have taken the empty folder of a day away.
            own_directory(path.parent)
            self.path.rename(path)
        # Until the names are safe it may be discarded: nobody would know a file again whose name the disk has not got.
        events, self.path = self.path.parent, path
        sync_directory(path.parent)
        sync_directory(events)
        self._let_go()

    def discard(self) -> None:
        """Throws the file away, in whatever state it is; one that could not be removed can be tried again."""
        try:
            if self.gone() is None:
                self.path.unlink(missing_ok=True)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self.fd == _CLOSED:
            return
        fd, self.fd = self.fd, _CLOSED
        try:
            self.writer.close()
        except (OSError, ValueError, pa.ArrowException):
            # A footer nobody will read did not fit; why the file is thrown away was already said.
            self.writer.is_open = False
        finally:
            os.close(fd)
        self.stream.close()

    def leak(self) -> None:
        """Keeps pyarrow's destructor from ever running: it would write a footer into the parent's file."""
        self.writer.is_open = False
        for held in (self.writer, self.writer.writer, self.stream):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


class ParquetSink(Sink):
    """Tables for DuckDB and everything else that reads Parquet; the default sink."""

    batching = Batching(rows=ROW_GROUP, partial=False, tables=True)

    def __init__(
        self, *, rotation: Rotation | None = None, compression_level: int = 1, policy: Policy | None = None
    ) -> None:
        """`rotation`: when a file is sealed; by default at 1,000,000 rows, 256 MiB, 5 minutes, or a new UTC date.

        `policy`: what this sink keeps, by default what the log keeps.
        """
        self.name = "parquet"
        self.policy = policy
        self._rotation = rotation or Rotation(rows=1_000_000, bytes=256 << 20, age=300.0)
        self._level = compression_level
        self._schema: pa.Schema | None = None
        self._file: _OpenFile | None = None
        self._forget()

    def _forget(self) -> None:
        """Nothing is written since the last commit."""
        self._first: int | None = None
        self._last = -1
        self._time_ns = 0
        self._terms = Terms()
        self._rollup = Rollup()

    @property
    def checkpoint(self) -> Checkpoint:
        """A checkpoint is a file, so its limits are the rotation's."""
        r = self._rotation
        return Checkpoint(rows=r.rows, bytes=r.bytes, age=r.age_seconds)

    def probe(self, root: Path) -> None:
        """Looks whether files could be written."""
        probe_directory(root / "events")

    def open(self, context: SinkContext) -> None:
        """Makes `events/` and asks the core for the schema."""
        self._context = context
        self._events = context.root / "events"
        own_directory(self._events)
        self._schema = pa.schema(_core.schema())

    def start(self, state: bytes) -> None:
        """Throws unfinished files of this process away; those sealed past the cursor are found at the first row."""
        self._abandon()
        own_directory(self._events)
        for leftover in self._events.glob(f".{self._context.process}-*.tmp"):
            if not leftover.is_dir():
                leftover.unlink()
        self._forget()
        # Of a version that could stop within a file that a crash had sealed: the terms of the rest of that file.
        self._carried = Terms(**json.loads(state)) if state else Terms()
        self._looked = False

    def write(self, batch: RowBatch) -> int:
        """Writes one row group. Raises `SinkAhead` where files lie sealed from there on."""
        if not self._looked:
            ahead = sealed_from(self._events, self._context.process, batch.first_seq, self._carried)
            if ahead is not None:
                raise ahead
            self._looked = True
        self._time_ns = max(self._time_ns, batch.max_time_ns)
        self._terms += Terms.of(batch)
        self._last = batch.last_seq
        if self._first is None:
            self._first = batch.first_seq
        file = self._opened()
        if not batch.rows:
            return 0
        self._rollup.add(batch)
        return file.write(pa.record_batch(batch))

    def commit(self) -> bytes:
        """Seals the file; the state is empty."""
        if self._first is not None:
            name = f"{self._context.process}-{self._first:016}-{self._last:016}.parquet"
            path = self._events / date_of(self._time_ns or time.time_ns()) / name
            self._opened().seal(self._metadata(), path)
            self._file = None
        self._forget()
        return b""

    def missing(self) -> FileGone | None:
        """Whether the open file was taken away; from any thread. All its rows come again."""
        file = self._file
        what = None if file is None else file.gone()
        return None if file is None or what is None else FileGone(file.path, what, first_seq=self._first)

    def close(self) -> None:
        """Throws away what was not committed."""
        self._abandon()

    def forked(self) -> None:
        """The parent's file stays as the parent has it."""
        if self._file is not None:
            self._file.leak()
            self._file = None

    def _opened(self) -> _OpenFile:
        if self._file is None:
            path = self._events / f".{self._context.process}-{self._first:016}.tmp"
            self._file = _OpenFile(path, self._schema, self._level, self._rotation.bytes)
        return self._file

    def _abandon(self) -> None:
        if self._file is not None:
            # One that could not be removed is tried again before anything else is written.
            self._file.discard()
            self._file = None

    def _metadata(self) -> dict[str | bytes, str | bytes]:
        context, rollup = self._context, self._rollup.encode()
        return {
            "auditring.schema_version": str(context.schema_version),
            "auditring.process": context.process,
            "auditring.instance": context.instance,
            "auditring.host": context.host,
            "auditring.first_seq": str(self._first),
            "auditring.last_seq": str(self._last),
            **({} if context.primary_tap is None else {"auditring.primary_tap": context.primary_tap}),
            **{f"auditring.{term}": str(n) for term, n in self._terms.as_dict().items()},
            **({} if rollup is None else {METADATA: rollup}),
        }

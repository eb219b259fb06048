"""What a file held, asked of the file itself before it goes.

What must always hold: a file that cannot be read keeps nothing from being deleted when its time has come; then its name
says which rows it held, and the rest is not known.
"""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditring.ledger import Entry
from auditring.verify.chunks import chunks, parsed

if TYPE_CHECKING:
    from pathlib import Path

    from auditring.ledger import Kind
    from auditring.retention.survey import Candidate

__all__ = ["describe", "is_older", "newest_ns"]

_DAMAGE: Final = (OSError, ValueError, KeyError, pa.ArrowException)
_TAIL: Final = 64 << 10
_BLOCK: Final = 1 << 20
_DAY_NS: Final = 86_400_000_000_000
_FIELDS: Final = {"seq": int, "count": int, "timeNanos": int}
_TERMS: Final = ("sampled_out", "filtered_out", "lost")


def describe(candidate: Candidate, cause: str) -> Entry:
    """All that is told of a file that goes. Raises `OSError` if it has gone already."""
    with candidate.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        held = _table(candidate) if candidate.kind == "parquet" else _lines(candidate)
    except _DAMAGE:
        held = {"rows": None}
    names = ("file", "kind", "process", "sink", "first_seq", "last_seq", "bytes")
    return Entry(**{name: getattr(candidate, name) for name in names}, sha256=digest, cause=cause, **held)


def _table(candidate: Candidate) -> dict[str, Any]:
    with pq.ParquetFile(str(candidate.path)) as file:
        metadata = file.metadata.metadata or {}
        terms = {term: int(metadata[f"auditring.{term}".encode()]) for term in _TERMS}
        rows = file.metadata.num_rows
        times = pc.min_max(file.read(columns=["time_ns"]).column("time_ns")).as_py() if rows else {}
    events = candidate.last_seq + 1 - candidate.first_seq - sum(terms.values())
    return {"rows": rows, "events": events, **terms, "from_ns": times.get("min"), "to_ns": times.get("max")}


def _lines(candidate: Candidate) -> dict[str, Any]:
    rows = events = 0
    times: list[int] = []
    for chunk in chunks(candidate.path):
        table, _ = parsed(chunk, _FIELDS)
        if table.num_rows:
            rows += table.num_rows
            events += pc.sum(table.column("count")).as_py()
            bounds = pc.min_max(table.column("timeNanos")).as_py()
            times += [bounds["min"], bounds["max"]]
    return {
        "rows": rows,
        "events": events,
        "from_ns": min(times, default=None),
        "to_ns": max(times, default=None),
        # Lines have no metadata: what was left out of them is known to the sink's totals alone.
        **dict.fromkeys(_TERMS, 0),
    }


@functools.lru_cache(maxsize=4096)
def newest_ns(path: Path, kind: Kind, inode: int, size: int) -> int:  # noqa: ARG001 - inode and size make another file another question
    """The greatest time of a file's events, by its footer, or by its last lines. Raises `OSError`.

    A file without any is of the end of its date; what cannot be read, of the time when it was last written.
    """
    try:
        newest = _newest_row(path) if kind == "parquet" else _newest_line(path)
    except FileNotFoundError:
        raise
    except _DAMAGE:
        newest = None
    return path.stat().st_mtime_ns if newest is None else newest


def _newest_row(path: Path) -> int | None:
    metadata = pq.read_metadata(path)
    times = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for at in range(group.num_columns):
            column = group.column(at)
            if column.path_in_schema == "time" and column.is_stats_set and column.statistics.has_min_max:
                times.append(column.statistics.max)
    if times:
        return int(max(times).timestamp() * 1e6) * 1000
    date = datetime.strptime(path.parent.name, "%Y-%m-%d").replace(tzinfo=UTC)
    return int(date.timestamp()) * 1_000_000_000 + _DAY_NS


def _newest_line(path: Path) -> int | None:
    with path.open("rb") as file:
        if path.suffix != ".zst":
            file.seek(max(0, path.stat().st_size - _TAIL))
            tail = file.read()
        else:
            # Where there is no GIL, importing it may bring that back: not before there is something to unpack.
            import zstandard  # noqa: PLC0415

            tail = b""
            with zstandard.ZstdDecompressor().stream_reader(file) as plain:
                for block in iter(lambda: plain.read(_BLOCK), b""):
                    tail = (tail + block)[-_TAIL:]
    times = []
    for line in tail.splitlines():
        try:
            times.append(int(json.loads(line)["timeNanos"]))
        except (ValueError, KeyError, TypeError):
            continue  # the front of what was read is seldom the front of a line
    return max(times, default=None)


def is_older(entry: Entry, bound_ns: int) -> bool:
    """Whether every event of a file is older; where its rows cannot be read, nobody can say otherwise."""
    return entry.to_ns is None or entry.to_ns < bound_ns

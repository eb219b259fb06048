"""Who touched a resource, by what sealed files have added up themselves.

What must always hold: of each file either its sums or its rows are taken, never both. Its sums answer only where all of
them lie within the bounds of the question, or outside of them: what lies across a bound is known by the rows alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditring import rollup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditring.sealed import SealedFile

__all__ = ["Looked", "look"]

_OUT = pa.ArrowException, OSError, ValueError


class Looked(NamedTuple):
    """What was found: the sums, with the process beside those of a rollup, and the files whose rows have to be read."""

    sums: pa.Table
    unread: list[Path]


def look(files: Sequence[SealedFile], resource: str, since_us: int | None, until_us: int | None) -> Looked:
    """Looks into the metadata of files, for what was from `since` on and before `until`: microseconds since the epoch.

    A file that is gone, or damaged, is left to whoever reads its rows to say.
    """
    parts: dict[str, list[pa.Table]] = {}
    unread = []
    for file in files:
        table = _within(file, resource, since_us, until_us)
        if table is None:
            unread.append(file.path)
        elif table.num_rows:
            parts.setdefault(file.process, []).append(table)
    nothing = rollup.PLAIN.empty_table().append_column("process", pa.array([], pa.string()))
    return Looked(pa.concat_tables([nothing, *(_of_process(*one) for one in parts.items())]), unread)


def _of_process(process: str, tables: list[pa.Table]) -> pa.Table:
    # What does not fit is for DuckDB to complain of.
    sums = rollup.together(tables) if rollup.fit(tables) else pa.concat_tables(tables)
    return sums.cast(rollup.PLAIN).append_column("process", pa.repeat(process, sums.num_rows))


def _within(file: SealedFile, resource: str, since_us: int | None, until_us: int | None) -> pa.Table | None:
    """A file's sums for a resource, as far as they are within the bounds; `None` where its rows have to say."""
    if file.last_seq - file.first_seq + 1 < rollup.LEAST_ROWS:
        return None
    try:
        table = rollup.decode(pq.read_metadata(file.path).metadata)
    except _OUT:
        return None
    if table is None:
        return None
    table = table.filter(pc.equal(table.column("resource"), resource)).cast(rollup.PLAIN)
    if since_us is not None:
        table = table.filter(pc.greater_equal(_micros(table, "last_seen"), since_us))
        if not pc.all(pc.greater_equal(_micros(table, "first_seen"), since_us), min_count=0).as_py():
            return None
    if until_us is not None:
        table = table.filter(pc.less(_micros(table, "first_seen"), until_us))
        if not pc.all(pc.less(_micros(table, "last_seen"), until_us), min_count=0).as_py():
            return None
    return table


def _micros(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table.column(name).cast(pa.int64())

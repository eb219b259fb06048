"""Who touched a resource, by what sealed files have added up themselves.

What must always hold: of each file either its sums or its rows are taken, never both. Its sums answer only where all of
them lie within the bounds of the question, or outside of them: what lies across a bound is known by the rows alone.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditring import rollup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from auditring.sealed import SealedFile

__all__ = ["COLUMNS", "Looked", "look"]

_THREADS: Final = min(8, os.cpu_count() or 1)
_OUT: Final = pa.ArrowException, OSError, ValueError

COLUMNS: Final = {
    "process": "VARCHAR",
    **dict.fromkeys(rollup.KEYS[1:], "VARCHAR"),
    **dict.fromkeys(("events", "records", "bytes", "first_seen", "last_seen"), "BIGINT"),
}
"""Of the sums, with DuckDB's types; times are microseconds since the epoch."""


class Looked(NamedTuple):
    """What was found: sums, a column a list, and the files whose rows have to be read."""

    sums: dict[str, list[object]]
    unread: list[Path]


def look(files: Sequence[SealedFile], resource: str, since: datetime | None, until: datetime | None) -> Looked:
    """Looks into the metadata of files, for what was from `since` on and before `until`.

    One that is gone, or damaged, is left to whoever reads its rows to say.
    """
    within = partial(_within, resource=resource, since=_utc(since), until=_utc(until))
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(within, files))
    sums: dict[str, list[object]] = {name: [] for name in COLUMNS}
    parts: dict[str, list[pa.Table]] = {}
    for file, table in zip(files, found, strict=True):
        if table is not None:
            parts.setdefault(file.process, []).append(table)
    for process, tables in parts.items():
        # What does not fit is told by DuckDB.
        table = rollup.together(tables) if rollup.fit(tables) else pa.concat_tables(tables)
        sums["process"] += [process] * table.num_rows
        for name in list(COLUMNS)[1:]:
            column = table.column(name)
            times = pa.types.is_timestamp(column.type)
            sums[name] += (column.cast(pa.int64()) if times else column).to_pylist()
    return Looked(sums, [file.path for file, table in zip(files, found, strict=True) if table is None])


def _within(file: SealedFile, *, resource: str, since: pa.Scalar | None, until: pa.Scalar | None) -> pa.Table | None:
    """A file's sums for a resource, as far as they are within the bounds; `None` where its rows have to say."""
    if file.last_seq - file.first_seq + 1 < rollup.LEAST_ROWS:
        return None
    try:
        table = rollup.decode(pq.read_metadata(file.path).metadata)
    except _OUT:
        return None
    if table is None:
        return None
    table = rollup.plain(table.filter(pc.equal(table.column("resource"), resource)))
    if since is not None:
        table = table.filter(pc.greater_equal(table.column("last_seen"), since))
        if not pc.all(pc.greater_equal(table.column("first_seen"), since), min_count=0).as_py():
            return None
    if until is not None:
        table = table.filter(pc.less(table.column("first_seen"), until))
        if not pc.all(pc.less(table.column("last_seen"), until), min_count=0).as_py():
            return None
    return table


def _utc(moment: datetime | None) -> pa.Scalar | None:
    """As DuckDB takes it on a connection of ours: one without a zone is in UTC."""
    if moment is None:
        return None
    return pa.scalar(
        moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment, rollup.TOUCHED.field("last_seen").type
    )

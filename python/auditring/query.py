"""Ask DuckDB: `connect` gives a connection with a view `events` over everything that an audit directory holds.

The view joins the sealed Parquet files with the rows that are still in the journal, each row once. What must always
hold: the journals are opened before the files are listed, the list is bound (a glob evaluated anew would show a row
from its new file and from the journal), and a connection stays at its moment until `refresh`.

    >>> import auditring.query
    >>> con = auditring.query.connect("audit/")                                             # doctest: +SKIP
    >>> con.sql("SELECT principal, sum(events_total) FROM events GROUP BY ALL").show()      # doctest: +SKIP
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from auditring import _core, directory
from auditring.directory import NotAnAuditDirectory
from auditring.sealed import SealedFile, list_sealed, unglobbed

try:
    import duckdb
except ImportError as error:
    raise ImportError("auditring.query needs DuckDB: pip install 'auditring[query]'") from error

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["NotAnAuditDirectory", "QueryWarning", "connect", "refresh"]

_ATTEMPTS = 200
"""Snapshots taken before giving up on files that go while they are being opened."""

_SOURCE = "SELECT getvariable('auditring_root'), getvariable('auditring_include_fresh')"

# Every row once, whole, under the columns of the schema, in their order: the fresh side comes first because it has all
# of them also when nothing is sealed yet, or when every file was written before a column was added.
_ROWS = """
SELECT *, process || ':' || seq AS event_id, "count" * weight AS events_total
FROM (SELECT * FROM auditring_fresh {sealed})
"""
_SEALED = "UNION ALL BY NAME SELECT * FROM read_parquet([{files}], union_by_name = true)"


# Whoever makes another view of this name has it asked.
_VIEWS = "SELECT list(sql) FROM duckdb_views() WHERE view_name = 'events'"
# What saved questions count. A row without a tap is its process's only view of the event.
_PRIMARY_TAP = "CREATE OR REPLACE MACRO at_primary_tap(of_process, tap) AS ({condition})"


class QueryWarning(UserWarning):
    """Something that a reader of an audit directory ought to know before believing an answer."""


def connect(path: str | os.PathLike[str], *, include_fresh: bool = True) -> duckdb.DuckDBPyConnection:
    """Open an audit directory for reading: an in-memory DuckDB connection with the view `events`.

    The view has the columns of the tables, and `event_id` (`<process>:<seq>`) and `events_total` (`count * weight`,
    what to sum for totals). It shows the directory as it was at the call; `refresh` moves it on. With
    `include_fresh=False` only sealed files are read. Times are handed out in UTC.

    Raises `NotAnAuditDirectory`. Warns with `QueryWarning` when no log here writes Parquet, or rows are left out.
    """
    root = Path(path).absolute()
    directory.require(root)
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET VARIABLE auditring_root = $1", [str(root)])
    con.execute("SET VARIABLE auditring_include_fresh = $1", [include_fresh])
    _bind(con, root, include_fresh=include_fresh)
    return con


def refresh(con: duckdb.DuckDBPyConnection) -> None:
    """Move the view of a connection made by `connect` to this moment, in place.

    Wanted too when DuckDB says that a file is gone: retention or compaction has removed it since.
    """
    # All of the result is fetched, or the connection would be in use by it.
    ((path, include_fresh),) = con.execute(_SOURCE).fetchall()
    if path is None:
        raise ValueError("refresh wants a connection that auditring.query.connect has made")
    root = Path(path)
    directory.require(root)
    _bind(con, root, include_fresh=include_fresh)


def _bind(con: duckdb.DuckDBPyConnection, root: Path, *, include_fresh: bool) -> None:
    """Point the view at a new snapshot; a sealed file that goes between listing and opening means a newer one."""
    for attempt in range(1, _ATTEMPTS + 1):
        # The order is the promise: a row sealed after the journals were opened is still in them, and one sealed
        # before is in the list. The other way round it could be in neither.
        journals = _core.Snapshot(str(root))
        files, strangers = list_sealed(root)
        fresh = _fresh(journals, files) if include_fresh else schema().empty_table()
        # Bound before the view, and to the connection: DuckDB keeps the table alive as long as it is registered.
        con.register("auditring_fresh", fresh)
        try:
            con.execute(f"CREATE OR REPLACE VIEW events AS {rows(file.path for file in files)}")
            con.execute(_PRIMARY_TAP.format(condition=_at_primary_tap(_primary_taps(journals, files))))
        except (duckdb.IOException, FileNotFoundError):
            if attempt == _ATTEMPTS or all(file.path.exists() for file in files):
                raise
            continue
        con.execute("SET VARIABLE auditring_sealed = $1", [[str(file.path) for file in files]])
        con.execute(f"SET VARIABLE auditring_view = ({_VIEWS})")
        _warn(files, strangers, parquet=journals.parquet, unknown=journals.unknown, gone=journals.gone)
        return


def schema() -> pa.Schema:
    """Return the columns of the tables, without the two that the view adds."""
    return pa.schema(_core.schema())


def _fresh(journals: _core.Snapshot, files: Sequence[SealedFile]) -> pa.Table:
    batches = [pa.record_batch(batch) for batch in journals.fresh([file.range for file in files]) if batch.rows]
    return pa.Table.from_batches(batches, schema=schema())


def sealed(con: duckdb.DuckDBPyConnection) -> list[SealedFile] | None:
    """The sealed files that the view `events` of a connection shows; `None` where the view is not that of `connect`."""
    ours = f"getvariable('auditring_view') = ({_VIEWS})"
    ((paths,),) = con.execute(f"SELECT getvariable('auditring_sealed') WHERE {ours}").fetchall() or [(None,)]
    if paths is None:
        return None
    return [file for file in map(SealedFile.from_path, map(Path, paths)) if file is not None]


def rows(files: Iterable[Path]) -> str:
    """The query that the view `events` is, over the fresh rows and those of these files."""
    # Literals, because a view cannot hold parameters.
    names = ", ".join(_literal(unglobbed(str(file))) for file in files)
    return _ROWS.format(sealed=_SEALED.format(files=names) if names else "")


def _primary_taps(journals: _core.Snapshot, files: Sequence[SealedFile]) -> dict[str, str]:
    """The primary tap of every process that has one: from its newest file, or its journal."""
    taps: dict[str, str] = {}
    for file in {file.process: file for file in files}.values():
        tap = (pq.read_metadata(file.path).metadata or {}).get(b"auditring.primary_tap")
        if tap:
            taps[file.process] = tap.decode(errors="replace")
    return taps | journals.primary_taps


def _at_primary_tap(taps: Mapping[str, str]) -> str:
    if not taps:
        return "true"
    entries = ", ".join(f"{_literal(process)}: {_literal(tap)}" for process, tap in taps.items())
    return f"tap IS NULL OR tap = coalesce((MAP {{{entries}}})[of_process], tap)"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _warn(files: Sequence[SealedFile], strangers: Sequence[Path], *, parquet: bool, unknown: int, gone: int) -> None:
    if not files and not parquet:
        text = (
            "no log here writes Parquet: the view shows only what is still in the journal, "
            "and a row leaves that once every sink has it"
        )
        warnings.warn(text, QueryWarning, stacklevel=4)
    if unknown:
        text = f"left out {unknown} row(s) of the journal that only a later version of auditring can read"
        warnings.warn(text, QueryWarning, stacklevel=4)
    if gone:
        text = (
            f"{gone} row(s) are in no file and no longer in the journal: let go at its budget before the Parquet sink "
            "had them, or damaged; see `auditring verify`"
        )
        warnings.warn(text, QueryWarning, stacklevel=4)
    if strangers:
        text = f"left out {len(strangers)} Parquet file(s) that no sink of ours has named, such as {strangers[0].name}"
        warnings.warn(text, QueryWarning, stacklevel=4)

"""Follow an audit directory from outside, while proxies write to it: what `auditring tail` is made of.

Rows come out of the journals, which the core follows without a lock, and as lines, which the core makes; what has left
a journal before it could be read there comes out of the sealed files. What must always hold: the journals are opened
before the files are listed, and a range of a process's rows is taken either from its journal or from files, so that
each row is told once. Rows of one process are in its order; those of several are in order of time as far as they are
read together.

    >>> from auditring.tail import Tail, Wanted
    >>> tail = Tail("audit/", Wanted(outcomes=("denied",)), last=10)       # doctest: +SKIP
    >>> for lines in tail.history():                                       # doctest: +SKIP
    ...     print(lines.decode(), end="")
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from auditring import _core, directory
from auditring.directory import NotAnAuditDirectory
from auditring.questions import OF_PRINCIPALS
from auditring.sealed import SealedFile, list_sealed, unglobbed

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import duckdb

    from auditring.types import Dialect

__all__ = ["Tail", "Wanted"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL = 2**63 - 1
"""The last seq of a range that has no end yet."""
_CHUNK = 5_000
_ATTEMPTS = 5
"""Lists of files taken before giving up on files that go while they are being opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to tell of; nothing named means everything.

    A principal is `Type:name` or a name, and is met also where a failed login claimed it. What a filter did because of
    a session's request belongs to the session.
    """

    actions: Sequence[str] = ()
    categories: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    principals: Sequence[str] = ()
    sessions: Sequence[str] = ()
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Checks that the bound in time is one moment everywhere."""
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since needs a time zone, such as datetime.UTC")

    @property
    def since_ns(self) -> int | None:
        """The bound in time, as the core has it."""
        if self.since is None:
            return None
        whole = (self.since - _EPOCH) // timedelta(microseconds=1)
        return whole * 1000


class _Form(TypedDict):
    """What lines look like."""

    json: bool
    dialect: Dialect | None
    colour: bool


class _Part(NamedTuple):
    """Rows of a sealed file that are to be told of, both ends included."""

    file: SealedFile
    first_seq: int
    last_seq: int


class Tail:
    """One reader: first `history`, then `fresh` again and again. Lines are bytes, each ended by a newline."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        wanted: Wanted | None = None,
        *,
        last: int | None = None,
        json: bool = False,
        dialect: Dialect | None = None,
        colour: bool = False,
    ) -> None:
        """Opens what is there, so that nothing that is written from now on is missed.

        `last` is how many rows of the past to tell of, `None` for all that are wanted. `dialect` is whose names
        actions have in JSON; `wanted` asks by our own. Raises `NotAnAuditDirectory`.
        """
        self.notes: list[str] = []
        """What a person ought to know before believing what was told; the caller takes them out."""
        self._root = Path(root).absolute()
        directory.require(self._root)
        self._wanted = wanted = wanted or Wanted()
        self._last = last
        self._form: _Form = {"json": json, "dialect": dialect, "colour": colour}
        self._core = _core.Tail(
            str(self._root),
            from_now=last == 0,
            actions=wanted.actions,
            categories=wanted.categories,
            outcomes=wanted.outcomes,
            principals=wanted.principals,
            sessions=wanted.sessions,
            since_ns=wanted.since_ns,
            **self._form,
        )
        self._unreadable = 0
        # The order is the promise: what is sealed from now on is still in a journal that is open already.
        self._files, _ = list_sealed(self._root)
        self._followed = set(self._core.processes)
        # Of processes whose journals had gone: from which seq on their files are not told of yet.
        self._passed = {file.process: file.last_seq + 1 for file in self._files if file.process not in self._followed}

    def history(self) -> Iterator[bytes]:
        """The lines of what was there already: once, before `fresh`."""
        missed = self._core.missed()
        if self._last == 0:
            return
        if missed and not self._files:
            self.notes.append("what has left the journal is in no Parquet file: only what is still in it is told")
        parts = [
            _Part(file, file.first_seq, file.last_seq) for file in self._files if file.process not in self._followed
        ]
        parts += [part for process, first, last in missed for part in _within(self._files, process, first, last)]
        if self._last is None:
            for chunk in self._sealed(parts):
                yield b"".join(line for *_, line in chunk)
            while lines := self._core.next():
                yield lines
            # A window that is not over shows as it stands.
            if lines := self._core.rest():
                yield lines
        else:
            newest = self._newest(parts, self._core.last(self._last), self._last)
            yield b"".join(line for *_, line in newest)
        self._look()

    def fresh(self) -> bytes:
        """The lines of what was journaled since the last call; empty when there is nothing for now.

        Raises `OSError`; `NotAnAuditDirectory` when the directory has gone.
        """
        try:
            lines = self._core.next()
        except FileNotFoundError as error:
            if self._root.is_dir():
                raise
            raise NotAnAuditDirectory(f"{self._root} has gone: there is nothing more to follow") from error
        missed = self._core.missed()
        if missed:
            # What was read before the gap was noticed comes first.
            lines += self._found(missed)
        self._look()
        return lines

    def _found(self, missed: Sequence[tuple[str, int, int]]) -> bytes:
        """Rows that have gone before they were read: they were sealed before, if they are sealed at all."""
        files, _ = list_sealed(self._root)
        told = []
        for process, begin, last in missed:
            first = max(begin, self._passed.get(process, 0))
            parts = _within(files, process, first, last)
            rows = sum(part.last_seq + 1 - part.first_seq for part in parts)
            whole = bool(parts) if last == _ALL else rows == last + 1 - first
            if first <= last and not whole:
                self.notes.append(
                    f"rows of process {process} had left its journal before they were read: {_span(first, last)}"
                )
            told += [line for lines in self._sealed(parts) for *_, line in lines]
        return b"".join(told)

    def _newest(
        self, parts: list[_Part], kept: list[tuple[int, str, int, bytes]], most: int
    ) -> list[tuple[int, str, int, bytes]]:
        """The last rows of all, oldest first: a day's files after the other, from the last, until there are enough."""
        kept = sorted(kept)[-most:]
        days = itertools.groupby(sorted(parts, key=_day, reverse=True), key=_day)
        for _, of_day in days:
            enough = len(kept) == most
            found = [
                line for lines in self._sealed(list(of_day), most, kept[0][0] if enough else None) for line in lines
            ]
            if enough and not found:
                break
            kept = sorted(kept + found)[-most:]
        return kept

    def _sealed(
        self, parts: Sequence[_Part], most: int | None = None, since_ns: int | None = None
    ) -> Iterator[list[tuple[int, str, int, bytes]]]:
        """Lines out of files, in order of time; with `most` only the last ones."""
        if self._wanted.since is not None:
            # A row that is a little late lies in the later day's folder, so a day more is looked through.
            earliest = (self._wanted.since - timedelta(days=1)).date().isoformat()
            parts = [part for part in parts if _day(part) >= earliest]
        asked = self._asked(parts, most, since_ns)
        if asked is None:
            return
        con, columns = asked
        at = [columns.index(name) for name in ("time_ns", "process", "seq")]
        while rows := con.fetchmany(_CHUNK):
            lines = _core.lines(columns, rows, **self._form)
            yield [(row[at[0]], row[at[1]], row[at[2]], line) for row, line in zip(rows, lines, strict=True)]

    def _asked(
        self, parts: Sequence[_Part], most: int | None, since_ns: int | None
    ) -> tuple[duckdb.DuckDBPyConnection, list[str]] | None:
        """The rows of parts of files; of files that go meanwhile (retention, compaction), what has come instead."""
        import duckdb  # noqa: PLC0415 - only who wants rows of the past needs it

        for attempt in range(1, _ATTEMPTS + 1):
            if not parts:
                return None
            try:
                return _asked(parts, self._wanted, most, since_ns)
            except duckdb.IOException as error:
                if attempt == _ATTEMPTS or all(part.file.path.exists() for part in parts):
                    raise OSError(f"sealed files cannot be read: {error}") from error
            files, _ = list_sealed(self._root)
            parts = [now for part in parts for now in _within(files, part.file.process, part.first_seq, part.last_seq)]
        return None

    def _look(self) -> None:
        if (unreadable := self._core.unreadable) > self._unreadable:
            self.notes.append(f"{unreadable - self._unreadable} rows could not be read")
            self._unreadable = unreadable


def _day(part: _Part) -> str:
    return part.file.path.parent.name


def _span(first: int, last: int) -> str:
    return f"seq {first} and later" if last == _ALL else f"seq {first} to {last}"


def _within(files: Sequence[SealedFile], process: str, first: int, last: int) -> list[_Part]:
    """What files hold of a range."""
    of = (file for file in files if file.process == process)
    parts = (_Part(file, max(first, file.first_seq), min(last, file.last_seq)) for file in of)
    return [part for part in parts if part.first_seq <= part.last_seq]


_CONDITIONS = {
    "actions": "list_contains($actions, action)",
    "categories": "list_contains($categories, category)",
    "outcomes": "list_contains($outcomes, outcome)",
    "principals": OF_PRINCIPALS,
    "sessions": """(list_contains($sessions, session)
        OR (contains(context, 'causeSession') AND list_contains($sessions, context ->> '$.causeSession')))""",
}

_ROWS = """
FROM (FROM auditring_none UNION ALL BY NAME FROM read_parquet($files, union_by_name = true))
SELECT {columns}
WHERE {where}
ORDER BY time_ns {order}, process {order}, seq {order}
{limit}
"""


def _asked(
    parts: Sequence[_Part], wanted: Wanted, most: int | None, since_ns: int | None
) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """The rows of parts of files, and the names of their columns."""
    import duckdb  # noqa: PLC0415 - only who wants rows of the past needs it
    import pyarrow as pa  # noqa: PLC0415 - the same

    schema = pa.schema(_core.schema())
    columns = [name for name in schema.names if name != "time"]
    shown = ["epoch_ns(end_time) AS end_time" if name == "end_time" else f'"{name}"' for name in columns]
    values: dict[str, object] = {"files": [unglobbed(str(part.file.path)) for part in parts]}
    where = ["true"]
    for name, condition in _CONDITIONS.items():
        if asked := getattr(wanted, name):
            where.append(condition)
            values[name] = list(asked)
    since = max((ns for ns in (wanted.since_ns, since_ns) if ns is not None), default=None)
    if since is not None:
        # The first lets DuckDB leave out files and row groups, the second is exact.
        where.append('"time" >= make_timestamptz($since // 1000) AND time_ns >= $since')
        values["since"] = since
    for at, part in enumerate(part for part in parts if (part.first_seq, part.last_seq) != part.file.range[1:]):
        where.append(
            f"(process <> $process_{at} OR seq < $begin_{at} OR seq > $end_{at} OR seq BETWEEN $from_{at} AND $to_{at})"
        )
        values |= {
            f"process_{at}": part.file.process,
            f"begin_{at}": part.file.first_seq,
            f"end_{at}": part.file.last_seq,
        }
        values |= {f"from_{at}": part.first_seq, f"to_{at}": part.last_seq}
    order, limit = ("DESC", f"LIMIT {most:d}") if most is not None else ("ASC", "")
    sql = _ROWS.format(columns=", ".join(shown), where=" AND ".join(where), order=order, limit=limit)
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    # Where DuckDB takes a program for an interactive one (`python -c`), it would draw into what is printed.
    con.execute("SET enable_progress_bar = false")
    con.register("auditring_none", schema.empty_table())
    return con.execute(sql, values), columns

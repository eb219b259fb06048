"""What DuckDB finds in an audit directory, in the terms in which clients speak: partitions and offsets."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from auditring import query

if TYPE_CHECKING:
    from pathlib import Path


class Range(NamedTuple):
    """One Read, Write or Delete."""

    partition: int
    first: int | None
    last: int | None
    records: int | None


class Audit:
    """A directory, asked as it is at the moment of the question."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, *columns: str, where: str = "true", order: str = "time_ns, process, seq") -> list[tuple[Any, ...]]:
        """These columns of the rows that `where` chooses."""
        with query.connect(self.path) as con:
            sql = f"SELECT {', '.join(columns)} FROM events WHERE {where} ORDER BY {order}"
            return con.execute(sql).fetchall()

    def one(self, *columns: str, where: str) -> tuple[Any, ...]:
        """The only row that `where` chooses."""
        rows = self.rows(*columns, where=where, order="1")
        assert len(rows) == 1, f"{len(rows)} rows where {where}: {rows[:5]}"
        return rows[0]

    def actions(self, where: str = "true") -> Counter[str]:
        """How many rows of each action."""
        return Counter(action for (action,) in self.rows("action", where=where))

    def ranges(self, action: str, topic: str, where: str = "outcome = 'success'") -> list[Range]:
        """What was read from, written to or deleted of a topic, row by row."""
        chosen = f"action = '{action}' AND resource = '{topic}' AND ({where})"
        rows = self.rows("partition", "first_offset", "last_offset", "records", where=chosen)
        return [Range(*row) for row in rows]

    def offsets(self, action: str, topic: str, where: str = "outcome = 'success'") -> Counter[tuple[int, int]]:
        """The same, offset by offset: how often each was read, written or deleted."""
        counted: Counter[tuple[int, int]] = Counter()
        for partition, first, last, _ in self.ranges(action, topic, where):
            assert first is not None
            assert last is not None
            assert first <= last
            counted.update((partition, offset) for offset in range(first, last + 1))
        return counted

    def context(self, where: str) -> dict[str, Any]:
        """The open map `context` of the only row that `where` chooses."""
        ((context,),) = [self.one("context", where=where)]
        return {} if context is None else dict(json.loads(context))

    def whole(self) -> None:
        """Fails unless every number that was given is there once, and nothing was lost."""
        with query.connect(self.path) as con:
            rows = con.execute(
                "SELECT process, min(seq), max(seq), sum(count), count(DISTINCT seq) FROM events GROUP BY process"
            ).fetchall()
        for process, first, last, count, distinct in rows:
            assert (first, last - first + 1, last - first + 1) == (0, count, distinct), f"{process} has gaps"
        assert self.rows("lost", where="action = 'auditring.EventsLost'") == []

"""The rows of one file as they go by, a row group at a time: whose they are, their seqs, what they count and lost.

Everything is computed by Arrow over whole columns; only what is found is looked at by Python.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from auditring.verify.balances import ACTIONS, Balance
from auditring.verify.report import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MOST_LOSSES", "REQUIRED", "Deletion", "Rows", "instant", "loss_of"]

REQUIRED = ("process", "seq", "time_ns", "action", "count", "lost", "context")
"""Columns without which nothing can be said. All were there in the first version of the schema."""
MOST_LOSSES = 1_000
"""Rows of losses that are kept as they are; all are counted."""
_MOST_TOLD = 10
"""Gaps and doubles that a file tells of one by one."""
_EVENTS_LOST = "auditring.EventsLost"
_FILE_DELETED = "auditring.FileDeleted"


@dataclasses.dataclass(frozen=True, slots=True)
class Deletion:
    """A row in which retention says that it deletes a file."""

    process: str
    """Whose rows the file held."""
    file: str
    """Its path in the audit directory."""
    first_seq: int
    last_seq: int


class Rows:
    """What has gone by."""

    def __init__(self, process: str, first: int, last: int) -> None:
        self._process, self._first, self._last = process, first, last
        self.rows = 0
        self.events = 0
        self.disordered = False
        """Some row came behind one of a greater seq, as a merged one may: whether a seq is doubled is not known yet."""
        self.last_action: str | None = None
        self.losses: list[Loss] = []
        self.balances: list[Balance] = []
        self.deletions: list[Deletion] = []
        self.events_lost = 0
        self.unknown_losses = 0
        self._greatest_ns: int | None = None
        self._strangers: dict[str, None] = {}
        self._outside: list[int] = []
        self._gaps: list[tuple[int, int]] = []
        self._more_gaps = False
        self._before = first - 1
        self._merged = False
        self._nonsense = False

    def add(self, group: pa.Table) -> None:
        """Take in a row group."""
        if not group.num_rows:
            return
        self.rows += group.num_rows
        self._identity(group.column("process"))
        self._seqs(group.column("seq").combine_chunks())
        counts = pc.min_max(group.column("count")).as_py()
        self._nonsense |= counts["min"] is None or counts["min"] < 1 or group.column("count").null_count > 0
        self._merged |= (counts["max"] or 0) > 1
        self.events += pc.sum(group.column("count")).as_py() or 0
        greatest = pc.max(group.column("time_ns")).as_py()
        if greatest is not None and (self._greatest_ns is None or greatest > self._greatest_ns):
            self._greatest_ns = greatest
        self._told(group)

    def _identity(self, column: pa.ChunkedArray) -> None:
        self._strangers.update((str(name), None) for name in pc.unique(column).to_pylist() if name != self._process)

    def _seqs(self, seqs: pa.Array) -> None:
        bounds = pc.min_max(seqs).as_py()
        low, high = bounds["min"], bounds["max"]
        if low is None or seqs.null_count:
            self._nonsense = True
            return
        self._outside += [seq for seq in (low, high) if not self._first <= seq <= self._last]
        follow = pa.concat_arrays([pa.array([self._before], seqs.type), seqs])
        steps = pc.subtract(follow.slice(1), follow.slice(0, len(seqs)))
        if pc.min(steps).as_py() < 1:
            self.disordered = True
        elif pc.max(steps).as_py() > 1:
            self._gap(follow, steps)
        self._before = max(self._before, high)

    def _gap(self, follow: pa.Array, steps: pa.Array) -> None:
        wide = pc.indices_nonzero(pc.greater(steps, 1))
        for at in wide.slice(0, max(0, _MOST_TOLD - len(self._gaps))).to_pylist():
            self._gaps.append((follow[at].as_py() + 1, follow[at + 1].as_py() - 1))
        self._more_gaps |= len(wide) > _MOST_TOLD or len(self._gaps) == _MOST_TOLD

    def _told(self, group: pa.Table) -> None:
        """What the log says that it lost, and what the last row of the range is."""
        action = group.column("action")
        there = set(pc.unique(action).to_pylist())
        if _EVENTS_LOST in there:
            rows = group.select(REQUIRED).filter(pc.equal(action.cast(pa.string()), _EVENTS_LOST))
            for row in rows.to_pylist():
                self.lose(loss_of(row["seq"], row["time_ns"], row["lost"], _object(row["context"])))
        if _FILE_DELETED in there and "resource" in group.column_names:
            ours = pc.equal(action.cast(pa.string()), _FILE_DELETED)
            for row in group.select(["resource", "context"]).filter(ours).to_pylist():
                said = _object(row["context"])
                of, first, last = said.get("ofProcess"), said.get("firstSeq"), said.get("lastSeq")
                if isinstance(of, str) and isinstance(first, int) and isinstance(last, int):
                    self.deletions.append(Deletion(of, str(row["resource"]), first, last))
        if not there.isdisjoint(ACTIONS) and "resource" in group.column_names:
            ours = pc.is_in(action.cast(pa.string()), pa.array(ACTIONS))
            for row in group.select(["seq", "action", "resource", "context"]).filter(ours).to_pylist():
                terms = _object(row["context"])
                self.balances.append(Balance(row["seq"], row["action"], row["resource"], terms))
        at = pc.index(group.column("seq"), pa.scalar(self._last, pa.int64())).as_py()
        if at >= 0:
            self.last_action = action[at].as_py()

    def lose(self, loss: Loss) -> None:
        """Count a row of losses, and keep it as long as there are few."""
        self.events_lost += loss.events
        self.unknown_losses += loss.lost is None
        if len(self.losses) < MOST_LOSSES:
            self.losses.append(loss)

    @property
    def date(self) -> str | None:
        """The UTC date of the newest row."""
        ns = self._greatest_ns
        return None if ns is None else datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")

    def wrong(self, left_out: int) -> Iterator[tuple[str, int | None, int | None]]:
        """What does not fit, now that all rows have gone by: text, and the range where it is not the file's."""
        first, last = self._first, self._last
        if self._strangers:
            yield f"it has rows of another process: {', '.join(self._strangers)}", None, None
        if self._nonsense:
            yield "it has rows without a seq, or that count for less than one event", None, None
        if self._outside:
            reach = f"{min(self._outside)} to {max(self._outside)}"
            yield f"it has rows outside of its range {first} to {last}: seq {reach}", None, None
        wanted = last + 1 - first - left_out
        if self.events == wanted:
            return
        sums = (
            f"its rows stand for {self.events:,} events and {left_out:,} were left out, "
            f"but seq {first} to {last} is {last + 1 - first:,}"
        )
        gaps = [*self._gaps, *([(self._before + 1, last)] if self._before < last else [])]
        # Which rows are missing can be told only where each seq was a row.
        certain = self.events < wanted and not (left_out or self._merged or self.disordered or self._outside)
        if not certain:
            yield sums, None, None
            return
        for low, high in gaps:
            yield f"{_rows(low, high)} removed; {sums}", low, high
        if self._more_gaps:
            yield f"there are more gaps than {_MOST_TOLD}; {sums}", None, None

    @staticmethod
    def doubled(seqs: pa.ChunkedArray) -> list[tuple[str, int, int]]:
        """The seqs that are there more than once."""
        counts = pc.value_counts(seqs)
        more = counts.filter(pc.greater(counts.field("counts"), 1))
        return [
            (f"seq {one['values']} is there {one['counts']} times", one["values"], one["values"])
            for one in more.slice(0, _MOST_TOLD).to_pylist()
        ]

    @staticmethod
    def within(column: pa.ChunkedArray, statistics: Any) -> bool:  # noqa: ANN401 - pyarrow ships no types
        """Whether the footer is right about a column: its nulls, and bounds; wider ones do no harm, and do occur."""
        if statistics.has_null_count and statistics.null_count != column.null_count:
            return False
        if not statistics.has_min_max:
            return True
        if pa.types.is_dictionary(column.type):
            column = pc.unique(column).cast(pa.string())
        least, greatest = (bound.as_py() for bound in pc.min_max(column).values())
        return least is None or bool(statistics.min <= least and greatest <= statistics.max)


def loss_of(seq: int, time_ns: int | None, lost: int | None, context: Mapping[str, Any]) -> Loss:
    """A row of losses, from its columns."""
    return Loss(
        seq=seq,
        time=instant(time_ns),
        lost=lost,
        cause=str(context.get("cause", "unknown")),
        action=context.get("action"),
        sink=context.get("sink"),
        since=instant(context.get("fromNanos")),
    )


def instant(time_ns: object) -> datetime | None:
    """A time in nanoseconds as Python has it; `None` for what is none."""
    try:
        return datetime.fromtimestamp(int(time_ns) / 1e9, UTC)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _rows(low: int, high: int) -> str:
    return f"row seq {low} is" if low == high else f"rows seq {low} to {high} are"

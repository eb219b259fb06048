"""The whole way: from the emitting loop to closed Parquet files, counted by DuckDB, beside what pyarrow alone needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from auditring import query
from flood import Flood, flooded, in_child
from rewrite import Rewrite
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """One flood, its files, and the same table written again."""

    flood: Flood
    again: Rewrite
    size: int
    """Bytes of the files."""

    @property
    def ratio(self) -> float:
        """CPU of everything but the emitting loop, by what pyarrow needs for the same table."""
        return self.flood.other_cpu / self.again.cpu


def check(directory: Path, flood: Flood) -> None:
    """Asserts that every event is in the files once: counted by DuckDB, and no number missing."""
    with query.connect(directory, include_fresh=False) as connection:
        found = connection.execute(
            "SELECT count(*), count(DISTINCT seq), min(seq), max(seq), "
            "count(*) FILTER (action IN ('Read', 'Write')), count(*) FILTER (action = 'auditring.EventsLost') "
            "FROM events"
        ).fetchone()
    rows = flood.journaled
    assert found == (rows, rows, 0, rows - 1, flood.events, 0), found


def measure(*, rounds: int, events: int, folder: Path | None = None) -> list[Round]:
    """Floods, checks, and writes the table again, round by round."""
    found = []
    for _ in range(rounds):
        with TemporaryDirectory(dir=folder) as temporary:
            directory = Path(temporary, "audit")
            os.sync()
            flood = flooded(directory, events=events)
            check(directory, flood)
            size = sum(file.stat().st_size for file in directory.glob("events/*/*.parquet"))
            os.sync()
            again = Rewrite(**in_child("rewrite.py", directory))
            assert again.rows == flood.journaled
            found.append(Round(flood, again, size))
    return found


def report(*, quick: bool = False) -> Report:
    """The table."""
    events = EVENTS // 10 if quick else EVENTS
    rounds = measure(rounds=1 if quick else 3, events=events)

    def spread(value: Callable[[Round], float]) -> Spread:
        return Spread.of([value(one) for one in rounds])

    rate = spread(lambda one: one.flood.rate / 1e6)
    ratio = spread(lambda one: one.ratio)
    resident = spread(lambda one: one.flood.resident / (1 << 20))
    size = spread(lambda one: one.size / one.flood.events)
    lines = [
        ("events a second into closed files", f"{rate.text(2)} million"),
        ("… of the emitting loop alone", f"{spread(lambda one: events / one.flood.emitting / 1e6).text(2)} million"),
        (
            "blocked for want of room",
            f"{spread(lambda one: one.flood.blocked / one.flood.closed * 100).text()} % of the time",
        ),
        ("CPU of the emitting loop", f"{spread(lambda one: one.flood.loop_cpu / events * 1e9).text(0)} ns/event"),
        ("CPU of all the rest", f"{spread(lambda one: one.flood.other_cpu / events * 1e9).text(0)} ns/event"),
        ("CPU of pyarrow for the same table", f"{spread(lambda one: one.again.cpu / events * 1e9).text(0)} ns/event"),
        ("… all the rest, times pyarrow", ratio.text(2)),
        ("most memory resident", f"{resident.text(0)} MiB"),
        ("size of the files", f"{size.text()} bytes/event"),
    ]
    return Report(
        "end-to-end",
        f"{events:,} Reads and Writes of 200 sessions, one thread, `wait=None`; median (quartiles) of {len(rounds)} "
        "round(s), each in a process of its own. Rows counted and `seq` found dense by DuckDB.\n\n"
        + table(("what", "measured"), lines),
        [
            Target("events a second into closed Parquet files", rate.median, 3, least=True, unit="million", digits=2),
            Target("CPU of all but the loop, times pyarrow's", ratio.median, 2.5, digits=2),
            Target("most memory resident", resident.median, 400, unit="MiB", digits=0),
            Target("size of the files", size.median, 14, unit="bytes/event"),
        ],
    )

"""The second act: as many Kafka-like events as asked for, as fast as one thread can, and what became of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

import auditring
from auditring import WhenFull, query
from auditring.demo import report
from auditring.demo.firehose import BLOCK, SESSIONS, Firehose, open_sessions

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

SHOW_EVERY = 0.25
"""Seconds between two looks at the progress bar, which takes the GIL from the loop that is measured."""


@dataclass(frozen=True, slots=True)
class Flood:
    """What was measured; times in seconds."""

    events: int
    emitting: float
    """Of the emitting loop alone."""
    closed: float
    """From the first event until the log had closed and every file was sealed."""
    cpu: float
    """Of all threads, over that time."""
    blocked: float
    """That emits waited for room in the ring."""
    counted: int
    """Reads and Writes that DuckDB counts in the files."""
    rows: int
    """All rows there, sessions' and library's own too."""
    gaps: int
    """Numbers that no row has, or two have."""
    size: int
    """Bytes of the files."""

    @property
    def whole(self) -> bool:
        """Whether every event is in the files, once."""
        return self.counted == self.events and self.gaps == 0


def run(console: Console, directory: Path, *, events: int, seed: int = 0) -> bool:
    """Plays the act; returns whether every event is in the files, once."""
    console.print(
        f"{events:,} Reads and Writes of {SESSIONS} sessions into {directory}", highlight=False, soft_wrap=True
    )
    flood = measure(console, directory, events=events, seed=seed)
    per_second = "{:,.2f} million events a second"
    lines = {
        "emitted": f"in {flood.emitting:.2f} s: {per_second.format(events / flood.emitting / 1e6)}",
        "in closed files": f"after {flood.closed:.2f} s: {per_second.format(events / flood.closed / 1e6)}",
        "blocked": f"{flood.blocked:.2f} s, {flood.blocked / flood.emitting:.0%} of the emitting (no room in the ring)",
        "CPU": f"{flood.cpu / events * 1e9:,.0f} ns an event, all threads, the loop itself included",
        "size": f"{flood.size:,} bytes: {flood.size / events:.1f} bytes an event",
    }
    console.print()
    for name, value in lines.items():
        console.print(Text(f"{name:16}", style="bold") + Text(value))
    report.verdict(console, f"{flood.counted:,} Reads and Writes counted by DuckDB", holds=flood.counted == events)
    report.verdict(console, f"{flood.rows:,} rows numbered without a gap", holds=flood.gaps == 0)
    return flood.whole


def measure(console: Console, directory: Path, *, events: int, seed: int = 0) -> Flood:
    """Emits, closes, counts. Nothing is dropped: where there is no room an emit waits as long as it takes."""
    with auditring.open(directory, instance="firehose", when_full=WhenFull(wait=None)) as log:
        with ExitStack() as sessions:
            firehose = Firehose(open_sessions(log, sessions), seed=seed)
            cpu, start = process_time(), perf_counter()
            emitting = _emit(console, firehose, events)
        blocked = log.stats().blocked_ns / 1e9
    closed, cpu = perf_counter() - start, process_time() - cpu
    with query.connect(directory) as connection:
        counted = "count(*) FILTER (action IN ('Read', 'Write'))"
        gaps = "greatest(max(seq) - min(seq) + 1 - count(DISTINCT seq), count(*) - count(DISTINCT seq))"
        found = connection.execute(f"SELECT {counted}, count(*), {gaps} FROM events").fetchone()  # noqa: S608 - constants
    reads_and_writes, rows, missing = found or (0, 0, 0)
    return Flood(
        events=events,
        emitting=emitting,
        closed=closed,
        cpu=cpu,
        blocked=blocked,
        counted=reads_and_writes,
        rows=rows,
        gaps=missing,
        size=sum(size for _, size in report.files(directory)),
    )


def _emit(console: Console, firehose: Firehose, events: int) -> float:
    """Emits with a progress bar; returns how long the emitting alone took."""
    took, left, shown = 0.0, events, 0.0
    columns = TextColumn("emitting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=events)
        while left:
            some = min(left, BLOCK)
            start = perf_counter()
            firehose.emit(some)
            end = perf_counter()
            took += end - start
            left -= some
            if end - shown > SHOW_EVERY or not left:
                shown = end
                progress.update(task, completed=events - left, refresh=True)
    return took

"""What a verification has found, as values: nothing here reads a file.

What must always hold: whatever was found belongs to one `Kind`, and the kind alone says whether it speaks against the
log; a report is complete only if nothing does.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Finding", "Kind", "LinesReport", "Loss", "ProcessReport", "Report", "State"]


_OF_A_SINK = frozenset({"budget", "corrupt", "rejected"})
"""Causes of losses on the way from the journal to a sink."""


class Kind(enum.StrEnum):
    """What is the matter."""

    MISSING = "missing"
    """Rows that the log had, and that are nowhere."""
    DOUBLED = "doubled"
    """The same rows twice."""
    OVERLAP = "overlap"
    """Two files share a part of their ranges."""
    UNREADABLE = "unreadable"
    """Cut or damaged: it cannot be read to the end."""
    ALTERED = "altered"
    """What a file holds is not what it says of itself."""
    MISPLACED = "misplaced"
    """In the folder of another date."""
    FOREIGN = "foreign"
    """Not written by this log, and where a reader would take it for the log's."""
    UNBALANCED = "unbalanced"
    """Counters that do not add up."""
    JOURNAL = "journal"
    """The journal cannot be read, or not all of it."""
    END_UNKNOWN = "end unknown"
    """Nothing says how far the process went, so nobody can tell whether its last files are there."""

    LEFTOVER = "leftover"
    """A file that another one covers, or that was never finished: no reader of ours counts it."""
    NOTE = "note"
    """Something to know."""

    @property
    def wrong(self) -> bool:
        """Whether it speaks against the log."""
        return self not in {Kind.LEFTOVER, Kind.NOTE}


class State(enum.StrEnum):
    """Where a process is."""

    WRITING = "writing"
    """It holds its journal."""
    LEFT = "dead, not recovered"
    """Its journal is there, and nobody holds it."""
    CLOSED = "closed"
    """Its journal has gone, because every sink had all of it."""
    UNKNOWN = "unknown"
    """Neither journal nor totals are there."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    text: str
    """In words, with the range and the files."""
    process: str | None = None
    path: Path | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    """The rows that it is about, both ends included."""
    beside: tuple[Path, ...] = ()
    """The files on both sides of what is missing, or the other file of two."""

    @property
    def wrong(self) -> bool:
        """Whether it speaks against the log."""
        return self.kind.wrong

    def __str__(self) -> str:
        """As one line."""
        return f"{self.kind}: {self.text}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """A row in which the log says that it has lost events (`auditring.EventsLost`)."""

    seq: int
    time: datetime | None
    lost: int | None
    """How many; `None` where nobody can know."""
    cause: str
    action: str | None = None
    """Which action, where it is one."""
    sink: str | None = None
    """Whose rows they are that it lacks, though the log has them; `None` for events that the log itself lacks."""
    since: datetime | None = None
    """Begin of the interval that ends at `time`."""

    @property
    def events(self) -> int:
        """How many events the log lacks; what one sink alone lacks its own files and totals say."""
        return 0 if self.sink is not None and self.cause in _OF_A_SINK else self.lost or 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LinesReport:
    """The JSON lines of a process."""

    files: int
    lines: int
    first_seq: int | None
    last_seq: int | None
    behind: int
    """Lines that the cursor has not passed: they may be written again, so nothing is asked of them."""
    proved: str
    """What is certain of them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ProcessReport:
    """One process of the directory."""

    process: str
    instance: str | None
    state: State
    first_seq: int | None
    last_seq: int | None
    """What its files cover, from the first to the last."""
    files: int
    """Parquet files that count."""
    rows: int
    events: int
    """`sum(count)` of the rows; with `fast` what the files say."""
    sampled_out: int
    filtered_out: int
    lost: int
    """Rows that could not be had when a file was written, as the files say."""
    pending: int
    """Still in the journal, in no file yet."""
    off: int | None
    """Events that the log's policy has turned off; `None` where no counters are left."""
    losses: tuple[Loss, ...]
    """What the rows say was lost. At most 1,000; `events_lost` counts all."""
    events_lost: int
    unknown_losses: int
    """Rows of losses of which nobody knows how many they were."""
    lines: LinesReport | None
    findings: tuple[Finding, ...]
    deleted: int = 0
    """Files, of either kind, that retention has deleted."""

    @property
    def complete(self) -> bool:
        """Nothing speaks against it."""
        return not any(finding.wrong for finding in self.findings)

    @property
    def verdict(self) -> str:
        """What it comes to, in a few words."""
        wrong = {str(finding.kind): None for finding in self.findings if finding.wrong}
        if wrong:
            return "NOT complete: " + ", ".join(wrong) if wrong.keys() - {Kind.END_UNKNOWN} else "end unknown"
        whole = "complete" if self.state is State.CLOSED or not self.open_ended else "complete so far"
        excepted = []
        if self.events_lost or self.unknown_losses:
            told = f"{self.events_lost:,}" + (" and an unknown number of" if self.unknown_losses else "")
            excepted.append(f"{told} events lost")
        if self.lost:
            excepted.append(f"{self.lost:,} rows lost on their way")
        if self.deleted:
            excepted.append(f"{self.deleted:,} file{'' if self.deleted == 1 else 's'} deleted by retention")
        return f"{whole}, except {' and '.join(excepted)}" if excepted else whole

    @property
    def open_ended(self) -> bool:
        """Whether more may come: the process lives, or waits for recovery."""
        return self.state in {State.WRITING, State.LEFT}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a directory comes to."""

    directory: Path
    fast: bool
    processes: tuple[ProcessReport, ...]
    findings: tuple[Finding, ...]
    """What belongs to no process."""
    files: int
    rows: int
    """Read, with those of files that do not count."""
    seconds: float

    @property
    def everything(self) -> tuple[Finding, ...]:
        """All findings, those of the processes first."""
        return (*(finding for process in self.processes for finding in process.findings), *self.findings)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What speaks against the log."""
        return tuple(finding for finding in self.everything if finding.wrong)

    @property
    def complete(self) -> bool:
        """Whether something was there to verify, and nothing speaks against it."""
        return bool(self.processes) and not self.wrong

    @property
    def verdict(self) -> str:
        """What it comes to, in one line."""
        if not self.processes and not self.findings:
            return "Nothing to verify: no process has written here."
        count = f"{len(self.processes)} process{'' if len(self.processes) == 1 else 'es'}"
        if self.wrong:
            bad = sum(not process.complete for process in self.processes)
            return f"NOT complete: {len(self.wrong)} finding(s), {bad} of {count} concerned."
        lost = sum(process.events_lost + process.lost for process in self.processes)
        unknown = any(process.unknown_losses for process in self.processes)
        deleted = sum(process.deleted for process in self.processes)
        files = f"{deleted:,} file{'' if deleted == 1 else 's'} that retention has deleted"
        if lost or unknown:
            told = f"{lost:,}{' and an unknown number of' if unknown else ''}"
            told = f"{told} events that the log itself says were lost" + (f", and {files}" if deleted else "")
            return f"Complete, except {told}: {count}."
        if deleted:
            return f"Complete, except {files}: {count}."
        return f"Complete: {count}, nothing is missing."

"""One process: its Parquet files held against each other, and against what its journal or its totals say.

What must always hold: only what the cursor had passed before the files were listed is missing; all behind it may be in
a file, in the journal, or on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditring.verify.balances import backwards
from auditring.verify.ranges import Gap, gaps, overlaps, sort_out
from auditring.verify.report import Finding, Kind, ProcessReport, State
from auditring.verify.rows import MOST_LOSSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditring.verify.deleted import Deleted
    from auditring.verify.lines import Lines
    from auditring.verify.moment import SinkStanding, Standing
    from auditring.verify.tables import Table

__all__ = ["judge"]

_SINK = "parquet"
_JUMP = 1 << 32
"""Seqs that are left out when a machine went down and nobody knows how far its ring had come."""
_FINAL = ("ProxyCleanShutdown", "auditring.Recovered")
_TERMS = ("delivered", "merged", "sampled_out", "filtered_out", "lost")


def judge(
    process: str,
    tables: Sequence[Table],
    standing: Standing | None,
    lines: Lines | None,
    *,
    fast: bool,
    kept_since: str | None,
    deleted: Deleted,
) -> ProcessReport:
    """What a process comes to; files of dates before `kept_since` may have been removed, `deleted` ones have been."""
    return _Judge(process, tables, standing, fast=fast, kept_since=kept_since, deleted=deleted).report(lines)


class _Judge:
    def __init__(
        self,
        process: str,
        tables: Sequence[Table],
        standing: Standing | None,
        *,
        fast: bool,
        kept_since: str | None,
        deleted: Deleted,
    ) -> None:
        self.deleted, self.gone = deleted, deleted.account
        self.process, self.standing, self.fast, self.kept_since = process, standing, fast, kept_since
        self.tables = tables
        self.sorted = sort_out(tables)
        self.counted = self.sorted.counted
        self.findings: list[Finding] = [finding for table in tables for finding in table.findings]
        self.end = self.counted[-1].last_seq + 1 if self.counted else deleted.end
        """The seq after the last file's range, whether or not retention has deleted it."""
        self.sink: SinkStanding | None = None if standing is None else standing.sinks.get(_SINK)

    def report(self, lines: Lines | None) -> ProcessReport:
        """Look at everything, and sum it up."""
        self.files()
        self.deletions()
        whole = self.ranges()
        whole &= self.ending()
        whole &= all(table.sound for table in self.counted)
        self.balances(whole=whole)
        if self.standing is not None:
            for equation in self.standing.equations:
                if not equation.holds:
                    self.find(Kind.UNBALANCED, f"its counters do not balance: {equation}")
            # Where a file is missing or damaged the sums cannot be right, and nothing new is said by telling so.
            if whole:
                self.totals(self.standing)
        if lines is not None:
            self.findings += lines.findings
            if self.standing is None and not self.tables and lines.last_action not in _FINAL:
                text = f"neither journal nor totals are here, and its last line is no {_FINAL[0]}"
                self.find(Kind.END_UNKNOWN, text)
        if self.standing is not None and self.sink is None and not self.tables and lines is None and not self.fast:
            self.find(Kind.NOTE, "no sink has written anything here: only its counters were checked")
        losses = [loss for table in self.counted for loss in table.losses]
        standing = self.standing
        open_ended = standing is not None and standing.state is not State.CLOSED
        sealed = self.sink is not None and standing is not None and open_ended
        return ProcessReport(
            process=self.process,
            instance=None if standing is None else standing.instance,
            state=State.UNKNOWN if standing is None else standing.state,
            first_seq=self.counted[0].first_seq if self.counted else None,
            last_seq=self.end - 1 if self.counted else None,
            files=len(self.counted),
            rows=self.sum("rows"),
            events=self.sum("events"),
            sampled_out=self.sum("sampled_out"),
            filtered_out=self.sum("filtered_out"),
            lost=self.sum("lost") + (0 if self.sink is None else self.sink.forgotten),
            pending=max(0, standing.next_seq - self.end) if standing is not None and sealed else 0,
            off=None if standing is None else standing.terms["off"],
            losses=tuple(losses[:MOST_LOSSES]) if losses or lines is None else lines.losses,
            events_lost=self.events_lost(lines),
            unknown_losses=self.sum("unknown_losses") if self.counted or lines is None else lines.unknown_losses,
            lines=None if lines is None else lines.report,
            deleted=self.gone.files + (0 if lines is None else lines.deleted.account.files),
            findings=tuple(self.findings),
        )

    def events_lost(self, lines: Lines | None) -> int:
        """How many events were lost by what rows or lines tell, or, where none was read, by the counters."""
        if self.fast:
            return 0 if self.standing is None else self.standing.events_lost
        return self.sum("events_lost") if self.counted or lines is None else lines.events_lost

    def sum(self, term: str) -> int:
        """Over the files that count."""
        return sum(getattr(table, term) for table in self.counted)

    def find(
        self,
        kind: Kind,
        text: str,
        first: int | None = None,
        last: int | None = None,
        *,
        path: Path | None = None,
        beside: Sequence[Table | None] = (),
    ) -> None:
        """Note what is the matter."""
        self.findings.append(
            Finding(
                kind=kind,
                text=text,
                process=self.process,
                path=path,
                first_seq=first,
                last_seq=last,
                beside=tuple(table.path for table in beside if table is not None),
            )
        )

    def files(self) -> None:
        """Tell of files that do not count."""
        for table, other in self.sorted.doubled:
            text = f"{table.path} covers the same as {other.path}: seq {table.first_seq} to {table.last_seq}"
            self.find(Kind.DOUBLED, text, table.first_seq, table.last_seq, path=table.path, beside=[other])
        for table, other in self.sorted.covered:
            text = f"{table.path} lies inside the range of {other.path}: left by a compaction, and not counted"
            self.find(Kind.LEFTOVER, text, table.first_seq, table.last_seq, path=table.path, beside=[other])

    def ranges(self) -> bool:
        """Whether the files' ranges follow each other from the first seq on."""
        whole = True
        for one, other in overlaps(self.counted):
            first, last = other.first_seq, min(one.last_seq, other.last_seq)
            whole = False
            self.find(
                Kind.OVERLAP,
                f"{one.path} and {other.path} both cover seq {first} to {last}",
                first,
                last,
                beside=[one, other],
            )
        for gap in gaps(self.counted):
            for first, last in self.gone.without(gap.first_seq, gap.last_seq):
                whole &= self.gap(Gap(first, last, gap.before, gap.after))
        return whole

    def deletions(self) -> None:
        """Tell of what retention has deleted."""
        if self.gone.ranges:
            first, last = self.gone.ranges[0][0], self.gone.ranges[-1][1]
            text = f"{_seqs(first, last)} in no file: retention has deleted {_files(self.gone.files)}"
            if self.deleted.unlisted:
                text += f"; of {self.deleted.unlisted} only rows tell, its ledger does not"
            self.find(Kind.NOTE, text, first, last)
        for file in self.deleted.waiting:
            self.find(Kind.NOTE, f"{file} is about to be deleted by retention, and is still there")

    def gap(self, gap: Gap) -> bool:
        """Whether what lies between two files was never to be in one: a jump, or rows still in the journal."""
        last = gap.last_seq
        if self.jumps(gap):
            last -= _JUMP
        elif self.awaited(gap.first_seq):
            return self.journaled(gap.first_seq, last)
        if last < gap.first_seq:
            return True
        if gap.before is None and self.kept_since is not None and gap.after.path.parent.name >= self.kept_since:
            text = f"{_seqs(gap.first_seq, last)} in no file before {gap.after.path}: {_removed(self.kept_since)}"
            self.find(Kind.NOTE, text, gap.first_seq, last, beside=[gap.after])
            return False
        where = f"between {gap.before.path} and {gap.after.path}" if gap.before else f"before {gap.after.path}"
        text = f"{_seqs(gap.first_seq, last)} in no file, {where}"
        self.find(Kind.MISSING, text, gap.first_seq, last, beside=[gap.before, gap.after])
        return False

    def jumps(self, gap: Gap) -> bool:
        """Whether the file after a gap says that nobody knows how many rows a dead machine's ring held."""
        if gap.last_seq + 1 - gap.first_seq < _JUMP:
            return False
        if any(low == gap.last_seq + 1 for low, _ in self.gone.ranges):
            return True  # the row that says so went with its file
        first = next(iter(gap.after.losses), None)
        told = first is not None and first.seq == gap.after.first_seq and first.cause == "ring_gone"
        return told or self.fast

    def awaited(self, seq: int) -> bool:
        """Whether a row need not be in a file yet."""
        standing, sink = self.standing, self.sink
        return standing is not None and standing.state is not State.CLOSED and sink is not None and seq >= sink.cursor

    def journaled(self, first: int, last: int) -> bool:
        """Whether the journal can give these rows, which are in no file."""
        whole = True
        for low, high in self.standing.gone if self.standing is not None else ():
            low, high = max(low, first), min(high, last)  # noqa: PLW2901 - the part of it that is asked for
            if low <= high:
                whole = False
                text = f"{_seqs(low, high)} in no file yet, and the journal cannot give them: damaged, or gone"
                kind = Kind.JOURNAL
                if low == first and self.sink is not None and not self.sink.required:
                    kind = Kind.NOTE
                    text = f"{_seqs(low, high)} in no file: let go at the journal's budget, told when the sink goes on"
                self.find(kind, text, low, high)
        return whole

    def ending(self) -> bool:
        """Whether the files go as far as they have to."""
        standing, sink = self.standing, self.sink
        if standing is None or (sink is None and self.counted):
            return self.clean_end(standing)
        if sink is None:
            return True
        left = standing.state is not State.CLOSED or sink.forgotten
        reached = sink.cursor if left else standing.next_seq
        if self.end < reached:
            says = "its totals say" if standing.state is State.CLOSED else "its cursor says"
            return self.short(reached - 1, says)
        if sink.forgotten:
            text = f"{sink.forgotten:,} rows from seq {reached} on are in no file: the sink was forgotten"
            self.find(Kind.NOTE, text, reached, standing.next_seq - 1)
            return True
        return self.closed(standing) if standing.state is State.CLOSED else self.going_on(standing)

    def going_on(self, standing: Standing) -> bool:
        """Whether the journal has what the files of a process have not yet."""
        if self.end > standing.next_seq:
            text = f"its files go to seq {self.end - 1}, its journal only to {standing.next_seq - 1}"
            self.find(Kind.NOTE, f"{text}: so it is after a loss of power", standing.next_seq, self.end - 1)
        return self.journaled(self.end, standing.next_seq - 1)

    def closed(self, standing: Standing) -> bool:
        """Whether the files of a process that has gone end where it did."""
        if self.end > standing.next_seq:
            text = f"its files go to seq {self.end - 1}, but by its totals it ended at {standing.next_seq - 1}"
            self.find(Kind.ALTERED, text, standing.next_seq, self.end - 1, beside=[self.counted[-1]])
            return False
        return self.last_row()

    def short(self, reached: int, says: str) -> bool:
        """Tell of files that are missing at the end; always `False`."""
        last = self.counted[-1] if self.counted else None
        range_ = _seqs(self.end, reached)
        if last is None and self.kept_since is not None:
            text = f"{range_} in no file, and there is none at all: {_removed(self.kept_since)}"
            self.find(Kind.NOTE, text, 0, reached)
            return False
        where = f"behind {last.path}" if last else "and there is none at all"
        text = f"{range_} in no file, {where}, although {says} that they were sealed"
        self.find(Kind.MISSING, text, self.end, reached, beside=[last])
        return False

    def last_row(self) -> bool:
        """Whether a closed process ends as every one does, where the file says that nothing of it was left out."""
        last = self.counted[-1] if self.counted else None
        if self.fast or last is None or not last.readable or last.filtered_out or last.sampled_out or last.lost:
            return True
        if last.last_action in _FINAL:
            return True
        text = f"{last.path} ends with {last.last_action}, and not with {_FINAL[0]} or {_FINAL[1]}"
        self.find(Kind.ALTERED, text, last.last_seq, last.last_seq, path=last.path)
        return False

    def clean_end(self, standing: Standing | None) -> bool:
        """Whether the files alone say that they are all."""
        last = self.counted[-1] if self.counted else None
        if last is None or last.last_action in _FINAL:
            return True
        left = "neither journal nor totals are here" if standing is None else "its log lists no Parquet sink"
        seen = "its last row was not read" if self.fast else f"its last row is no {_FINAL[0]}"
        text = f"{left}, and {seen}: whether files follow {last.path} cannot be told"
        self.find(Kind.END_UNKNOWN, text, last.last_seq, last.last_seq, path=last.path)
        return False

    def balances(self, *, whole: bool) -> None:
        """Hold what rows say of the balance against one another, and against the files that lie before them."""
        balances = sorted((one for table in self.counted for one in table.balances), key=lambda one: one.seq)
        for seq, text in backwards(balances):
            self.find(Kind.UNBALANCED, text, seq, seq)
        if not whole or self.kept_since is not None or not self.gone.exact:
            return
        rows, events = self.gone.rows, self.gone.events
        ends = {self.deleted.end: (rows, events - rows)}
        for table in self.counted:
            rows, events = rows + table.rows, events + table.events
            ends[table.last_seq + 1] = rows, events - rows
        for one in balances:
            held = ends.get(one.of("cursor")) if one.sink == _SINK else None
            # A cursor that lies within a file is that of a crash, or of files that were merged since.
            if held is not None and held != (one.of("delivered"), one.of("merged")):
                text = (
                    f"at seq {one.seq} the log says that {one.of('delivered'):,} rows and {one.of('merged'):,} merged "
                    f"into them lie before seq {one.of('cursor')}; they are {held[0]:,} and {held[1]:,}"
                )
                self.find(Kind.UNBALANCED, text, one.seq, one.seq)

    def totals(self, standing: Standing) -> None:
        """Hold the sums over the files against the sink's own totals, up to its cursor."""
        if self.sink is None or not self.gone.exact:
            return
        passed = [table for table in self.counted if table.last_seq < self.sink.cursor]
        if (passed[-1].last_seq + 1 if passed else self.deleted.end) != self.sink.cursor:
            # The cursor is within a file that a crash had sealed before it was moved.
            return
        gone = self.gone
        rows, events = (
            getattr(gone, term) + sum(getattr(table, term) for table in passed) for term in ("rows", "events")
        )
        held = {"delivered": rows, "merged": events - rows}
        held |= {term: getattr(gone, term) + sum(getattr(table, term) for table in passed) for term in _TERMS[2:]}
        for term in _TERMS:
            wanted = getattr(self.sink, term)
            if held[term] != wanted:
                text = f"{term} is {held[term]:,} over all files, and {wanted:,} by the sink's totals"
                self.find(Kind.UNBALANCED, text, 0, self.sink.cursor - 1)
        if self.fast or standing.state is not State.CLOSED or self.sink.filtered_out or self.sink.lost or gone.files:
            return
        told = sum(loss.lost or 0 for table in passed for loss in table.losses if loss.cause == "dropped")
        every = sum(len(table.losses) for table in passed) < MOST_LOSSES
        if every and told != standing.terms["dropped"]:
            text = f"its rows tell of {told:,} dropped events, its counters of {standing.terms['dropped']:,}"
            self.find(Kind.UNBALANCED, text)


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _removed(kept_since: str) -> str:
    return f"removed, as files from before {kept_since} may be"


def _seqs(first: int, last: int) -> str:
    """A range in words."""
    return f"seq {first} is" if first == last else f"seq {first} to {last} are"

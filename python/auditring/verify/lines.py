"""The JSON lines of one process, file by file in its order.

What must always hold: nothing is asked of lines that the sink's cursor has not passed, for a living sink may be writing
them, and a dead one's will be written again; and which lines are missing is said only where each event was to have one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from auditring.verify.chunks import chunks, parsed
from auditring.verify.report import Finding, Kind, LinesReport, Loss, State
from auditring.verify.rows import MOST_LOSSES, loss_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from auditring.verify.chunks import Broken
    from auditring.verify.deleted import Deleted
    from auditring.verify.moment import SinkStanding, Standing

__all__ = ["Lines", "named", "sink_of"]

_NAME = re.compile(r"(?P<process>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<first>\d+)\.jsonl(?:\.zst)?")
_MOST_TOLD = 10
"""Broken lines, gaps and doubles that a process's lines tell of one by one."""
_LOST = b'"auditring.EventsLost"'
_BLOCK_BITS = 20
"""No window goes on beyond a multiple of this power of two."""


def named(path: Path) -> tuple[str, int] | None:
    """The process and the first seq that a file's name says; `None` for a name that is none of ours."""
    match = _NAME.fullmatch(path.name)
    return None if match is None else (match["process"], int(match["first"]))


def sink_of(standing: Standing | None) -> str | None:
    """Which sink has written `jsonl/`: the one of that name, or the only one that there is beside the tables."""
    others = [] if standing is None else sorted(set(standing.sinks) - {"parquet"})
    return "jsonl" if "jsonl" in others else others[0] if len(others) == 1 else None


def present(path: Path) -> bool:
    """Whether the file is there, as it is or compressed since."""
    return path.exists() or _packed(path).exists()


def _packed(path: Path) -> Path:
    return path.parent / "closed" / f"{path.name}.zst"


def _chunks(path: Path) -> Iterator[bytes]:
    """The file in chunks, also where it was compressed since it was listed. Raises `FileNotFoundError`."""
    try:
        yield from chunks(path)
    except FileNotFoundError:
        if path.suffix == ".zst":
            raise
        yield from chunks(_packed(path))


class Lines:
    """What the lines of a process come to."""

    def __init__(self, process: str, root: Path, standing: Standing | None, *, removed: bool, deleted: Deleted) -> None:
        """`removed`: files at the beginning may have been removed on purpose; `deleted`: retention has deleted them."""
        self.deleted = deleted
        self.process, self._root, self._removed = process, root, removed
        name = sink_of(standing)
        self._sink: SinkStanding | None = standing.sinks[name] if standing is not None and name is not None else None
        self._open = standing is not None and standing.state is not State.CLOSED
        self.findings: list[Finding] = []
        self.losses: tuple[Loss, ...] = ()
        self.events_lost = 0
        self.unknown_losses = 0
        self.last_action: str | None = None
        self.lines = 0
        self._files = 0
        self._events = 0
        self._first: int | None = None
        self._last = deleted.end - 1
        self._behind = 0
        self._gaps: list[tuple[int, int, tuple[Path, ...]]] = []
        self._more = False
        """More was found than is told of."""
        self._disorder: list[Finding] = []
        self._block = 0
        self._seen: list[pa.Array] = []
        """All seqs of the block."""
        self._late: list[tuple[int, int, int, Path]] = []
        """Lines of it that come behind a greater seq, or the same: number, seq, that one, file."""
        self._broken = False
        self._here = root
        self._before: Path | None = None

    @property
    def _each(self) -> bool:
        """Every event up to the cursor was to have a line."""
        return self._sink is not None and self._sink.delivered == self._sink.cursor

    def read(self, paths: Sequence[Path], progress: Callable[[int], None]) -> None:
        """Read the files of the process, in its order; `progress` is told of lines. Raises `FileNotFoundError`."""
        packed = {path.name for path in paths if path.suffix == ".zst"}
        twice = [path for path in paths if f"{path.name}.zst" in packed]
        files = [path for path in paths if path not in twice]
        for path in twice:
            # A crash came between compressing it and removing it.
            self._here = path.relative_to(self._root)
            self._tell(Kind.LEFTOVER, "it is there in its compressed form too, which is the one that was read")
        for path in files:
            self._here = path.relative_to(self._root)
            self._files += 1
            number = 0
            try:
                for chunk in _chunks(path):
                    self._chunk(chunk, number, final=path == files[-1])
                    number += chunk.count(b"\n")
                    progress(self.lines)
            except FileNotFoundError:
                raise
            except OSError as error:
                self._broken = True
                self._tell(Kind.UNREADABLE, f"behind line {number}: {error}")
            self._before = self._here
        self._judge()

    def _tell(self, kind: Kind, text: str, first: int | None = None, last: int | None = None) -> None:
        if sum(finding.kind is kind for finding in self.findings) >= _MOST_TOLD:
            self._more = True
            return
        self.findings.append(self._finding(kind, f"{self._here}: {text}", first, last, path=self._here))

    def _finding(
        self,
        kind: Kind,
        text: str,
        first: int | None,
        last: int | None = None,
        *,
        path: Path | None = None,
        beside: tuple[Path, ...] = (),
    ) -> Finding:
        last = first if last is None else last
        return Finding(
            kind=kind, text=text, process=self.process, path=path, first_seq=first, last_seq=last, beside=beside
        )

    def _chunk(self, chunk: bytes, before: int, *, final: bool) -> None:
        """Take in some lines, which are behind `before` others in the file."""
        table, broken = parsed(chunk)
        if self._sink is not None and self._open and table.num_rows:
            passed = table.filter(pc.less(table.column("seq"), self._sink.cursor))
            self._behind += table.num_rows - passed.num_rows
            table = passed
        if table.num_rows:
            self._identity(table, before)
            self._order(table, before)
            self.lines += table.num_rows
            self._events += pc.sum(table.column("count")).as_py()
            self.last_action = table.column("action")[-1].as_py()
        for line in broken:
            self._unusable(line, before, final=final)
        if _LOST in chunk:
            self._losses(chunk)

    def _unusable(self, line: Broken, before: int, *, final: bool) -> None:
        if final and self._open and self._sink is not None and self.lines >= self._sink.delivered:
            return  # the cursor has not been here
        self._broken = True
        what = "is cut, the file ends within it" if line.cut else "is no JSON object of an event"
        self._tell(Kind.UNREADABLE, f"line {before + line.number} {what}; the last seq up to here is {self._last}")

    def _identity(self, table: pa.Table, before: int) -> None:
        """Whose the lines are, and whether each says the same of itself twice."""
        process, seq = table.column("process"), table.column("seq")
        ids = pc.binary_join_element_wise(process, seq.cast(pa.string()), ":")
        same = pc.and_(pc.equal(ids, table.column("eventId")), pc.equal(process, self.process))
        if pc.all(same).as_py():
            return
        for row in table.filter(pc.invert(same)).slice(0, _MOST_TOLD).to_pylist():
            number, theirs = before + row["number"], row["process"]
            if theirs != self.process:
                self._tell(Kind.FOREIGN, f"line {number} is of another process, {row['eventId']}", row["seq"])
            else:
                self._tell(Kind.ALTERED, f"line {number} has seq {row['seq']} and eventId {row['eventId']}", row["seq"])

    def _order(self, table: pa.Table, before: int) -> None:
        """Whether each seq is greater than the one before it, and, where each event has a line, follows it."""
        seqs = table.column("seq").combine_chunks()
        numbers = table.column("number")
        if self._first is None:
            self._first = seqs[0].as_py()
        follow = pa.concat_arrays([pa.array([self._last], pa.int64()), seqs])
        steps = pc.subtract(follow.slice(1), follow.slice(0, len(seqs)))
        odd = pc.not_equal(steps, 1) if self._each else pc.less(steps, 1)
        for at in pc.indices_nonzero(odd).to_pylist():
            last, seq = follow[at].as_py(), follow[at + 1].as_py()
            if seq > last:
                self._gap(last + 1, seq - 1)
            else:
                self._late.append((before + numbers[at].as_py(), seq, last, self._here))
        self._last = max(self._last, seqs[-1].as_py())
        self._blocks(seqs)

    def _blocks(self, seqs: pa.Array) -> None:
        """A row that stands for several, or might have, comes when its window ends: behind later ones of its block."""
        numbers = pc.shift_right(seqs, _BLOCK_BITS)
        for number in pc.unique(numbers).to_pylist():
            if number > self._block:
                self._end_block()
                self._block = number
            self._seen.append(seqs.filter(pc.equal(numbers, number)))

    def _end_block(self) -> None:
        """Of what came late, what is there twice, or is of an earlier block, is out of place."""
        late = [line for line in self._late if line[1] >> _BLOCK_BITS <= self._block]
        self._late = [line for line in self._late if line[1] >> _BLOCK_BITS > self._block]
        seen, self._seen = self._seen, []
        if not late:
            return
        counts = pc.value_counts(pa.concat_arrays(seen))
        twice = set(counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist())
        for number, seq, last, path in late:
            if seq not in twice and seq >> _BLOCK_BITS == self._block:
                continue
            if len(self._disorder) >= _MOST_TOLD:
                self._more = True
                return
            what = "is there again" if seq == last else f"comes behind {last}, doubled or out of place"
            text = f"{path}: in line {number} seq {seq} {what}"
            self._disorder.append(self._finding(Kind.DOUBLED, text, seq, path=path))

    def _gap(self, first: int, last: int) -> None:
        if len(self._gaps) < _MOST_TOLD:
            beside = [path for path in (self._before, self._here) if path is not None]
            self._gaps.append((first, last, tuple(beside)))
        else:
            self._more = True

    def _losses(self, chunk: bytes) -> None:
        for raw in chunk.splitlines():
            if _LOST not in raw:
                continue
            try:
                said = json.loads(raw)
                loss = loss_of(said["seq"], said.get("timeNanos"), said.get("lost"), said.get("context") or {})
            except (ValueError, KeyError):
                continue  # told of already, as a line that is not usable
            if said.get("action") == "auditring.EventsLost":
                self.events_lost += loss.events
                self.unknown_losses += loss.lost is None
                if len(self.losses) < MOST_LOSSES:
                    self.losses += (loss,)

    def _judge(self) -> None:
        """Hold the number of lines against the cursor or the totals; where that is possible, say which are missing."""
        sink = self._sink
        gone = self.deleted.account
        lines, events = self.lines + gone.rows, self._events + gone.events
        whole = sink is not None and (lines, events) == (sink.delivered, sink.delivered + sink.merged)
        self._end_block()
        if gone.ranges:
            first, last = gone.ranges[0][0], gone.ranges[-1][1]
            text = f"jsonl: lines of seq {first} to {last} went with {gone.files:,} file(s) that retention has deleted"
            self.findings.append(self._finding(Kind.NOTE, text, first, last))
        self.findings += self._disorder
        if self._more:
            self.findings.append(self._finding(Kind.NOTE, "jsonl: more was found than is told of here", None))
        if sink is None or whole or self._broken or not gone.exact:
            return
        if self._removed and self._first:
            self._gaps = [gap for gap in self._gaps if gap[0]]
            text = f"no line has seq 0 to {self._first - 1}: removed, as those of earlier dates may be"
            self.findings.append(self._finding(Kind.NOTE, text, 0, self._first - 1))
            if not self._each or not self._gaps:
                return
        if self._each and lines < sink.delivered:
            if self._last < sink.cursor - 1:
                self._gaps.append((self._last + 1, sink.cursor - 1, (self._here,)))
            for first, last, beside in self._gaps:
                where = " and ".join(str(path) for path in dict.fromkeys(beside))
                text = f"seq {first} {'is' if first == last else f'to {last} are'} in no line of {where}"
                self.findings.append(self._finding(Kind.MISSING, text, first, last, beside=beside))
            return
        if self._disorder and lines > sink.delivered:
            return  # which lines are too many was told
        kind = Kind.MISSING if lines < sink.delivered else Kind.DOUBLED if lines > sink.delivered else Kind.ALTERED
        text = (
            f"jsonl: {lines:,} lines of {events:,} events up to seq {sink.cursor - 1}, "
            f"and {sink.delivered:,} of {sink.delivered + sink.merged:,} by the sink's totals"
        )
        self.findings.append(self._finding(kind, text, 0, max(0, sink.cursor - 1)))

    @property
    def report(self) -> LinesReport:
        """What is to be told of the lines."""
        if self._sink is None:
            proved = "form and order; nothing says how many there were"
        elif self._each:
            proved = "every line"
        else:
            proved = "form, order and number; not which are missing, for some were left out"
        return LinesReport(
            files=self._files,
            lines=self.lines,
            first_seq=self._first,
            last_seq=None if self._last < 0 else self._last,
            behind=self._behind,
            proved=proved,
        )

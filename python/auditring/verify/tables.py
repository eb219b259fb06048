"""One Parquet file, held against what it says of itself.

What must always hold: whatever is wrong with a file is a finding and never an exception (but that it is there no more,
which the caller answers by looking again); a file is read a row group at a time, so memory does not grow with it; and
every page of every column is read, with its checksum, unless only metadata was asked for.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from auditring import _core, rollup
from auditring.sealed import SealedFile
from auditring.verify.report import Finding, Kind, Loss
from auditring.verify.rows import REQUIRED, Rows

if TYPE_CHECKING:
    from pathlib import Path

    from auditring.verify.balances import Balance
    from auditring.verify.rows import Deletion

__all__ = ["Table", "examine", "given_up"]

_MAGIC = b"PAR1"
_DAMAGE = (OSError, ValueError, KeyError, MemoryError, pa.ArrowException)
"""What pyarrow raises over bytes that make no sense to it."""
_STATED = ("time", "seq", "first_offset", "last_offset", "resource")
"""Columns whose least and greatest value stands in the footer, and by which readers leave rows unread."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What a file says of itself and what it holds."""

    path: Path
    process: str | None
    """`None`: the file is none of ours."""
    first_seq: int = 0
    last_seq: int = -1
    rows: int = 0
    events: int = 0
    sampled_out: int = 0
    filtered_out: int = 0
    lost: int = 0
    last_action: str | None = None
    """What the row of the last seq is, where there is one."""
    losses: tuple[Loss, ...] = ()
    balances: tuple[Balance, ...] = ()
    """What its rows say of the balance."""
    deletions: tuple[Deletion, ...] = ()
    """What its rows say that retention deletes."""
    events_lost: int = 0
    unknown_losses: int = 0
    readable: bool = True
    findings: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Nothing is wrong with it."""
        return not self.findings


def examine(path: Path, root: Path, *, fast: bool) -> Table:
    """Read a file; with `fast` its footer alone. Raises `FileNotFoundError`."""
    return _Examination(path, root).run(fast=fast)


def given_up(path: Path, root: Path, how: str) -> Table:
    """What to say of a file that its reader has died of."""
    examination = _Examination(path, root)
    examination.find(Kind.UNREADABLE, f"it is damaged such that reading it kills the reader ({how})")
    return examination.result(readable=False)


class _Examination:
    """The state of one reading."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.shown = path.relative_to(root)
        self.named = SealedFile.from_path(path)
        self.process = self.named.process if self.named else None
        self.first = self.named.first_seq if self.named else 0
        self.last = self.named.last_seq if self.named else -1
        self.terms = {"sampled_out": 0, "filtered_out": 0, "lost": 0}
        self.findings: list[Finding] = []

    @property
    def left_out(self) -> int:
        """How many of the range are no rows."""
        return self.terms["sampled_out"] + self.terms["filtered_out"] + self.terms["lost"]

    def run(self, *, fast: bool) -> Table:
        """Open it, and go as far as one gets."""
        try:
            file = pq.ParquetFile(str(self.path), page_checksum_verification=True)
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            self.find(Kind.UNREADABLE, _opening(self.path, error))
            return self.result(readable=False)
        with file:
            try:
                said = self.said(file.metadata.metadata or {})
            except _DAMAGE as error:
                self.find(Kind.UNREADABLE, f"its footer is damaged: {_line(error)}")
                return self.result(readable=False)
            if not said:
                return self.result(readable=False)
            missing = [name for name in REQUIRED if name not in file.schema_arrow.names]
            if missing:
                self.find(Kind.ALTERED, f"it has no column {', '.join(missing)}")
                return self.result(readable=False)
            # Columns are only ever added at the end, so those of two versions begin alike.
            for name, ours in zip(file.schema_arrow.names, pa.schema(_core.schema()).names, strict=False):
                if name != ours:
                    self.find(Kind.ALTERED, f"its column `{name}` is not named `{ours}`")
            return self.footer(file) if fast else self.everything(file)

    def find(self, kind: Kind, text: str, first: int | None = None, last: int | None = None) -> None:
        """Note what is the matter, with the range of rows where there is one."""
        if first is None and self.process is not None:
            first, last = self.first, self.last
        self.findings.append(
            Finding(
                kind=kind,
                text=f"{self.shown}: {text}",
                process=self.process,
                path=self.shown,
                first_seq=first,
                last_seq=last,
            )
        )

    def said(self, metadata: dict[bytes, bytes]) -> bool:
        """Take over what the metadata says, and hold the name against it; `False` where it says nothing of use."""
        named = self.named
        ours = {
            key.decode().removeprefix("auditring."): value.decode()
            for key, value in metadata.items()
            if key.startswith(b"auditring.")
        }
        if not ours and named is None:
            self.find(Kind.FOREIGN, "this Parquet file was not written by a log, and a reader's glob would take it in")
            return False
        try:
            process, first, last = ours["process"], int(ours["first_seq"]), int(ours["last_seq"])
            terms = {term: int(ours[term]) for term in self.terms}
        except (KeyError, ValueError) as error:
            self.find(Kind.ALTERED, f"its metadata does not say which rows it holds ({type(error).__name__} {error})")
            return False
        if first < 0 or last < first or min(terms.values()) < 0:
            self.find(Kind.ALTERED, f"its metadata says what cannot be: seq {first} to {last}, {_terms(terms)}")
            return False
        self.process, self.first, self.last, self.terms = process, first, last, terms
        if named is None:
            self.find(Kind.FOREIGN, f"its name is none of ours; by its metadata it is {_range(process, first, last)}")
        elif named.process != process:
            self.find(Kind.FOREIGN, f"it is another process's, by its metadata {_range(process, first, last)}")
        elif (named.first_seq, named.last_seq) != (first, last):
            self.find(
                Kind.ALTERED,
                f"by its name it holds seq {named.first_seq} to {named.last_seq}, by its metadata {first} to {last}",
            )
        return True

    def footer(self, file: pq.ParquetFile) -> Table:
        """Make do with what the footer says."""
        room = self.last + 1 - self.first - self.left_out
        rows = file.metadata.num_rows
        if not 0 <= rows <= room:
            self.find(
                Kind.ALTERED,
                f"it has {rows:,} rows, and room for {max(room, 0):,}: seq {self.first} to {self.last} is "
                f"{self.last + 1 - self.first:,}, less {_terms(self.terms)}",
            )
        self.folder(_newest(file.metadata))
        return self.result(rows=rows, events=max(room, 0))

    def everything(self, file: pq.ParquetFile) -> Table:
        """Read every page of every column."""
        rows = Rows(str(self.process), self.first, self.last)
        sums = self.sums(file)
        whole = True
        for number in range(file.num_row_groups):
            try:
                group = file.read_row_group(number)
                group.validate()
                rows.add(group)
                stated = self.stated(file, number, group)
                sums.add(group)
            except _DAMAGE as error:
                whole = False
                self.find(
                    Kind.UNREADABLE, f"row group {number + 1} of {file.num_row_groups} {self.why(file, number, error)}"
                )
                continue
            for name in stated:
                text = f"row group {number + 1} has `{name}` beyond its bounds in the footer, so readers pass it over"
                self.find(Kind.ALTERED, text)
        if whole:
            self.hold(rows, sums)
        return self.result(
            readable=whole,
            rows=rows.rows,
            events=rows.events,
            last_action=rows.last_action,
            losses=tuple(rows.losses),
            balances=tuple(rows.balances),
            deletions=tuple(rows.deletions),
            events_lost=rows.events_lost,
            unknown_losses=rows.unknown_losses,
        )

    def hold(self, rows: Rows, sums: _Sums) -> None:
        """Hold what it says of itself against all of its rows."""
        for text, first, last in rows.wrong(self.left_out):
            self.find(Kind.ALTERED, text, first, last)
        self.folder(rows.date)
        for balance in rows.balances:
            for text in balance.wrong():
                self.find(Kind.UNBALANCED, text, balance.seq, balance.seq)
        if rows.disordered:
            for text, first, last in self.doubled():
                self.find(Kind.DOUBLED, text, first, last)
        if sums.wrong:
            self.find(Kind.ALTERED, "its sums of who touched what are not those of its rows, and readers believe them")

    def sums(self, file: pq.ParquetFile) -> _Sums:
        """What it says of who touched what, to be held against its rows."""
        try:
            return _Sums(rollup.decode(file.metadata.metadata))
        except ValueError as error:
            self.find(Kind.ALTERED, str(error))
            return _Sums(None)

    def stated(self, file: pq.ParquetFile, number: int, group: pa.Table) -> list[str]:
        """The columns of a row group that go beyond their bounds in the footer."""
        columns = file.metadata.row_group(number)
        wrong = []
        for at in range(columns.num_columns):
            column = columns.column(at)
            if column.path_in_schema not in _STATED or not column.is_stats_set:
                continue
            if not Rows.within(group.column(column.path_in_schema), column.statistics):
                wrong.append(column.path_in_schema)
        return wrong

    def why(self, file: pq.ParquetFile, number: int, error: BaseException) -> str:
        """Which column cannot be read, and why; the first of them."""
        for name in file.schema_arrow.names:
            try:
                file.read_row_group(number, columns=[name]).validate()
            except _DAMAGE as cause:
                return f"cannot be read, its column `{name}` is damaged: {_line(cause)}"
        return f"cannot be read: {_line(error)}"

    def folder(self, date: str | None) -> None:
        """Hold the folder's date against the rows': a file belongs to the greatest date of what it covers."""
        lies = self.shown.parent.name
        if self.shown.parts[:-2] != ("events",):
            self.find(Kind.MISPLACED, "it lies in no folder of a date under events/")
        elif date is not None and date != lies and not (self.left_out and date < lies):
            self.find(Kind.MISPLACED, f"its newest row is of {date}, and it lies under {lies}")

    def doubled(self) -> list[tuple[str, int, int]]:
        """Look for seqs that are there twice; only where rows are out of order, for it takes all of them at once."""
        with pq.ParquetFile(str(self.path)) as file:
            return Rows.doubled(file.read(columns=["seq"]).column("seq"))

    def result(self, *, readable: bool = True, **held: object) -> Table:
        """What it came to."""
        return Table(
            path=self.shown,
            process=self.process,
            first_seq=self.first,
            last_seq=self.last,
            readable=readable,
            findings=tuple(self.findings),
            **self.terms,  # type: ignore[arg-type]  # both by the names of its fields
            **held,  # type: ignore[arg-type]
        )


class _Sums:
    """What a file has added up, if it has, and what its rows come to."""

    def __init__(self, said: pa.Table | None) -> None:
        self._said = said
        self._found: list[pa.Table] = []

        self._lost = False

    def add(self, group: pa.Table) -> None:
        """Takes a row group's rows."""
        if self._said is None:
            return
        try:
            self._found.append(rollup.of_rows(group))
        except _DAMAGE:  # columns of other types: no rows of which these could be the sums
            self._lost = True

    @property
    def wrong(self) -> bool:
        """Whether it says something else than all of its rows."""
        if self._said is None:
            return False
        try:
            return self._lost or not rollup.same(self._said, rollup.together(self._found))
        except _DAMAGE:
            return True


def _newest(metadata: pq.FileMetaData) -> str | None:
    """The UTC date of the newest row, by the footer; `None` where it does not say."""
    dates = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for at in range(group.num_columns):
            column = group.column(at)
            if column.path_in_schema == "time" and column.is_stats_set and column.statistics.has_min_max:
                dates.append(column.statistics.max.strftime("%Y-%m-%d"))
    return max(dates, default=None)


def _opening(path: Path, error: BaseException) -> str:
    """Why a file could not be opened: cut, or damaged where its end says what it holds."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - len(_MAGIC)))
            tail = file.read()
    except OSError:
        return f"it cannot be read: {_line(error)}"
    if size > 2 * len(_MAGIC) and head != _MAGIC:
        return f"it is no Parquet file ({size:,} bytes)"
    if tail != _MAGIC or size <= 2 * len(_MAGIC):
        return f"it is cut: after {size:,} bytes it does not end as a Parquet file does"
    return f"its footer is damaged: {_line(error)}"


def _line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _terms(terms: dict[str, int]) -> str:
    return ", ".join(f"{name.partition('_')[0]} {n:,}" for name, n in terms.items())


def _range(process: str, first: int, last: int) -> str:
    return f"seq {first} to {last} of {process}"

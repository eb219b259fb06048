"""From a directory to a report: what is read in which order, and again when it changes meanwhile."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from auditring import directory as directories
from auditring.ledger import KINDS
from auditring.sealed import SealedFile
from auditring.verify.deleted import deleted
from auditring.verify.judge import judge
from auditring.verify.lines import Lines, named, present, sink_of
from auditring.verify.moment import Moment
from auditring.verify.reader import Reader
from auditring.verify.report import Finding, Kind, Report

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from auditring.ledger import Kind as Kind_
    from auditring.verify.deleted import Deleted
    from auditring.verify.moment import Standing
    from auditring.verify.report import ProcessReport
    from auditring.verify.rows import Deletion
    from auditring.verify.tables import Table

__all__ = ["Progress", "check"]

_ATTEMPTS = 5
"""Moments taken of a process before a file that goes while it is being read counts as gone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification has come."""

    files: int
    of: int
    rows: int
    """Rows and lines read."""


def check(
    directory: str | os.PathLike[str],
    *,
    process: str | None = None,
    fast: bool = False,
    kept_since: date | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Verify an audit directory, whether or not anybody writes to it; nothing in it is changed.

    `process`: only this one. `fast`: of Parquet files only the footers, and no JSON lines. `kept_since`: files of
    earlier dates may have been removed or moved away. `progress` is called now and then. Whatever is wrong with the
    directory is in the report. Raises `NotAnAuditDirectory`, and `ValueError` for a process of which there is nothing.
    """
    root = Path(directory).absolute()
    directories.require(root)
    with Reader(root, fast=fast) as reader:
        return _Check(root, process, progress, reader, fast=fast, kept_since=kept_since).run()


class _Check:
    def __init__(
        self,
        root: Path,
        process: str | None,
        progress: Callable[[Progress], None] | None,
        reader: Reader,
        *,
        fast: bool,
        kept_since: date | None,
    ) -> None:
        self.kept_since = None if kept_since is None else kept_since.isoformat()
        self.root, self.process, self.progress, self.fast = root, process, progress, fast
        self.reader = reader
        # Sealed files never change, so what was read of one holds at a later attempt too.
        self.tables: dict[tuple[Path, int, int, int], Table] = {}
        self.done = 0
        self.of = 0
        self.rows = 0

    def run(self) -> Report:
        """Look, and look again at processes of which something has gone meanwhile."""
        began = time.monotonic()
        moment = Moment.take(self.root)
        reports, left, findings = self.look(moment, None, final=False)
        if self.process is not None and not reports and not left:
            raise ValueError(f"there is nothing of a process {self.process!r}")
        for attempt in range(2, _ATTEMPTS + 1):
            if not left:
                break
            again, left, _ = self.look(Moment.take(self.root), left, final=attempt == _ATTEMPTS)
            reports |= again
        return Report(
            directory=self.root,
            fast=self.fast,
            processes=tuple(reports[process] for process in sorted(reports)),
            findings=(*moment.findings, *findings),
            files=self.done,
            rows=self.rows,
            seconds=time.monotonic() - began,
        )

    def look(
        self, moment: Moment, only: set[str] | None, *, final: bool
    ) -> tuple[dict[str, ProcessReport], set[str], list[Finding]]:
        """Read what there is at a moment: reports, processes of which something went, findings on nobody's files."""
        lines, findings = self.lines_by_process(moment.lines)
        paths = [path for path in moment.tables if self.process is None or self.process in path.name]
        self.of = max(self.of, len(paths) + sum(map(len, lines.values())))
        tables: dict[str, list[Table]] = {}
        gone: set[str] = set()
        for path in paths:
            try:
                table = self.table(path)
            except FileNotFoundError:
                named_as = SealedFile.from_path(path)
                gone |= {named_as.process} if named_as and not final else set()
                continue
            if table.process is not None:
                tables.setdefault(table.process, []).append(table)
            elif self.process is None:
                findings += table.findings
        told: dict[str, list[Deletion]] = {}
        for deletion in (one for of in tables.values() for table in of for one in table.deletions):
            told.setdefault(deletion.process, []).append(deletion)
        every = {one for one in (*tables, *lines, *moment.standings, *gone) if self.wanted(one)}
        reports: dict[str, ProcessReport] = {}
        for process in sorted(every if only is None else every & only):
            if process in gone:
                continue
            files = [path for path in lines.get(process, []) if not final or present(path)]
            try:
                accounts, rows = moment.accounts.get(process, {}), told.get(process, ())
                reports[process] = self.of_process(
                    process,
                    tables.get(process, []),
                    moment.standings.get(process),
                    files,
                    {kind: deleted(self.root, kind, accounts, rows) for kind in KINDS},
                )
            except FileNotFoundError:
                gone.add(process)
        return reports, gone if only is None else gone & only, findings

    def wanted(self, process: str) -> bool:
        """Whether the caller asks for it."""
        return self.process is None or process == self.process

    def of_process(
        self,
        process: str,
        tables: list[Table],
        standing: Standing | None,
        paths: list[Path],
        gone: Mapping[Kind_, Deleted],
    ) -> ProcessReport:
        """One process: its lines are read, then everything is held against everything. Raises `FileNotFoundError`."""
        lines = None
        if paths and not self.fast:
            lines = Lines(process, self.root, standing, removed=self.kept_since is not None, deleted=gone["jsonl"])
            self.read_lines(lines, paths)
        report = judge(
            process, tables, standing, lines, fast=self.fast, kept_since=self.kept_since, deleted=gone["parquet"]
        )
        name = sink_of(standing)
        wanted = 0 if standing is None or name != "jsonl" else standing.sinks[name].delivered
        if not paths and wanted > gone["jsonl"].account.rows:
            text = (
                f"the sink jsonl has written {wanted:,} lines, and none of them is here: "
                "they are in another directory, or gone"
            )
            note = Finding(kind=Kind.NOTE, text=text, process=process)
            report = dataclasses.replace(report, findings=(*report.findings, note))
        return report

    def read_lines(self, lines: Lines, paths: list[Path]) -> None:
        """Read the lines of a process."""
        before = self.rows

        def told(n: int) -> None:
            self.rows = before + n
            self.tell()

        lines.read(paths, told)
        self.rows = before + lines.lines
        self.done += len(paths)

    def table(self, path: Path) -> Table:
        """What a Parquet file comes to. Raises `FileNotFoundError`."""
        status = path.stat()
        key = path, status.st_ino, status.st_size, status.st_mtime_ns
        if key not in self.tables:
            table = self.tables[key] = self.reader.examine(path)
            self.done += 1
            self.rows += table.rows
            self.tell()
        return self.tables[key]

    def tell(self) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(Progress(self.done, self.of, self.rows))

    def lines_by_process(self, paths: Iterable[Path]) -> tuple[dict[str, list[Path]], list[Finding]]:
        """The files of lines of each process in its order, and findings on those that are nobody's."""
        found: dict[str, list[tuple[int, Path]]] = {}
        strangers: list[Finding] = []
        for path in paths:
            name = named(path)
            if name is None and self.process is None:
                shown = path.relative_to(self.root)
                text = f"{shown}: no sink of ours has named this file"
                strangers.append(Finding(kind=Kind.FOREIGN, text=text, path=shown))
            elif name is not None and self.wanted(name[0]):
                found.setdefault(name[0], []).append((name[1], path))
        return {process: [path for _, path in sorted(files)] for process, files in found.items()}, strangers

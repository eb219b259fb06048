"""From a directory to a report: what is read in which order, and again when it changes meanwhile."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from auditring import directory as directories
from auditring.verify.judge import judge
from auditring.verify.lines import Lines, named, sink_of
from auditring.verify.moment import Moment
from auditring.verify.report import Finding, Kind, Report
from auditring.verify.tables import examine

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from auditring.verify.moment import Standing
    from auditring.verify.report import ProcessReport
    from auditring.verify.tables import Table

__all__ = ["Progress", "check"]

_ATTEMPTS = 5
"""Moments taken before a file that goes while it is being read counts as gone."""


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
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Verify an audit directory, whether or not anybody writes to it; nothing in it is changed.

    `process`: only this one. `fast`: of Parquet files only the footers, and no JSON lines. `progress` is called now and
    then. Whatever is wrong with the directory is in the report. Raises `NotAnAuditDirectory`, and `ValueError` for a
    process of which there is nothing.
    """
    root = Path(directory).absolute()
    directories.require(root)
    return _Check(root, process, progress, fast=fast).run()


class _Check:
    def __init__(
        self, root: Path, process: str | None, progress: Callable[[Progress], None] | None, *, fast: bool
    ) -> None:
        self.root, self.process, self.progress, self.fast = root, process, progress, fast
        # Sealed files never change, so what was read of one holds at a later attempt too.
        self.tables: dict[tuple[Path, int, int, int], Table] = {}
        self.done = 0
        self.of = 0
        self.rows = 0

    def run(self) -> Report:
        """Look, and look again if something has gone meanwhile."""
        began = time.monotonic()
        for attempt in range(1, _ATTEMPTS + 1):
            moment = Moment.take(self.root)
            self.done, self.rows = 0, 0
            try:
                report = self.report(moment, final=attempt == _ATTEMPTS)
            except FileNotFoundError:
                continue
            return dataclasses.replace(report, seconds=time.monotonic() - began)
        raise AssertionError("the last attempt takes what has gone for gone")

    def wanted(self, process: str | None) -> bool:
        """Whether the caller asks for it."""
        return self.process is None or process == self.process

    def report(self, moment: Moment, *, final: bool) -> Report:
        """Read all that there is at a moment."""
        lines, strangers = self.lines_by_process(moment.lines)
        paths = [path for path in moment.tables if self.process is None or self.process in path.name]
        self.of = len(paths) + sum(map(len, lines.values()))
        tables: dict[str | None, list[Table]] = {}
        for path in paths:
            table = self.table(path, final=final)
            if table is not None:
                tables.setdefault(table.process, []).append(table)
        every = sorted({*(one for one in tables if one is not None), *lines, *moment.standings})
        if self.process is not None and self.process not in every:
            raise ValueError(f"there is nothing of a process {self.process!r}")
        reports = [
            self.of_process(one, tables.get(one, []), moment.standings.get(one), lines.get(one, []), final=final)
            for one in every
            if self.wanted(one)
        ]
        others = [finding for table in tables.get(None, []) for finding in table.findings if self.process is None]
        return Report(
            directory=self.root,
            fast=self.fast,
            processes=tuple(reports),
            findings=(*moment.findings, *others, *strangers),
            files=self.done,
            rows=self.rows,
            seconds=0.0,
        )

    def of_process(
        self,
        process: str,
        tables: list[Table],
        standing: Standing | None,
        paths: list[Path],
        *,
        final: bool,
    ) -> ProcessReport:
        """One process: its lines are read, then everything is held against everything."""
        lines = None
        if paths and not self.fast:
            lines = Lines(process, self.root, standing)
            self.read_lines(lines, paths, final=final)
        report = judge(process, tables, standing, lines, fast=self.fast)
        name = sink_of(standing)
        if standing is not None and name == "jsonl" and not paths and standing.sinks[name].delivered:
            text = (
                f"the sink jsonl has written {standing.sinks[name].delivered:,} lines, and none of them is here: "
                "they are in another directory, or gone"
            )
            note = Finding(kind=Kind.NOTE, text=text, process=process)
            report = dataclasses.replace(report, findings=(*report.findings, note))
        return report

    def read_lines(self, lines: Lines, paths: list[Path], *, final: bool) -> None:
        """Read the lines of a process."""
        before = self.rows

        def told(n: int) -> None:
            self.rows = before + n
            self.tell()

        lines.read([path for path in paths if not final or path.exists()], told)
        self.rows = before + lines.lines
        self.done += len(paths)

    def table(self, path: Path, *, final: bool) -> Table | None:
        """What a Parquet file comes to; `None` for one that has gone for good. Raises `FileNotFoundError`."""
        try:
            status = path.stat()
            key = path, status.st_ino, status.st_size, status.st_mtime_ns
            table = self.tables.get(key)
            if table is None:
                table = self.tables[key] = examine(path, self.root, fast=self.fast)
        except FileNotFoundError:
            if final:
                return None
            raise
        self.done += 1
        self.rows += table.rows
        self.tell()
        return table

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

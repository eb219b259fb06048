"""`auditring verify DIR`: whether anything is missing, doubled, damaged or foreign, by file and by process."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from auditring.verify import Finding, Loss, ProcessReport, Progress, Report

__all__ = ["command"]

_MOST_LOSSES = 20
"""Rows of losses that the table shows; JSON has up to a thousand of each process."""


@click.command("verify")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--process", metavar="UUID", help="Only this process.")
@click.option(
    "--fast", is_flag=True, help="Read the footers of Parquet files alone: ranges and totals, but no row and no line."
)
@click.option(
    "--kept-since",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Files of dates before it may have been removed or moved away: a process may begin later.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong; nothing if nothing is.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
def command(
    directory: Path,
    *,
    process: str | None,
    fast: bool,
    kept_since: datetime | None,
    quiet: bool,
    form: Literal["table", "json"],
) -> None:
    """Is anything missing from DIR? Checks every file and every process, also while proxies write.

    \b
    auditring verify audit/                            every page of every file, with its checksum
    auditring verify audit/ --fast                     footers and counters alone, in seconds
    auditring verify audit/ --quiet || alert           from cron: it speaks only when something is wrong
    auditring verify audit/ --kept-since 2026-11-01    where older files have been moved away
    auditring verify audit/ --json | jq '.findings[] | [.kind, .text]'

    Every event of a process has a number, and every file says which numbers it covers and how many of them were left
    out. So a file that is missing, doubled, cut, damaged or of somebody else is told of by its range. What the log
    itself says was lost (auditring.EventsLost) is listed: the log is complete, except for these.

    \b
    The verdict on a process:
      complete          it has ended, and everything that it numbered is accounted for
      complete so far   the same up to now: it lives, or waits for recovery
      end unknown       nothing is left that says how far it went, so files may be missing at its end
      NOT complete      the findings say what is wrong

    The status is 0 if everything is complete, 1 if something is wrong, unknown, or nothing is there, 2 if DIR cannot be
    verified at all. There is no cryptographic seal: who rewrites files and counters so that they agree is not found.
    """
    from auditring.exceptions import AuditError
    from auditring.verify import check

    try:
        with progress_shown() as progress:
            since = None if kept_since is None else kept_since.date()
            report = check(directory, process=process, fast=fast, kept_since=since, progress=progress)
    except (AuditError, OSError, ValueError) as error:
        raise Complaint(str(error)) from error
    if form == "json":
        write_json(report)
    elif quiet:
        for finding in report.wrong:
            click.echo(line(finding))
        if not report.complete:
            click.echo(report.verdict)
    else:
        write_tables(report)
    if not report.complete:
        sys.exit(1)


@contextmanager
def progress_shown() -> Iterator[Callable[[Progress], None] | None]:
    """What shows how far it is: one line on a terminal's standard error, and elsewhere nothing."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    with Status("reading", console=console) as status:
        yield lambda at: status.update(f"{at.files:,} of {at.of:,} files, {at.rows:,} rows")


def write_json(report: Report) -> None:
    """Write the report as one JSON object, findings of processes and of none together, with what they come to."""
    from auditring.cli.text import json_text

    processes = [
        {
            **{name: value for name, value in dataclasses.asdict(process).items() if name != "findings"},
            "complete": process.complete,
            "verdict": process.verdict,
        }
        for process in report.processes
    ]
    findings = [{**dataclasses.asdict(finding), "wrong": finding.wrong} for finding in report.everything]
    click.echo(
        json_text(
            {
                "directory": report.directory,
                "complete": report.complete,
                "verdict": report.verdict,
                "fast": report.fast,
                "files": report.files,
                "rows": report.rows,
                "seconds": round(report.seconds, 3),
                "processes": processes,
                "findings": findings,
            }
        )
    )


def write_tables(report: Report) -> None:
    """Write a table of processes, one of lines and one of losses where there are any, the findings, and the verdict."""
    from auditring.cli.output import write_table

    if report.processes:
        columns = ("instance", "process", "state", "seq", "files", "rows", "events", "sampled", "filtered", "lost")
        rows = [process_row(process) for process in report.processes]
        write_table([*columns, "pending", "off", "verdict"], rows, title="Processes")
    lines = [(process, process.lines) for process in report.processes if process.lines is not None]
    if lines:
        write_table(
            ["process", "seq", "files", "lines", "behind", "proved"],
            [
                [of.process, span(one.first_seq, one.last_seq), one.files, one.lines, one.behind, one.proved]
                for of, one in lines
            ],
            title="JSON lines",
        )
    losses = [(process, loss) for process in report.processes for loss in process.losses]
    if losses:
        cut = f": {_MOST_LOSSES} of {len(losses):,} rows" if len(losses) > _MOST_LOSSES else ""
        write_table(
            ["process", "seq", "lost", "why", "action", "since", "until"],
            [loss_row(process, loss) for process, loss in losses[:_MOST_LOSSES]],
            title=f"What the log says that it lost{cut}",
        )
    for finding in sorted(report.everything, key=lambda finding: finding.wrong):
        click.echo(("" if finding.wrong or finding.kind == "note" else "Note, ") + line(finding))
    rate = f"{report.rows / report.seconds:,.0f} a second" if report.rows and report.seconds else "none read"
    depth = "footers alone" if report.fast else f"{report.rows:,} rows and lines, {rate}"
    click.echo(f"{report.verdict} ({report.files:,} files in {report.seconds:.1f} s; {depth})")


def process_row(process: ProcessReport) -> list[object]:
    """A process in the order of the table's columns."""
    return [
        process.instance,
        process.process,
        process.state,
        span(process.first_seq, process.last_seq),
        process.files,
        process.rows,
        process.events,
        process.sampled_out,
        process.filtered_out,
        process.lost,
        process.pending,
        process.off,
        process.verdict,
    ]


def loss_row(process: ProcessReport, loss: Loss) -> list[object]:
    """A row of losses in the order of the table's columns."""
    lost = "unknown" if loss.lost is None else loss.lost
    return [process.process, loss.seq, lost, loss.cause, loss.action, loss.since, loss.time]


def span(first: int | None, last: int | None) -> str | None:
    """A range of seq, both ends included."""
    return None if first is None else f"{first}…{last}"


def line(finding: Finding) -> str:
    """A finding as one line; where its text does not say whose it is, behind its process."""
    from auditring.cli.text import visible

    of = finding.process
    whose = f"{of}: " if of is not None and of not in finding.text else ""
    return visible(f"{finding.kind}: {whose}{finding.text}")

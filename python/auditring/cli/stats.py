"""`auditring stats DIR`: the balance of every process, from its files alone; the process need not live."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["command"]

_TERMS = ("offered", "off", "dropped", "refused", "claimed", "torn", "accepted", "born", "journaled")
_SINK_TERMS = ("delivered", "merged", "sampled_out", "filtered_out")


@click.command("stats")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
def command(directory: Path, form: Literal["table", "json"]) -> None:
    """The balance of every process that writes, or wrote, to DIR: where each event that was offered is now.

    \b
    auditring stats audit/
    auditring stats audit/ --json | jq '.[].dropped'

    Counted up to each process's last batch in the journal. The lag of a sink is the age of the oldest row that it
    lacks; its last success, when it last made rows safe. The last line says whether all balances; the status is 1 if
    an equation does not hold, or a process's counters cannot be read: that one is named, and the others are counted.
    """
    from auditring import _core
    from auditring.directory import require
    from auditring.exceptions import AuditError
    from auditring.stats import balance

    root = directory.absolute()
    unreadable: list[tuple[Path, str]] = []
    try:
        require(root)
        processes = _core.outside(str(root), unreadable=unreadable)
        processes.sort(key=lambda process: (process["instance"], process["process"]))
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    found = [(process, equation) for process in processes for equation in balance(process)]
    wrong = [f"{of['instance']} {of['process']}: {equation}" for of, equation in found if not equation.holds]
    if form == "json":
        write_json(processes)
    else:
        write_tables(processes)
        click.echo(verdict(len(found), len(wrong)))
    for line in wrong:
        click.echo(f"Does not balance: {line}", err=True)
    for path, why in unreadable:
        click.echo(f"Cannot be read: {path.name}: {why}", err=True)
    if wrong or unreadable:
        sys.exit(1)


def write_json(processes: Iterable[Mapping[str, Any]]) -> None:
    """Write one array, a process a line, as the core counts them."""
    from auditring.cli.text import json_text

    click.echo("[\n" + ",\n".join(json_text(dict(process)) for process in processes) + "\n]")


def write_tables(processes: list[dict[str, Any]]) -> None:
    """Write a table of the processes, and one of their sinks."""
    from auditring.cli.output import write_table

    head = ["instance", "process", "pid", "state"]
    write_table(
        [*head, *_TERMS, "lost"],
        [[*_names(process), *(process[term] for term in _TERMS), _lost(process["lost"])] for process in processes],
        title="Processes",
    )
    sinks = [(process, name, sink) for process in processes for name, sink in sorted(process["sinks"].items())]
    write_table(
        ["instance", "process", "sink", *_SINK_TERMS, "lost", "pending", "lag", "last success"],
        [
            [
                process["instance"],
                process["process"],
                name,
                *(sink[term] for term in _SINK_TERMS),
                _lost(sink["lost"]),
                sink["pending"],
                _lag(sink),
                _moment(sink["last_success_ns"]),
            ]
            for process, name, sink in sinks
        ],
        title="Sinks",
    )


def _names(process: Mapping[str, Any]) -> list[object]:
    if process["alive"]:
        state = "writing"
    elif process["pid"] is None:
        state = "closed"
    else:
        # Without it nobody can tell; `auditring recover` says what to do.
        state = "unknown: its lock file is gone" if process["lockless"] else "dead, not recovered"
    return [process["instance"], process["process"], process["pid"], state]


def _lag(sink: Mapping[str, Any]) -> str:
    """How old the oldest row is that the sink lacks."""
    if sink["oldest_ns"] is None:
        return ""
    return f"{max(0, time.time_ns() - sink['oldest_ns']) / 1e9:,.1f} s"


def _moment(time_ns: int | None) -> str:
    return "" if time_ns is None else f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}Z"


def _lost(lost: Mapping[str, int]) -> object:
    """A number, or a number for each cause."""
    return ", ".join(f"{cause} {n}" for cause, n in lost.items() if n) or 0


def verdict(equations: int, wrong: int) -> str:
    """What the tables come to, in one line."""
    if not equations:
        return "Nothing to balance: no process has written here."
    if wrong:
        return f"Does not balance: {wrong} of {equations} equations."
    return f"All balances: {equations} equations hold."

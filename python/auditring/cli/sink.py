"""`auditring sink list DIR`, `auditring sink forget NAME DIR`: how far each sink is; and to do without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]

_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_LIVING = "lives, and lists the sink: open its log without the sink, then forget it"
_LOCKLESS = "has no lock file any more, so nobody can tell whether it lives: `auditring recover` says what to do"
_HELD = {
    "living": _LIVING,
    "unended": "has died and is not recovered: run `auditring recover` first",
    "driven": "is being brought to the sink at this moment: try again",
}


@click.group("sink")
def command() -> None:
    """How far each sink is; and to forget one that nobody configures any more.

    \b
    auditring sink list audit/
    auditring sink forget kafka audit/ --yes
    """


@command.command("list")
@_DIRECTORY
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
def list_(directory: Path, form: Literal["table", "json"]) -> None:
    """Every sink of every process of DIR: whether its log stops for it, how far it is, and what it lacks and lost.

    A process that has gone stands here with its totals.
    """
    from auditring import _core
    from auditring.cli.text import json_text

    processes = sorted(_outside(directory, _core), key=lambda process: (process["instance"], process["process"]))
    rows = [
        {
            "instance": process["instance"],
            "process": process["process"],
            "state": _state(process),
            "sink": name,
            "required": sink["required"] if process["pid"] is not None else None,
            "cursor": sink["reached"],
            "pending": sink["pending"],
            "lost": sink["lost"],
        }
        for process in processes
        for name, sink in sorted(process["sinks"].items())
    ]
    if form == "json":
        click.echo("[\n" + ",\n".join(json_text(row) for row in rows) + "\n]")
        return
    from auditring.cli.output import write_table

    columns = ["instance", "process", "state", "sink", "required", "cursor", "pending"]
    table = [[*(row[name] for name in columns), _lost(row["lost"])] for row in rows]
    write_table([*columns, "lost"], table, title="Sinks")


@command.command("forget")
@click.argument("name", metavar="NAME")
@_DIRECTORY
@click.option("--yes", is_flag=True, help="Do it; without it only what would be done is said.")
def forget(name: str, directory: Path, *, yes: bool) -> None:
    """Hold no journal of a dead process for sink NAME any longer: nobody would bring it its rows.

    What the sink lacked is counted as lost by the name of `forgotten`, in `auditring stats` too when the journal has
    gone. Other sinks keep what they are owed. The status is 1 if there was nothing to do, or a process is left that
    still holds its journal for NAME: one that lives is never touched, and one that nobody has recovered must be first.
    """
    from auditring import _core

    # Whoever asks about what is no audit directory is told so.
    lockless = {process["process"] for process in _outside(directory, _core) if process["lockless"]}
    try:
        found = _core.forget_sink(str(directory.absolute()), name, really=yes)
    except OSError as error:
        raise Complaint(str(error)) from error
    left = 0
    for one in found:
        who = f"{one['process']}" + (f" ({one['instance']})" if one["instance"] else "")
        if one["held"] != "ended":
            left += 1
            click.echo(f"{who} {_LOCKLESS if one['process'] in lockless else _HELD[one['held']]}")
        elif yes:
            gone = "its journal is removed" if one["removed"] else "other sinks still need its journal"
            click.echo(f"{who}: {one['rows']:,} rows are lost to {name}; {gone}")
        else:
            click.echo(f"{who}: {one['rows']:,} rows would be lost to {name}")
    if not found:
        click.echo(f"No journal of a process is held for a sink {name!r}.")
        sys.exit(1)
    if not yes and left < len(found):
        click.echo("Nothing was done: say --yes to forget the sink.")
        sys.exit(1)
    sys.exit(1 if left else 0)


def _state(process: Mapping[str, Any]) -> str:
    if process["alive"]:
        return "writing"
    if process["pid"] is None:
        return "closed"
    return "unknown" if process["lockless"] else "dead"


def _outside(directory: Path, core: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the compiled module, imported late
    from auditring.directory import require
    from auditring.exceptions import AuditError

    try:
        require(directory.absolute())
        outside: list[dict[str, Any]] = core.outside(str(directory.absolute()))
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    return outside


def _lost(lost: Mapping[str, int]) -> object:
    return ", ".join(f"{cause} {n}" for cause, n in lost.items() if n) or 0

"""`auditring tail DIR`: the last rows of a directory, and with `-f` every new one within a second of its emit."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from auditring.cli.asked import time_of
from auditring.cli.errors import Complaint, suggestion
from auditring.types import Dialect, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import BinaryIO

    from auditring.tail import Tail, Wanted

__all__ = ["CATEGORIES", "command"]

CATEGORIES = (
    "lifecycle",
    "connection",
    "authentication",
    "authorization",
    "administration",
    "data",
    "request",
    "plugin",
    "audit",
)
_LAST = 10
"""Rows of the past when nothing else is asked for."""
_LOOK = 0.05
"""Seconds between two looks at a quiet directory."""
_INTERRUPTED = 130


@click.command("tail")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as in JSONL files.")
@click.option(
    "--dialect",
    type=click.Choice(get_args(Dialect)),
    help="With --json: whose names actions have, by default our own.",
)
@click.option(
    "--last",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Rows of the past at most  [{_LAST}; with --since all]",
)
@click.option(
    "--since", metavar="TIME", callback=time_of, help="Only what happened from then on: 2026-11-23T14:05, 30m, 2h."
)
@click.option(
    "--action", "actions", multiple=True, metavar="NAME", help="Only this action. May be given again, as all below."
)
@click.option("--category", "categories", multiple=True, type=click.Choice(CATEGORIES), help="Only this category.")
@click.option("--outcome", "outcomes", multiple=True, type=click.Choice(get_args(Outcome)), help="Only this outcome.")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="NAME",
    help="Only what this principal did, or who tried to pass for it: alice or User:alice.",
)
@click.option("--session", "sessions", multiple=True, metavar="ID", help="Only this session.")
def command(  # noqa: PLR0913 - an argument an option
    directory: Path,
    *,
    follow: bool,
    as_json: bool,
    dialect: Dialect | None,
    last: int | None,
    since: datetime | None,
    actions: Sequence[str],
    categories: Sequence[str],
    outcomes: Sequence[str],
    principals: Sequence[str],
    sessions: Sequence[str],
) -> None:
    """Watch DIR from any process, while proxies write to it: the last rows, and with -f all that come.

    \b
    What is refused, as it happens; what has been refused in the last hour, and then on:
      auditring tail -f audit/ --outcome denied
      auditring tail -f audit/ --outcome denied --since 1h
    What does alice do? What happens in one session?
      auditring tail -f audit/ --principal alice
      auditring tail audit/ --session 6f1c2d0e-4b8a-4c55-9f0e-0d6a52b1c7aa --last 100
    Failed logins for a program, one JSON object a line:
      auditring tail -f audit/ --json --category authentication --outcome failure | jq .actor

    Rows are those of the tables: what the log's policy samples out is not among them. Options of one kind widen, those
    of several kinds narrow. Colours are left out where standard output is no terminal, or NO_COLOR is set.
    """
    from auditring.tail import Wanted

    if dialect and not as_json:
        raise Complaint("--dialect is of JSON lines: say --json too")
    check(actions)
    wanted = Wanted(
        actions=actions, categories=categories, outcomes=outcomes, principals=principals, sessions=sessions, since=since
    )
    past = _LAST if last is None and since is None else last
    out = Outlet()
    try:
        run(directory, wanted, past, out, follow=follow, as_json=as_json, dialect=dialect)
    except KeyboardInterrupt:
        click.get_current_context().exit(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read has had enough. Nothing may be flushed into the pipe when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(
    directory: Path,
    wanted: Wanted,
    past: int | None,
    out: Outlet,
    *,
    follow: bool,
    as_json: bool,
    dialect: Dialect | None,
) -> None:
    """Tell of the past, then of the present; whatever is wrong with the directory becomes one line."""
    from auditring.exceptions import AuditError
    from auditring.tail import Tail

    try:
        tail = Tail(directory, wanted, last=past, json=as_json, dialect=dialect, colour=not as_json and out.coloured)
        for lines in tail.history():
            say(tail, lines, out)
        while follow:
            lines = tail.fresh()
            say(tail, lines, out)
            if not lines:
                out.wait(_LOOK)
    except BrokenPipeError:
        raise
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error


def say(tail: Tail, lines: bytes, out: Outlet) -> None:
    """Print lines, and on standard error what one should know about them."""
    if lines:
        out.write(lines)
    while tail.notes:
        click.echo(f"Note: {tail.notes.pop(0)}.", err=True)


def check(actions: Sequence[str]) -> None:
    """Complain about an action that no event can have; a plugin's own has a package before its name."""
    from auditring import _core

    known = {str(action["name"]) for action in _core.actions() if not str(action["name"]).isupper()}
    for action in actions:
        if "." not in action and action not in known:
            raise Complaint(f"there is no action {action!r}; {suggestion(action, known)}")


class Outlet:
    """Standard output, flushed after each write, which notices that nobody reads it any more."""

    def __init__(self) -> None:
        self._out: BinaryIO = sys.stdout.buffer
        self._poll: select.poll | None = None
        try:
            fd = self._out.fileno()
        except OSError:
            return  # no file at all: somebody who runs the command within his own process
        self._poll = select.poll()
        self._poll.register(fd, 0)

    @property
    def coloured(self) -> bool:
        """Whether colours are wanted; see no-color.org."""
        return self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def write(self, lines: bytes) -> None:
        """Writes and flushes. Raises `BrokenPipeError`."""
        self._out.write(lines)
        self._out.flush()

    def wait(self, seconds: float) -> None:
        """Waits, but not for a reader that has gone. Raises `BrokenPipeError`."""
        if self._poll is None:
            time.sleep(seconds)
        elif self._poll.poll(seconds * 1000):
            raise BrokenPipeError

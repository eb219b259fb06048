"""What a question on the command line carries beside itself, and the options that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from auditring.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditring.questions import Bounds

__all__ = ["Asked", "bounded", "shown", "time_of"]

F = TypeVar("F", bound="Callable[..., object]")

_SHOWN = 100
"""Rows of a table when nothing else is asked for; the other forms are whole."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(slots=True)
class Asked:
    """What all questions share: where to look, what to leave out, and how to show it."""

    directory: Path
    include_fresh: bool
    form: output.Format = "table"
    target: Path | None = None
    limit: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    tap: str | None = None

    @property
    def most(self) -> int | None:
        """Rows at most; `None` for all."""
        return self.limit or (_SHOWN if self.limit is None and self.form == "table" else None)

    @property
    def bounds(self) -> Bounds:
        """What narrows a saved question."""
        from auditring.questions import Bounds

        return Bounds(since=self.since, until=self.until, tap=self.tap, limit=self.most)


def note(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option's value in what is asked, so that every command gets one thing instead of six."""
    setattr(ctx.obj, str(parameter.name), value)


def shown(function: F) -> F:
    """Add the options that say how an answer looks."""
    form = click.option(
        "--format",
        "form",
        type=click.Choice(output.FORMATS),
        default="table",
        show_default=True,
        expose_value=False,
        callback=note,
        help="A table to read, CSV without formulas, a JSON array, or Parquet (with --output).",
    )
    target = click.option(
        "--output",
        "target",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=note,
        help="Write there instead of to standard output; FILE appears when it is complete.",
    )
    limit = click.option(
        "--limit",
        type=click.IntRange(min=0),
        expose_value=False,
        callback=note,
        help=f"Rows at most; 0 for all. A table shows {_SHOWN} unless told; the others have all.",
    )
    return form(target(limit(function)))


def bounded(function: F) -> F:
    """Add the options that narrow a saved question, and those that say how its answer looks."""
    since = click.option(
        "--since",
        metavar="TIME",
        expose_value=False,
        callback=moment,
        help="Only what happened from then on: 2026-11-23, 2026-11-23T14:05 (UTC), or 30m, 2h, 7d ago.",
    )
    until = click.option(
        "--until", metavar="TIME", expose_value=False, callback=moment, help="Only what happened before."
    )
    tap = click.option(
        "--tap", metavar="NAME", expose_value=False, callback=note, help="Count this tap instead of the primary one."
    )
    return since(until(tap(shown(function))))


def moment(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """A bound of what is asked, as people give times."""
    note(ctx, parameter, time_of(ctx, parameter, value))


def time_of(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A time as people give it: ISO, in UTC unless it says otherwise, or how long ago."""
    if value is None:
        return None
    ago = re.fullmatch(r"(\d+)([smhdw])", value)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        text = f"{value!r} is no time; say 2026-11-23, 2026-11-23T14:05 or 2h"
        raise click.BadParameter(text, ctx, parameter) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)

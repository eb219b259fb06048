"""The balance of a log on its way from the process that writes it to the one that shows it: a JSON object a line."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from auditring.stats import Stats

EVERY = 0.2
"""Seconds between two lines."""

_TERMS = "offered claimed accepted torn off dropped refused born journaled in_ring".split()  # noqa: SIM905 - reads better


def of(stats: Stats) -> dict[str, Any]:
    """The terms that the demo shows, in JSON's types."""
    actions: Counter[str] = Counter()
    for (action, _), times in stats.actions.items():
        actions[action] += times
    return {
        **{term: getattr(stats, term) for term in _TERMS},
        "lost": sum(stats.lost.values()),
        "actions": actions,
        "sinks": {name: {"delivered": sink.delivered, "pending": sink.pending} for name, sink in stats.sinks.items()},
        "balanced": stats.balanced,
    }


def say(what: dict[str, Any]) -> None:
    """Writes a line to standard output."""
    # A parent that has gone needs no telling; standard input ends a child.
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def heard(line: bytes) -> dict[str, Any]:
    """What a line said; nothing where there is none yet."""
    said: dict[str, Any] = json.loads(line or b"{}")
    return said


def table(stats: dict[str, Any]) -> Table:
    """The balance for people."""

    def number(name: str) -> str:
        return f"{stats.get(name, 0):,}"

    grid = Table.grid(padding=(0, 1))
    grid.add_row("offered", number("offered"), "= claimed", number("claimed"))
    grid.add_row("", "", "+ off, dropped, refused", f"{number('off')}, {number('dropped')}, {number('refused')}")
    grid.add_row("accepted", number("accepted"), "+ born in the pump", number("born"))
    grid.add_row("", "", "= journaled", number("journaled"))
    grid.add_row("", "", "+ in the ring, lost", f"{number('in_ring')}, {number('lost')}")
    for name, sink in stats.get("sinks", {}).items():
        grid.add_row(name, "", "delivered, pending", f"{sink.get('delivered', 0):,}, {sink.get('pending', 0):,}")
    return grid


def beside(clients: Table, stats: dict[str, Any]) -> Table:
    """Clients on the left, the log's balance on the right."""
    both = Table(show_header=True, header_style="bold")
    both.add_column("clients")
    both.add_column("the log")
    both.add_row(clients, table(stats))
    return both

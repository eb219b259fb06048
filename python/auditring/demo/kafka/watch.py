"""What one sees while the clients are at it: `auditring tail` of the proxy's log, the rate, and the balance.

Logins, refusals and what the proxy says of itself are shown one by one, but never more than one can read; of Reads and
Writes the last of each kind, every second, and how many there were.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from auditring.demo import balance
from auditring.tail import Tail, Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from auditring.demo.kafka.seen import Seen

# Of a line's time, 2026-11-23T20:15:00.123456Z.
_TIME = slice(len("2026-11-23T"), len("2026-11-23T20:15:00.123"))
_REST = slice(len("2026-11-23T20:15:00.123456Z"), None)
_SAMPLE_EVERY = 1.0
_MOST = 20
"""Lines of one kind from one sample to the next: many logins drown no refusal, and many refusals no login."""


class Lines:
    """The log's lines as they come, from outside the proxy's process."""

    def __init__(self, console: Console, directory: Path) -> None:
        """Begins at the first row. Raises `NotAnAuditDirectory`."""
        self._console = console
        colour = console.is_terminal and not console.no_color
        wanted = {
            "logins": Wanted(categories=("lifecycle", "authentication")),
            "refusals": Wanted(categories=("authorization",), outcomes=("denied",)),
        }
        self._all = {name: Tail(directory, which, last=None, colour=colour) for name, which in wanted.items()}
        self._sampled = {
            action: Tail(directory, Wanted(actions=(action,)), colour=colour) for action in ("Read", "Write")
        }
        self._next_sample = monotonic() + _SAMPLE_EVERY
        self._came = dict.fromkeys(self._all, 0)

    def show(self, *, final: bool = False) -> None:
        """Prints what has come."""
        lines: list[bytes] = []
        for name, tail in self._all.items():
            came = tail.fresh().splitlines()
            lines += came[: max(0, _MOST - self._came[name])]
            self._came[name] += len(came)
        more = ""
        if final or monotonic() >= self._next_sample:
            self._next_sample = monotonic() + _SAMPLE_EVERY
            left_out = {name: count - _MOST for name, count in self._came.items()}
            for action, tail in self._sampled.items():
                came = tail.fresh().splitlines()
                lines += came[-1:]
                left_out[f"{action}s"] = len(came) - 1
            more = ", ".join(f"{number:,} {what}" for what, number in left_out.items() if number > 0)
            self._came = dict.fromkeys(self._all, 0)
        # A line begins with its time, or with what gives that its colour.
        for line in sorted(lines):
            self._print(Text.from_ansi(line.decode()))
        if more:
            self._print(Text(f"… and {more} more", style="dim"), whole=True)

    def _print(self, text: Text, *, whole: bool = False) -> None:
        if self._console.is_terminal and not whole:
            # The day is the same for all; the end of a long line is there for who asks `auditring tail`.
            text = text[_TIME] + text[_REST]
            text.truncate(self._console.width, overflow="ellipsis")
        self._console.print(text, soft_wrap=True)


def panel(seen: Seen, stats: dict[str, Any], took: float, seconds: float | None) -> Table:
    """Clients on the left, the log on the right; without `seconds` it is over."""
    took = max(took, 0.001)
    actions = stats.get("actions", {})
    clients = Table.grid(padding=(0, 2))
    clients.add_column()
    clients.add_column(justify="right")
    clients.add_column(justify="right", style="dim")
    clients.add_row("", "in all", "a second")
    for what, touched in (("alice wrote", seen.written), ("bob read", seen.read)):
        clients.add_row(what, f"{touched.records:,}", f"{touched.records / took:,.0f}")
    clients.add_row("MB read", f"{seen.read.bytes / 1e6:,.1f}", f"{seen.read.bytes / 1e6 / took:,.1f}")
    for action in ("OperationAllowed", "Write", "Read"):
        clients.add_row(action, f"{actions.get(action, 0):,}", f"{actions.get(action, 0) / took:,.0f}")
    if seconds is not None:
        clients.add_row("seconds", f"{min(took, seconds):.0f} of {seconds:.0f}", "")
    return balance.beside(clients, stats)


def line(seen: Seen, stats: dict[str, Any], took: float) -> str:
    """The same in a line, for what is no terminal."""
    return (
        f"{took:4.0f} s  written {seen.written.records:,}  read {seen.read.records:,}  "
        f"{seen.read.records / max(took, 0.001):,.0f} records/s  "
        f"accepted {stats.get('accepted', 0):,}  journaled {stats.get('journaled', 0):,}"
    )

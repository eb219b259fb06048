"""Upstream and gateway, each a process, real clients, the balance as it goes, and the answers."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx
from rich.live import Live
from rich.table import Table

from auditring import query
from auditring.demo import balance, report
from auditring.demo.children import Child, ChildFailed, Server
from auditring.demo.http.answers import ANSWERS
from auditring.demo.http.client import Tally, drive

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from rich.console import Console

SERVE = "auditring.demo.http.serve"
LIVE_EVERY = 0.25
PLAIN_EVERY = 2.0


def run(console: Console, directory: Path, *, requests: int | None, seconds: float | None, seed: int = 0) -> bool:
    """Plays the act; returns whether every count agreed. Raises `ChildFailed`."""
    tally = Tally()
    with (
        Server("upstream", SERVE) as upstream,
        Server("gateway", SERVE, "--upstream", upstream.url, "--dir", str(directory)) as gateway,
    ):
        console.print(
            f"upstream  {upstream.url}  (pid {upstream.pid})\n"
            f"gateway   {gateway.url}  (pid {gateway.pid}), audited into {directory}",
            highlight=False,
            soft_wrap=True,
        )
        clients = drive(gateway.url, tally, requests=requests, seconds=seconds, seed=seed)
        try:
            asyncio.run(_play(clients, _show(console, gateway, tally)))
        except* httpx.HTTPError as lost:
            message = f"the gateway did not answer: {lost.exceptions[0]!r}"
            raise ChildFailed(message) from lost
        gateway.stop()
        final = balance.heard(gateway.last)
    console.print()
    console.print(_panel(tally, final, None))
    return _conclude(console, directory, tally, final)


async def _play(clients: Coroutine[Any, Any, None], show: Coroutine[Any, Any, None]) -> None:
    """Shows as long as the clients ask."""
    showing = asyncio.ensure_future(show)
    try:
        await clients
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _show(console: Console, gateway: Child, tally: Tally) -> None:
    start = perf_counter()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(_panel(tally, balance.heard(gateway.last), perf_counter() - start), refresh=True)
                await asyncio.sleep(LIVE_EVERY)
    while True:
        await asyncio.sleep(PLAIN_EVERY)
        took = perf_counter() - start
        stats = balance.heard(gateway.last)
        console.print(
            f"{took:4.0f} s  {tally.requests:,} requests  {tally.requests / took:,.0f}/s  "
            f"accepted {stats.get('accepted', 0):,}  journaled {stats.get('journaled', 0):,}",
            highlight=False,
        )


def _panel(tally: Tally, stats: dict[str, Any], took: float | None) -> Table:
    clients = Table.grid(padding=(0, 2))
    clients.add_column()
    clients.add_column(justify="right")
    clients.add_row("requests", f"{tally.requests:,}")
    if took is not None:
        clients.add_row("a second", f"{tally.requests / max(took, 0.001):,.0f}")
    for code, times in sorted(tally.answers.items()):
        clients.add_row(f"  {code}", f"{times:,}")
    clients.add_row("  hung up", f"{tally.hung_up:,}")
    return balance.beside(clients, stats)


def _conclude(console: Console, directory: Path, tally: Tally, stats: dict[str, Any]) -> bool:
    with query.connect(directory) as connection:
        report.answers(console, connection, ANSWERS)
        report.sizes(console, directory, connection)
        found = connection.execute("SELECT count(*) FROM events WHERE action = 'HttpRequest'").fetchone()
        (requests,) = found or (0,)
        asked = {
            f"{tally.requests:,} requests asked, {requests:,} rows of requests": tally.requests == requests,
        }
        return report.verdicts(console, asked | report.whole(connection, stats))

"""The tax on an HTTP gateway, as `asgi_tax.py` measures it, as a section of the tables."""

from __future__ import annotations

import asyncio

import asgi_tax
from tables import Report, Target, table


def report(*, quick: bool = False) -> Report:
    """The table: a gateway that forwards, and an application that does nothing at all."""
    lines = []
    bounds = []
    for app in ("proxy", "hello"):
        tax = asyncio.run(asgi_tax.measure(rounds=15, seconds=15.0 if quick else 60.0, app=app))
        bounds.append(tax.upper)
        lines.append(
            (
                app,
                f"{tax.plain * 1e6:,.1f}",
                f"{tax.audited * 1e6:,.1f}",
                f"{tax.mean:.2%}",
                f"{tax.upper:.2%}",
                f"{tax.requests:,}",
            )
        )
    head = ("application", "plain, µs", "audited, µs", "tax", "upper 95 % bound", "requests each")
    return Report(
        "asgi",
        "CPU per request, 15 interleaved rounds.\n\n" + table(head, lines),
        [Target("tax on a request, upper 95 % bound", bounds[0] * 100, asgi_tax.ALLOWED * 100, unit="%", digits=2)],
    )

"""`auditring demo`: an audited gateway under load, or a firehose of Kafka-like events, and what DuckDB says of it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from auditring.cli.errors import Complaint

__all__ = ["command"]

SECONDS = 10.0
"""How long the clients ask where nothing else is said; the rest of the demo takes about as long again."""


@click.command("demo")
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="Stop after N requests.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help=f"Stop after S seconds  [{SECONDS:.0f}]"
)
@click.option(
    "--firehose", type=click.IntRange(min=1), metavar="N", help="Instead: N Kafka-like events, as fast as can be."
)
@click.option("--seed", type=int, default=0, metavar="S", help="Of everything that is drawn  [0]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Audit into DIR, and leave it there.",
)
@click.option("--keep", is_flag=True, help="Leave the audit directory there, and say where.")
def command(
    *, requests: int | None, seconds: float | None, firehose: int | None, seed: int, directory: Path | None, keep: bool
) -> None:
    """Audit a real HTTP gateway under load, then ask DuckDB who did what.

    \b
    A reverse proxy on uvicorn before an upstream, with clients that are let in, refused, or hang up:
      auditring demo
    How fast it is, with the events of a Kafka proxy:
      auditring demo --firehose 10000000
    """
    if firehose is not None and (requests is not None or seconds is not None):
        raise click.UsageError("--firehose takes neither --requests nor --seconds")
    if requests is None and seconds is None:
        seconds = SECONDS
    with ExitStack() as cleaning:
        where = _place(directory, cleaning, keep=keep)
        agreed = _act(where, requests, seconds, seed) if firehose is None else _flood(where, firehose, seed)
        if directory is not None or keep:
            question = "logins" if firehose is not None else "denied"
            click.echo(f"\nTo ask more:  auditring query {where} {question}")
    if not agreed:
        click.get_current_context().exit(1)


def _flood(where: Path, events: int, seed: int) -> bool:
    from rich.console import Console

    from auditring.demo import flood

    return flood.run(Console(), where, events=events, seed=seed)


def _act(where: Path, requests: int | None, seconds: float | None, seed: int) -> bool:
    # The children need it; said here, its absence is one line.
    import uvicorn  # noqa: F401
    from rich.console import Console

    from auditring.demo import act
    from auditring.demo.children import ChildFailed

    try:
        return act.run(Console(), where, requests=requests, seconds=seconds, seed=seed)
    except ChildFailed as failed:
        raise Complaint(str(failed)) from failed


def _place(directory: Path | None, cleaning: ExitStack, *, keep: bool) -> Path:
    """An empty directory to audit into; one that nobody wants to keep goes with `cleaning`."""
    if directory is not None:
        # The counts are compared with what the demo did, so nothing else may be there.
        if directory.is_dir() and any(directory.iterdir()):
            raise Complaint(f"{directory} is not empty")
        return directory
    if keep:
        return Path(tempfile.mkdtemp(prefix="auditring-demo-"))
    return Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="auditring-demo-")))

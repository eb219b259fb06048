"""`auditring demo`: a Kafka proxy, an HTTP gateway or a firehose, each audited, and what DuckDB says of it."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from auditring.cli.errors import Complaint

__all__ = ["command"]

SECONDS = 10.0
"""How long the clients are at it where nothing else is said; the rest of the demo takes less."""


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """One broker's address; it tells of the others."""
    if value is not None:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 1 << 16) or "," in value:
            raise click.BadParameter("say HOST:PORT of one broker")
    return value


@click.command("demo")
@click.option("--kafka", metavar="HOST:PORT", callback=_address, help="A cluster of yours in place of the mock.")
@click.option("--http", is_flag=True, help="Instead: a real HTTP gateway, audited under load.")
@click.option(
    "--firehose", type=click.IntRange(min=1), metavar="N", help="Instead: N Kafka-like events, as fast as can be."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help=f"Clients stop after S seconds  [{SECONDS:.0f}]",
)
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="With --http: stop after N requests.")
@click.option("--seed", type=int, metavar="S", help="With --http or --firehose: of everything that is drawn  [0]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Audit into DIR, and leave it there.",
)
@click.option("--keep", is_flag=True, help="Leave the audit directory there, and say where.")
def command(
    *,
    kafka: str | None,
    http: bool,
    firehose: int | None,
    seconds: float | None,
    requests: int | None,
    seed: int | None,
    directory: Path | None,
    keep: bool,
) -> None:
    """Audit a real Kafka proxy while clients use it, then ask DuckDB who read what.

    \b
    A proxy before a mock cluster, and real clients: alice writes, bob reads, others are refused. Needs no Java:
      auditring demo
    The same before a cluster of yours (a listener without TLS and login, where topics may be made):
      auditring demo --kafka localhost:9092
    A reverse proxy on uvicorn before an upstream, with clients that are let in, refused, or hang up:
      auditring demo --http
    How fast it is, with the events of a Kafka proxy:
      auditring demo --firehose 10000000

    With --dir, `auditring tail -f DIR` and `auditring stats DIR` work from another terminal while it runs. On a cluster
    of yours it makes one topic, auditring-demo-…, and deletes it at the end; no offset is committed there.

    The status is 0 where the audit and what the clients were told agree, and 1 where they do not.
    """
    _check(kafka=kafka, http=http, firehose=firehose, seconds=seconds, requests=requests, seed=seed)
    # Told to end in whichever way, it takes its children, its directory and its topic with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as cleaning:
        where = _place(directory, cleaning, keep=keep)
        if firehose is not None:
            agreed = _flood(where, firehose, seed or 0)
        elif http:
            unlimited = requests is not None and seconds is None
            agreed = _gateway(where, requests, None if unlimited else seconds or SECONDS, seed or 0)
        else:
            agreed = _proxy(where, seconds or SECONDS, kafka)
        if directory is not None or keep:
            question = "denied" if http else "logins" if firehose is not None else "who-touched orders"
            click.echo(f"\nTo ask more:  auditring query {where} {question}")
    if not agreed:
        click.get_current_context().exit(1)


def _check(
    *,
    kafka: str | None,
    http: bool,
    firehose: int | None,
    seconds: float | None,
    requests: int | None,
    seed: int | None,
) -> None:
    """Complains about options that say nothing together."""
    if [kafka is not None, http, firehose is not None].count(True) > 1:
        raise click.UsageError("one of --kafka, --http and --firehose at a time")
    if firehose is not None and seconds is not None:
        raise click.UsageError("--firehose takes no --seconds")
    if requests is not None and not http:
        raise click.UsageError("--requests goes with --http")
    if seed is not None and not http and firehose is None:
        raise click.UsageError("--seed goes with --http or --firehose: the Kafka clients draw nothing")


def _flood(where: Path, events: int, seed: int) -> bool:
    from rich.console import Console

    from auditring.demo import flood

    return flood.run(Console(), where, events=events, seed=seed)


def _gateway(where: Path, requests: int | None, seconds: float | None, seed: int) -> bool:
    # The children need it; said here, its absence is one line.
    import uvicorn  # noqa: F401
    from rich.console import Console

    from auditring.demo.children import ChildFailed
    from auditring.demo.http import act

    try:
        return act.run(Console(), where, requests=requests, seconds=seconds, seed=seed)
    except ChildFailed as failed:
        raise Complaint(str(failed)) from failed


def _proxy(where: Path, seconds: float, bootstrap: str | None) -> bool:
    # The same.
    import kio  # noqa: F401
    from rich.console import Console

    from auditring.demo.children import ChildFailed
    from auditring.demo.kafka import act

    try:
        return act.run(Console(), where, seconds=seconds, bootstrap=bootstrap)
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

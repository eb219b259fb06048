"""`auditring metrics DIR`: what all processes of a directory add up to, for Prometheus; no proxy need live for it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditring.metrics import DirectoryCollector

__all__ = ["command"]


@click.command("metrics")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A deployment's configuration, which says which directory, and where to serve.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve /metrics there until the command is ended; 127.0.0.1:9464 is this machine alone.",
)
@click.option(
    "--textfile",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Replace a file, for node_exporter's textfile collector, which reads *.prom.",
)
@click.option(
    "--every",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="With --textfile: again and again, until the command is ended; without it, once.",
)
def command(
    directory: Path | None, config: Path | None, listen: str | None, textfile: Path | None, every: float | None
) -> None:
    """Show what every process that writes, or wrote, to DIR has counted, as Prometheus reads it.

    \b
    auditring metrics audit/                                       on standard output, once
    auditring metrics audit/ --listen 127.0.0.1:9464               for Prometheus to scrape
    auditring metrics audit/ --textfile /var/lib/node_exporter/auditring.prom --every 15
    auditring metrics --config auditring.toml                      where its table [metrics] says

    The counters are sums over all processes of DIR, the dead included, as their journals have them, so it does not
    matter when this was started, or whether any proxy runs: no counter ever goes back. A proxy of one process can serve
    its own log instead (log.collector()), which knows its health, too. docs/metrics.md has every metric.

    \b
    scrape_configs:
      - job_name: auditring
        static_configs:
          - targets: ["127.0.0.1:9464"]

    Nobody is asked who they are: on another address than 127.0.0.1 or ::1, whoever reaches it sees what the proxy's
    clients do, in numbers. Run it as the user that the proxy runs as.

    What cannot be read is counted in auditring_unreadable and its last numbers stay. Where DIR itself cannot be read a
    scrape is answered with 503, and a file stays as it was. The status is 0, 1 if something could not be read or
    written, and 2 if DIR is no audit directory or the address is taken.
    """
    from auditring.exceptions import AuditError
    from auditring.metrics import DirectoryCollector

    if listen is not None and textfile is not None:
        raise Complaint("--listen or --textfile, not both: two commands do both")
    if every is not None and textfile is None:
        raise Complaint("--every says how often a file is written: give it one with --textfile")
    if (directory is None) is (config is None):
        raise Complaint("which directory? give DIR, or --config FILE that says it")
    try:
        if config is not None:
            directory, said = _configured(config)
            listen = listen if listen is not None or textfile is not None else said
        collector = DirectoryCollector(directory or Path())
    except AuditError as error:
        raise Complaint(str(error)) from error
    if listen is not None:
        _serve(collector, listen)
    elif textfile is not None and every is not None:
        _keep_writing(collector, textfile, every)
    else:
        sys.exit(_once(collector, textfile))


def _configured(config: Path) -> tuple[Path, str | None]:
    """The directory of a deployment, and where its metrics are to be served."""
    from auditring.deployment import load

    deployment = load(config)
    return deployment.root, deployment.metrics.listen


def _once(collector: DirectoryCollector, textfile: Path | None) -> int:
    from prometheus_client import generate_latest

    from auditring.exposition import registry, write_textfile

    try:
        if textfile is not None:
            write_textfile(collector, textfile)
        else:
            click.echo(generate_latest(registry(collector)).decode(), nl=False)
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    return 1 if collector.errors else 0


def _serve(collector: DirectoryCollector, listen: str) -> None:
    from auditring.exceptions import ConfigError
    from auditring.exposition import is_loopback, serve

    # Whoever reads where it serves may end it at once.
    with _until_ended() as wait:
        try:
            exposition = serve(collector, listen)
        except (ConfigError, OSError) as error:
            raise Complaint(f"cannot serve on {listen}: {error}") from error
        with exposition:
            host = f"[{exposition.host}]" if ":" in exposition.host else exposition.host
            click.echo(f"Serving http://{host}:{exposition.port}/metrics", err=True)
            if not is_loopback(exposition.host):
                click.echo("Whoever reaches this address may read it: nobody is asked who they are.", err=True)
            wait()


def _keep_writing(collector: DirectoryCollector, textfile: Path, every: float) -> None:
    from auditring.exposition import keep_writing

    stopping = threading.Event()
    writer = threading.Thread(
        target=keep_writing,
        args=(collector, textfile, every),
        kwargs={"stopping": stopping, "failed": lambda error: click.echo(f"Not written: {error}", err=True)},
        name="auditring-textfile",
    )
    with _until_ended() as wait:
        writer.start()
        wait()
    stopping.set()
    writer.join()


@contextlib.contextmanager
def _until_ended() -> Iterator[Callable[[], None]]:
    """What waits until the command is asked to end: by the terminal, or by whoever supervises it."""
    ended = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: ended.set()) for kind in kinds]
    try:
        yield lambda: _wait(ended)
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _wait(ended: threading.Event) -> None:
    ended.wait()

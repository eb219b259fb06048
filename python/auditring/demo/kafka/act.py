"""Clients, proxy and cluster, each a process of its own; the log as it grows; and what DuckDB makes of it."""

from __future__ import annotations

import tempfile
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from rich.live import Live

from auditring import query
from auditring.demo import balance, report
from auditring.demo.children import Child, ChildFailed
from auditring.demo.kafka import settings, watch
from auditring.demo.kafka.answers import ANSWERS, agreement
from auditring.demo.kafka.clients import ClientFailed, Clients
from auditring.demo.kafka.cluster import SERVE, Cluster, mock, real

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from auditring.demo.kafka.seen import Seen

LIVE_EVERY = 0.1
PLAIN_EVERY = 2.0


def run(console: Console, directory: Path, *, seconds: float, bootstrap: str | None = None) -> bool:
    """Plays the act; returns whether the audit and the clients agreed. Raises `ChildFailed`."""
    with (
        mock(console) if bootstrap is None else real(console, bootstrap) as cluster,
        _proxy(directory, cluster) as proxy,
    ):
        clients_begin = balance.heard(proxy.last)["bootstrap"]
        console.print(
            f"proxy    {clients_begin}  (pid {proxy.pid}), audited into {directory}\n\nauditring tail -f {directory}",
            highlight=False,
            soft_wrap=True,
        )
        lines = watch.Lines(console, directory)
        clients = Clients(clients_begin, seconds)
        took = _play(console, clients, lines, proxy, cluster)
        proxy.stop()
        lines.show(final=True)
        final = balance.heard(proxy.last)
    console.print()
    console.print(watch.panel(clients.seen, final, took, None))
    return _conclude(console, directory, clients.seen, final)


def _proxy(directory: Path, cluster: Cluster) -> Child:
    """The proxy, which has read its settings: however this process ends, they do not stay behind."""
    with tempfile.TemporaryDirectory(prefix="auditring-demo-proxy-") as folder:
        told = settings.write(Path(folder), directory=directory, bootstrap=cluster.bootstrap, called=cluster.topic)
        proxy = Child("proxy", SERVE, "proxy", str(told))
        proxy.hear()
        return proxy


def _play(console: Console, clients: Clients, lines: watch.Lines, proxy: Child, cluster: Cluster) -> float:
    """Shows as long as the clients are at it; returns how long that was."""
    servers = [child for child in (proxy, cluster.child) if child is not None]
    start = monotonic()
    with (
        ThreadPoolExecutor(len(clients.jobs)) as threads,
        Live(console=console, auto_refresh=False, transient=True) as live,
    ):
        jobs = [threads.submit(job) for job in clients.jobs]
        said = start
        try:
            while not _ended(jobs, servers):
                lines.show()
                took = monotonic() - start
                stats = balance.heard(proxy.last)
                if console.is_terminal:
                    live.update(watch.panel(clients.seen, stats, took, clients.seconds), refresh=True)
                elif monotonic() - said >= PLAIN_EVERY:
                    said = monotonic()
                    console.print(watch.line(clients.seen, stats, took), highlight=False, soft_wrap=True)
        finally:
            clients.give_up()
    return monotonic() - start


def _ended(jobs: Sequence[Future[None]], servers: Sequence[Child]) -> bool:
    """Whether all clients are done, a moment later. Raises `ChildFailed` for whoever has failed, servers first."""
    done, _ = wait(jobs, LIVE_EVERY, FIRST_EXCEPTION)
    for server in servers:
        if not server.alive:
            server.stop()
            message = f"the {server.what} ended too soon"
            raise ChildFailed(message)
    for job in done:
        try:
            job.result()
        except (ClientFailed, KafkaException) as failed:
            message = f"a client failed: {failed}"
            raise ChildFailed(message) from failed
    return len(done) == len(jobs)


def _conclude(console: Console, directory: Path, seen: Seen, stats: dict[str, Any]) -> bool:
    with query.connect(directory) as connection:
        report.answers(console, connection, ANSWERS)
        report.sizes(console, directory, connection)
        return report.verdicts(console, agreement(connection, seen) | report.whole(connection, stats))

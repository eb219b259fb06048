"""The command: `python -m kafka_proxy proxy.toml`; SIGINT and SIGTERM stop it gracefully."""

from __future__ import annotations

import asyncio
import signal
import sys

import auditring
from auditring import Keep
from kafka_proxy import Config, Proxy, load


async def serve(config: Config, log: auditring.AuditLog) -> None:
    """Runs the proxy until it is told to stop."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    proxy = Proxy(config, log)
    await proxy.start()
    for name, cluster in proxy.clusters.items():
        print(f"{name}: {cluster.bootstrap}", flush=True)
    await told.wait()
    await proxy.stop()


def main(path: str) -> None:
    """Loads, opens the log, serves."""
    config = load(path)
    keep = Keep.ALL if config.log.requests else Keep.OFF
    with auditring.open(
        config.log.directory,
        instance=config.log.instance,
        primary_tap=config.log.primary_tap,
        request=keep,
    ) as log:
        asyncio.run(serve(config, log))


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m kafka_proxy proxy.toml")
    try:
        main(sys.argv[1])
    except (auditring.ConfigError, OSError) as error:
        sys.exit(f"kafka_proxy: {error}")

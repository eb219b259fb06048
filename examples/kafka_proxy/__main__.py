"""The command: `python -m kafka_proxy proxy.toml`; SIGINT and SIGTERM stop it gracefully, the second at once."""

from __future__ import annotations

import argparse
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
    told.clear()
    stopping = asyncio.create_task(proxy.stop())
    again = asyncio.create_task(told.wait())
    await asyncio.wait((stopping, again), return_when=asyncio.FIRST_COMPLETED)
    if not again.cancel():
        proxy.cut_off()
    await stopping


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
    parser = argparse.ArgumentParser(prog="python -m kafka_proxy", description="Serves until SIGINT or SIGTERM.")
    parser.add_argument("config", help="the TOML file that says what to serve; proxy.toml beside the code is a sample")
    try:
        main(parser.parse_args().config)
    except (auditring.ConfigError, OSError) as error:
        sys.exit(f"kafka_proxy: {error}")

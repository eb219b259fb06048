"""The proxy: its virtual clusters, started and stopped together. The log is the caller's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kafka_proxy.cluster import VirtualCluster

if TYPE_CHECKING:
    import auditring
    from kafka_proxy.config import Config


class Proxy:
    """`await start()`, serve, `await stop()`; belongs to one event loop."""

    def __init__(self, config: Config, log: auditring.AuditLog) -> None:
        """Raises `ConfigError` for what the file says and cannot be used."""
        self.config = config
        self.clusters = {name: VirtualCluster(name, cluster, log) for name, cluster in config.clusters.items()}

    async def start(self) -> None:
        """Takes clients on all ports. Raises `OSError` if one cannot be had, and then listens on none."""
        try:
            for cluster in self.clusters.values():
                await cluster.start()
        except BaseException:
            await self.stop()
            raise

    def cut_off(self) -> None:
        """While it stops: the drain time is over now."""
        for cluster in self.clusters.values():
            cluster.cut_off()

    async def stop(self) -> None:
        """Takes no more clients; closes when requests in flight have their answers, or when the drain time is over."""
        clusters = self.clusters.values()
        for cluster in clusters:
            await cluster.close_gates()
        ends = await asyncio.gather(*(cluster.stop(self.config.drain) for cluster in clusters), return_exceptions=True)
        for end in ends:  # all have stopped
            if end is not None:
                raise end

"""A gate: one listening port of a virtual cluster, and the broker that it leads to."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from kafka_proxy.ends import End

if TYPE_CHECKING:
    from collections.abc import Callable


class Gate:
    """A port and where it leads; `target` may change when a broker moves."""

    def __init__(self, host: str, port: int, target: tuple[str, int], node_id: int | None) -> None:
        """Binds at once, so that the port is known and clients can come; they are served when `open` has run."""
        self.target = target
        self.node_id = node_id
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def open(self, accept: Callable[[Gate, End], None]) -> None:
        """Calls `accept` for every client that comes."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: End(lambda end: accept(self, end)), sock=self._socket)

    def close(self) -> None:
        """Takes no more clients."""
        if self._server:
            self._server.close()
        self._socket.close()

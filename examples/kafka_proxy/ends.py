"""The two ends of a proxied connection: the client's and the broker's.

An end is read in one of two ways: frame by frame, awaited, until both sides are ready to talk; then by a function that
gets every chunk as it comes. What goes out faster than it can be sent stops the reading at the other end.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    Receive = Callable[[bytes], None]

MOST_BUFFERED: Final = 1 << 20
LARGEST_EARLY_FRAME: Final = 512 << 10  # as the broker's sasl.server.max.receive.size
EOF: Final = "EOF"
"""Gone without a word, the client in the middle of a request, or the broker with answers owing."""


class ProtocolError(Exception):
    """What came is not what the protocol says; the text is the status to close with."""


class End(asyncio.Protocol):
    """One end. It starts paused: nothing is read before somebody asks for it."""

    transport: asyncio.Transport

    def __init__(self, opened: Callable[[End], None] | None = None) -> None:
        self.lost: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.peer: End | None = None
        self._opened = opened
        self._receive: Receive | None = None
        self._early = bytearray()
        self._arrived = asyncio.Event()
        self._done = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: waits until it is asked to read."""
        self.use(cast("asyncio.Transport", transport))
        self.transport.pause_reading()
        if self._opened:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Hands on what came, or keeps it until a frame is asked for."""
        if self._receive:
            self._receive(data)
            return
        self._early += data
        if len(self._early) > LARGEST_EARLY_FRAME:
            self.transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> None:
        """The other side has said that it is done. That is an orderly end, whatever our last words run into."""
        self._done = True

    def connection_lost(self, error: Exception | None) -> None:
        """Closed: by whom, the future does not say, but what was wrong with it."""
        self.gone(None if error is None or self._done else status_of(error))

    def pause_writing(self) -> None:
        """Too much waits to be sent here: the other end is read no more."""
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """There is room again."""
        if self.peer:
            self.peer.transport.resume_reading()

    # What the proxy calls

    def use(self, transport: asyncio.Transport) -> None:
        """Goes on over `transport`: the first, and the one that TLS makes of it."""
        self.transport = transport
        transport.set_write_buffer_limits(high=MOST_BUFFERED)

    @property
    def half(self) -> bool:
        """There is the beginning of a frame, or one that nobody has asked for yet."""
        return bool(self._early)

    def gone(self, status: str | None) -> None:
        """The other side has gone, or we have; the first to say so knows why."""
        if not self.lost.done():
            self.lost.set_result(status)
        self._arrived.set()

    async def frame(self) -> bytes:
        """The next whole frame, its size in front. Raises `ProtocolError` and `EOFError`."""
        size = int.from_bytes(await self._first(4), signed=True)
        if not 0 <= size <= LARGEST_EARLY_FRAME:
            raise ProtocolError("FrameTooLarge")
        whole = await self._first(4 + size)
        del self._early[: 4 + size]
        return whole

    async def _first(self, count: int) -> bytes:
        while len(self._early) < count:
            if self.lost.done():
                raise EOFError
            self._arrived.clear()
            self.transport.resume_reading()
            await self._arrived.wait()
        return bytes(self._early[:count])

    def start(self, receive: Receive, peer: End) -> None:
        """From now on every chunk goes to `receive`, and `peer` is slowed down where this end is slow."""
        self.peer = peer
        self._receive = receive
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            receive(early)
        self.transport.resume_reading()

    async def close(self, wait: float) -> None:
        """Closes when all that was written is sent, or after `wait` seconds without that."""
        self.transport.close()
        await asyncio.wait([self.lost], timeout=wait)
        self.transport.abort()


def status_of(error: BaseException) -> str:
    """A machine-readable name: the system's for its errors, as ECONNRESET, or else that of the class."""
    if isinstance(error, ProtocolError):
        return str(error)
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__) if isinstance(number, int) else type(error).__name__

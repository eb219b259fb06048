"""A client that sends what no library would: half a request, or one whose answer it does not wait for."""

from __future__ import annotations

import io
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from kio.serial import entity_reader, entity_writer

from harness.waiting import PATIENCE

if TYPE_CHECKING:
    from types import TracebackType


class Raw:
    """One connection."""

    def __init__(self, address: str, client_id: str = "raw") -> None:
        host, port = address.split(":")
        self._client_id = client_id
        self._socket = socket.create_connection((host, int(port)), PATIENCE)
        self._correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def framed(self, request: Any) -> bytes:
        """The bytes of a request, under the next correlation id."""
        self._correlation_id += 1
        kind = type(request)
        header = kind.__header_schema__(
            request_api_key=kind.__api_key__,
            request_api_version=kind.__version__,
            correlation_id=self._correlation_id,
            client_id=self._client_id,
        )
        with io.BytesIO() as buffer:
            entity_writer(type(header))(buffer, header)
            entity_writer(kind)(buffer, request)
            data = buffer.getvalue()
        return struct.pack(">i", len(data)) + data

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self._socket.sendall(data)

    def receive(self, kind: Any) -> Any:
        """The next answer, read as one of this kind."""
        (size,) = struct.unpack(">i", self._exactly(4))
        data = self._exactly(size)
        header, at = entity_reader(kind.__header_schema__)(data, 0)
        assert header.correlation_id == self._correlation_id
        return entity_reader(kind)(data, at)[0] if at else None

    def ask(self, request: Any, kind: Any) -> Any:
        """Sends a request and receives its answer."""
        self.send(self.framed(request))
        return self.receive(kind)

    def vanish(self) -> None:
        """Resets the connection, as a machine does that was switched off and on again."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more, "the other end closed the connection"
            data += more
        return data

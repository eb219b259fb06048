"""Kafka's frames: cut from a stream, decoded and encoded by kio.

    size i32 | api key i16 | version i16 | correlation id i32 | client id | [tags] | body       a request
    size i32 | correlation id i32 | [tags] | body                                               a response

Size does not count itself. A body that a step of the proxy has not changed goes on as the bytes that came.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map, schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.serial.readers import read_compact_string_nullable, read_int16, read_nullable_legacy_string

from kafka_proxy.ends import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, FIND_COORDINATOR = 0, 1, 2, 3, 8, 10
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
OFFSET_FETCH, ADD_PARTITIONS_TO_TXN = 9, 24
CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS, OFFSET_FOR_LEADER_EPOCH, TXN_OFFSET_COMMIT = 19, 20, 21, 23, 28
DESCRIBE_CLUSTER, SHARE_FETCH, SHARE_ACKNOWLEDGE = 60, 78, 79

REQUEST_HEAD: Final = 14  # to the length of the client id
RESPONSE_HEAD: Final = 8  # to the end of the correlation id
CLIENT_ID: Final = "kafka_proxy"  # of the requests of our own
LARGEST_FRAME: Final = 128 << 20  # above the broker's socket.request.max.bytes

PASS: Final = 0
HOLD: Final = -1


def i32(view: memoryview | bytes, at: int) -> int:
    """The four bytes at `at`."""
    return int.from_bytes(view[at : at + 4], signed=True)


class Codec:
    """One version of one API."""

    def __init__(self, key: int, version: int) -> None:
        try:
            self.request_type: Any = load_request_schema(key, version)
            self.response_type: Any = load_response_schema(key, version)
        except Exception as error:
            raise ProtocolError("UnknownApi") from error
        self.key = key
        self.version = version
        self.name = "".join(word.title() for word in api_key_map[key].split("_"))
        self._request_header = entity_reader(self.request_type.__header_schema__)
        self._response_header = entity_reader(self.response_type.__header_schema__)
        self._readers = entity_reader(self.request_type), entity_reader(self.response_type)
        self._writers = entity_writer(self.request_type), entity_writer(self.response_type)

    def request(self, frame: memoryview) -> tuple[memoryview, Any]:
        """Header, size included, and body of a whole frame."""
        return _parse(frame, self._request_header, self._readers[0])

    def response(self, frame: memoryview) -> tuple[memoryview, Any]:
        """Header, size included, and body of a whole frame."""
        return _parse(frame, self._response_header, self._readers[1])

    def encode_request(self, header: memoryview | bytes, body: Any) -> bytes:
        """The frame of `body` under a header that came with another."""
        return _frame(header, self._writers[0], body)

    def encode_response(self, header: memoryview | bytes, body: Any) -> bytes:
        """The frame of `body` under a header that came with another."""
        return _frame(header, self._writers[1], body)

    def answer(self, correlation_id: int, body: Any) -> bytes:
        """The frame of a response of our own."""
        tags = b"\0" if self.response_type.__header_schema__.__flexible__ else b""
        return self.encode_response(bytes(4) + correlation_id.to_bytes(4, signed=True) + tags, body)

    def ask(self, correlation_id: int, body: Any) -> bytes:
        """The frame of a request of our own."""
        name = CLIENT_ID.encode()
        header = self.key.to_bytes(2) + self.version.to_bytes(2) + correlation_id.to_bytes(4, signed=True)
        tags = b"\0" if self.request_type.__header_schema__.__flexible__ else b""
        return self.encode_request(bytes(4) + header + len(name).to_bytes(2) + name + tags, body)


@cache
def codec(key: int, version: int) -> Codec:
    """The codec of an API's version. Raises `ProtocolError` where kio has none."""
    return Codec(key, version)


@cache
def newest(key: int) -> int | None:
    """The newest version of an API that can be read; `None` for an API that is not known at all."""
    name = api_key_map.get(key)
    return None if name is None else max(schema_name_map[name])


def understood(key: int, version: int) -> int:
    """The version in which a request can be read: its own, but 0 for an ApiVersions that is too new, as in a broker."""
    known = newest(key)
    return 0 if key == API_VERSIONS and known is not None and version > known else version


def refused(asked: Codec, frame: memoryview) -> bool:
    """Whether a broker does not know that version of ApiVersions. It says so in version 0, and has no more to say."""
    return asked.key == API_VERSIONS and int.from_bytes(frame[8:10]) == ErrorCode.unsupported_version


def _parse(frame: memoryview, header: Callable[..., Any], body: Callable[..., Any]) -> tuple[memoryview, Any]:
    frame = frame.toreadonly()
    try:
        _, size = header(frame, 4)
        decoded, _ = body(frame, 4 + size)  # what may stand behind it clients do not look at either
    except Exception as error:  # whatever the bytes make of it
        raise ProtocolError("Undecodable") from error
    return frame[: 4 + size], decoded


def _frame(header: memoryview | bytes, write: Callable[..., None], body: Any) -> bytes:
    buffer = io.BytesIO()
    buffer.write(header)
    write(buffer, body)
    frame = buffer.getbuffer()
    frame[:4] = (len(frame) - 4).to_bytes(4)
    return bytes(frame)


def acks(frame: memoryview, size: int, version: int) -> int | None:
    """The acks of a Produce request; `None` while too little of the frame is there."""
    frame = frame.toreadonly()
    read = entity_reader(codec(PRODUCE, version).request_type.__header_schema__)
    flexible = codec(PRODUCE, version).request_type.__flexible__
    try:
        _, header = read(frame, 4)
        _, name = (read_compact_string_nullable if flexible else read_nullable_legacy_string)(frame, 4 + header)
        value, _ = read_int16(frame, 4 + header + name)
    except Exception as error:
        if len(frame) < size:
            return None
        raise ProtocolError("Undecodable") from error
    return int(value)


class Cutter:
    """Cuts a stream into frames; each passes, piece by piece as it comes, or is held until it is whole."""

    def __init__(
        self,
        least: int,
        head: Callable[[memoryview, int], int],
        whole: Callable[[memoryview], None],
        piece: Callable[[memoryview, bool], None],
    ) -> None:
        """`head(view, size)`: PASS, HOLD, or how many bytes it has to see; `piece(view, last)`."""
        self._least = least
        self._head = head
        self._whole = whole
        self._piece = piece
        self._held = bytearray()
        self._need = least
        self._passing = 0

    @property
    def between(self) -> bool:
        """No frame is half through."""
        return not self._passing and not self._held

    def feed(self, data: bytes) -> None:
        """Takes what came next. Raises `ProtocolError`."""
        if self._held:
            self._held += data
            if len(self._held) < self._need:
                return
            view, self._held = memoryview(self._held), bytearray()
        else:
            view = memoryview(data)
        while view:
            view = self._go_on(view) if self._passing else self._begin(view)

    def _go_on(self, view: memoryview) -> memoryview:
        part = view[: self._passing]
        self._passing -= len(part)
        self._piece(part, not self._passing)
        return view[len(part) :]

    def _begin(self, view: memoryview) -> memoryview:
        """Decides on the frame that begins here; too little of it is kept for later."""
        need = self._least
        if len(view) >= need:
            size = 4 + i32(view, 0)
            if not need <= size <= LARGEST_FRAME:
                raise ProtocolError("FrameSize")
            need = self._head(view[:size], size)
            if need == PASS:
                self._passing = size
                return view
            if need == HOLD:
                need = size
                if len(view) >= size:
                    self._whole(view[:size])
                    return view[size:]
        self._need = need
        self._held += view
        return view[len(view) :]

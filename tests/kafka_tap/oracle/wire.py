"""Messages as bytes on a connection."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from kio.serial import entity_writer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

# What nobody knows the meaning of: one tagged field of 13 bytes, where a structure had none.
UNKNOWN_TAG = b"\x01\x4d\x0dhush-tag-0001"


def _written(message: Any) -> bytes:
    with io.BytesIO() as buffer:
        entity_writer(type(message))(buffer, message)
        return buffer.getvalue()


def body(message: Any, *, tagged: bool) -> bytes:
    """A message, with a tagged field that nobody knows if it may have one and is to have it."""
    raw = _written(message)
    own = any("tag" in field.metadata for field in type(message).__dataclass_fields__.values())
    if tagged and message.__flexible__ and not own:
        assert raw[-1] == 0, "a flexible message without tagged fields ends with their count"
        return raw[:-1] + UNKNOWN_TAG
    return raw


def frame(*parts: bytes) -> bytes:
    """What a message is sent in."""
    raw = b"".join(parts)
    return len(raw).to_bytes(4, "big") + raw


def request(message: Any, correlation_id: int, client_id: str | None, *, tagged: bool = False) -> bytes:
    """A request."""
    header = message.__header_schema__(
        request_api_key=message.__api_key__,
        request_api_version=message.__version__,
        correlation_id=correlation_id,
        client_id=client_id,
    )
    return frame(_written(header), body(message, tagged=tagged))


def answer(message: Any, correlation_id: int, *, tagged: bool = False) -> bytes:
    """An answer."""
    header = message.__header_schema__(correlation_id=correlation_id)
    return frame(_written(header), body(message, tagged=tagged))


def chunks(rng: random.Random, data: bytes) -> Iterator[bytes | bytearray | memoryview]:
    """The same bytes in pieces of any length, in any kind of buffer."""
    at = 0
    most = rng.choice([1, 7, 64, 1000, 100_000])
    while at < len(data):
        piece = data[at : at + rng.randint(1, most)]
        at += len(piece)
        yield rng.choice([bytes, bytearray, memoryview])(piece)

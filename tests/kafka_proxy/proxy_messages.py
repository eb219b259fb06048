"""Messages of every kind, with something in every field: made from kio's types."""

from __future__ import annotations

import dataclasses
import io
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map, schema_name_map
from kio.schema.types import TopicName
from kio.serial import entity_reader, entity_writer

TOPIC = "orders"
HOST = "10.11.12.13"
TOPIC_ID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
NODE = 1


def every(*keys: int) -> list[tuple[int, int]]:
    """Every API, or those, in every version that kio knows."""
    return [(key, version) for key in keys or api_key_map for version in schema_name_map[api_key_map[key]]]


def request(key: int, version: int, **values: Any) -> Any:
    """A request with something in every field; `values` by the name of a field, at any depth."""
    return _sample(load_request_schema(key, version), values)


def response(key: int, version: int, **values: Any) -> Any:
    """The same of a response."""
    return _sample(load_response_schema(key, version), values)


def _sample(kind: Any, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: values[name] if name in values else _value(hints[name], name, values) for name in fields})


_VALUES: Final[tuple[tuple[type, Any], ...]] = (
    (TopicName, TOPIC),
    (uuid.UUID, TOPIC_ID),
    (ErrorCode, ErrorCode.none),
    (timedelta, timedelta(milliseconds=7)),
    (datetime, datetime(2026, 1, 2, tzinfo=UTC)),
    (float, 0.5),
    (str, "text"),
    (bytes, b"bytes"),
    (bool, True),
    (int, NODE),
)


def _value(hint: Any, name: str, values: dict[str, Any]) -> Any:
    if get_origin(hint) is tuple:
        return (_value(get_args(hint)[0], name, values),)
    if get_args(hint):
        return _value(get_args(hint)[0], name, values)
    if _is_entity(hint):
        return _sample(hint, values)
    # A name is any string to Python: by identity first.
    value = next(value for kind, value in _VALUES if hint is kind or (kind is not TopicName and issubclass(hint, kind)))
    return HOST if name == "host" else hint(value) if issubclass(hint, int | float) else value


def framed(correlation_id: int, body: Any, key: int | None = None) -> bytes:
    """The frame of a message, written by kio alone; with `key` a request."""
    buffer = io.BytesIO()
    if key is not None:
        buffer.write(key.to_bytes(2) + int(body.__version__).to_bytes(2))
    buffer.write(correlation_id.to_bytes(4))
    if key is not None:
        buffer.write(b"\0\x04test")
    if body.__header_schema__.__flexible__:
        buffer.write(b"\0")
    entity_writer(type(body))(buffer, body)
    return len(buffer.getvalue()).to_bytes(4) + buffer.getvalue()


def body_of(frame: bytes, kind: Any) -> Any:
    """What kio alone reads in a frame."""
    header_size = entity_reader(kind.__header_schema__)(frame, 4)[1]
    body, size = entity_reader(kind)(frame, 4 + header_size)
    assert 4 + header_size + size == len(frame)
    return body


@cache
def has(kind: Any, field: str) -> bool:
    """Whether an entity has such a field, at any depth."""
    hints = get_type_hints(kind)
    if field in hints:
        return True
    return any(has(inner, field) for hint in hints.values() if _is_entity(inner := innermost(hint)))


@cache
def names_topics(kind: Any) -> bool:
    """Whether an entity has a topic's name in it, at any depth."""
    inner = [innermost(hint) for hint in get_type_hints(kind).values()]
    return TopicName in inner or any(names_topics(one) for one in inner if _is_entity(one))


def _is_entity(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def innermost(hint: Any) -> Any:
    """`T` of `tuple[T, ...] | None` and its like."""
    while get_args(hint):
        hint = get_args(hint)[0]
    return hint

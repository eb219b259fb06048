"""The filter that gives topics other names: what clients call `orders` is `payments.orders` to the brokers.

The two names change places, so every name still means one topic, whichever side it comes from, and none is lost: a
client that asks for `payments.orders` gets what the brokers call `orders`. Where a message of any API has names of
topics is read off kio's types, so every version of every API that it knows is covered; so are the names of resources in
ACLs and settings. Patterns are not: prefixed ACLs and subscriptions by a regular expression that the broker evaluates
mean the brokers' names. What members of a group tell each other (JoinGroup, SyncGroup) has clients' names in it.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin, get_type_hints

from kio.schema.types import TopicName

from kafka_proxy import wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka_proxy.steps import Request

TOPIC_RESOURCE: Final = 2
RESOURCES: Final = (("resource_type", "resource_name"), ("resource_type_filter", "resource_name_filter"))


class Rename:
    """`names`: what clients say, and what brokers say."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = {**names, **{theirs: ours for ours, theirs in names.items()}}

    def wants_request(self, key: int, version: int) -> bool:
        """Those that name topics."""
        return bool(_places(wire.codec(key, wire.understood(key, version)).request_type))

    def wants_response(self, key: int, version: int) -> bool:
        """Those that name topics."""
        return bool(_places(wire.codec(key, wire.understood(key, version)).response_type))

    def request(self, request: Request, body: Any) -> Any:
        """The same with other names."""
        return self._renamed(body)

    def response(self, request: Request, body: Any) -> Any:
        """The same with other names."""
        return self._renamed(body)

    def _renamed(self, entity: Any) -> Any:
        changed = {}
        kind: Any = type(entity)
        for name, is_name in _places(kind).items():
            value = getattr(entity, name)
            new = self._one(entity, name, value, is_name=is_name)
            if new is not value:
                changed[name] = new
        return dataclasses.replace(entity, **changed) if changed else entity

    def _one(self, entity: Any, name: str, value: Any, *, is_name: bool) -> Any:
        if value is None:
            return None
        if isinstance(value, tuple):
            new = tuple(self._one(entity, name, one, is_name=is_name) for one in value)
            return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
        if not is_name:
            return self._renamed(value)
        for of, resource in RESOURCES:
            if name == resource and getattr(entity, of) != TOPIC_RESOURCE:
                return value
        return self._names.get(value, value)


@cache
def _places(kind: Any) -> dict[str, bool]:
    """The fields of an entity that are names of topics (`True`) or have such within."""
    hints = get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        inner: Any = _inner(hints[field.name])
        if inner is TopicName or any(field.name == name and of in hints for of, name in RESOURCES):
            found[field.name] = True
        elif isinstance(inner, type) and dataclasses.is_dataclass(inner) and _places(cast("Any", inner)):
            found[field.name] = False
    return found


def _inner(hint: Any) -> Any:
    """`T` of `T`, `T | None`, `tuple[T, ...]` and `tuple[T, ...] | None`."""
    while get_origin(hint) is not None and (arguments := get_args(hint)):
        hint = arguments[0]
    return hint

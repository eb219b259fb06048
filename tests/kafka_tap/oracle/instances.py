"""Random messages. Few names, so that what an answer says is often about what its request named.

What must always hold: a field that no row may show carries a planted secret, and those that are planted are all known.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
import uuid
from typing import TYPE_CHECKING, Any

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.types import GroupId, TopicName, TransactionalId
from kio.static.primitive import Interval, Records, TZAware, i32Timedelta

from oracle import batches
from oracle.newer import NEWER

if TYPE_CHECKING:
    import random

TOPICS = ["orders", "payments", "größe", "a.b_c-9"]
IDS = [uuid.UUID(int=(7 << 120) + at) for at in range(5)]
GROUPS = ["g-1", "g-2", "équipe"]
TRANSACTIONS = ["tx-1", "tx-2"]
USERS = ["alice", "bob"]
NAMES = ["alice", "bob", "User", "retention.ms", "*", "10.0.0.1"]
DENIALS = [29, 30, 31, 53, 65]
# What may stand in a row: by the names that schemas give it. Everything else that is text is a secret.
NAMED = {
    "name",
    "topic",
    "topic_name",
    "group_id",
    "group_ids",
    "groups",
    "groups_names",
    "key",
    "coordinator_keys",
    "resource_name",
    "resource_name_filter",
    "principal",
    "principal_filter",
    "host",
    "host_filter",
    "user",
    "owner_principal_type",
    "owner_principal_name",
    "principal_type",
    "principal_name",
    "token_requester_principal_type",
    "token_requester_principal_name",
    "token_id",
    "transactional_id",
    "transactional_ids",
    "v3_and_below_transactional_id",
    "topic_names",
}
SMALL = {
    "partition_index": [0, 1, 2],
    "index": [0, 1, 2],
    "partition": [0, 1, 2],
    "generation_id_or_member_epoch": [-1, -2, 0, 7],
    "resource_type": [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 99, -1],
    "resource_type_filter": [0, 1, 2, 3, 4, 5, 6, 7, 8, -1],
    "resource_pattern_type": [0, 1, 2, 3, 4, 5, -1],
    "pattern_type_filter": [0, 1, 2, 3, 4, 5, -1],
    "pattern_type": [0, 1, 2, 3, 4, 5, -1],
    "permission_type": [0, 1, 2, 3, 4, -1],
    "operation": [*range(-1, 18)],
    "mechanism": [0, 1, 2, 3],
    "acks": [-1, 1, 0],
}


# What a client names but once.
ONCE = {"topic_data", "partition_data"}


def _named(of: Any) -> Any:
    return next(getattr(of, name) for name in ("name", "topic_id", "index") if hasattr(of, name))


def schemas(key: int, name: str, version: int) -> tuple[type[Any], type[Any]]:
    """The classes of request and answer."""
    if (name, version) in NEWER:
        return NEWER[name, version]
    return load_request_schema(key, version), load_response_schema(key, version)


class Maker:
    """Makes messages, and remembers what it planted in them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.planted: list[str] = []
        self.resources: list[dict[str, Any]] = []

    def secret(self) -> str:
        """What must be found nowhere."""
        self.planted.append(f"hush-{self.rng.getrandbits(64):016x}")
        return self.planted[-1]

    def make(self, cls: type[Any]) -> Any:
        """A message or a part of one."""
        hints = typing.get_type_hints(cls)
        fields = {field.name: self._value(field, hints[field.name], cls) for field in dataclasses.fields(cls)}
        if fields.keys() >= {"resource_type", "resource_name"}:
            # Of so many kinds and names an answer would seldom speak of what its request did.
            if self.resources and self.rng.random() < 0.7:
                fields |= self.rng.choice(self.resources)
            self.resources.append({name: fields[name] for name in ("resource_type", "resource_name")})
        return cls(**fields)

    def _value(self, field: dataclasses.Field[Any], hint: Any, cls: type[Any]) -> Any:
        optional = False
        if isinstance(hint, types.UnionType):
            (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
            optional = True
        if "tag" in field.metadata and self.rng.random() < 0.5:
            if field.default is not dataclasses.MISSING:
                return field.default
            return self._one(field.name, hint, cls) if dataclasses.is_dataclass(hint) else ()
        if optional and "tag" not in field.metadata and self.rng.random() < 0.25:
            return None
        if typing.get_origin(hint) is tuple:
            part = typing.get_args(hint)[0]
            made = tuple(self._one(field.name, part, cls) for _ in range(self.rng.randint(0, 3)))
            return made if field.name not in ONCE else tuple({_named(one): one for one in made}.values())
        return self._one(field.name, hint, cls)

    def _one(self, name: str, hint: Any, cls: type[Any]) -> Any:  # noqa: C901, PLR0911 - one case a kind
        rng = self.rng
        if dataclasses.is_dataclass(hint):
            return self.make(typing.cast("type[Any]", hint))
        if hint is bool:
            return rng.random() < 0.5
        if hint is uuid.UUID:
            return rng.choice(IDS)
        if hint is ErrorCode:
            return ErrorCode(self._code())
        if hint is Records:
            made = (
                batches.to_write(rng, self._bytes) if "Produce" in cls.__name__ else batches.to_read(rng, self._bytes)
            )
            return Records(b"".join(batch.raw for batch in made))
        if issubclass(hint, dt.timedelta):
            return i32Timedelta.parse(dt.timedelta(milliseconds=rng.randint(0, 100_000)))
        if issubclass(hint, dt.datetime):
            return TZAware.parse(dt.datetime.fromtimestamp(rng.randint(0, 2**31), dt.UTC))
        if issubclass(hint, float):
            return hint(rng.random())
        if issubclass(hint, bytes):
            return self._bytes()
        if issubclass(hint, str):
            return hint(self._text(name, hint, cls))
        assert issubclass(hint, Interval), hint
        return hint(self._number(name, hint))

    def _code(self) -> int:
        kind = self.rng.random()
        if kind < 0.5:
            return 0
        return self.rng.choice(DENIALS) if kind < 0.7 else int(self.rng.choice(list(ErrorCode)))

    def _bytes(self) -> bytes:
        return self.secret().encode()

    def _text(self, name: str, hint: type[Any], cls: type[Any]) -> str:
        if issubclass(hint, TopicName):
            return self.rng.choice(TOPICS)
        if issubclass(hint, GroupId):
            return self.rng.choice(GROUPS)
        if issubclass(hint, TransactionalId):
            return self.rng.choice(TRANSACTIONS)
        if name == "user" or "Scram" in cls.__name__ or cls.__name__ == "UserName":
            return self.rng.choice(USERS)
        # The members of a group have names that are nobody's business.
        if name in NAMED and "Member" not in cls.__name__:
            return self.rng.choice(NAMES)
        return self.secret()

    def _number(self, name: str, hint: type[Interval]) -> int:
        if name in SMALL:
            return int(self.rng.choice(SMALL[name]))
        low, high = int(hint.__low__), int(hint.__high__)
        near = [number for number in (-1, 0, 1, 2, 3, 100, 4096) if low <= number <= high]
        return self.rng.choice([*near, *near, low, high, self.rng.randint(low, high)])

"""Rows as a reader of the table sees them, and what every one of them has."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kio.schema.errors import ErrorCode

Row = dict[str, Any]

# What an action does, and to what kind of thing, where that is always the same.
CONSTANT: dict[str, Row] = {
    "Write": {"operation": "WRITE", "resource_type": "Topic"},
    "Read": {"operation": "READ", "resource_type": "Topic"},
    "Delete": {"operation": "DELETE", "resource_type": "Topic"},
    "CreateTopics": {"operation": "CREATE", "resource_type": "Topic"},
    "DeleteTopics": {"operation": "DELETE", "resource_type": "Topic"},
    "CreatePartitions": {"operation": "ALTER", "resource_type": "Topic"},
    "AlterConfigs": {"operation": "ALTER_CONFIGS"},
    "ResetOffsets": {"operation": "RESET_OFFSETS", "resource_type": "Group"},
    "CreateAcls": {"operation": "CREATE_ACL"},
    "DeleteAcls": {"operation": "DELETE_ACL"},
    "DescribeAcls": {"operation": "DESCRIBE_ACL"},
    "AlterUserScramCredentials": {"operation": "ALTER", "resource_type": "User"},
    "DescribeUserScramCredentials": {"operation": "DESCRIBE", "resource_type": "User"},
    "CreateDelegationToken": {"operation": "CREATE", "resource_type": "DelegationToken"},
    "RenewDelegationToken": {"operation": "RENEW", "resource_type": "DelegationToken"},
    "ExpireDelegationToken": {"operation": "EXPIRE", "resource_type": "DelegationToken"},
    "DescribeDelegationToken": {"operation": "DESCRIBE", "resource_type": "DelegationToken"},
    "OperationDenied": {},
}
UNSAID = object()
NO_ID = uuid.UUID(int=0)


def status(code: ErrorCode) -> str:
    """An error as rows name it: as Kafka does, in CamelCase."""
    return "".join(word.capitalize() for word in code.name.split("_"))


def is_denial(code: ErrorCode) -> bool:
    """Whether an authorizer has said no."""
    return code.name.endswith("_authorization_failed")


def id_text(topic_id: uuid.UUID) -> str:
    """An id as Kafka writes it."""
    return base64.urlsafe_b64encode(topic_id.bytes).decode().rstrip("=")


def row(action: str, code: Any, *, ref: Row | None = None, context: Row | None = None, **of: object) -> Row:
    """One row; what is None is not there. A code that was not said is that of a resource that no answer spoke of."""
    made: Row = {"action": action, "authority": "witness", **CONSTANT[action]}
    if code is UNSAID:
        made["outcome"] = "forwarded"
    elif not code:
        made["outcome"] = "success"
    else:
        made["outcome"] = "denied" if is_denial(code) else "failure"
        made["status"] = status(code)
    made |= {name: value for name, value in of.items() if value is not None}
    for column, values in (("object_ref", ref), ("context", context)):
        there = {name: value for name, value in (values or {}).items() if value is not None}
        if there:
            made[column] = there
    return made


# The kind of thing that an error is about.
REFUSED = {29: "Topic", 30: "Group", 31: "Cluster", 53: "TransactionalId", 65: "DelegationToken"}


def denial(code: Any, asked: dict[int, tuple[str, str | None]]) -> Row | None:
    """The broker refuses what has no event of its own: which operation, on what."""
    if not is_denial(code):
        return None
    operation, resource = asked.get(code.value, ("UNKNOWN", None))
    if code == 31:
        resource = "kafka-cluster"
    return row("OperationDenied", code, operation=operation, resource_type=REFUSED[code.value], resource=resource)


@dataclass
class World:
    """What a tap knows of the connection by now."""

    names: dict[uuid.UUID, str] = field(default_factory=dict)
    # Topics and partitions of which a Read has told where their log begins.
    started: set[tuple[str, int]] = field(default_factory=set)

    def learn(self, topic_id: uuid.UUID | None, name: str | None) -> None:
        """The broker has said what an id is called."""
        if topic_id is not None and name:
            self.names[topic_id] = name

    def topic(self, of: Any) -> tuple[str | None, str | None]:
        """Name and id of a topic that a message names in the way of its version; the id stands in for the name."""
        if hasattr(of, "topic_id"):
            return self.name(of.topic_id), id_text(of.topic_id or NO_ID)
        return next(getattr(of, name) for name in ("name", "topic", "topic_name") if hasattr(of, name)), None

    def name(self, topic_id: uuid.UUID | None) -> str:
        """The name of an id, or the id."""
        return self.names.get(topic_id or NO_ID, id_text(topic_id or NO_ID))


class Said:
    """The errors of an answer by resource; of what it names twice, the first."""

    def __init__(self, entries: Iterable[tuple[Any, ErrorCode, Any]], of_all: ErrorCode | int = 0) -> None:
        self.entries: dict[Any, tuple[ErrorCode, Any]] = {}
        for key, code, more in entries:
            self.entries.setdefault(key, (code, more))
        self.of_all = of_all

    def code(self, key: object) -> Any:
        """What became of it."""
        own = self.entries.get(key, (UNSAID, None))[0]
        return self.of_all if self.of_all and own in (UNSAID, 0) else own

    def more(self, key: object) -> Any:
        """What else was said of it."""
        return self.entries.get(key, (None, None))[1]


# What becomes of a request and its answer, which is None where there is none.
Expectation = Callable[[Any, Any, World], Iterator[Row]]
EXPECTED: dict[str, Expectation] = {}


def expects(*apis: str) -> Callable[[Expectation], Expectation]:
    """What is said of an API."""

    def keep(function: Expectation) -> Expectation:
        EXPECTED.update(dict.fromkeys(apis, function))
        return function

    return keep

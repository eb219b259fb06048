"""The JSON Schema of a line, made from the catalog: every member that a line can have, and nothing else.

What must always hold: the schema of this version takes every line that this version writes, or an earlier one wrote,
and refuses a member that it does not know. `event.schema.json` beside this file is the same, for whoever has no Python.
"""

import json
from typing import Any, Final

from auditring import _core

__all__ = ["json_schema", "json_schema_text"]

Schema = dict[str, Any]

_ID: Final = f"urn:auditring:event:{_core.SCHEMA_VERSION}"
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"
_QUALIFIED: Final = r"^([a-z0-9_]+\.)+[A-Z][A-Za-z0-9_]*$"
_STATUS: Final = r"^([a-zA-Z0-9_]+\.)*[a-zA-Z0-9_]+$"
_PROCESS: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_INT32: Final = {"minimum": -(2**31), "maximum": 2**31 - 1}
_SCALAR: Final = ["string", "number", "boolean"]

_NESTED: Final = {
    "first_offset": ("offsets", "first"),
    "last_offset": ("offsets", "last"),
    "client_correlation_id": ("correlation", "clientCorrelationId"),
    "server_correlation_id": ("correlation", "serverCorrelationId"),
}
"""Columns that lie in an object of their own."""

_FORMS: Final[dict[str, Schema]] = {
    "time": {"format": "date-time", "pattern": _TIME},
    "end_time": {"format": "date-time", "pattern": _TIME},
    "process": {"format": "uuid", "pattern": f"^{_PROCESS}$"},
    "status": {"pattern": _STATUS},
    "seq": {"minimum": 0},
    "count": {"minimum": 1},
    "weight": {"minimum": 1},
    "lost": {"minimum": 0},
    "peer_port": {"minimum": 0, "maximum": 65_535},
    "object_ref": {"minProperties": 1, "additionalProperties": {"type": "string"}},
    "context": {
        "minProperties": 1,
        "additionalProperties": {"type": [*_SCALAR, "array"], "items": {"type": _SCALAR}},
    },
}
"""What is known of a column beside its type."""

_TYPES: Final[dict[str, Schema]] = {
    "timestamp": {"type": "string"},
    "int64": {"type": "integer"},
    "int32": {"type": "integer", **_INT32},
    "str": {"type": "string"},
    "list": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}


def path(column: str) -> tuple[str, ...]:
    """Where a line has a column: `duration_ns` is `durationNanos`, `first_offset` is in `offsets`."""
    if column in _NESTED:
        return _NESTED[column]
    first, *rest = column.removesuffix("_ns").split("_")
    return (first + "".join(word.capitalize() for word in rest) + ("Nanos" if column.endswith("_ns") else ""),)


def json_schema() -> Schema:
    """The schema of one line, draft 2020-12."""
    actions = [action for action in _core.actions() if action["name"] != "FREEFORM"]
    columns = _core.columns()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID,
        "title": f"auditring event, version {_core.SCHEMA_VERSION}",
        "description": "One line of an audit log: who did what to which resource, when, with what outcome. "
        "A member that is absent is null.",
        "type": "object",
        "properties": _members(columns, [action["name"] for action in actions]),
        "required": [
            *(path(column["name"])[0] for column in columns if column["required"]),
            "eventId",
            "actor",
        ],
        "additionalProperties": False,
        "allOf": [*_RULES, *(_action(action) for action in actions)],
    }


def json_schema_text() -> str:
    """The schema as it is printed, and shipped."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _members(columns: list[dict[str, Any]], names: list[str]) -> Schema:
    """All members by name."""
    members: Schema = {}
    for column in columns:
        *outer, last = path(column["name"])
        if outer:
            members.setdefault(outer[0], {"type": "object", "minProperties": 1, "additionalProperties": False})
            members[outer[0]].setdefault("properties", {})[last] = _column(column)
        else:
            members[last] = _column(column)
    members["action"]["anyOf"] = [{"enum": names}, {"pattern": _QUALIFIED}]
    members["principal"]["description"] = "The first authenticated principal's name, where no list of them says it."
    members["principals"]["description"] = "All authenticated principals, where the actor is no client."
    members["peerIp"]["description"] = "The client's address, where the actor is no client."
    return members | {
        "actor": _ACTOR,
        "eventId": {
            "description": "Identity of the event everywhere: process and seq.",
            "type": "string",
            "pattern": f"^{_PROCESS}:[0-9]+$",
        },
        "objectRefGiven": {
            "description": "Names in `objectRef` that the caller gave although they can be derived.",
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string"},
        },
    }


def _column(column: dict[str, Any]) -> Schema:
    """The member of one column."""
    name, kind = column["name"], column["type"]
    form = _FORMS.get(name, {})
    schema = {"description": column["doc"], **_TYPES[kind]}
    if name in {"object_ref", "context"}:
        schema["type"] = "object"
    if column["words"]:
        schema["enum"] = column["words"]
    return schema | form


_PRINCIPALS: Final[Schema] = {
    "description": "All authenticated principals.",
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"type": {"type": "string"}, "name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}

_ACTOR: Final[Schema] = {
    "description": "Who acts: the client, the proxy, or a filter by its class.",
    "type": "object",
    "required": ["type"],
    "oneOf": [
        {
            "properties": {
                "type": {"const": "Client"},
                "srcAddr": {"description": "The client's address.", "type": "string"},
                "session": {
                    "description": "The session's id if it is a UUID, else the UUID of version 5 made of it.",
                    "type": "string",
                    "format": "uuid",
                },
                "principals": _PRINCIPALS,
            },
            "additionalProperties": False,
        },
        {
            "properties": {
                "type": {"const": "Proxy"},
                "executionId": {"description": "The process.", "type": "string", "format": "uuid"},
            },
            "required": ["executionId"],
            "additionalProperties": False,
        },
        {
            "properties": {"type": {"description": "The filter's class.", "type": "string", "pattern": _QUALIFIED}},
            "additionalProperties": False,
        },
    ],
}


def _if(condition: Schema, then: Schema, otherwise: Schema | None = None) -> Schema:
    rule = {"if": {"properties": condition, "required": list(condition)}, "then": then}
    return rule if otherwise is None else {**rule, "else": otherwise}


_RULES: Final[list[Schema]] = [
    _if(
        {"origin": {"const": "client"}},
        {
            "properties": {
                "actor": {"properties": {"type": {"const": "Client"}}},
                "principals": False,
                "peerIp": False,
            }
        },
        {"properties": {"actor": {"not": {"properties": {"type": {"const": "Client"}}}}}},
    ),
    _if({"outcome": {"enum": ["failure", "denied"]}}, {"required": ["status"]}),
    _if({"action": {"const": "auditring.EventsLost"}}, {}, {"properties": {"lost": False}}),
]
"""What holds for every line: of a client the actor tells all, what went wrong has a status, one action has `lost`."""

_REDACTED: Final[Schema] = {
    "properties": {"context": {"required": ["auditring.redacted"]}},
    "required": ["context"],
}
"""A value that was redacted away is null, and then `context` says so."""


def _action(action: dict[str, Any]) -> Schema:
    """What holds for the lines of one action.

    Keys of `context` are told without their types: the caller's own map may say another thing under the same key.
    """
    members: Schema = {"category": {"const": action["category"]}}
    for column, value in action["constants"]:
        members[path(column)[0]] = {"const": value}
    needed: list[Schema] = []
    details: dict[str, Schema] = {"object_ref": {}, "context": {}}
    for field in action["fields"]:
        if field["target"] == "column":
            if form := _bounds(field):
                _put(members, path(field["key"]), form)
        else:
            details[field["target"]][field["key"]] = {"description": _described(field)}
        if field["required"]:
            needed.append(_needed(field))
    for name, keys in details.items():
        if keys:
            members[path(name)[0]] = {"properties": keys}
    then: Schema = {"properties": members}
    if needed:
        then["anyOf"] = [{"allOf": needed}, _REDACTED]
    described = f"{action['doc']} ({action['stability']})"
    return {"description": described, **_if({"action": {"const": action["name"]}}, then)}


def _bounds(field: dict[str, Any]) -> Schema:
    """Limits of a number that are narrower than its column's."""
    if field["type"] == "str":
        return {"enum": field["words"]} if field["words"] else {}
    bounds = {"minimum": field["min"], "maximum": field["max"]}
    wide = (-(2**63), 2**63 - 1, *_INT32.values())
    return {name: value for name, value in bounds.items() if value not in wide}


def _described(field: dict[str, Any]) -> str:
    words = f" One of {', '.join(field['words'])}." if field["words"] else ""
    return f"{field['doc']}{words}"


def _put(members: Schema, at: tuple[str, ...], form: Schema) -> None:
    *outer, last = at
    for name in outer:
        members = members.setdefault(name, {"properties": {}})["properties"]
    members[last] = form


def _needed(field: dict[str, Any]) -> Schema:
    """That a field's value is there."""
    if field["target"] == "column" and field["key"] == "principal":
        return {
            "anyOf": [
                {"required": ["principals"]},
                {"properties": {"actor": {"required": ["principals"]}}},
            ]
        }
    outer, *inner = path(field["key"]) if field["target"] == "column" else (*path(field["target"]), field["key"])
    schema: Schema = {"required": [outer]}
    if inner:
        schema["properties"] = {outer: {"required": inner}}
    return schema

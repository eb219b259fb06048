"""The JSON Schema of a line: made from the catalog, shipped as made, and exact."""

import copy
import functools
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

import auditring
from auditring import Keep, _core
from auditring.schema import json_schema, json_schema_text
from auditring.sinks import JsonlSink


@functools.cache
def validator() -> jsonschema.protocols.Validator:
    """Of our own schema, formats included."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.FormatChecker()
    assert {"date-time", "uuid"} <= set(checker.checkers), "a format would silently not be checked"
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


def lines_of(root: Path) -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A line of several actions, by action."""
    root = tmp_path_factory.mktemp("lines")
    with auditring.open(root, sinks=(JsonlSink(),), request=Keep.ALL, instance="proxy") as log:
        with log.session(authority="decision", peer=("192.0.2.7", 1), virtual_cluster="payments") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            session.operation_denied("WRITE", "Topic", "salaries")
            session.read("orders", 3, 1, 9, 42, server_correlation_id=7, object_ref={"vc": "mine"})
            session.plugin(filter="com.example.Acl", namespace="com.example").emit("com.example.Asked")
        log.virtual_cluster_startup("payments", "inspect")
        log._live().core.post("auditring.EventsLost", lost=3)  # noqa: SLF001 - no public name: it is the library's
    return {line["action"]: line for line in lines_of(root)}


def test_the_shipped_schema_is_what_the_catalog_makes() -> None:
    """The file in the package is the one that `docs/generate.py` writes."""
    assert (files("auditring") / "event.schema.json").read_text("utf-8") == json_schema_text()


def test_it_names_its_version_and_every_action() -> None:
    """Its `$id` has the schema's version; plain names are the catalog's alone, and each has its own rule."""
    schema = json_schema()
    assert schema["$id"] == f"urn:auditring:event:{_core.SCHEMA_VERSION}"
    names = {action["name"] for action in _core.actions()} - {"FREEFORM"}
    assert set(schema["properties"]["action"]["anyOf"][0]["enum"]) == names
    rules = {rule["if"]["properties"].get("action", {}).get("const") for rule in schema["allOf"]}
    assert rules >= names


def test_every_line_is_valid(lines: dict[str, dict[str, Any]]) -> None:
    """Lines as they are written pass."""
    for line in lines.values():
        validator().validate(line)


WRONG: list[tuple[str, str, Any]] = [
    # of which action, which member (by dots), and the wrong value; `...` takes it away
    ("Read", "newMember", 1),
    ("Read", "actor.newMember", "x"),
    ("Read", "offsets.middle", 5),
    ("Read", "correlation.traceId", "x"),
    ("Read", "time", "2026-11-23T20:15:00Z"),
    ("Read", "time", "2026-13-23T20:15:00.000000000Z"),
    ("Read", "time", ...),
    ("Read", "process", "proxy"),
    ("Read", "eventId", "7"),
    ("Read", "seq", -1),
    ("Read", "seq", "7"),
    ("Read", "count", 0),
    ("Read", "action", "Peek"),
    ("Read", "action", "com.example.peek"),
    ("Read", "category", "audit"),
    ("Read", "category", "reading"),
    ("Read", "outcome", "ok"),
    ("Read", "authority", "hearsay"),
    ("Read", "origin", "server"),
    ("Read", "origin", "proxy"),
    ("Read", "peerIp", "192.0.2.7"),
    ("Read", "principals", ["User:alice"]),
    ("Read", "lost", 3),
    ("Read", "operation", "WRITE"),
    ("Read", "partition", 2**31),
    ("Read", "partition", ...),
    ("Read", "records", -1),
    ("Read", "resource", ...),
    ("Read", "actor.session", "17"),
    ("Read", "actor.type", "Somebody"),
    ("Read", "actor.principals", []),
    ("Read", "objectRef.vc", 7),
    ("Read", "objectRef", {}),
    ("Read", "objectRefGiven", []),
    ("Read", "context", {"a": {"b": 1}}),
    ("OperationDenied", "status", ...),
    ("OperationDenied", "status", "not allowed"),
    ("OperationDenied", "outcome", None),
    ("ClientSaslAuthSuccess", "actor.principals", ...),
    ("VirtualClusterStartup", "virtualCluster", ...),
    ("VirtualClusterStartup", "context", {"a": 1}),
    ("VirtualClusterStartup", "actor.executionId", ...),
    ("VirtualClusterStartup", "actor.type", "Client"),
]


@pytest.mark.parametrize(("action", "member", "value"), WRONG, ids=str)
def test_a_wrong_line_is_not(action: str, member: str, value: object, lines: dict[str, dict[str, Any]]) -> None:
    """A member that nobody declared, a word that there is not, a type, a bound, a member that is missing."""
    line = copy.deepcopy(lines[action])
    *outer, last = member.split(".")
    inner = line
    for name in outer:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    assert not validator().is_valid(line)


def test_a_value_that_was_redacted_away_may_be_missing(lines: dict[str, dict[str, Any]]) -> None:
    """What an action must have is null where it was redacted, and the line says so."""
    line = copy.deepcopy(lines["OperationDenied"])
    del line["resource"], line["objectRef"]["topicName"]
    assert not validator().is_valid(line)
    line["context"] = {"auditring.redacted": ["resource"]}
    validator().validate(line)


def test_the_command_prints_the_schema_and_the_columns() -> None:
    """`auditring schema` prints the shipped schema; `--format arrow` every column with its type and its meaning."""

    def said(*options: str) -> str:
        command = [sys.executable, "-c", "from auditring.cli import main; main()", "schema", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert said() == said("--format", "json-schema") == json_schema_text()
    told = said("--format", "arrow").splitlines()
    schema = pa.schema(_core.schema())
    for column in _core.columns():
        (row,) = (line for line in told if line.split()[:1] == [column["name"]])
        assert str(schema.field(column["name"]).type) in row
        assert row.rstrip().endswith(column["doc"])


def test_the_columns_are_those_of_the_rows() -> None:
    """What the core tells of the columns is what Arrow has: names in order, and which may be null."""
    schema = pa.schema(_core.schema())
    assert [column["name"] for column in _core.columns()] == schema.names
    assert [column["required"] for column in _core.columns()] == [not field.nullable for field in schema]

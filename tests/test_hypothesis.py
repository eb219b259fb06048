"""Any sequence of valid events comes back equal: from tables, from lines, and from rows that are still fresh."""

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import Keep, _core
from auditring.schema import json_schema
from auditring.sinks import JsonlSink, ParquetSink

SCHEMA = Path(__file__).parents[2] / "shared" / "peers" / "kroxylicious_audit_action_v1.json"
Event = tuple[str, str, dict[str, Any]]
"""Of which handle (or declared event), which method, which arguments."""

ACTIONS = {action["method"]: action for action in _core.actions() if action["method"]}
TAKEN = {field["key"] for action in ACTIONS.values() for field in action["fields"]}
DECLARED: dict[str, Any] = {
    "object_ref": ("com.example.kek", "com.example.zone"),
    "context": ("alg", "com.example.bits"),
}

safe = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
# A character is at most 4 bytes of UTF-8; what is longer than a cap is cut, and would rightly not come back equal.
names = st.text(safe, min_size=1, max_size=16)
scalars = st.one_of(names, st.integers(-(2**53), 2**53), st.booleans())
keys = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True).filter(
    lambda key: not key.startswith("auditring.") and key not in TAKEN and key not in DECLARED["context"]
)
words = st.from_regex(r"[A-Za-z0-9_]{1,20}(\.[A-Za-z0-9_]{1,20}){0,2}", fullmatch=True)
common = {
    "reason": names,
    "status": words,
    "tap": names,
    "context": st.dictionaries(keys, scalars, min_size=1, max_size=4),
    "object_ref": st.dictionaries(keys, names, min_size=1, max_size=4),
}


def value_of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value that a field may have."""
    if field["words"]:
        return st.sampled_from(field["words"])
    if field["type"] == "str":
        return st.text(safe, min_size=1, max_size=min(16, field["cap"] // 4))
    return st.integers(field["min"], field["max"])


def calls(target: str, method: str, required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Event]:
    """Calls of one method, with any choice of its optional arguments."""
    arguments = st.fixed_dictionaries(required, optional={**optional, **common})
    return st.tuples(st.just(target), st.just(method), arguments)


def action_calls(target: str, action: dict[str, Any]) -> st.SearchStrategy[Event]:
    """Calls of one of the catalog's actions."""
    values = {
        need: {f["name"]: value_of(f) for f in action["fields"] if f["required"] is need} for need in (True, False)
    }
    extra = {"filter": names} if target == "log" and action["session"] else {}
    made = calls(target, action["method"], values[True], {**values[False], **extra})
    if action["outcomes"] and not {"failure", "denied"} & set(action["outcomes"]):
        # A status is a failure's or a denial's.
        return made.filter(lambda call: "status" not in call[2])
    return made


qualified = st.from_regex(r"([a-z0-9_]{1,8}\.){1,3}[A-Z][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: not name.startswith("auditring.")
)
free = {"operation": names, "resource_type": names, "resource": names}
events = st.one_of(
    *(
        action_calls(target, action)
        for target in ("session", "broker", "authorizer", "log")
        for action in ACTIONS.values()
        if action[target]
    ),
    *(calls(target, "emit", {"action": qualified}, free) for target in ("session", "broker", "log")),
    *(
        calls(target, "declared", {}, dict.fromkeys(DECLARED["object_ref"] + DECLARED["context"], names))
        for target in ("session", "broker", "authorizer", "log")
    ),
)


@contextlib.contextmanager
def calling(root: Path, **session: Any) -> Iterator[tuple[auditring.AuditLog, Callable[[Event], None]]]:  # noqa: ANN401 - the arguments of `session`
    """An open log, and what makes a call on one of its handles."""
    sinks = (ParquetSink(), JsonlSink())
    with auditring.open(root, sinks=sinks, request=Keep.ALL, instance="proxy") as log, log.session(**session) as one:
        targets: dict[str, Any] = {"log": log, "session": one, "broker": one.broker("10.0.0.5:9092", node_id=5)}
        targets["authorizer"] = one.plugin(filter="com.example.Acl", namespace="com.example", authorizer=True)
        declared = log.declare("com.example.kms.KeyUsed", **DECLARED)

        def call(event: Event) -> None:
            target, method, arguments = event
            if method == "declared":
                declared(targets[target], **arguments)
                return
            # A free-form event's own name goes first.
            action = [arguments["action"]] if method == "emit" else []
            getattr(targets[target], method)(*action, **{k: v for k, v in arguments.items() if k != "action"})

        yield log, call


def run(root: Path, sequence: list[Event]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Emits a sequence; returns its rows as fresh journal rows, from the tables, and from the lines."""
    with calling(root, id="s", authority="witness", peer=("192.0.2.7", 1)) as (log, call):
        for event in sequence:
            call(event)
        log._live().journaled(30)  # noqa: SLF001 - journaled, and not yet anywhere else
        batches = _core.Snapshot(str(root)).fresh([])
        fresh = [row for batch in batches for row in pa.record_batch(batch).to_pylist()]
    tables = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    return fresh, sorted(tables, key=lambda row: row["seq"]), lines_of(root)


def lines_of(root: Path) -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()]


def of_calls(rows: list[dict[str, Any]], action: str = "action") -> list[dict[str, Any]]:
    """The rows of the calls: what the library itself recorded is left out."""
    ours = {"ProxyStartup", "ProxyCleanShutdown", "ClientAccept", "ClientClose", "BrokerConnect", "BrokerClose"}
    return [row for row in rows if row[action] not in ours and not row[action].startswith("auditring.")]


def expected(method: str, arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the call says, by where it should be found: columns, `object_ref`, `context`."""
    found: dict[str, dict[str, Any]] = {"column": {}, "object_ref": {}, "context": {}}
    fields = {field["name"]: field for field in ACTIONS.get(method, {"fields": []})["fields"]}
    for name, value in arguments.items():
        if name in {"object_ref", "context"}:
            found[name].update(value)
        elif name in fields:
            found[fields[name]["target"]][fields[name]["key"]] = value
        elif method == "declared" and name in DECLARED["object_ref"] + DECLARED["context"]:
            found["object_ref" if name in DECLARED["object_ref"] else "context"][name] = value
        else:
            found["column"][name] = value
    return found


PATHS = {
    "first_offset": ("offsets", "first"),
    "last_offset": ("offsets", "last"),
    "client_correlation_id": ("correlation", "clientCorrelationId"),
    "server_correlation_id": ("correlation", "serverCorrelationId"),
    "duration_ns": ("durationNanos",),
    "principal": ("actor", "principals", 0, "name"),
}
"""Where a line has a column, if not under its name in camelCase."""


def in_line(line: dict[str, Any], column: str) -> Any:  # noqa: ANN401 - any value of a line
    """A column's value in a line."""
    first, *rest = column.split("_")
    value: Any = line
    for step in PATHS.get(column, (first + "".join(word.capitalize() for word in rest),)):
        value = value[step]
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(events, max_size=40))
def test_any_sequence_of_valid_events_comes_back_equal(sequence: list[Event]) -> None:
    """Of every action, by every handle: table, fresh journal row and line have what was given, field by field."""
    with tempfile.TemporaryDirectory() as directory:
        fresh, tables, lines = run(Path(directory), sequence)
    assert of_calls(fresh) == of_calls(tables)
    assert [line["seq"] for line in lines] == [row["seq"] for row in tables]
    assert len(of_calls(tables)) == len(sequence)
    for (_, method, arguments), row, line in zip(sequence, of_calls(tables), of_calls(lines), strict=True):
        said = expected(method, arguments)
        for column, value in said["column"].items():
            assert row[column] == value, (method, column)
            assert in_line(line, column) == value, (method, column)
        for row_map, line_map in (("object_ref", "objectRef"), ("context", "context")):
            assert json.loads(row[row_map] or "{}").items() >= said[row_map].items(), (method, row_map)
            assert line.get(line_map, {}).items() >= said[row_map].items(), (method, row_map)
        if method in ACTIONS and method != "emit":
            assert row["action"] == line["action"] == ACTIONS[method]["name"]
            for column, value in ACTIONS[method]["constants"]:
                assert row[column] == in_line(line, column) == value, (method, column)
        assert (line["outcome"], line.get("status")) == (row["outcome"], row["status"])


def example(field: dict[str, Any], number: int) -> str | int:
    """A value of a field."""
    if field["type"] == "int":
        return min(max(int(field["min"]), number), int(field["max"]))
    return str(field["words"][0]) if field["words"] else f"<{field['name']}>"


def one_of_each(*, full: bool) -> list[Event]:
    """A call of every method of every handle, with all arguments, or with those alone that it must have."""
    sequence: list[Event] = []
    for target in ("session", "broker", "authorizer", "log"):
        for action in ACTIONS.values():
            if not action[target]:
                continue
            arguments: dict[str, Any] = {"reason": "said", "context": {"k": 1}} if full else {}
            for number, field in enumerate(action["fields"], 101):
                if full or field["required"]:
                    arguments[field["name"]] = example(field, number)
            sequence.append((target, action["method"], arguments))
    return sequence


def test_every_action_and_every_field_is_among_them() -> None:
    """All fields of all actions at once, so that none depends on luck."""
    sequence = one_of_each(full=True)
    assert {method for _, method, _ in sequence} == set(ACTIONS) - {"emit"}
    test_any_sequence_of_valid_events_comes_back_equal.hypothesis.inner_test(sequence)  # type: ignore[attr-defined]


# But for the one that says more than that something happened: what comes with it is a policy, and in force.
LIBRARYS = {
    action["name"]: action
    for action in _core.actions()
    if action["name"].startswith("auditring.") and action["name"] != "auditring.PolicyChanged"
}
own_events = st.one_of(
    *(
        st.tuples(
            st.just(name),
            st.fixed_dictionaries(
                {field["name"]: value_of(field) for field in action["fields"] if field["required"]},
                optional={field["name"]: value_of(field) for field in action["fields"] if not field["required"]},
            ),
        )
        for name, action in LIBRARYS.items()
    )
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(own_events, min_size=1, max_size=20))
def test_the_librarys_own_events_come_back_equal(sequence: list[tuple[str, dict[str, Any]]]) -> None:
    """What the library itself tells has every field that it was given, in table and line."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with auditring.open(root, sinks=(ParquetSink(), JsonlSink()), balance=None) as log:
            for name, fields in sequence:
                log._live().core.post(name, **fields)  # noqa: SLF001 - no public name: they are the library's
        tables = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
        lines = [line for line in lines_of(root) if line["action"] in LIBRARYS]
    rows = sorted((row for row in tables if row["action"] in LIBRARYS), key=lambda row: row["seq"])
    assert [row["action"] for row in rows] == [name for name, _ in sequence]
    for (name, fields), row, line in zip(sequence, rows, lines, strict=True):
        for field in LIBRARYS[name]["fields"]:
            if field["name"] not in fields:
                continue
            value = fields[field["name"]]
            if field["target"] == "column":
                assert row[field["key"]] == in_line(line, field["key"]) == value, (name, field["name"])
            else:
                assert json.loads(row["context"])[field["key"]] == line["context"][field["key"]] == value


def validator_of(schema: dict[str, Any]) -> jsonschema.protocols.Validator:
    """Of a schema, formats included."""
    checker = jsonschema.FormatChecker()
    assert {"date-time", "uuid"} <= set(checker.checkers), "a format would silently not be checked"
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


@functools.cache
def ours() -> jsonschema.protocols.Validator:
    """Our own schema."""
    return validator_of(json_schema())


@functools.cache
def upstreams() -> jsonschema.protocols.Validator:
    """The upstream schema; skips the test where the schema is not at hand."""
    if not SCHEMA.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the upstream schema must be there in CI")
        pytest.skip("the upstream schema is not beside this checkout")
    return validator_of(json.loads(SCHEMA.read_text()))


SCHEMAS = pytest.mark.parametrize("validator", [ours, upstreams])


@SCHEMAS
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sequence=st.lists(events, min_size=1, max_size=40),
    own=st.lists(own_events, max_size=4),
    session_id=st.one_of(st.uuids().map(str), names),
)
def test_every_line_validates(
    validator: Callable[[], jsonschema.protocols.Validator],
    sequence: list[Event],
    own: list[tuple[str, dict[str, Any]]],
    session_id: str,
) -> None:
    """Whatever was recorded, each line is valid by our own schema, and a valid upstream audit action."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with calling(root, id=session_id, authority="decision", peer="[2001:db8::7]:443") as (log, call):
            call(("session", "client_sasl_auth_success", {"principal": "alice", "mechanism": "PLAIN"}))
            for event in sequence:
                call(event)
            for name, fields in own:
                log._live().core.post(name, **fields)  # noqa: SLF001 - no public name: they are the library's
        for line in lines_of(root):
            validator().validate(line)


@SCHEMAS
def test_a_line_of_every_action_validates(validator: Callable[[], jsonschema.protocols.Validator]) -> None:
    """Of all actions at once, with all fields and without, by every handle, so that none depends on luck."""
    sequence = [event for full in (True, False) for event in one_of_each(full=full)]
    own = [
        (name, {field["name"]: example(field, 7) for field in action["fields"] if full or field["required"]})
        for full in (True, False)
        for name, action in LIBRARYS.items()
    ]
    test_every_line_validates.hypothesis.inner_test(validator, sequence, own, "s")

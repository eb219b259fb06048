"""Any sequence of valid events comes back equal: from tables, from lines, and from rows that are still fresh."""

import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import _core
from auditring.sinks import JsonlSink, ParquetSink

SCHEMA = Path(__file__).parents[2] / "shared" / "peers" / "kroxylicious_audit_action_v1.json"
Event = tuple[str, dict[str, Any]]

COLUMNS = {"topic": "resource", "method": "operation", "path": "resource"}
"""Arguments that are named otherwise than their column."""

safe = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
# At most 64 bytes of UTF-8, the least cap of a string: what is longer is cut, and would rightly not come back equal.
names = st.text(safe, min_size=1, max_size=16)
i32 = st.integers(-(2**31), 2**31 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
size = st.integers(0, 2**63 - 1)
scalars = st.one_of(names, st.integers(-(2**53), 2**53), st.booleans())
keys = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True).filter(lambda key: not key.startswith("auditring."))
words = st.from_regex(r"[A-Za-z0-9_]{1,20}(\.[A-Za-z0-9_]{1,20}){0,2}", fullmatch=True)
common = {
    "reason": names,
    "status": words,
    "tap": names,
    "context": st.dictionaries(keys, scalars, min_size=1, max_size=4),
    "object_ref": st.dictionaries(keys, names, min_size=1, max_size=4),
}
data = {
    "first_offset": i64,
    "last_offset": i64,
    "client_correlation_id": i32,
    "server_correlation_id": i32,
    "records": size,
    "bytes": size,
    "duration_ns": size,
    "api": names,
    "server": names,
    "server_local": names,
    "node_id": i32,
}


def calls(method: str, required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Event]:
    """Calls of one method, with any choice of its optional arguments."""
    arguments = st.fixed_dictionaries(required, optional={**optional, **common})
    return st.tuples(st.just(method), arguments)


topics = {"topic": names, "partition": i32}
operations = {"operation": names, "resource_type": names, "resource": names}
events = st.one_of(
    calls("read", topics, data),
    calls("write", topics, data),
    calls("operation_allowed", operations, {}),
    calls("operation_denied", operations, {}),
    calls("http_request", {"method": names, "path": names}, {"bytes": size, "duration_ns": size}),
    calls("client_sasl_auth_failure", {}, {"attempted_principal": names, "mechanism": names}),
    calls(
        "emit",
        {"action": st.from_regex(r"([a-z0-9_]{1,8}\.){1,3}[A-Z][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
            lambda name: not name.startswith("auditring.")
        )},
        {"operation": names, "resource_type": names, "resource": names},
    ),
)  # fmt: skip


def call(session: auditring.Session, method: str, arguments: dict[str, Any]) -> None:
    """Makes one call; an event's own name goes first."""
    action = [arguments["action"]] if "action" in arguments else []
    getattr(session, method)(*action, **{name: value for name, value in arguments.items() if name != "action"})


def run(root: Path, sequence: list[Event]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Emits a sequence; returns its rows as fresh journal rows, from the tables, and from the lines."""
    sinks = (ParquetSink(), JsonlSink())
    with auditring.open(root, sinks=sinks) as log:
        with log.session(id="s", authority="witness", peer=("192.0.2.7", 1)) as session:
            for method, arguments in sequence:
                call(session, method, arguments)
        log._live().journaled(30)  # noqa: SLF001 - journaled, and not yet anywhere else
        batches = _core.Snapshot(str(root)).fresh([])
        fresh = [row for batch in batches for row in pa.record_batch(batch).to_pylist()]
    tables = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    lines = [json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()]
    return fresh, sorted(tables, key=lambda row: row["seq"]), lines


def in_session(rows: list[dict[str, Any]], action: str = "action") -> list[dict[str, Any]]:
    """The rows of the calls: what the library itself recorded is left out."""
    ours = {"ProxyStartup", "ProxyCleanShutdown", "ClientAccept", "ClientClose"}
    return [row for row in rows if row[action] not in ours and not row[action].startswith("auditring.")]


def assert_equal(arguments: dict[str, Any], row: dict[str, Any]) -> None:
    """A row has exactly what the call said."""
    for name, value in arguments.items():
        if name in {"context", "object_ref"}:
            assert json.loads(row[name]).items() >= value.items(), name
        else:
            assert row[COLUMNS.get(name, name)] == value, name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(events, max_size=25))
def test_any_sequence_of_valid_events_comes_back_equal(sequence: list[Event]) -> None:
    """Parquet, fresh journal rows and lines have the same events, in order, with the values that were given."""
    with tempfile.TemporaryDirectory() as directory:
        fresh, tables, lines = run(Path(directory), sequence)
    assert in_session(fresh) == in_session(tables)
    assert [line["seq"] for line in lines] == [row["seq"] for row in tables]
    assert len(in_session(tables)) == len(sequence)
    for (_, arguments), row, line in zip(sequence, in_session(tables), in_session(lines), strict=True):
        assert_equal(arguments, row)
        assert (line["action"], line["outcome"], line.get("status")) == (row["action"], row["outcome"], row["status"])
        assert line.get("reason") == arguments.get("reason")
        assert line.get("tap") == arguments.get("tap")
        assert line.get("context", {}).items() >= arguments.get("context", {}).items()
        assert line.get("objectRef", {}).items() >= arguments.get("object_ref", {}).items()


@functools.cache
def validator() -> jsonschema.protocols.Validator:
    """The upstream schema, formats included; skips the test where the schema is not at hand."""
    if not SCHEMA.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the upstream schema must be there in CI")
        pytest.skip("the upstream schema is not beside this checkout")
    schema = json.loads(SCHEMA.read_text())
    checker = jsonschema.FormatChecker()
    assert {"date-time", "uuid"} <= set(checker.checkers), "a format would silently not be checked"
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(events, min_size=1, max_size=25), st.one_of(st.uuids().map(str), names))
def test_every_line_validates_against_the_upstream_schema(sequence: list[Event], session_id: str) -> None:
    """Whatever was recorded, each line is a valid upstream audit action, formats included."""
    with tempfile.TemporaryDirectory() as directory:
        with (
            auditring.open(directory, sinks=(JsonlSink(),), instance="proxy") as log,
            log.session(id=session_id, authority="decision", peer="[2001:db8::7]:443") as session,
        ):
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            for method, arguments in sequence:
                call(session, method, arguments)
        for path in Path(directory).glob("jsonl/*.jsonl"):
            for line in path.read_bytes().splitlines():
                validator().validate(json.loads(line))

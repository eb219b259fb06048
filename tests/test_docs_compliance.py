"""The claims of `docs/compliance.md` that can be held against a real directory."""

import os
import re
import socket
from pathlib import Path
from typing import Any

import duckdb
import pytest

import auditring
from auditring import _core
from auditring.query import schema

PAGE = Path(__file__).parents[1] / "docs" / "compliance.md"
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOST = socket.gethostname()
ASKED_FOR = (
    "user_identification",
    "type_of_event",
    "date_and_time",
    "success_or_failure",
    "origination",
    "affected",
)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One event of each kind that a host emits, and the library's own."""
    root = tmp_path_factory.mktemp("compliance") / "audit"
    with auditring.open(root, instance="proxy-1") as log:
        with log.session(peer=("10.1.2.3", 50_412), virtual_cluster="payments", authority="decision") as session:
            session.client_sasl_auth_failure("eve", mechanism="PLAIN")
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            session.operation_allowed("READ", "Topic", "orders")
            session.operation_denied("WRITE", "Topic", "salaries")
            session.read("orders", 3, 1000, 1099)
            session.write("orders", 3, 1100, 1104)
            session.http_request("GET", "/v1/items", status_code=403, outcome="denied", principal="bob")
            session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": "kek-7"})
        log.emit("com.example.Rotated")
    return root


def answers(audit: Path) -> dict[str, dict[str, Any]]:
    """What the page's query says of each row, when it is given that row and no other; by action."""
    (sql,) = SQL.findall(PAGE.read_text())
    source = "read_parquet('audit/events/**/*.parquet')"
    assert source in sql
    files = str(audit / "events" / "**" / "*.parquet")
    found = {}
    with duckdb.connect() as con:
        con.execute("CREATE TABLE everything AS FROM read_parquet($1)", [files])
        for (seq,) in con.execute("SELECT seq FROM everything ORDER BY seq").fetchall():
            con.execute("CREATE OR REPLACE TABLE one AS FROM everything WHERE seq = $1", [seq])
            result = con.execute(sql.replace(source, "one"))
            columns = [str(column[0]) for column in result.description or []]
            ((row),) = result.fetchall()
            answer = dict(zip(columns, row, strict=True))
            found[str(answer["type_of_event"])] = answer
    return found


def test_every_row_answers_every_field_by_itself(audit: Path) -> None:
    """None is missing, whatever the event."""
    found = answers(audit)
    assert len(found) >= 13
    for action, answer in found.items():
        assert tuple(answer) == ASKED_FOR
        assert not [name for name, value in answer.items() if value is None], action


@pytest.mark.parametrize(
    ("action", "user", "outcome", "origination", "affected"),
    [
        ("ClientSaslAuthFailure", "eve", "failure", "10.1.2.3", "payments"),
        ("ClientSaslAuthSuccess", "alice", "success", "10.1.2.3", "payments"),
        ("OperationAllowed", "alice", "allowed", "10.1.2.3", "Topic orders"),
        ("OperationDenied", "alice", "denied", "10.1.2.3", "Topic salaries"),
        ("Read", "alice", "success", "10.1.2.3", "Topic orders"),
        ("Write", "alice", "success", "10.1.2.3", "Topic orders"),
        ("HttpRequest", "bob", "denied", "10.1.2.3", "Route /v1/items"),
        ("com.example.kms.KeyUsed", "alice", "success", "10.1.2.3", '{"com.example.kek":"kek-7"}'),
        ("ProxyStartup", "proxy-1", "success", HOST, "proxy-1"),
        ("ProxyCleanShutdown", "proxy-1", "success", HOST, "proxy-1"),
    ],
)
def test_the_answers_are_the_right_ones(
    audit: Path, action: str, user: str, outcome: str, origination: str, affected: str
) -> None:
    """Who, with what outcome, from where, on what."""
    answer = answers(audit)[action]
    said = [answer[name] for name in ASKED_FOR if name not in {"type_of_event", "date_and_time"}]
    assert said == [user, outcome, origination, affected]
    assert answer["date_and_time"].utcoffset() is not None


def test_failures_and_denials_carry_a_status(audit: Path) -> None:
    """So that a machine can tell why."""
    files = str(audit / "events" / "**" / "*.parquet")
    with duckdb.connect() as con:
        rows = con.execute("SELECT outcome, status FROM read_parquet($1)", [files]).fetchall()
    assert all((status is not None) == (outcome in {"failure", "denied"}) for outcome, status in rows)


def test_the_page_names_columns_and_events_that_there_are() -> None:
    """What stands in code marks, and looks like one of them, is one."""
    names = set(re.findall(r"`([A-Za-z_.]+)`", PAGE.read_text()))
    actions = {action["name"] for action in _core.actions()}
    events = {name for name in names if re.fullmatch(r"(auditring\.)?([A-Z][a-z]+){2,}|Read|Write", name)}
    assert events <= actions, events - actions
    columns = {name for name in names if name.islower() and "_" in name}
    assert columns <= set(schema().names), columns - set(schema().names)
    assert {"user", "principal", "resource", "outcome"} & names


def test_files_are_for_their_owner_and_group(audit: Path) -> None:
    """As the page says, whatever the mask allows beyond that."""
    for folder, _, files in os.walk(audit):
        private = Path(folder).relative_to(audit).parts[:1] in {("journal",), ("totals",)}
        if folder != str(audit):
            assert Path(folder).stat().st_mode & 0o777 & ~(0o700 if private else 0o750) == 0, folder
        for name in files:
            assert Path(folder, name).stat().st_mode & 0o777 & ~(0o600 if private else 0o640) == 0, name

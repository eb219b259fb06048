"""Redaction as it reaches the disk: no byte of a redacted value does, and all else is as it was."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import Drop, Hash, Keep, Policy, Redact, Rule, Truncate, query, verify
from auditring.redaction import How, read_key
from auditring.schema import json_schema
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail
from redacting import KEY, ON_DISK, PATIENCE, hash_of, hashing, leaks, rows
from sealed_rows import lines_of

SCHEMA = Path(__file__).parents[2] / "shared" / "peers" / "kroxylicious_audit_action_v1.json"
FIELDS = ("peer", "principal", "client_id", "resource", "reason", "context.note", "object_ref.kek")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key where the policies here look for it."""
    monkeypatch.setenv("AUDIT_KEY", KEY)


def traffic(log: auditring.AuditLog, said: Mapping[str, str]) -> None:
    """Events that say each thing wherever it can be said."""
    who, peer, topic, note, kek = (said[name] for name in ("who", "peer", "topic", "note", "kek"))
    used = log.declare("com.example.kms.KeyUsed", object_ref=("kek",), context=("note",))
    with log.session(
        id="session-1",
        peer=(peer, 40112),
        client_id=said["client"],
        virtual_cluster="vc",
        authority="decision",
        context={"note": note, "kept": "yes"},
    ) as session:
        session.client_sasl_auth_failure(who, mechanism="PLAIN", reason=said["reason"])
        session.client_sasl_auth_success(who, mechanism="PLAIN")
        session.client_tls_auth_success(who, subject=f"CN={who}", san=who, issuer="CA")
        for offset in range(3):
            session.read(topic, 0, offset, offset, group_id=topic, topic_id="AAAAAAAAAAAAAAAAAAAAAA")
        session.operation_denied("WRITE", "Topic", topic, reason=said["reason"])
        session.operation_denied("DESCRIBE", "User", who)
        session.alter_user_scram_credentials(who, scram_mechanism="SCRAM-SHA-256", change="upsert")
        session.create_acls("Topic", topic, acl_principal=f"User:{who}", acl_host=peer)
        session.create_delegation_token("token-1", owner=f"User:{who}", requester=f"User:{who}")
        session.emit("com.example.Other", resource=topic, object_ref={"kek": kek}, context={"note": [note, note]})
        used(session, kek, note)


@contextmanager
def opened(root: Path, policy: Policy) -> Iterator[auditring.AuditLog]:
    """A log with both sinks of files."""
    with auditring.open(
        root,
        instance="i",
        policy=policy,
        sinks=(ParquetSink(), JsonlSink(policy=Policy(rules=policy.rules))),
        balance=None,
    ) as log:
        yield log


hows = st.sampled_from(["drop", "truncate", "hash"])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


def how(field: str, word: str) -> How:
    """What a word stands for."""
    if word == "truncate":
        return Truncate() if field == "peer" else Truncate(length=3)
    return Drop() if word == "drop" else Hash("env:AUDIT_KEY")


@ON_DISK
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.fixed_dictionaries(dict.fromkeys(FIELDS, hows)), tails=st.lists(texts, min_size=6, max_size=6))
def test_no_byte_of_a_redacted_value_reaches_the_disk_and_all_else_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, words: dict[str, str], tails: list[str]
) -> None:
    """While the log is open and when it is closed, in journal, lists of followers, lines, tables and totals."""
    root = tmp_path_factory.mktemp("redaction")
    names = ("who", "client", "topic", "note", "kek", "reason")
    said = {name: f"S3CRET{name}{tail}" for name, tail in zip(names, tails, strict=True)} | {"peer": "198.51.100.77"}
    secrets = ("S3CRET", "198.51.100.77")
    redact = tuple(Redact(field, how(field, word)) for field, word in words.items())
    hashed = {field for field, word in words.items() if word == "hash"}
    rules = [
        Rule(keep=Keep.ALL, action="Read", **{field: auditring.policy.literal(said[name])})
        for field, name in (("principal", "who"), ("resource", "topic"), ("peer", "peer"))
        if field in hashed
    ]
    with opened(root / "audit", Policy(rules=rules, redact=redact, seed=1)) as log:
        traffic(log, said)
        log.flush(PATIENCE)
        for secret in secrets:
            assert leaks(root, secret) == []
        tail = Tail(root / "audit", json=True)
        shown = b"".join(tail.history()) + tail.fresh()
        assert b'"action":"OperationDenied"' in shown
        assert b"S3CRET" not in shown
        assert b"198.51.100.77" not in shown
    with opened(root / "plain", Policy(seed=1)) as log:
        traffic(log, said)
    validator = jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker())
    for line in lines_of(root / "audit"):
        validator.validate(line)
    assert verify.check(root / "audit").complete
    redacted, plain = rows(root / "audit"), rows(root / "plain")
    for secret in secrets:
        assert leaks(root / "audit", secret) == []
        assert secret not in repr(redacted)
        assert secret in repr(plain)
    assert len(redacted) == len(plain)
    own = {"peer_ip", "peer_port", "principal", "principals", "attempted_principal", "client_id", "resource", "reason"}
    moving = {"time", "time_ns", "age_ns", "process", "event_id", "duration_ns", "object_ref", "context"}
    for ours, theirs in zip(redacted, plain, strict=True):
        assert {name: value for name, value in ours.items() if name not in own | moving} == {
            name: value for name, value in theirs.items() if name not in own | moving
        }
        assert _unredacted(ours) == _unredacted(theirs)
        _check_equality(ours, theirs, hashed)


_MOVING_KEYS = {"pid", "configurationDigest", "policyDigest"}
_REDACTED_KEYS = {"tls.subject", "tls.san", "acl.principal", "acl.host", "token.owner", "token.requester", "note"}


def _unredacted(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row's maps no redaction is of."""
    context = json.loads(row["context"] or "{}")
    kept = {
        key: value
        for key, value in context.items()
        if key not in _MOVING_KEYS | _REDACTED_KEYS and not key.startswith("auditring.")
    }
    objects = json.loads(row["object_ref"] or "{}")
    return kept | {key: value for key, value in objects.items() if key not in {"kek", "groupId", "topicId"}}


def _check_equality(row: Mapping[str, Any], plain: Mapping[str, Any], hashed: set[str]) -> None:
    for field, columns in (
        ("principal", ("principal", "attempted_principal")),
        ("peer", ("peer_ip",)),
        ("client_id", ("client_id",)),
        ("resource", ("resource",)),
        ("reason", ("reason",)),
    ):
        for column in columns:
            value = plain[column]
            if value is None or row["category"] == "audit":
                continue
            is_user = column == "resource" and plain["resource_type"] == "User"
            if field in hashed and not is_user:
                assert row[column] == hash_of(value, "reason" if field == "principal" else field)
            elif not is_user:
                assert row[column] != value
                assert field in json.loads(row["context"])["auditring.redacted"]
    if (
        hashed
        and row["session"] is not None
        and any(name in json.loads(row["context"])["auditring.redacted"] for name in hashed)
    ):
        assert json.loads(row["context"])["auditring.key_id"] == read_key("env:AUDIT_KEY").id


@ON_DISK
def test_redacted_rows_are_valid_lines_and_can_be_grouped(tmp_path: Path) -> None:
    """Upstream's schema and ours take them; a hash is a value like any other to DuckDB."""
    said = {name: f"{name}-1" for name in ("who", "client", "topic", "note", "kek", "reason")} | {"peer": "192.0.2.7"}
    with opened(tmp_path / "audit", Policy(redact=hashing(*FIELDS))) as log:
        traffic(log, said)
    lines = lines_of(tmp_path / "audit")
    assert lines
    schemas = [json_schema()]
    if SCHEMA.exists():
        schemas.append(json.loads(SCHEMA.read_text()))
    for schema in schemas:
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        for line in lines:
            validator.validate(line)
    denied = next(line for line in lines if line["action"] == "OperationDenied")
    assert denied["actor"]["srcAddr"] == hash_of("192.0.2.7", "peer")
    assert denied["actor"]["principals"] == [{"type": "User", "name": hash_of("who-1")}] * 2
    assert denied["objectRef"]["topicName"] == hash_of("topic-1")
    with query.connect(tmp_path / "audit") as con:
        groups = con.sql(
            "SELECT peer_ip, principal, sum(events_total) FROM events WHERE action = 'Read' GROUP BY ALL"
        ).fetchall()
    assert groups == [(hash_of("192.0.2.7", "peer"), hash_of("who-1"), 3)]


@ON_DISK
def test_a_rule_by_an_exact_value_works_on_its_hash(tmp_path: Path) -> None:
    """In the log's policy and in a sink's; a value that no rule names is kept."""
    policy = Policy(rules=[Rule(action="Read", principal="noisy", keep=Keep.OFF)], redact=hashing("principal", "peer"))
    own = Policy(rules=[Rule(action="Read", peer="192.0.2.9", keep=Keep.OFF)])
    with auditring.open(tmp_path / "audit", policy=policy, sinks=(ParquetSink(policy=own),)) as log:
        for who, peer in (("noisy", "192.0.2.7"), ("alice", "192.0.2.7"), ("alice", "192.0.2.9")):
            with log.session(peer=(peer, 1), authority="decision") as session:
                session.client_sasl_auth_success(who, mechanism="PLAIN")
                session.read("orders", 0, 1, 1)
    kept = [(row["principal"], row["peer_ip"]) for row in rows(tmp_path / "audit") if row["action"] == "Read"]
    assert kept == [(hash_of("alice"), hash_of("192.0.2.7", "peer"))]

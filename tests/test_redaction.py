"""Redaction as a host sees it: what is refused, what reaches the disk, and how it is found again."""

import copy
import hashlib
import hmac
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import ConfigError, Drop, Hash, Keep, Policy, Redact, Rule, Truncate, _core, query, verify
from auditring.cli.commands import auditring as command_line
from auditring.redaction import How, check_ring, read_key, same
from auditring.schema import json_schema
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail
from sealed_rows import lines_of

SCHEMA = Path(__file__).parents[2] / "shared" / "peers" / "kroxylicious_audit_action_v1.json"
PATIENCE = 60.0
KEY = "0123456789abcdef0123456789abcdef"
FIELDS = ("peer", "principal", "client_id", "resource", "reason", "context.note", "object_ref.kek")
ON_DISK = pytest.mark.skipif(not _core.in_memory("/dev/shm"), reason="a log that redacts needs tmpfs")  # noqa: S108 - where rings lie


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key where the policies here look for it."""
    monkeypatch.setenv("AUDIT_KEY", KEY)


def hashing(*fields: str, key: str = "env:AUDIT_KEY") -> tuple[Redact, ...]:
    """These fields hashed."""
    return tuple(Redact(field, Hash(key)) for field in fields)


def hash_of(value: str, field: str = "principal") -> str:
    """What stands for a value."""
    return read_key("env:AUDIT_KEY").hash(field, value)[0]


def rows(root: Path) -> list[dict[str, Any]]:
    """Every row, by column, in order."""
    with query.connect(root) as con:
        answer = con.sql("SELECT * FROM events ORDER BY seq")
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


def test_redactions_read_the_same_from_toml_and_from_code() -> None:
    """What is not said is the default; the journaled form names no key and no place of one."""
    policy = Policy(
        redact=(
            Redact("principal", Hash("env:AUDIT_KEY")),
            Redact("peer", Truncate()),
            Redact("client_id", Truncate(length=4)),
            Redact(field="context.note", how=Drop()),
        )
    )
    text = """
        [[redact]]
        field = "principal"
        how = "hash"
        key = "env:AUDIT_KEY"
        [[redact]]
        field = "peer"
        how = "truncate"
        [[redact]]
        field = "client_id"
        how = "truncate"
        length = 4
        [[redact]]
        field = "context.note"
        how = "drop"
    """
    assert Policy.from_toml(text) == policy
    assert json.loads(policy.journaled(seed=1))["redact"] == [
        {"field": "principal", "how": "hash"},
        {"field": "peer", "how": "truncate", "ipv4": 24, "ipv6": 48},
        {"field": "client_id", "how": "truncate", "length": 4},
        {"field": "context.note", "how": "drop"},
    ]
    assert b"AUDIT_KEY" not in policy.journaled(seed=1)


def test_a_policy_that_redacts_nothing_is_written_as_before() -> None:
    """Older readers go on with it."""
    assert json.loads(Policy().journaled(seed=1)) == {"version": 2, "seed": 1, "allow_blind_spots": False, "rules": []}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Policy(redact=[Redact("principle", Drop())]), 'did you mean "principal"?'),
        (lambda: Policy(redact=[Redact("peer_ip", Drop())]), 'did you mean "peer"?'),
        (lambda: Policy(redact=[Redact("reason", Truncate())]), "a string is truncated to a length"),
        (lambda: Policy(redact=[Redact("peer", Truncate(length=3))]), "to its network"),
        (lambda: Policy(redact=[Redact("peer", Truncate(ipv4=40))]), "0 to 32 bits"),
        (lambda: Policy(redact=[Redact("peer", Drop()), Redact("peer", Drop())]), "is redacted already"),
        (lambda: Policy(redact=Redact("peer", Drop())), "a sequence of Redacts"),  # type: ignore[arg-type]
        (lambda: Policy(redact=["peer"]), "str is none"),  # type: ignore[list-item]
        (lambda: Policy(redact=[*hashing("peer"), *hashing("reason", key="env:OTHER")]), "with one key"),
        (lambda: Redact("peer", Drop), "Drop(), Truncate"),  # type: ignore[arg-type]
        (lambda: Redact(7, Drop()), "a name"),  # type: ignore[arg-type]
        (lambda: Truncate(length=True), "a whole number"),
        (lambda: Hash(KEY), "env:NAME"),
        (lambda: Hash(f"env:AUDIT_KEY={KEY}"), "belongs into neither"),
        (lambda: Hash("file:audit.key"), "absolute path"),
        (lambda: Redact.from_mapping({"field": "peer", "how": "hsah"}), "did you mean 'hash'?"),
        (lambda: Redact.from_mapping({"field": "peer", "how": "hash"}), "needs key"),
        (lambda: Redact.from_mapping({"field": "peer", "how": "drop", "key": "env:A"}), "unknown key 'key'"),
        (lambda: Redact.from_mapping({"how": "drop"}), "which field?"),
        (lambda: Policy.from_mapping({"redact": [{"field": "peer", "how": "no"}]}), "redact 1: "),
        (
            lambda: Policy(rules=[Rule(principal="svc-*", keep=Keep.OFF)], redact=hashing("principal")),
            'rule 1: principal is redacted, and "svc-*" is a pattern',
        ),
        (
            lambda: Policy(rules=[Rule(peer="10.0.0.0/8", keep=Keep.OFF)], redact=[Redact("peer", Truncate())]),
            "is a network of addresses that nobody will have; hash it",
        ),
    ],
)
def test_a_mistake_says_what_was_probably_meant_and_never_a_key(make: Any, says: str) -> None:  # noqa: ANN401 - whatever is a mistake
    """Every mistake is one before a log is opened."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_is_read_from_the_environment_or_a_file_that_others_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come to the same key; a line's end is no part of it; and what is refused says why, not what it says."""
    path = tmp_path / "audit.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    assert read_key(f"file:{path}").id == read_key("env:AUDIT_KEY").id
    for mode in (0o604, 0o602, 0o620, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_key(f"file:{path}")
    path.chmod(0o640)
    read_key(f"file:{path}")
    path.write_text("short-secret")
    monkeypatch.setenv("SHORT", "short-secret")
    for reference in (f"file:{path}", "env:SHORT"):
        with pytest.raises(ConfigError, match="fewer than 16 bytes") as caught:
            read_key(reference)
        assert "short-secret" not in str(caught.value)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 5000)
    big.chmod(0o600)
    for reference, says in (
        ("env:NO_SUCH_KEY", "no such variable"),
        (f"file:{tmp_path}/none", "No such file"),
        (f"file:{tmp_path}", "not a file"),
        (f"file:{fifo}", "not a file"),
        (f"file:{big}", "are no key"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_key(reference)


def test_a_key_never_comes_out_again() -> None:
    """It is shown nowhere, and cannot be copied into anything that could be."""
    made = read_key("env:AUDIT_KEY")
    assert KEY not in repr(made) + str(made) + repr(hashing("peer"))
    with pytest.raises(TypeError):
        pickle.dumps(made)
    with pytest.raises(TypeError):
        copy.copy(made)


def test_a_hash_is_what_other_tools_make_of_it() -> None:
    """As it is documented: anybody with the key finds a value again, with or without this library."""
    expected = hmac.new(KEY.encode(), b"alice", hashlib.sha256).hexdigest()[:32]
    identity = hmac.new(KEY.encode(), b"auditring.key_id", hashlib.sha256).hexdigest()[:8]
    assert hash_of("alice") == f"hmac_{identity}_{expected}"
    assert hash_of("User:alice") == f"User:{hash_of('alice')}"
    assert hash_of("::ffff:10.0.0.7", "peer") == hash_of("10.0.0.7", "resource")


def test_a_log_that_redacts_needs_its_ring_in_memory(tmp_path: Path) -> None:
    """Else it is refused before anything is there; without redaction the ring may lie anywhere."""
    if _core.in_memory(str(tmp_path)):
        pytest.skip("the temporary folder lies on tmpfs")
    policy = Policy(redact=[Redact("peer", Drop())])
    with pytest.raises(ConfigError, match=r"is not on tmpfs.*ring_dir='/dev/shm'"):
        auditring.open(tmp_path / "audit", policy=policy, ring_dir=tmp_path)
    assert not (tmp_path / "audit").exists()
    # The core does not take the caller's word for it.
    with pytest.raises(OSError, match="not on tmpfs"):
        _core.Log(
            str(tmp_path / "audit"),
            instance="i",
            host="h",
            policy=policy.kept(seed=1, redact=policy.redact, key=None),
            sinks=[],
            ring_dir=str(tmp_path),
        )
    assert not list((tmp_path / "audit").glob("journal/*"))
    check_ring((), tmp_path)


def test_a_sink_cannot_redact_and_a_log_cannot_without_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redaction is of the log, before there is a sink; the key is read at once."""
    own = Policy(redact=[Redact("peer", Drop())])
    with pytest.raises(ConfigError, match="which only the log's can"):
        auditring.open(tmp_path / "audit", sinks=[ParquetSink(policy=own)])
    glob = Policy(rules=[Rule(principal="svc-*", keep=Keep.OFF)])
    with pytest.raises(ConfigError, match=r"sinks: 'parquet': .*is a pattern"):
        auditring.open(tmp_path / "audit", policy=Policy(redact=hashing("principal")), sinks=[ParquetSink(policy=glob)])
    monkeypatch.delenv("AUDIT_KEY")
    with pytest.raises(ConfigError, match="no such variable"):
        auditring.open(tmp_path / "audit", policy=Policy(redact=hashing("peer")))
    assert not (tmp_path / "audit").exists()


def test_a_policy_that_follows_another_redacts_the_same() -> None:
    """Redaction is fixed while a log is open."""
    shown = hashing("peer", key="id:00112233")
    same(hashing("peer"), shown, hashing("peer"))
    same(hashing("peer"), shown, shown)
    for other in ((), hashing("principal"), hashing("peer", key="env:OTHER"), (Redact("peer", Drop()),)):
        with pytest.raises(ConfigError, match="fixed while the log is open"):
            same(hashing("peer"), shown, other)


def test_a_policy_changes_while_a_log_redacts(tmp_path: Path) -> None:
    """Its rules over hashed values are kept as hashes, in the row that carries it and in what the log shows."""
    first = Policy(redact=hashing("principal"))
    with auditring.open(tmp_path / "audit", policy=first, balance=None) as log:
        assert [one.field for one in log.policy.redact] == ["principal"]
        alice_off = Rule(action="Read", principal="alice", keep=Keep.OFF)
        log.set_policy(Policy(rules=[alice_off], redact=first.redact))
        shown = log.policy
        # What the log shows can be given back to it, with more.
        log.set_policy(
            Policy(rules=[*shown.rules, Rule(action="Write", principal="bob", keep=Keep.OFF)], redact=shown.redact)
        )
        with pytest.raises(ConfigError, match="fixed while the log is open"):
            log.set_policy(Policy(rules=[alice_off]))
        for who in ("alice", "bob"):
            with log.session(id=who, peer=("10.0.0.1", 1), authority="decision") as session:
                session.client_sasl_auth_success(who, mechanism="PLAIN")
                session.read("orders", 0, 1, 1)
                session.write("orders", 0, 1, 1)
        log.flush(10)
    with query.connect(tmp_path / "audit") as con:
        rows = con.execute("SELECT session, action FROM events WHERE category = 'data' ORDER BY ALL").fetchall()
        texts = con.execute(
            "SELECT policy FROM (SELECT context::JSON->>'policy' AS policy FROM events "
            "WHERE action = 'auditring.PolicyChanged') ORDER BY ALL"
        ).fetchall()
    assert rows == [("alice", "Write"), ("bob", "Read")]
    assert len(texts) == 2
    assert not any("alice" in text or "bob" in text for (text,) in texts)


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


def leaks(root: Path, secret: str) -> list[str]:
    """Where under a directory a text stands as it is."""
    files = [path for path in root.rglob("*") if path.is_file()]
    found = [str(path) for path in files if secret.encode() in path.read_bytes()]
    return found + [str(path) for path in files if secret in path.name]


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


@ON_DISK
def test_rows_that_are_fresh_are_redacted_also_after_the_ring_was_deleted(tmp_path: Path) -> None:
    """A new ring takes its place in memory, and goes through the same pump."""
    with auditring.open(tmp_path / "audit", policy=Policy(redact=hashing("resource"))) as log:
        ring = log._running.core.ring_path  # type: ignore[union-attr]  # noqa: SLF001 - nothing outside says where it lies
        assert ring is not None
        Path(ring).unlink()
        with log.session(authority="decision") as session:
            session.read("before", 0, 1, 1)
            while not any(row["action"] == "auditring.RingReplaced" for row in rows(tmp_path / "audit")):
                log.flush(PATIENCE)
            session.read("after", 0, 2, 2)
            log.flush(PATIENCE)
            seen = [row["resource"] for row in rows(tmp_path / "audit") if row["action"] == "Read"]
        assert seen == [hash_of("before"), hash_of("after")]


KILLED = """
import os, signal, sys, auditring
from auditring import Hash, Policy, Redact
log = auditring.open(sys.argv[1], policy=Policy(redact=[Redact("resource", Hash("env:AUDIT_KEY"))]))
session = log.session(authority="decision")
for offset in range(20_000):
    session.read("S3CRET", 0, offset, offset)
os.kill(os.getpid(), signal.SIGKILL)
"""


@ON_DISK
@pytest.mark.parametrize("finder", [KEY, KEY[::-1], None])
def test_what_a_killed_process_had_in_its_ring_is_redacted_by_whoever_recovers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finder: str | None
) -> None:
    """With the key as ever; without it, or with another, a value is left out and marked; nothing is lost or shown."""
    root = tmp_path / "audit"
    subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, timeout=PATIENCE)
    expected = {hash_of("S3CRET")}
    seen = [row for row in rows(root) if row["action"] == "Read"]
    assert len(seen) == 20_000
    assert {row["resource"] for row in seen} <= expected | {None}
    if finder is not None:
        monkeypatch.setenv("AUDIT_KEY", finder)
    auditring.open(root, policy=Policy(redact=hashing("peer") if finder else ())).close()
    seen = [row for row in rows(root) if row["action"] == "Read"]
    assert len(seen) == 20_000
    assert {row["resource"] for row in seen} <= (expected if finder == KEY else expected | {None})
    assert all("resource" in json.loads(row["context"])["auditring.redacted"] for row in seen)
    assert leaks(root, "S3CRET") == []


FORKED = """
import os, sys, auditring
from auditring import Hash, Policy, Redact
log = auditring.open(sys.argv[1], policy=Policy(redact=[Redact("resource", Hash("env:AUDIT_KEY"))]))
child = os.fork()
with log.session(authority="decision") as session:
    session.read("child" if child == 0 else "parent", 0, 1, 1)
log.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@ON_DISK
def test_a_forked_child_redacts_by_the_same_key(tmp_path: Path) -> None:
    """Also when the variable that had it is gone by then: it was read once."""
    program = FORKED.replace("child = os.fork()", 'del os.environ["AUDIT_KEY"]; child = os.fork()')
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "audit")], check=True, timeout=PATIENCE)
    seen = {row["resource"] for row in rows(tmp_path / "audit") if row["action"] == "Read"}
    assert seen == {hash_of("child"), hash_of("parent")}


OTHER = """
import sys, auditring
from auditring import Hash, Policy, Redact
with auditring.open(sys.argv[1], policy=Policy(redact=[Redact("principal", Hash("env:AUDIT_KEY"))])) as log:
    with log.session(authority="decision") as session:
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
"""


@ON_DISK
def test_a_value_has_one_hash_a_key_in_every_process_and_is_found_under_all(tmp_path: Path) -> None:
    """Two processes by one key agree, a third by another does not; the command finds all three by both keys."""
    for key in (KEY, KEY, KEY[::-1]):
        environment = {**os.environ, "AUDIT_KEY": key}
        subprocess.run(
            [sys.executable, "-c", OTHER, str(tmp_path / "audit")], check=True, env=environment, timeout=PATIENCE
        )
    found = [row["principal"] for row in rows(tmp_path / "audit") if row["action"] == "ClientSaslAuthSuccess"]
    assert len(found) == 3
    assert len(set(found)) == 2
    old = tmp_path / "old.key"
    old.write_text(KEY[::-1])
    old.chmod(0o600)
    both = ["--key", "env:AUDIT_KEY", "--key", f"file:{old}"]
    assert run("alice", *both).split() == sorted(set(found), key=lambda one: one != hash_of("alice"))
    told = json.loads(run("alice", *both, "--in", str(tmp_path / "audit"), "--format", "json"))
    assert sorted(row["principal"] for row in told if row["action"] == "ClientSaslAuthSuccess") == sorted(found)
    with query.connect(tmp_path / "audit") as con:
        assert len(con.sql(run("alice", *both, "--sql")).fetchall()) == len(told)


def run(*arguments: str, standard_input: str | None = None) -> str:
    """What `auditring hash` says."""
    done = CliRunner().invoke(command_line, ["hash", *arguments], input=standard_input)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_hashes_as_the_pump_does_whatever_is_asked_for() -> None:
    """An address in any form is a peer; a `Type:name` keeps its type; standard input leaves no trace in a history."""
    assert run("alice", "--key", "env:AUDIT_KEY") == f"{hash_of('alice')}\n"
    assert run("-", "--key", "env:AUDIT_KEY", standard_input="alice\n") == f"{hash_of('alice')}\n"
    assert run("::ffff:192.0.2.7", "--key", "env:AUDIT_KEY") == f"{hash_of('192.0.2.7', 'peer')}\n"
    assert run("User:alice", "--key", "env:AUDIT_KEY").startswith(f"User:{hash_of('alice')}\n")
    assert run("a:b", "--field", "context.x", "--key", "env:AUDIT_KEY") == f"{hash_of('a:b', 'resource')}\n"


def test_the_command_complains_in_one_line_and_teaches() -> None:
    """A wrong field, a missing key; the help has every way to ask."""
    for arguments, says in (
        (["alice", "--key", "env:NO_SUCH_KEY"], "no such variable"),
        (["alice", "--key", KEY], "env:NAME"),
        (["alice", "--key", "env:AUDIT_KEY", "--field", "principle"], "did you mean"),
        (["alice"], "--key"),
        (["alice", "--key", "env:AUDIT_KEY", "--sql", "--in", "."], "one of them"),
    ):
        done = CliRunner().invoke(command_line, ["hash", *arguments])
        assert done.exit_code == 2
        assert says in done.output
        assert KEY not in done.output
    assert "auditring hash alice --key env:AUDIT_KEY --in audit/ --since 2h" in run("--help")

"""Redaction as a host says it: how a policy reads, what is refused and why, and that it stays while a log is open."""

import json
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import ConfigError, Drop, Hash, Keep, Policy, Redact, Rule, Truncate, _core, query
from auditring.redaction import check_ring, same
from auditring.sinks import ParquetSink
from redacting import KEY, hashing


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key where the policies here look for it."""
    monkeypatch.setenv("AUDIT_KEY", KEY)


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

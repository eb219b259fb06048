"""What the review asked about *who*: authority, SASL and TLS, principals that change, who denied, who closed."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import auditring
from sealed_rows import rows_of


def test_sasl_that_is_terminated_differs_from_sasl_that_is_inspected(tmp_path: Path) -> None:
    """The same authentication is a decision where the proxy checks credentials, witnessed where it sees that done."""
    with auditring.open(tmp_path) as log:
        log.virtual_cluster_startup("own", "terminate", mechanism="SCRAM-SHA-256")
        log.virtual_cluster_startup("passed-on", "inspect")
        log.virtual_cluster_startup("open", "none")
        with log.session(virtual_cluster="own", authority="decision") as terminated:
            terminated.client_sasl_auth_success("alice", mechanism="SCRAM-SHA-256")
        with log.session(virtual_cluster="passed-on", authority="witness") as inspected:
            inspected.client_sasl_auth_success("alice", mechanism="SCRAM-SHA-256")
        log.virtual_cluster_shutdown("own")
    said = [(row["virtual_cluster"], row["authority"]) for row in rows_of(tmp_path, "ClientSaslAuthSuccess")]
    assert said == [("own", "decision"), ("passed-on", "witness")]
    how = {row["virtual_cluster"]: json.loads(row["context"]) for row in rows_of(tmp_path, "VirtualClusterStartup")}
    assert {name: context["authentication"] for name, context in how.items()} == {
        "own": "terminate",
        "passed-on": "inspect",
        "open": "none",
    }
    assert [row["virtual_cluster"] for row in rows_of(tmp_path, "VirtualClusterShutdown")] == ["own"]


def test_authentication_without_an_authority_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    """Nobody guesses whether the proxy decided: all four authentication events need it said, by session or call."""
    with auditring.open(tmp_path) as log, log.session() as session:
        before = log.stats().claimed
        for call in (
            session.client_sasl_auth_success,
            session.client_sasl_auth_failure,
            session.client_tls_auth_success,
            session.client_tls_auth_failure,
        ):
            with pytest.raises(ValueError, match="needs an authority"):
                call("alice")
        assert log.stats().claimed == before
        session.client_sasl_auth_failure("alice", authority="witness")
    assert [row["authority"] for row in rows_of(tmp_path, "ClientSaslAuthFailure")] == ["witness"]


def test_elsewhere_the_catalog_says_the_authority(tmp_path: Path) -> None:
    """An authorizer decides, what a server answered is witnessed; a call may say otherwise."""
    with auditring.open(tmp_path) as log, log.session() as session:
        session.operation_allowed("READ", "Topic", "orders")
        session.operation_denied("WRITE", "Topic", "orders")
        session.read("orders", 0)
        session.create_topics("new")
        session.create_topics("own", authority="decision")
    found = [(row["action"], row["authority"]) for row in rows_of(tmp_path) if row["authority"]]
    assert found == [
        ("OperationAllowed", "decision"),
        ("OperationDenied", "decision"),
        ("Read", "witness"),
        ("CreateTopics", "witness"),
        ("CreateTopics", "decision"),
    ]


def test_sasl_and_tls_authentication_may_both_happen_in_one_session(tmp_path: Path) -> None:
    """They are two facts: later rows have both principals, the first proof first; SASL again replaces SASL."""
    with auditring.open(tmp_path) as log, log.session(authority="decision") as session:
        session.read("t", 0)
        session.client_tls_auth_success("CN=alice", subject="CN=alice")
        session.read("t", 1)
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        session.read("t", 2)
        session.client_sasl_auth_success("bob", mechanism="PLAIN")
        session.read("t", 3)
    reads = [(row["principal"], row["principals"], row["mechanism"]) for row in rows_of(tmp_path, "Read")]
    assert reads == [
        (None, None, None),
        ("CN=alice", ["User:CN=alice"], "TLS"),
        ("CN=alice", ["User:CN=alice", "User:alice"], "PLAIN"),
        ("CN=alice", ["User:CN=alice", "User:bob"], "PLAIN"),
    ]
    proofs = rows_of(tmp_path, "ClientTlsAuthSuccess", "ClientSaslAuthSuccess")
    assert [(row["principal"], row["mechanism"]) for row in proofs] == [
        ("CN=alice", "TLS"),
        ("alice", "PLAIN"),
        ("bob", "PLAIN"),
    ]


def test_a_certificate_is_told_by_flat_keys(tmp_path: Path) -> None:
    """Subject, issuer, serial, subject alternative names and fingerprint, of a success and of a failure."""
    certificate: dict[str, Any] = {
        "subject": "CN=alice,O=Example",
        "issuer": "CN=Example CA",
        "serial": "4f:00:12",
        "san": "DNS:alice.example.com, IP:192.0.2.7",
        "sha256": "ab" * 32,
    }
    with auditring.open(tmp_path) as log, log.session(authority="decision") as session:
        session.client_tls_auth_failure(**certificate, status="CERTIFICATE_EXPIRED")
        session.client_tls_auth_success("CN=alice", **certificate)
    for row in rows_of(tmp_path, "ClientTlsAuthFailure", "ClientTlsAuthSuccess"):
        assert json.loads(row["context"]) == {f"tls.{name}": value for name, value in certificate.items()}
        assert row["mechanism"] == "TLS"


def test_a_failed_authentication_names_whom_it_claimed_if_that_is_known(tmp_path: Path) -> None:
    """The claim is `attempted_principal`, never `principal`, and leaves the session as it was."""
    with auditring.open(tmp_path) as log, log.session(authority="decision") as session:
        session.client_sasl_auth_failure("mallory", mechanism="PLAIN")
        session.client_sasl_auth_failure(mechanism="OAUTHBEARER")
        session.client_tls_auth_failure("CN=mallory")
        session.read("t", 0)
    failures = rows_of(tmp_path, "ClientSaslAuthFailure", "ClientTlsAuthFailure")
    assert [(row["attempted_principal"], row["status"]) for row in failures] == [
        ("mallory", "SaslAuthenticationFailed"),
        (None, "SaslAuthenticationFailed"),
        ("CN=mallory", "TlsAuthenticationFailed"),
    ]
    assert {(row["principal"], row["principals"]) for row in [*failures, *rows_of(tmp_path, "Read")]} == {(None, None)}


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns after microseconds, not milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_rows_before_and_after_a_change_of_principal_differ_and_none_is_mixed(tmp_path: Path) -> None:
    """While one thread authenticates again and again, each row of another has one principal with its own mechanism."""
    names = [f"user-{number}" for number in range(100)]
    with auditring.open(tmp_path) as log, log.session(authority="decision") as session:
        broker = session.broker("10.0.0.5:9092", node_id=5)
        session.client_sasl_auth_success(names[0], mechanism=f"M-{names[0]}")
        turn = threading.Semaphore(0)

        def read() -> None:
            for _ in names[1:]:
                assert turn.acquire(timeout=20)
                for _ in range(20):
                    session.read("t", 0)
                    broker.read("t", 0)

        reader = threading.Thread(target=read)
        reader.start()
        for name in names[1:]:
            turn.release()
            session.client_sasl_auth_success(name, mechanism=f"M-{name}")
        reader.join(20)
        session.read("t", 0)
        broker.read("t", 0)
    rows = rows_of(tmp_path, "Read", "ClientSaslAuthSuccess")
    assert len(rows) == len(names) + 2 * (20 * (len(names) - 1) + 1)
    for row in rows:
        assert (row["mechanism"], row["principals"]) == (f"M-{row['principal']}", [f"User:{row['principal']}"])
    # Of each handle, what comes later never has an earlier principal.
    for node in (None, 5):
        order = [names.index(row["principal"]) for row in rows if row["action"] == "Read" and row["node_id"] == node]
        assert order == sorted(order)
        assert order[-1] == len(names) - 1


def test_every_failure_and_denial_has_a_status(tmp_path: Path) -> None:
    """Of every action of a session: the one that was said, else the catalog's; a status alone means failure."""
    values: dict[str, Any] = {"str": "x", "int": 100}
    with auditring.open(tmp_path, request=auditring.Keep.ALL) as log, log.session(authority="decision") as session:
        for action in auditring._core.actions():  # noqa: SLF001 - the catalog
            if not action["session"]:
                continue
            call = getattr(session, action["method"])
            fields = {
                field["name"]: field["words"][0] if field["words"] else values[field["type"]]
                for field in action["fields"]
                if field["required"]
            }
            for outcome in ("failure", "denied"):
                if outcome in (action["outcomes"] or [outcome]):
                    call(**fields, outcome=outcome)
            if set(action["outcomes"]) & {"failure", "denied"} or not action["outcomes"]:
                call(**fields, status="SAID")
        session.emit("com.example.Thing", outcome="failure")
        session.emit("com.example.Thing", outcome="denied")
    rows = rows_of(tmp_path)
    assert {row["outcome"] for row in rows if row["status"] == "SAID"} == {"failure", "denied"}
    assert {row["action"] for row in rows if row["status"] == "SAID" and row["outcome"] == "denied"} == {
        "OperationDenied"
    }
    bad = [row for row in rows if row["outcome"] in {"failure", "denied"}]
    assert len(bad) > 70
    assert all(row["status"] for row in bad)
    assert all(row["status"] is None for row in rows if row["outcome"] not in {"failure", "denied"})


def test_a_brokers_refusal_differs_from_the_proxys_own(tmp_path: Path) -> None:
    """What the broker refused is a Write, denied, witnessed; what the proxy's authorizer refused is a decision."""
    with auditring.open(tmp_path) as log, log.session() as session:
        session.operation_denied("WRITE", "Topic", "salaries")
        session.operation_allowed("WRITE", "Topic", "orders")
        with session.broker("10.0.0.5:9092", node_id=5) as broker:
            broker.write("orders", 3, outcome="denied", status="TOPIC_AUTHORIZATION_FAILED")
            broker.write("orders", 3, outcome="forwarded")
    told = [
        (row["action"], row["outcome"], row["status"], row["authority"], row["node_id"])
        for row in rows_of(tmp_path, "OperationDenied", "OperationAllowed", "Write")
    ]
    assert told == [
        ("OperationDenied", "denied", "AuthorizationFailed", "decision", None),
        ("OperationAllowed", "allowed", None, "decision", None),
        ("Write", "denied", "TOPIC_AUTHORIZATION_FAILED", "witness", 5),
        ("Write", "forwarded", None, "witness", 5),
    ]


def test_a_close_says_who_how_and_after_how_long(tmp_path: Path) -> None:
    """Client, proxy or broker; with a status where it was no orderly end; and the age of the connection."""
    with auditring.open(tmp_path) as log:
        session = log.session(id="by-client")
        broker = session.broker("10.0.0.5:9092")
        broker.close(initiator="broker", status="EOF", reason="the broker went away")
        session.close(initiator="client")
        log.session(id="by-proxy").close(initiator="proxy", status="IDLE_TIMEOUT")
    accepted = {row["session"]: row["age_ns"] for row in rows_of(tmp_path, "ClientAccept")}
    closes = rows_of(tmp_path, "ClientClose", "BrokerClose")
    assert [(row["action"], row["initiator"], row["outcome"], row["status"], row["reason"]) for row in closes] == [
        ("BrokerClose", "broker", "failure", "EOF", "the broker went away"),
        ("ClientClose", "client", "success", None, None),
        ("ClientClose", "proxy", "failure", "IDLE_TIMEOUT", None),
    ]
    for row in closes:
        assert 0 < row["duration_ns"] <= row["age_ns"] - accepted[row["session"]] + 10**9


def test_what_is_open_at_shutdown_ends_with_it(tmp_path: Path) -> None:
    """A session that is open when the log closes, and its brokers before it, end with status ProxyShutdown."""
    log = auditring.open(tmp_path, balance=None)
    session = log.session(id="left-open")
    brokers = [session.broker(f"10.0.0.{node}:9092", node_id=node) for node in (1, 2)]
    brokers[0].close(initiator="client")
    log.close()
    assert session.closed
    assert all(broker.closed for broker in brokers)
    ends = [(row["action"], row["node_id"], row["initiator"], row["status"]) for row in rows_of(tmp_path)[-4:]]
    assert ends == [
        ("BrokerClose", 1, "client", None),
        ("BrokerClose", 2, "proxy", "ProxyShutdown"),
        ("ClientClose", None, "proxy", "ProxyShutdown"),
        ("ProxyCleanShutdown", None, None, None),
    ]

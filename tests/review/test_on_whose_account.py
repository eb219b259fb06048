"""What the review asked about *on whose account*: filters, the proxy itself, plugins, authorizers, taps, own events."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import questions
from auditring.query import connect
from auditring.sinks import JsonlSink, ParquetSink
from sealed_rows import lines_of, rows_of

RENAME = "com.example.filter.Rename"


def test_what_filter_or_proxy_start_never_looks_like_the_clients(tmp_path: Path) -> None:
    """With a client's request as cause the row names its session, without one none; the actor is never the client."""
    sinks = (ParquetSink(), JsonlSink())
    with auditring.open(tmp_path, sinks=sinks, request=auditring.Keep.ALL, balance=None) as log:
        with log.session(id="c-1", authority="witness") as session:
            session.client_sasl_auth_success("alice")
            session.request_inject("Metadata")
            session.request_inject("Metadata", filter=RENAME)
            log.write("internal", 0, filter=RENAME, cause=session)
            log.create_topics("internal", cause="c-1")
        log.write("internal", 0, filter=RENAME)
        log.request_inject("Metadata")
        log.emit("com.example.cache.Refreshed", filter=RENAME)
        log.emit("com.example.cache.Refreshed")
    own = [row for row in rows_of(tmp_path) if row["action"] not in {"ClientAccept", "ClientSaslAuthSuccess"}][1:-1]
    told = [
        (row["origin"], row["filter"], json.loads(row["context"] or "{}").get("causeSession"))
        for row in own
        if row["action"] != "ClientClose"
    ]
    assert told == [
        ("proxy", None, "c-1"),
        ("filter", RENAME, "c-1"),
        ("filter", RENAME, "c-1"),
        ("proxy", None, "c-1"),
        ("filter", RENAME, None),
        ("proxy", None, None),
        ("filter", RENAME, None),
        ("proxy", None, None),
    ]
    actors = {(line["origin"], line["actor"]["type"]) for line in lines_of(tmp_path)}
    assert actors == {("client", "Client"), ("proxy", "Proxy"), ("filter", RENAME)}


def test_a_plugins_events_name_it_and_the_request_that_was_the_cause(tmp_path: Path) -> None:
    """Filter, origin, tap and cause are stamped by the handle; what the session learns later is in its rows too."""
    with auditring.open(tmp_path) as log:
        with log.session(id="c-1") as session:
            plugin = session.plugin(filter=RENAME, namespace="com.example.kms", tap="inner")
            plugin.emit("com.example.kms.KeyUsed")
            session.update(client_id="late")
            plugin.emit("com.example.kms.KeyUsed")
        with pytest.raises(auditring.SessionClosed):
            plugin.emit("com.example.kms.KeyUsed")
        alone = log.plugin(filter=RENAME, namespace="com.example.kms", tap="inner")
        alone.emit("com.example.kms.KeyUsed")
        assert (plugin.filter, plugin.namespace, plugin.closed) == (RENAME, "com.example.kms", True)
        assert (alone.id, alone.closed) == (None, False)
    with pytest.raises(auditring.LogClosed):
        alone.emit("com.example.kms.KeyUsed")
    columns = ("origin", "filter", "tap", "session", "client_id")
    rows = rows_of(tmp_path, "com.example.kms.KeyUsed")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("filter", RENAME, "inner", "c-1", None),
        ("filter", RENAME, "inner", "c-1", "late"),
        ("filter", RENAME, "inner", None, None),
    ]
    causes = [json.loads(row["context"] or "{}").get("causeSession") for row in rows]
    assert causes == ["c-1", "c-1", None]


@pytest.mark.parametrize(
    "forge",
    [
        lambda plugin: plugin.emit("com.example.other.KeyUsed"),
        lambda plugin: plugin.emit("com.example.kmsx.KeyUsed"),
        lambda plugin: plugin.emit("Read"),
        lambda plugin: plugin.emit("auditring.EventsLost"),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", process="other"),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", session="other"),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", seq=1),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", time=1),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", origin="client"),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", filter="other"),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", context={"causeSession": "other"}),
        lambda plugin: plugin.emit("com.example.kms.KeyUsed", context={"auditring.cut": True}),
        lambda plugin: plugin.read("orders", 0),
        lambda plugin: plugin.operation_denied("READ", "Topic", "orders"),
    ],
)
def test_a_plugin_can_forge_nothing(tmp_path: Path, forge: Callable[[Any], object]) -> None:
    """No other namespace, no process, session, seq, time or cause, no action of the core; nothing is recorded."""
    with auditring.open(tmp_path, sinks=()) as log, log.session() as session:
        for plugin in (session, log):
            handle = plugin.plugin(filter=RENAME, namespace="com.example.kms")
            before = log.stats().offered
            with pytest.raises((TypeError, ValueError, AttributeError)):
                forge(handle)
            assert log.stats().offered == before


@pytest.mark.parametrize("namespace", ["", "auditring", "auditring.x", "Com.Example", "com..example", "com.example."])
def test_a_namespace_is_a_package_of_ones_own(namespace: str) -> None:
    """What could not begin an event's name, or is ours, is refused."""
    with auditring.open(None) as log, log.session() as session:
        for handle in (session, log):
            with pytest.raises(ValueError, match="namespace"):
                handle.plugin(filter=RENAME, namespace=namespace)


def test_the_same_denial_by_two_authorizers_is_the_same_row(tmp_path: Path) -> None:
    """Which implementation decided is in one column, and is all that differs: the attempt is the client's."""
    with auditring.open(tmp_path) as log, log.session(id="c-1", authority="decision") as session:
        session.client_sasl_auth_success("alice")
        for name in ("com.example.acl.AclAuthorizer", "org.example.opa.OpaAuthorizer"):
            authorizer = session.plugin(filter=name, namespace=name.rpartition(".")[0], authorizer=True)
            authorizer.operation_denied("WRITE", "Topic", "salaries")
            authorizer.emit(f"{name.rpartition('.')[0]}.RuleMatched")
            with pytest.raises(AttributeError):
                authorizer.read("orders", 0)  # type: ignore[attr-defined]
    one, two = rows_of(tmp_path, "OperationDenied")
    differs = {column for column in one if one[column] != two[column]}
    assert differs == {"time", "time_ns", "age_ns", "seq", "filter"}
    assert (one["origin"], one["principal"], one["authority"], one["status"]) == (
        "client",
        "alice",
        "decision",
        "AuthorizationFailed",
    )


def test_two_taps_around_a_renaming_filter_count_once(tmp_path: Path) -> None:
    """Both names are in the log; totals, metrics and saved questions count the primary tap's alone."""
    with auditring.open(tmp_path, primary_tap="client") as log, log.session(id="c-1", authority="witness") as session:
        session.client_sasl_auth_success("alice")
        inner = session.broker("10.0.0.5:9092")
        for offset in range(3):
            session.read("orders", 0, offset, offset, tap="client")
            inner.read("tenant-7.orders", 0, offset, offset, tap="broker")
        log.flush(30)
        actions = log.stats().actions
        samples = {
            sample.labels["action"]: sample.value
            for metric in log.collector().collect()
            for sample in metric.samples
            if sample.name == "auditring_events_total" and sample.labels.get("outcome") == "success"
        }
    assert actions["Read", "success"] == 3
    assert samples["Read"] == 3
    taps = {(row["tap"], row["resource"]) for row in rows_of(tmp_path, "Read")}
    assert taps == {("client", "orders"), ("broker", "tenant-7.orders")}
    with connect(tmp_path) as con:
        touched = questions.who_touched("orders").on(con)
        assert touched.aggregate("sum(events)").fetchall() == [(3,)]
        assert questions.who_touched("tenant-7.orders").on(con).fetchall() == []
        there = questions.who_touched("tenant-7.orders", questions.Bounds(tap="broker")).on(con)
        assert there.aggregate("sum(events)").fetchall() == [(3,)]


def test_a_plugin_declares_what_it_tells_once(tmp_path: Path) -> None:
    """Use of a KMS key: the same declaration twice is one event, and another one under its name is a conflict."""
    name = "com.example.kms.KeyUsed"
    with auditring.open(tmp_path) as log:
        key_used = log.declare(name, object_ref=("com.example.kek",), context=("alg",))
        again = log.declare(name, object_ref=["com.example.kek"], context=["alg"])
        for other in (
            {"object_ref": ("com.example.kek",)},
            {"object_ref": ("com.example.kek", "alg")},
            {"object_ref": ("com.example.kek",), "context": ("alg",), "outcome": "failure"},
        ):
            with pytest.raises(auditring.EventConflict, match=name):
                log.declare(name, **other)
        with log.session(id="c-1") as session:
            key_used(session, "kek-7", "AES")
            again(session, "kek-7", alg="AES")
            session.emit(name, object_ref={"com.example.kek": "kek-7"}, context={"alg": "AES"})
        log.flush(30)
        stats = log.stats()
    assert stats.actions[name, "success"] == 2
    rows = rows_of(tmp_path, name)
    assert len(rows) == 3
    for row in rows:
        assert json.loads(row["object_ref"]) == {"com.example.kek": "kek-7"}
        assert json.loads(row["context"]) == {"alg": "AES"}
        assert (row["category"], row["outcome"], row["session"]) == ("plugin", "success", "c-1")

"""A session's brokers: which rows they make, what they follow, how they end; and that nothing is left to the hand."""

import asyncio
import gc
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

import auditring
from auditring import _core
from sealed_rows import rows_of

ROOT = Path(__file__).parents[1]


def test_a_session_may_have_several_brokers_at_once(tmp_path: Path) -> None:
    """Each row says by which connection, beside all of the session's; an argument still wins."""
    with auditring.open(tmp_path) as log, log.session(id="c-1", virtual_cluster="payments") as session:
        one = session.broker("10.0.0.5:9092", node_id=5, local="10.0.0.9:40112", duration_ns=7)
        two = session.broker(("2001:db8::6", 9092), node_id=6, local=("2001:db8::9", 40113))
        bootstrap = session.broker("bootstrap")
        for broker in (one, two, bootstrap):
            broker.read("orders", 0)
        session.read("orders", 0)
        one.read("orders", 0, server="elsewhere:9092", node_id=9)
        assert (one.server, one.local, one.node_id, one.id) == ("10.0.0.5:9092", "10.0.0.9:40112", 5, "c-1")
        assert (bootstrap.server, bootstrap.local, bootstrap.node_id) == ("bootstrap", None, None)
    ends = [(row["server"], row["server_local"], row["node_id"]) for row in rows_of(tmp_path, "Read")]
    assert ends == [
        ("10.0.0.5:9092", "10.0.0.9:40112", 5),
        ("[2001:db8::6]:9092", "[2001:db8::9]:40113", 6),
        ("bootstrap", None, None),
        (None, None, None),
        ("elsewhere:9092", "10.0.0.9:40112", 9),
    ]
    assert {row["virtual_cluster"] for row in rows_of(tmp_path, "Read", "BrokerConnect", "BrokerClose")} == {"payments"}
    assert [row["duration_ns"] for row in rows_of(tmp_path, "BrokerConnect")] == [7, None, None]


def test_a_broker_follows_what_the_session_learns(tmp_path: Path) -> None:
    """Client id, principal and details that come later are in its later rows."""
    with auditring.open(tmp_path) as log, log.session(authority="decision") as session:
        broker = session.broker("10.0.0.5:9092", node_id=5)
        broker.read("t", 0)
        session.update(client_id="late", context={"detail": 1})
        broker.read("t", 1)
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        broker.read("t", 2)
    told = [(row["client_id"], row["principal"], row["mechanism"], row["node_id"]) for row in rows_of(tmp_path, "Read")]
    assert told == [(None, None, None, 5), ("late", None, None, 5), ("late", "alice", "PLAIN", 5)]


def test_a_broker_ends_before_its_session_and_once(tmp_path: Path) -> None:
    """By its own close, by `with`, by an exception, or by the session's end, whichever comes first."""
    with auditring.open(tmp_path) as log:
        session = log.session()
        closed = session.broker("closed:1")
        closed.close(initiator="broker")
        closed.close(initiator="client")
        with pytest.raises(KeyError), session.broker("raised:1"):
            raise KeyError
        with session.broker("left:1") as left:
            left.write("t", 0)
        still = session.broker("open:1")
        session.close(initiator="client", status="TIMEOUT")
        for broker in (closed, left, still):
            assert broker.closed
            with pytest.raises(auditring.SessionClosed, match=r"connection to \w+:1"):
                broker.read("t", 0)
            with pytest.raises(auditring.SessionClosed, match=r"connection to \w+:1"):
                broker.emit("com.example.X")
        with pytest.raises(auditring.SessionClosed):
            session.broker("late:1")
    closes = [
        (row["server"], row["initiator"], row["status"]) for row in rows_of(tmp_path, "BrokerClose", "ClientClose")
    ]
    assert closes == [
        ("closed:1", "broker", None),
        ("raised:1", None, "KeyError"),
        ("left:1", None, None),
        ("open:1", "proxy", "TIMEOUT"),
        (None, "client", "TIMEOUT"),
    ]


def test_a_connection_that_failed_is_a_row_and_no_connection(tmp_path: Path) -> None:
    """With a status `BrokerConnect` is a failure, the handle has ended, and no close follows."""
    with auditring.open(tmp_path) as log, log.session() as session:
        broker = session.broker("10.0.0.5:9092", status="ECONNREFUSED", reason="nobody listens", duration_ns=1000)
        assert broker.closed
        with pytest.raises(auditring.SessionClosed):
            broker.read("t", 0)
    told = [(row["action"], row["outcome"], row["status"], row["reason"]) for row in rows_of(tmp_path) if row["server"]]
    assert told == [("BrokerConnect", "failure", "ECONNREFUSED", "nobody listens")]


def test_a_broker_that_nobody_holds_ends_as_abandoned_and_keeps_its_session(tmp_path: Path) -> None:
    """A handle keeps the session; without any reference both end, the connection first."""
    with auditring.open(tmp_path, balance=None) as log:
        broker = log.session(id="c-1").broker("10.0.0.5:9092")
        gc.collect()
        broker.read("t", 0)
        del broker
        gc.collect()
    ends = [(row["action"], row["status"]) for row in rows_of(tmp_path)[-4:]]
    assert ends == [
        ("Read", None),
        ("BrokerClose", "BrokerAbandoned"),
        ("ClientClose", "SessionAbandoned"),
        ("ProxyCleanShutdown", None),
    ]


async def test_brokers_are_async_context_managers(tmp_path: Path) -> None:
    """`async with` closes; cancellation is no failure."""
    async with auditring.open(tmp_path) as log, log.session() as session:
        async with session.broker("one:1") as broker:
            broker.read("t", 0)

        async def held() -> None:
            async with session.broker("two:1"):
                await asyncio.Event().wait()

        task = asyncio.create_task(held())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(row["server"], row["status"]) for row in rows_of(tmp_path, "BrokerClose")] == [
        ("one:1", None),
        ("two:1", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        (("",), {}),
        ((7,), {}),
        (("a", "b"), {}),
        (("a",), {"node_id": "5"}),
        (("a",), {"node_id": 2**31}),
        (("a",), {"node_id": True}),
        (("a",), {"local": 5}),
        (("a",), {"unknown": 5}),
        (("a",), {"duration_ns": -1}),
        (("a",), {"status": 5}),
    ],
)
def test_a_mistake_opens_no_connection(tmp_path: Path, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """It raises, and nothing was offered."""
    with auditring.open(tmp_path, sinks=()) as log, log.session() as session:
        before = log.stats().offered
        with pytest.raises((TypeError, ValueError)):
            session.broker(*arguments, **keywords)
        assert log.stats().offered == before


GOOD: tuple[Literal["success", "allowed", "forwarded"], ...] = ("success", "allowed", "forwarded")


@pytest.mark.parametrize("action", [action for action in _core.actions() if action["session"]], ids=lambda a: a["name"])
def test_an_outcome_never_contradicts_its_action(tmp_path: Path, action: dict[str, Any]) -> None:
    """What a name says of the end no keyword can turn round, and a status belongs to failures and denials alone."""
    fields = {
        field["name"]: (field["words"] or ["x"])[0] if field["type"] == "str" else min(100, field["max"])
        for field in action["fields"]
        if field["required"]
    }
    fixed = action["outcomes"]
    with auditring.open(tmp_path, sinks=(), request=auditring.Keep.ALL) as log, log.session(authority="decision") as s:
        call = getattr(s, action["method"])
        before = log.stats().offered
        for outcome in (*GOOD, "failure", "denied"):
            if fixed and outcome not in fixed:
                with pytest.raises(ValueError, match=f"{action['name']} .*{' or '.join(fixed)}"):
                    call(**fields, outcome=outcome)
            if outcome in GOOD:
                with pytest.raises(ValueError, match=action["name"]):
                    call(**fields, outcome=outcome, status="SAID")
        if fixed and not {"failure", "denied"} & set(fixed):
            with pytest.raises(ValueError, match="a status without an outcome means failure"):
                call(**fields, status="SAID")
        assert log.stats().offered == before
        for outcome in fixed:
            call(**fields, outcome=outcome)
        assert log.stats().offered == before + len(fixed)
    told = {"ClientSaslAuthSuccess", "ClientSaslAuthFailure", "ClientTlsAuthSuccess", "ClientTlsAuthFailure"}
    assert bool(fixed) == (action["name"] in told | {"OperationAllowed", "OperationDenied"})


def test_a_status_of_a_declared_or_free_event_is_no_success(tmp_path: Path) -> None:
    """It is refused there too, before anything is recorded."""
    with auditring.open(tmp_path, sinks=()) as log, log.session() as session:
        event = log.declare("com.example.kms.KeyUsed")
        before = log.stats().offered
        for outcome in GOOD:
            with pytest.raises(ValueError, match="null status means success"):
                event(session, outcome=outcome, status="SAID")
            with pytest.raises(ValueError, match="null status means success"):
                session.emit("com.example.Thing", outcome=outcome, status="SAID")
        assert log.stats().offered == before


OWN = [
    (action, field)
    for action in _core.actions()
    if action["session"]
    for field in action["fields"]
    if field["target"] in {"object_ref", "context"}
]


@pytest.mark.parametrize(("action", "field"), OWN, ids=lambda one: one["name"])
def test_no_caller_replaces_the_events_own_evidence(
    tmp_path: Path, action: dict[str, Any], field: dict[str, Any]
) -> None:
    """A key that a field of the action has is refused in the caller's map, whether or not the field is given."""
    required = {
        one["name"]: (one["words"] or ["x"])[0] if one["type"] == "str" else min(100, one["max"])
        for one in action["fields"]
        if one["required"]
    }
    value = {"object_ref": "forged", "context": 200}[field["target"]]
    with auditring.open(tmp_path, sinks=(), request=auditring.Keep.ALL) as log, log.session(authority="decision") as s:
        before = log.stats().offered
        for given in (
            {},
            {field["name"]: (field["words"] or ["x"])[0] if field["type"] == "str" else min(500, field["max"])},
        ):
            with pytest.raises(ValueError, match=re.escape(repr(field["key"]).strip("'"))):
                getattr(s, action["method"])(**{**required, **given}, **{field["target"]: {field["key"]: value}})
        assert log.stats().offered == before


def test_no_caller_replaces_a_declared_events_own_fields(tmp_path: Path) -> None:
    """As the catalog's; the same key in the other map is another one. The log's own events refuse it too."""
    with auditring.open(tmp_path) as log, log.session() as session:
        event = log.declare("com.example.kms.KeyUsed", object_ref=("com.example.kek",), context=("alg",))
        with pytest.raises(ValueError, match="alg"):
            event(session, "kek-7", "AES", context={"alg": "DES"})
        with pytest.raises(ValueError, match=r"com\.example\.kek"):
            event(session, object_ref={"com.example.kek": "kek-8"})
        event(session, "kek-7", "AES", context={"com.example.kek": "said"}, object_ref={"alg": "said"})
        with pytest.raises(ValueError, match="authentication"):
            log.virtual_cluster_startup("payments", "terminate", context={"authentication": "none"})
    (row,) = rows_of(tmp_path, "com.example.kms.KeyUsed")
    assert json.loads(row["context"]) == {"alg": "AES", "com.example.kek": "said"}
    assert json.loads(row["object_ref"]) == {"com.example.kek": "kek-7", "alg": "said"}


def test_a_closed_handle_raises_although_the_action_is_off(tmp_path: Path) -> None:
    """Nothing passes in silence: what is off is counted on an open handle, and raises on a closed one."""
    log = auditring.open(tmp_path, sinks=(), read=auditring.Keep.OFF)
    session = log.session(id="c-1")
    broker, left = session.broker("b:1"), log.session(id="c-2")
    calls: tuple[Any, ...] = (
        lambda s: s.read("t", 0),
        lambda s: s.read("t", partition=0),
        lambda s: s.request_ingress("Produce"),
    )
    before = log.stats().off
    for call in calls:
        call(session)
        call(broker)
    assert log.stats().off == before + 2 * len(calls)
    broker.close()
    for call in calls:
        with pytest.raises(auditring.SessionClosed, match="connection to b:1"):
            call(broker)
    session.close()
    for call in calls:
        with pytest.raises(auditring.SessionClosed, match="session c-1"):
            call(session)
    assert log.stats().off == before + 2 * len(calls)
    log.close()
    for call in calls:
        with pytest.raises(auditring.LogClosed):
            call(left)


def test_every_handle_of_a_closed_log_is_closed(tmp_path: Path) -> None:
    """Whether or not it was closed by itself, also the log's own plugin, and of a log that keeps nothing."""
    for root in (tmp_path, None):
        log = auditring.open(root, sinks=() if root else None)
        session = log.session()
        own = log.plugin(filter="f", namespace="com.example")
        handles: list[Any] = [session, session.broker("b:1"), session.plugin(filter="f", namespace="com.example"), own]
        assert [handle.closed for handle in handles] == [False] * 4
        log.close()
        assert [handle.closed for handle in handles] == [True] * 4


def test_a_logs_plugin_in_a_forked_child_says_what_to_do(tmp_path: Path) -> None:
    """The parent's handle is closed there and names `AuditLog.plugin`, whose new one records in the child's own log."""
    with auditring.open(tmp_path) as log:
        plugin = log.plugin(filter="com.example.F", namespace="com.example")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                try:
                    plugin.emit("com.example.Lost")
                except auditring.LogClosed as error:
                    os.write(writer, f"{plugin.closed} {error}".encode())
                log.plugin(filter="com.example.F", namespace="com.example").emit("com.example.Seen")
                log.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(writer)
        said = os.read(reader, 4096).decode()
        os.close(reader)
        assert not plugin.closed
        plugin.emit("com.example.Seen")
    assert re.fullmatch(r"True plugin com\.example\.F .* AuditLog\.plugin\(…\).*", said), said
    assert len({row["process"] for row in rows_of(tmp_path, "com.example.Seen")}) == 2


def test_a_log_that_keeps_nothing_has_every_handle() -> None:
    """`open(None)` takes all of the API, and counts what it took."""
    with auditring.open(None) as log:
        event = log.declare("com.example.kms.KeyUsed", context=("alg",))
        with log.session(authority="witness") as session, session.broker("10.0.0.5:9092") as broker:
            broker.read("t", 0)
            broker.create_topics("t")
            session.client_tls_auth_success("CN=alice")
            session.plugin(filter="com.example.F", namespace="com.example").emit("com.example.X")
            event(broker, "AES")
        log.virtual_cluster_startup("payments", "none")
        log.plugin(filter="com.example.F", namespace="com.example", authorizer=True).operation_allowed("R", "T", "t")
        # ClientAccept, BrokerConnect, six events and the plugin's, BrokerClose, ClientClose
        assert log.stats().off == 11


def test_a_log_that_is_full_refuses_a_connection_whole(tmp_path: Path) -> None:
    """Where the ring is full and says RAISE, a connection whose row was refused is none, and closes without one."""
    full = auditring.WhenFull(wait=0, then=auditring.Then.RAISE)
    with auditring.open(tmp_path, ring_bytes=1 << 20, when_full=full) as log:
        session = log.session()
        opened = refused = 0
        while not refused:
            for _ in range(2000):
                try:
                    session.broker("10.0.0.5:9092", status="X", reason="x" * 4000)
                    opened += 1
                except auditring.AuditUnavailable:
                    refused += 1
            assert opened < 10_000_000
        log.flush(60)
        assert log.stats().refused == refused
        assert log.stats().balanced
    assert len(rows_of(tmp_path, "BrokerConnect")) == opened
    assert rows_of(tmp_path, "BrokerClose") == []


HANDLES: dict[str, Any] = {"session": auditring.Session, "broker": auditring.Broker, "authorizer": auditring.Authorizer}


@pytest.mark.parametrize("handle", ["session", "broker", "authorizer", "log"])
def test_methods_are_what_the_catalog_says(handle: str) -> None:
    """Names, fields in their order, and docs; the common keywords by keyword alone; no action beyond the catalog's."""
    kind = HANDLES.get(handle, auditring.AuditLog)
    actions = {action["method"]: action for action in _core.actions() if action[handle]}
    assert actions
    for name, action in actions.items():
        method = getattr(kind, name)
        assert action["doc"] in method.__doc__
        parameters = inspect.signature(method).parameters.values()
        fields = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"]
        assert fields == [field["name"] for field in action["fields"]]
        keywords = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
        assert keywords[:7] == ["outcome", "status", "reason", "authority", "tap", "object_ref", "context"]
    others = {action["method"] for action in _core.actions() if action["method"]} - set(actions)
    # A plugin's or the log's `delete` is none of the session's.
    assert [name for name in others if hasattr(kind, name) and name != "emit"] == []


def test_what_is_made_from_the_catalog_is_what_it_says() -> None:
    """Stubs, the log's methods and the reference page; the same command that `make lint` runs."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

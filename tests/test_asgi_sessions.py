"""The middleware's sessions, the values off the wire, and the scopes that are no requests."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring.asgi import AuditMiddleware

pytest.importorskip("duckdb")
from auditring import query

if TYPE_CHECKING:
    from pathlib import Path

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Row = dict[str, Any]

PEER = ("192.0.2.7", 40_001)
PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


class Recording:
    """A log in a directory, and what is in it once it has closed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = auditring.open(directory)

    def rows(self, action: str = "HttpRequest") -> list[Row]:
        """All rows of an action, in order; ends the recording."""
        self.log.close()
        with query.connect(self.directory) as connection:
            result = connection.execute("SELECT * FROM events WHERE action = $1 ORDER BY seq", [action])
            names = [column[0] for column in result.description or ()]
            found = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        for row in found:
            row["context"] = json.loads(row["context"] or "{}")
        return found

    def row(self) -> Row:
        """The only request's."""
        (only,) = self.rows()
        return only


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Recording]:
    """A log of its own for each test."""
    recording = Recording(tmp_path / "audit")
    yield recording
    recording.log.close()


def http(path: str = "/v1/items", **more: object) -> Scope:
    """A request's scope as servers make it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"gateway")],
        "client": PEER,
        "server": ("192.0.2.1", 8000),
    }
    return {**scope, **more}


async def request(
    app: App, scope: Scope | None = None, *, told: tuple[Message, ...] = (), send: Send | None = None
) -> list[Message]:
    """Serves one request: `told` is what `receive` gives after the request itself. Returns what was sent."""
    sent: list[Message] = []
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}, *told])

    async def receive() -> Message:
        for message in messages:
            return message
        return {"type": "http.disconnect"}

    async def collect(message: Message) -> None:
        sent.append(message)

    await app(http() if scope is None else scope, receive, send or collect)
    return sent


def answering(status: int = 200, *parts: bytes) -> App:
    """An application that answers at once, in so many parts."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await send({"type": "http.response.start", "status": status, "headers": []})
        for part in parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": parts[-1] if parts else b""})

    return app


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    """Lets the event loop run until the condition holds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - conditions that have no event
            await asyncio.sleep(0.001)


# --- what comes off the wire ------------------------------------------------------------------------------------------

wire = st.text(st.characters(exclude_categories=()), max_size=60)


@given(st.lists(st.tuples(wire, wire, st.binary(max_size=40)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_off_the_wire_raises(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, str, bytes]]
) -> None:
    """Any path, method and header makes a row."""
    audit = Recording(tmp_path_factory.mktemp("wire"))
    app = AuditMiddleware(answering(), audit.log)

    async def all_of_them() -> None:
        for path, method, header in calls:
            headers = [(b"x-request-id", header), (b"traceparent", header)]
            await request(app, http(path, method=method, headers=headers))

    asyncio.run(all_of_them())
    assert len(calls) == len(audit.rows())


async def test_hostile_values_make_rows(audit: Recording) -> None:
    """Lone surrogates, NUL and a mebibyte of path are made safe and marked."""
    app = AuditMiddleware(answering(), audit.log)
    for path in ("/\ud800\udfff\ud800", "/a\0b", "/" + "x" * (1 << 20)):
        await request(app, http(path, headers=[(b"x-request-id", b"\xff" * (1 << 20))]))
    rows = audit.rows()
    assert len(rows) == 3
    assert all(row["resource"].startswith("/") for row in rows)


async def test_request_id_and_trace_id_are_context(audit: Recording) -> None:
    """The two headers by which rows are joined with other systems' logs."""
    headers = [(b"x-request-id", b"req-\xe4-7"), (b"traceparent", f"00-{PARENT}-00f067aa0ba902b7-01".encode())]
    await request(AuditMiddleware(answering(), audit.log), http(headers=headers))
    context = audit.row()["context"]
    assert context["http.request.id"].startswith("req-")
    assert context["trace_id"] == PARENT


async def test_the_nearest_proxy_s_headers_count(audit: Recording) -> None:
    """It adds its own behind those that the client made up."""
    headers = [
        (b"traceparent", b"made up"),
        (b"x-request-id", b"made up"),
        (b"traceparent", f"00-{PARENT}-00f067aa0ba902b7-01".encode()),
        (b"x-request-id", b"req-7"),
    ]
    await request(AuditMiddleware(answering(), audit.log), http(headers=headers))
    context = audit.row()["context"]
    assert (context["http.request.id"], context["trace_id"]) == ("req-7", PARENT)


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (f"00-{PARENT}-00f067aa0ba902b7-00", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01-what-the-future-brings", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01.what-the-future-brings", False),
        (f"00-{PARENT}-00f067aa0ba902b7-01-more", False),
        (f"ff-{PARENT}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT.upper()}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT}-{'0' * 16}-01", False),
        (f"00-{PARENT[1:]}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT}-00f067aa0ba902b7-0", False),
        (f"00-{PARENT}-00f067aa0ba902b7-01\n", False),
        ("", False),
    ],
)
async def test_only_a_valid_traceparent_is_believed(audit: Recording, header: str, valid: bool) -> None:  # noqa: FBT001
    """By the rules of W3C Trace Context, version 00 and later ones."""
    await request(AuditMiddleware(answering(), audit.log), http(headers=[(b"traceparent", header.encode())]))
    assert (PARENT if valid else None) == audit.row()["context"].get("trace_id")


@pytest.mark.parametrize(
    "headers",
    [
        None,
        (),
        ((b"x-request-id", b"req-7"), (b"traceparent", b"")),
        [[b"x-request-id", b"req-7"], [b"x-request-id", b""]],
        [
            (b"x-request-id", b"req-7"),
            "x-request-id",
            (b"x-request-id",),
            (b"x-request-id", 7),
            ("x-request-id", "8"),
            None,
        ],
        deque([(b"x-request-id", b"req-7")]),
        {b"x-request-id": b"req-7"}.items(),
        iter([(b"x-request-id", b"req-7")]),
        7,
    ],
    ids=["none", "empty", "tuples", "lists", "no pairs", "a sequence", "an iterable", "an iterator", "a number"],
)
async def test_headers_that_are_none_are_passed_over(audit: Recording, headers: object) -> None:
    """What a server puts there is no reason to fail."""
    await request(AuditMiddleware(answering(), audit.log), {**http(), "headers": headers})
    wanted = None if not headers or isinstance(headers, int | Iterator) else "req-7"
    assert audit.row()["context"].get("http.request.id") == wanted


async def test_headers_of_a_response_that_can_be_read_once_are_the_server_s(audit: Recording) -> None:
    """ASGI allows any iterable there."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append({**message, "headers": list(message.get("headers", ()))})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's form
        headers = iter([(b"content-length", b"2"), (b"x", b"y")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Message:
        raise AssertionError

    await AuditMiddleware(app, audit.log)(http(), receive, send)
    assert sent[0]["headers"] == [(b"content-length", b"2"), (b"x", b"y")]
    assert audit.row()["outcome"] == "success"


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_one_session_per_client_address_and_port(audit: Recording) -> None:
    """Requests from one connection share a session, those from another do not."""
    app = AuditMiddleware(answering(), audit.log)
    for client in (PEER, ("192.0.2.7", 40_002), PEER, list(PEER), None, None):
        await request(app, http(client=client))
    sessions = [row["session"] for row in audit.rows()]
    assert sessions[0] == sessions[2] == sessions[3]
    assert sessions[4] == sessions[5]
    assert len(set(sessions)) == 3 == len(audit.rows("ClientAccept")) == len(audit.rows("ClientClose"))


@pytest.mark.parametrize("client", [("testclient", 0), ("", 0), ("2001:db8::1", 443), ("\0", None), ("x", 70_000), ()])
async def test_odd_client_addresses_make_rows(audit: Recording, client: object) -> None:
    """What a server calls the client is no reason to fail."""
    await request(AuditMiddleware(answering(), audit.log), http(client=client, server=("/run/gateway.sock", None)))
    assert audit.row()["outcome"] == "success"


async def test_application_can_add_events_to_the_session(audit: Recording) -> None:
    """`scope["auditring.session"]` is the session of the client."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["auditring.session"].operation_denied("DELETE", "Item", "7")
        await answering(403)(scope, receive, send)

    await request(AuditMiddleware(app, audit.log))
    (denied,) = audit.rows("OperationDenied")
    assert audit.row()["session"] == denied["session"]


async def test_idle_session_ends(audit: Recording) -> None:
    """Nothing came for so long that the client is taken to have gone; who comes back has a new session."""
    app = AuditMiddleware(answering(), audit.log, idle=0.02)
    await request(app)
    await until(lambda: not app.open_sessions)
    await request(app)
    first, second = audit.rows()
    assert first["session"] != second["session"]
    assert first["session"] == audit.rows("ClientClose")[0]["session"]
    assert audit.rows("ClientClose")[0]["outcome"] == "success"


async def test_session_with_a_request_in_flight_is_not_idle(audit: Recording) -> None:
    """A response that takes longer than the idle time belongs to a session that is open to its end."""
    ticks = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until(lambda: ticks >= 3)
        await answering()(scope, receive, send)

    class Counting(AuditMiddleware):
        __slots__ = ()

        def _expire(self, now: int) -> None:
            nonlocal ticks
            ticks += 1
            super()._expire(now)

    await request(Counting(app, audit.log, idle=0.01))
    accepted, requested, closed = (audit.rows(a)[0]["seq"] for a in ("ClientAccept", "HttpRequest", "ClientClose"))
    assert accepted < requested < closed


async def test_sessions_are_bounded(audit: Recording) -> None:
    """When there are too many, the one that has been idle longest goes."""
    app = AuditMiddleware(answering(), audit.log, max_sessions=3)
    for port in (1, 2, 3, 1, 4, 1):
        await request(app, http(client=("192.0.2.7", port)))
        assert app.open_sessions <= 3
    assert [row["peer_port"] for row in audit.rows("ClientClose")[:1]] == [2]
    assert len(audit.rows("ClientAccept")) == 4


async def test_session_that_is_pushed_out_in_flight_ends_with_its_request(audit: Recording) -> None:
    """The bound holds, and no row falls outside its session."""
    middleware: AuditMiddleware

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/outer":
            await request(middleware, http("/inner", client=("192.0.2.8", 1)))
        await answering()(scope, receive, send)

    middleware = AuditMiddleware(app, audit.log, max_sessions=1)
    await request(middleware, http("/outer"))
    rows = {row["resource"]: row for row in audit.rows()}
    closed = {row["session"]: row["seq"] for row in audit.rows("ClientClose")}
    assert rows["/outer"]["seq"] < closed[rows["/outer"]["session"]]
    assert len(closed) == 2


async def test_close_ends_all_sessions(audit: Recording) -> None:
    """For servers without lifespan; twice is once."""
    app = AuditMiddleware(answering(), audit.log)
    await request(app)
    app.close()
    app.close()
    (closed,) = audit.rows("ClientClose")
    assert (closed["initiator"], closed["outcome"]) == ("proxy", "success")


@pytest.mark.parametrize("wrong", [{"idle": 0}, {"idle": -1.0}, {"idle": float("nan")}, {"max_sessions": 0}])
async def test_bounds_must_be_positive(audit: Recording, wrong: dict[str, Any]) -> None:
    """A bound that lets nothing live is a mistake."""
    with pytest.raises(ValueError, match="positive"):
        AuditMiddleware(answering(), audit.log, **wrong)


# --- other scopes -----------------------------------------------------------------------------------------------------


async def test_lifespan_passes_through_and_ends_the_sessions(audit: Recording) -> None:
    """When the server shuts down sessions end, before the application hears of it."""
    open_at_shutdown: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answering()(scope, receive, send)
            return
        for _ in range(2):
            message = await receive()
            open_at_shutdown.append(middleware.open_sessions)
            await send({"type": f"{message['type']}.complete"})

    middleware = AuditMiddleware(app, audit.log)
    await request(middleware)
    sent: list[Message] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    await middleware({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert open_at_shutdown == [1, 0]
    assert [(row["initiator"], row["outcome"]) for row in audit.rows("ClientClose")] == [("proxy", "success")]


async def test_unknown_scope_passes_through(audit: Recording) -> None:
    """What the middleware does not know it leaves alone."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, receive, send])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope = {"type": "tomorrow"}
    await AuditMiddleware(app, audit.log)(scope, receive, send)
    assert [scope, receive, send] == seen
    assert audit.rows() == []


async def converse(audit: Recording, conversation: list[Message], *, left: int | None = None) -> Row:
    """A WebSocket whose application sends `conversation` and then listens until the client leaves with code `left`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await receive()
        for message in conversation:
            await send(message)
        if left is not None:
            await receive()

    messages: Iterator[Message] = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": left}])

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        pass

    scope = {key: value for key, value in http("/v1/feed", type="websocket").items() if key != "method"}
    await AuditMiddleware(app, audit.log)(scope, receive, send)
    return audit.row()


ACCEPT: Message = {"type": "websocket.accept"}
TEXT: Message = {"type": "websocket.send", "text": "grün"}
BINARY: Message = {"type": "websocket.send", "bytes": b"123", "text": None}


@pytest.mark.parametrize(
    ("conversation", "left", "outcome", "status", "code", "size"),
    [
        ([ACCEPT, TEXT, BINARY], 1000, "success", None, 101, 8),
        ([ACCEPT, TEXT], 1001, "success", None, 101, 5),
        ([ACCEPT], 1006, "failure", "ClientDisconnected", 101, 0),
        ([ACCEPT], 1011, "failure", "WS_1011", 101, 0),
        ([ACCEPT, TEXT, {"type": "websocket.close"}], None, "success", None, 101, 5),
        ([ACCEPT, {"type": "websocket.close", "code": 1008}], None, "failure", "WS_1008", 101, 0),
        ([{"type": "websocket.close"}], None, "denied", "HTTP_403", 403, 0),
        ([], 1006, "failure", "ClientDisconnected", None, 0),
        ([ACCEPT], None, "failure", "IncompleteResponse", 101, 0),
    ],
)
async def test_websocket_is_one_row(
    audit: Recording,
    conversation: list[Message],
    left: int | None,
    outcome: str,
    status: str | None,
    code: int | None,
    size: int,
) -> None:
    """Written when the conversation ends, with how it ended."""
    row = await converse(audit, conversation, left=left)
    assert (row["operation"], row["resource"]) == ("WEBSOCKET", "/v1/feed")
    assert (outcome, status, size) == (row["outcome"], row["status"], row["bytes"])
    assert code == row["context"].get("http.response.status_code")


# --- when the log is not there ----------------------------------------------------------------------------------------


async def test_closed_log_does_not_hide_the_exception(audit: Recording) -> None:
    """The application's exception stays the one that the server sees; a note says that the row is missing."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/second":
            audit.log.close()
            raise ZeroDivisionError
        await answering()(scope, receive, send)

    middleware = AuditMiddleware(app, audit.log)
    await request(middleware, http("/first"))
    with pytest.raises(ZeroDivisionError) as caught:
        await request(middleware, http("/second"))
    assert [note.split(" (")[0] for note in caught.value.__notes__] == ["auditring: this request has no audit row"]
    assert [row["resource"] for row in audit.rows()] == ["/first"]


async def test_closed_log_is_said_to_the_server(audit: Recording) -> None:
    """A request that cannot be recorded is no silent one."""
    app = AuditMiddleware(answering(), audit.log)
    await request(app)
    audit.log.close()
    with pytest.raises(auditring.LogClosed):
        await request(app)
    app.close()


async def test_many_requests_at_once(audit: Recording) -> None:
    """Interleaved on one loop: every one has its own row."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    middleware = AuditMiddleware(app, audit.log)
    paths = [f"/v1/items/{number}" for number in range(300)]
    await asyncio.gather(
        *(request(middleware, http(path, client=("192.0.2.7", n % 7))) for n, path in enumerate(paths))
    )
    assert sorted((path, len(path)) for path in paths) == sorted(
        (row["resource"], row["bytes"]) for row in audit.rows()
    )

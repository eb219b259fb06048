"""The middleware's scopes that are no requests, and a log that is closed or busy meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import auditring
from asgi_calls import Message, Receive, Recording, Row, Scope, Send, answering, http, request
from auditring.asgi import AuditMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Recording]:
    """A log of its own for each test."""
    recording = Recording(tmp_path / "audit")
    yield recording
    recording.log.close()


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

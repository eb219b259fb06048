"""The middleware, one request at a time, by the rows that it leaves behind."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from asgi_calls import App, Message, Receive, Recording, Scope, Send, answering, http, request
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


def raising(error: BaseException, *first: Message) -> App:
    """An application that sends `first` and then raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        for message in first:
            await send(message)
        raise error

    return app


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PART: Message = {"type": "http.response.body", "body": b"12345", "more_body": True}
END: Message = {"type": "http.response.body", "body": b"678"}


# --- what a row says --------------------------------------------------------------------------------------------------


async def test_request_is_one_row(audit: Recording) -> None:
    """Who, what, on which route, from where, with what outcome, how much and for how long."""
    await request(AuditMiddleware(answering(200, b"123", b"45"), audit.log, virtual_cluster="shop"))
    row = audit.row()
    expected = {
        "action": "HttpRequest",
        "category": "data",
        "operation": "GET",
        "resource_type": "Route",
        "resource": "/v1/items",
        "outcome": "success",
        "status": None,
        "bytes": 5,
        "peer_ip": "192.0.2.7",
        "peer_port": 40_001,
        "virtual_cluster": "shop",
        "principal": None,
        "context": {"http.response.status_code": 200},
    }
    assert expected == {name: row[name] for name in expected}
    assert row["duration_ns"] > 0


async def test_query_string_is_never_in_the_row(audit: Recording) -> None:
    """Secrets live in query strings and headers; no column has them."""
    scope = http(query_string=b"token=s3cr3t", headers=[(b"authorization", b"Bearer s3cr3t"), (b"cookie", b"s3cr3t")])
    await request(AuditMiddleware(answering(), audit.log), scope)
    assert "s3cr3t" not in str(audit.row())


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("http://alice:s3cr3t@shop/v1/items", "http://shop/v1/items"),
        ("alice:s3cr3t@shop:443", "shop:443"),
        ("*", "*"),
        ("/v1/@alice:x@y", "/v1/@alice:x@y"),
    ],
)
async def test_password_in_absolute_target_is_left_out(audit: Recording, path: str, kept: str) -> None:
    """A forward proxy's target may name user and password; the rest of the target stays."""
    await request(AuditMiddleware(answering(), audit.log), http(path))
    assert kept == audit.row()["resource"]


@pytest.mark.parametrize(
    ("code", "outcome", "status"),
    [
        (101, "success", None),
        (204, "success", None),
        (302, "success", None),
        (400, "failure", "HTTP_400"),
        (401, "denied", "HTTP_401"),
        (403, "denied", "HTTP_403"),
        (404, "failure", "HTTP_404"),
        (418, "failure", "HTTP_418"),
        (503, "failure", "HTTP_503"),
        (799, "failure", "HTTP_799"),
        (HTTPStatus.FORBIDDEN, "denied", "HTTP_403"),
        (HTTPStatus.OK, "success", None),
    ],
)
async def test_status_code_makes_the_outcome(audit: Recording, code: int, outcome: str, status: str | None) -> None:
    """401 and 403 are refusals, everything else from 400 on is a failure."""
    await request(AuditMiddleware(answering(code), audit.log))
    row = audit.row()
    assert (outcome, status, int(code)) == (row["outcome"], row["status"], row["context"]["http.response.status_code"])


async def test_status_code_beyond_http_does_not_cost_the_row(audit: Recording) -> None:
    """A code that no server can send is a failure without a code."""
    await request(AuditMiddleware(answering(7), audit.log))
    row = audit.row()
    assert (row["outcome"], row["status"], row["context"]) == ("failure", "HTTP_7", {})


async def test_head_has_no_body(audit: Recording) -> None:
    """What an application gives as the body of a HEAD response is not sent."""
    await request(AuditMiddleware(answering(200, b"12345"), audit.log), http(method="HEAD"))
    assert audit.row()["bytes"] == 0


async def test_path_is_the_one_that_came_in(audit: Recording) -> None:
    """A router that cuts the path down for what it mounts does not cut it in the row."""

    async def mount(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(path="/items", root_path="/v1")
        await answering()(scope, receive, send)

    await request(AuditMiddleware(mount, audit.log))
    assert audit.row()["resource"] == "/v1/items"


# --- how a response can end -------------------------------------------------------------------------------------------


async def test_application_sees_and_sends_the_same_messages(audit: Recording) -> None:
    """Nothing is changed, held back or added on the way."""
    first: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        first.append(await receive())
        for message in (START, PART, END):
            await send(message)

    sent = await request(AuditMiddleware(app, audit.log))
    assert [id(START), id(PART), id(END)] == [id(message) for message in sent]
    assert first == [{"type": "http.request", "body": b"", "more_body": False}]


async def test_exception_passes_on_unchanged(audit: Recording) -> None:
    """The server sees the very exception, the row its name."""
    error = ZeroDivisionError("secret detail")
    with pytest.raises(ZeroDivisionError) as caught:
        await request(AuditMiddleware(raising(error), audit.log))
    assert caught.value is error
    row = audit.row()
    assert (row["outcome"], row["status"], row["context"]) == ("failure", "ZeroDivisionError", {})
    assert "secret" not in str(row)


async def test_exception_after_a_part_of_the_response(audit: Recording) -> None:
    """The row has what was sent until then."""
    with pytest.raises(KeyError):
        await request(AuditMiddleware(raising(KeyError("x"), START, PART), audit.log))
    row = audit.row()
    assert (row["outcome"], row["status"], row["bytes"]) == ("failure", "KeyError", 5)
    assert row["context"] == {"http.response.status_code": 200}


async def test_framework_that_answers_500_and_raises_is_named_by_the_exception(audit: Recording) -> None:
    """Starlette and its kin answer for the application first; the name says more than the code."""
    with pytest.raises(LookupError):
        await request(AuditMiddleware(raising(LookupError(), {**START, "status": 500}, END), audit.log))
    row = audit.row()
    assert (row["outcome"], row["status"], row["bytes"]) == ("failure", "LookupError", 3)
    assert row["context"] == {"http.response.status_code": 500}


async def test_exception_after_the_response_changes_nothing(audit: Recording) -> None:
    """A background task that fails later is no failure of the request."""
    with pytest.raises(OSError, match="disk"):
        await request(AuditMiddleware(raising(OSError("disk"), START, END), audit.log))
    assert (audit.row()["outcome"], audit.row()["bytes"]) == ("success", 3)


async def test_upstream_connection_error_is_no_disconnected_client(audit: Recording) -> None:
    """An `OSError` of the application's own has its own name."""
    with pytest.raises(ConnectionRefusedError):
        await request(AuditMiddleware(raising(ConnectionRefusedError()), audit.log))
    assert audit.row()["status"] == "ConnectionRefusedError"


@pytest.mark.parametrize("sent", [(), (START,), (START, PART)])
async def test_response_that_does_not_end(audit: Recording, sent: tuple[Message, ...]) -> None:
    """An application that returns too early has failed."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        for message in sent:
            await send(message)

    await request(AuditMiddleware(app, audit.log))
    assert (audit.row()["outcome"], audit.row()["status"]) == ("failure", "IncompleteResponse")


async def test_cancelled_request_has_a_row(audit: Recording) -> None:
    """A server may cancel the task of a request; the client got no answer."""
    started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(request(AuditMiddleware(app, audit.log)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (audit.row()["outcome"], audit.row()["status"]) == ("failure", "CancelledError")


async def test_client_that_left_is_known_from_receive(audit: Recording) -> None:
    """The application is told before the response has ended, and gives up."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await receive()
        await send(START)
        await send(PART)
        assert (await receive())["type"] == "http.disconnect"

    await request(AuditMiddleware(app, audit.log))
    row = audit.row()
    assert (row["outcome"], row["status"], row["bytes"]) == ("failure", "ClientDisconnected", 5)


async def test_client_that_left_is_known_from_send(audit: Recording) -> None:
    """`send` raises `OSError` before the last part; what did not go out is not counted."""
    parts = (PART, {**PART, "body": b"gone"})

    async def send(message: Message) -> None:
        if message is parts[1]:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await request(AuditMiddleware(raising(AssertionError(), START, *parts, END), audit.log), send=send)
    row = audit.row()
    assert (row["outcome"], row["status"], row["bytes"]) == ("failure", "ClientDisconnected", 5)


async def test_the_row_is_there_before_the_client_has_its_answer(audit: Recording) -> None:
    """A server that is killed right behind the last part has told nobody what the log does not know."""
    offered = []

    async def send(_: Message) -> None:
        offered.append(audit.log.stats().offered)

    await request(AuditMiddleware(answering(200, b"1", b"2"), audit.log), send=send)
    # Beside the session's own: none when the response begins, none at its first part, one at its last.
    assert [count - offered[0] for count in offered] == [0, 0, 1]


async def test_application_that_writes_on_to_nobody_has_not_answered(audit: Recording) -> None:
    """Servers swallow what is sent after a disconnect; the row does not call it a success."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await receive()
        await receive()
        await send(START)
        await send(END)

    await request(AuditMiddleware(app, audit.log))
    assert audit.row()["status"] == "ClientDisconnected"


async def test_disconnect_after_the_response_is_the_usual_end(audit: Recording) -> None:
    """Every server says `http.disconnect` when all has been sent."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await receive()
        await send(START)
        await send(END)
        assert (await receive())["type"] == "http.disconnect"

    await request(AuditMiddleware(app, audit.log))
    assert audit.row()["outcome"] == "success"


async def test_response_whose_last_send_is_cancelled_has_ended(audit: Recording) -> None:
    """A framework that hears of the disconnect before `send` has returned cancels it; all has gone out."""

    async def send(message: Message) -> None:
        if message is END:
            await asyncio.Event().wait()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await receive()
        await send(START)
        last = asyncio.ensure_future(send(END))
        await asyncio.sleep(0)
        assert (await receive())["type"] == "http.disconnect"
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)

    await request(AuditMiddleware(app, audit.log), send=send)
    assert (audit.row()["outcome"], audit.row()["bytes"]) == ("success", 3)


async def test_failure_with_trailers_has_its_code(audit: Recording) -> None:
    """What comes after the body changes nothing."""
    trailers: Message = {"type": "http.response.trailers", "headers": []}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        for message in ({**START, "status": 503, "trailers": True}, END, trailers):
            await send(message)

    await request(AuditMiddleware(app, audit.log))
    assert (audit.row()["status"], audit.row()["bytes"]) == ("HTTP_503", 3)


async def test_refusal_cannot_be_hidden_by_hanging_up(audit: Recording) -> None:
    """Who is refused and leaves before the end was refused all the same."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await request(AuditMiddleware(answering(403, b"no"), audit.log), send=send)
    assert (audit.row()["outcome"], audit.row()["status"]) == ("denied", "HTTP_403")


# --- who asked --------------------------------------------------------------------------------------------------------


def user(**fields: object) -> SimpleNamespace:
    """A user as authentication leaves one in the scope."""
    return SimpleNamespace(is_authenticated=True, **fields)


@pytest.mark.parametrize(
    ("who", "principal"),
    [
        (user(display_name="alice", identity="7"), "alice"),
        (user(display_name="", identity="alice"), "alice"),
        (user(username="alice"), "alice"),
        (user(identity=7), "7"),
        (user(), None),
        (SimpleNamespace(is_authenticated=False, username="alice"), None),
        (SimpleNamespace(username="alice"), None),
        (SimpleNamespace(is_authenticated=lambda: False, username="alice"), None),
        (None, None),
    ],
)
async def test_principal_is_the_authenticated_user(audit: Recording, who: object, principal: str | None) -> None:
    """Put into the scope by inner middleware; nobody whom it does not call authenticated is named."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = who
        await answering()(scope, receive, send)

    await request(AuditMiddleware(app, audit.log))
    row = audit.row()
    assert principal == row["principal"]
    assert ([f"User:{principal}"] if principal else None) == (row["principals"] or None)


async def test_principal_by_callable(audit: Recording) -> None:
    """The host knows better."""
    await request(AuditMiddleware(answering(), audit.log, principal=lambda scope: f"{scope['client'][0]}-token"))
    assert audit.row()["principal"] == "192.0.2.7-token"


async def test_principal_callable_that_raises_costs_no_row(audit: Recording) -> None:
    """The request is served, and the row says what is missing and why."""

    def principal(scope: Scope) -> str:
        raise KeyError(scope["type"])

    assert [
        m["status"]
        for m in await request(AuditMiddleware(answering(), audit.log, principal=principal))
        if "status" in m
    ] == [200]
    row = audit.row()
    assert (row["principal"], row["outcome"], row["context"]["principal.error"]) == (None, "success", "KeyError")

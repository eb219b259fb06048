"""The middleware's sessions: whose they are, how many, and when they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from asgi_calls import PEER, Receive, Recording, Scope, Send, answering, http, request
from auditring.asgi import AuditMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Recording]:
    """A log of its own for each test."""
    recording = Recording(tmp_path / "audit")
    yield recording
    recording.log.close()


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    """Lets the event loop run until the condition holds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - conditions that have no event
            await asyncio.sleep(0.001)


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

"""`AuditMiddleware`: one `HttpRequest` row for every request that an ASGI application serves.

What must always hold:

- A request that came in ends in exactly one row: when what makes its response whole is handed to the server, or when
  the application returns, raises or is cancelled.
- Whoever has the whole of a response below 500 is in the log: the row comes first, so that a process that is killed in
  between has told nobody what nobody can read there. (Of a 5xx the row waits for the name of the exception.)
- The application sees the messages, and the server the exceptions, that they would see without the middleware.
- Of a request only method, path, `x-request-id`, `traceparent`, addresses and principal are read: never the query
  string, another header or a body. Whatever a client sends, it cannot make the row fail.
- The table of sessions is bounded, and no session with a request in flight is closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from heapq import nsmallest
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from auditring._core import content_length, request_ids
from auditring.exceptions import AuditError

if TYPE_CHECKING:
    from auditring._core import Session
    from auditring.log import AuditLog

__all__ = ["AuditMiddleware", "user_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Principal: TypeAlias = Callable[[Scope], str | None]

DISCONNECTED: Final = "ClientDisconnected"
INCOMPLETE: Final = "IncompleteResponse"

_DENIED: Final = frozenset({401, 403})
_BODILESS: Final = frozenset({204, 304})
_STATUS: Final = {code: f"HTTP_{code}" for code in range(400, 600)}
# WebSocket close codes of a conversation that ended as it should: normal, going away, no code given.
_ORDERLY: Final = frozenset({1000, 1001, 1005})
_ABNORMAL: Final = 1006
_USERINFO: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?[^/]*@", re.IGNORECASE)


def user_of(scope: Scope) -> str | None:
    """The default principal: `scope["user"]` as Starlette's `AuthenticationMiddleware` leaves it, if authenticated.

    The first of `display_name`, `identity` and `username` that is not empty.
    """
    user = scope.get("user")
    if user is None or getattr(user, "is_authenticated", None) is not True:
        return None
    for name in ("display_name", "identity", "username"):
        value = getattr(user, name, None)
        if value:
            return str(value)
    return None


class AuditMiddleware:
    """Audits the HTTP requests and WebSocket conversations of `app` in `log`.

    A request is a success below status 400, `denied` with 401 and 403 (status `HTTP_403`), and otherwise a failure:
    with status `HTTP_404`, with the name of the exception that the application raised, with `ClientDisconnected` if
    the client was gone before the response had ended, or with `IncompleteResponse` if the application returned before
    that. That a client has gone is known if the application was told (`http.disconnect`) or if `send` raised
    `OSError` before the last part; a server that swallows what is sent to nobody, to an application that does not
    listen, hides it, and so does one that fails over the last part: the row has said by then that it was answered.

    A WebSocket conversation is one `HttpRequest` with method `WEBSOCKET`, written when it ends.

    Requests from one client address and port belong to one session. ASGI does not tell when a connection ends, so a
    session ends (`ClientClose`) when nothing has come from there for `idle` seconds, when the server shuts down
    (lifespan), or when `max_sessions` are open and it is among the longest idle. The peer is `scope["client"]`: what
    the server says; forwarding headers are not looked at. `scope["auditring.session"]` lets the application add
    events of its own to the session, which it must not close.

    `principal` names who asked; it is called when the response ends, so that what inner middleware has put into the
    scope can be seen. If it raises, the row has no principal, and `principal.error` in its context.

    An instance serves one event loop. Where the log is told to raise when it is full, the middleware passes that on:
    before the application is called if the session is new, or else before the last part of the response goes out.
    """

    __slots__ = (
        "_loop",
        "_peers",
        "_sweep_due",
        "app",
        "idle_ns",
        "log",
        "max_sessions",
        "principal",
        "virtual_cluster",
    )

    def __init__(
        self,
        app: App,
        log: AuditLog,
        *,
        principal: Principal | None = None,
        virtual_cluster: str | None = None,
        idle: float = 300.0,
        max_sessions: int = 65_536,
    ) -> None:
        """Raises `ValueError` unless `idle` (seconds) and `max_sessions` are positive."""
        if not idle > 0 or max_sessions < 1:
            message = f"idle and max_sessions must be positive, not {idle!r} and {max_sessions!r}"
            raise ValueError(message)
        self.app = app
        self.log = log
        self.principal = user_of if principal is None else principal
        self.virtual_cluster = virtual_cluster
        self.idle_ns = int(idle * 1e9)
        self.max_sessions = max_sessions
        self._peers: dict[tuple[Any, ...] | None, _Peer] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep_due = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        kind = scope["type"]
        if kind != "http" and kind != "websocket":  # noqa: PLR1714 - a set would be slower, and this is every request
            await self.app(scope, self._until_shutdown(receive) if kind == "lifespan" else receive, send)
            return
        try:
            peer = self._peers.get(scope.get("client"))
        except TypeError:  # a server that gives a list
            peer = None
        if peer is None:
            peer = self._accept(scope)
        exchange = (_Http if kind == "http" else _Socket)(self, peer, scope, receive, send)
        peer.active += 1
        scope["auditring.session"] = peer.session
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.raised(error)
            raise
        else:
            if not exchange.written:
                exchange.returned()
        finally:
            peer.active -= 1
            if peer.evicted and not peer.active:
                peer.close()

    @property
    def open_sessions(self) -> int:
        """How many clients have a session now."""
        return len(self._peers)

    def close(self) -> None:
        """Ends all sessions; those with a request in flight end with it. For servers without lifespan. Idempotent."""
        self._evict(list(self._peers.items()), initiator="proxy")

    def _until_shutdown(self, receive: Receive) -> Receive:
        async def receive_until_shutdown() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # Before the application hears of it: it may close the log.
                self.close()
            return message

        return receive_until_shutdown

    def _accept(self, scope: Scope) -> _Peer:
        client = scope.get("client")
        key = None if client is None else tuple(client)
        peer = self._peers.get(key)
        if peer is not None:
            return peer
        if len(self._peers) >= self.max_sessions:
            # A sixteenth at once, so that a flood of new clients pays for the search only now and then.
            self._evict(nsmallest(self.max_sessions // 16 + 1, self._peers.items(), key=lambda item: item[1].rank()))
        self._plan_sweep()
        server = scope.get("server")
        session = self.log.session(peer=_address(key), local=_address(server), virtual_cluster=self.virtual_cluster)
        peer = self._peers[key] = _Peer(session)
        return peer

    def _plan_sweep(self) -> None:
        """Sees to it that idle sessions end: by a timer under asyncio, elsewhere when new clients come."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            now = perf_counter_ns()
            if now >= self._sweep_due:
                self._sweep_due = now + self.idle_ns // 4
                self._expire(now)
            return
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self.idle_ns / 4e9, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._peers:
            loop.call_later(self.idle_ns / 4e9, self._sweep, loop)
        elif self._loop is loop:
            self._loop = None
        self._expire(perf_counter_ns())

    def _expire(self, now: int) -> None:
        limit = now - self.idle_ns
        self._evict([item for item in self._peers.items() if not item[1].active and item[1].last <= limit])

    def _evict(self, items: list[tuple[tuple[Any, ...] | None, _Peer]], initiator: str | None = None) -> None:
        for key, peer in items:
            del self._peers[key]
            peer.evicted = True
            if not peer.active:
                peer.close(initiator)


class _Peer:
    """A client's session and the use it is in."""

    __slots__ = ("active", "evicted", "last", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.active = 0
        self.last = perf_counter_ns()
        self.evicted = False

    def rank(self) -> tuple[bool, int]:
        """The least is the first to go."""
        return self.active > 0, self.last

    def close(self, initiator: str | None = None) -> None:
        # The log, when it closes, ends what is open; that may have been before this.
        if not self.session.closed:
            self.session.close(initiator=initiator)


class _Exchange:
    """A request or conversation in flight: what its row will need, and the calls that the application gets."""

    __slots__ = (
        "code",
        "ended",
        "gone",
        "inner_receive",
        "inner_send",
        "method",
        "middleware",
        "path",
        "peer",
        "scope",
        "sent",
        "start",
        "whole",
        "written",
    )

    def __init__(self, middleware: AuditMiddleware, peer: _Peer, scope: Scope, receive: Receive, send: Send) -> None:
        self.start = perf_counter_ns()
        self.middleware = middleware
        self.peer = peer
        self.scope = scope
        # Read now: a router may cut the path down for the application that it hands over to.
        self.method = scope.get("method", "WEBSOCKET")
        self.path = scope["path"]
        self.inner_receive = receive
        self.inner_send = send
        self.code: int | None = None
        self.sent = 0
        self.whole: int | None = None  # so many bytes of the response's body make it whole, if that is known
        self.ended = False  # the last of the response has been handed to the server
        self.gone = False  # the client went away before that
        self.written = False

    def raised(self, error: BaseException) -> None:
        """Writes the row of an application that raised; its exception stays the one that the server sees."""
        if self.written:
            return
        try:
            self.write(DISCONNECTED if self.gone else type(error).__name__)
        except AuditError as refused:
            error.add_note(f"auditring: this request has no audit row ({type(refused).__name__})")

    def returned(self) -> None:
        """Writes the row of an application that returned and has no row yet."""
        self.write(DISCONNECTED if self.gone else None if self.ended else INCOMPLETE)

    def write(self, status: str | None = None) -> None:
        """Writes the row; `status` is what went wrong, if anything did but the status code."""
        self.written = True
        middleware = self.middleware
        peer = self.peer
        scope = self.scope
        peer.last = now = perf_counter_ns()
        context = None
        outcome: Literal["denied", "failure"] | None = None
        request_id, trace_id = request_ids(scope.get("headers"))
        try:
            principal = middleware.principal(scope)
        except Exception as error:  # noqa: BLE001 - the host's callable must not cost the row; the row says so
            principal = None
            context = {"principal.error": type(error).__name__}
        code = self.code
        if code is not None and (code >= 400 or code < 100):  # noqa: PLR2004 - HTTP's own classes
            outcome, status, code = _verdict(code, status)
        path = self.path
        if path[:1] != "/":
            # A proxy's absolute form, which may hold a password.
            path = _USERINFO.sub(r"\1", path)
        sent = 0 if self.method == "HEAD" else self.sent
        emit = peer.session.http_request
        took = now - self.start
        if status is None and context is None:
            # Positional all through: the fast call.
            emit(self.method, path, code, sent, took, principal, request_id, trace_id)
        else:
            emit(
                self.method,
                path,
                code,
                sent,
                took,
                principal,
                request_id,
                trace_id,
                outcome=outcome,
                status=status,
                context=context,
            )


class _Http(_Exchange):
    __slots__ = ()

    async def receive(self) -> Message:
        message = await self.inner_receive()
        # After the response servers tell this to all, and some before the `send` of its last part has returned.
        if message["type"] == "http.disconnect" and not self.ended:
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        code = self.code
        size = 0
        last = False
        if kind == "http.response.body":
            size = len(message.get("body", b""))
            last = not message.get("more_body")
        elif kind == "http.response.start":
            code = int(message["status"])
            # A client waits for no body here, whatever the headers say.
            bodiless = code in _BODILESS or self.method == "HEAD"
            self.whole = 0 if bodiless else content_length(message.get("headers"))
        elif kind == "http.response.pathsend":
            last = True
        # Before it is known whether it goes out: what is told to `receive` meanwhile is about the end of the response,
        # and an application that has been told may cancel the rest of the call.
        self.sent += size
        self.ended |= last
        whole = last or self.whole == self.sent
        # A framework answers 500 for its application and then raises: wait for the name of the exception.
        if whole and not self.gone and not self.written and (code or 0) < 500:  # noqa: PLR2004 - a server's error
            self.code = code
            self.write()
        try:
            await self.inner_send(message)
        except Exception as error:
            self.sent -= size
            self.ended = False
            if isinstance(error, OSError):
                self.gone = True
            raise
        self.code = code


class _Socket(_Exchange):
    __slots__ = ()

    async def receive(self) -> Message:
        message = await self.inner_receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code", _ABNORMAL)
            self.end(DISCONNECTED if self.code is None or code == _ABNORMAL else _closing(code))
        return message

    async def send(self, message: Message) -> None:
        try:
            await self.inner_send(message)
        except OSError:
            self.gone = True
            raise
        kind = message["type"]
        if kind == "websocket.send":
            text = message.get("text")
            data = message.get("bytes") if text is None else text.encode("utf-8", "surrogatepass")
            self.sent += len(data or b"")
        elif kind == "websocket.accept":
            self.code = 101
        elif kind == "websocket.close":
            if self.code is None:
                self.code = 403  # what the server answers to a handshake that is closed
            self.end(_closing(message.get("code", 1000)) if self.code == 101 else None)  # noqa: PLR2004
        elif kind == "websocket.http.response.start":
            self.code = int(message["status"])
        elif kind == "websocket.http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body"):
                self.end(None)

    def end(self, status: str | None) -> None:
        self.ended = True
        if not self.written:
            self.write(status)


def _verdict(code: int, status: str | None) -> tuple[Literal["denied", "failure"], str, int | None]:
    """Outcome, status and code to record for a status code outside 100 … 399."""
    named = _STATUS.get(code) or f"HTTP_{code}"
    if code in _DENIED:
        # The refusal is the fact, however the connection went on: a client cannot hide it by hanging up.
        return "denied", named, code
    return "failure", status or named, code if 100 <= code <= 999 else None  # noqa: PLR2004 - three digits


def _closing(code: int) -> str | None:
    return None if code in _ORDERLY else f"WS_{code}"


def _address(address: Any) -> str | tuple[str, int] | None:  # noqa: ANN401 - what a server puts there
    """An address as `AuditLog.session` takes it; a Unix socket has a path and no port."""
    host, port = (*tuple(address or ()), None, None)[:2]
    if not host:
        return None
    if isinstance(port, int) and 0 <= port <= 65_535:  # noqa: PLR2004 - the range of a port
        return str(host), port
    return str(host)

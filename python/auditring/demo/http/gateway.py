"""A reverse proxy: knows its users by token, refuses what they may not do, passes on the rest.

It is an ASGI application like any other and knows nothing of auditing but that `scope["user"]` is where one looks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from auditring.asgi import Receive, Scope, Send

_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"host", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_JSON: Final = [(b"content-type", b"application/json")]


@dataclass(frozen=True, slots=True)
class User:
    """Who a token stands for, and the routes that are closed to them."""

    display_name: str
    closed: tuple[str, ...] = ()
    read_only: bool = False
    is_authenticated: bool = True

    def may(self, method: str, path: str) -> bool:
        """Whether the gateway passes such a request on."""
        # What an upstream makes of `..` is not what was looked at here.
        if ".." in path.split("/"):
            return False
        return not path.startswith(self.closed) and (method == "GET" or not self.read_only)


TOKENS: Final = {
    b"Bearer alice-1f8": User("alice", closed=("/v1/salaries",)),
    b"Bearer bob-77a": User("bob", closed=("/v1/salaries",), read_only=True),
    b"Bearer carol-c02": User("carol"),
}


class Gateway:
    """The proxy before `upstream`, a URL without a path."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            user = TOKENS.get(_header(scope["headers"], b"authorization"))
            if user is None:
                await _refuse(send, 401, b'{"error": "who are you?"}')
                return
            scope["user"] = user
            if not user.may(scope["method"], scope["path"]):
                await _refuse(send, 403, b'{"error": "not for you"}')
                return
            await self._forward(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with httpx.AsyncClient(base_url=self.upstream, timeout=10.0) as self._client:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._client is None:
            message = "the server must run the lifespan of the gateway"
            raise RuntimeError(message)
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        request = self._client.build_request(
            scope["method"],
            httpx.URL(raw_path=target),
            headers=[(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP],
            content=await _body(receive),
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError:
            await _refuse(send, 502, b'{"error": "nobody there"}')
            return
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            if b"content-length" in dict(headers):
                await send(
                    {"type": "http.response.body", "body": b"".join([part async for part in response.aiter_raw()])}
                )
            else:
                await _stream(response.aiter_raw(), receive, send)
        finally:
            await response.aclose()


async def _stream(parts: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Passes on a response that may never end, as long as the client is there."""
    gone = asyncio.ensure_future(receive())
    try:
        async for part in parts:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})
    finally:
        gone.cancel()


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _refuse(send: Send, status: int, body: bytes) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    for name, value in headers:
        if name == wanted:
            return value
    return b""

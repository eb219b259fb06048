"""A small HTTP gateway with an audit log: keys become names, the rest goes upstream.

    python examples/asgi_gateway.py DIRECTORY UPSTREAM [PORT]

    curl -H 'x-api-key: k-alice' localhost:8000/v1/items?secret=1
    auditring query DIRECTORY timeline

The gateway tells the middleware who asked by `scope["user"]`, as Starlette's authentication does; everything else in
the row (route, status, bytes, duration, peer) the middleware sees by itself. The query string it never reads.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from types import SimpleNamespace
from typing import Any

import httpx
import uvicorn

import auditring
from auditring.asgi import AuditMiddleware

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEYS = {b"k-alice": "alice", b"k-bob": "bob"}


class Gateway:
    """Lets in who has a key, and answers with what the upstream says."""

    def __init__(self, upstream: str) -> None:
        self._client = httpx.AsyncClient(base_url=upstream)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        name = KEYS.get(dict(scope["headers"]).get(b"x-api-key", b""))
        if name is None:
            await answer(send, 401, b"no key, no entry\n")
            return
        scope["user"] = SimpleNamespace(is_authenticated=True, display_name=name)
        url = httpx.URL(path=scope["path"], query=scope["query_string"] or None)
        try:
            response = await self._client.request(scope["method"], url, content=await body(receive))
        except httpx.TransportError:
            await answer(send, 502, b"nobody upstream\n")
        else:
            await answer(send, response.status_code, response.content)


async def body(receive: Receive) -> bytes:
    """The whole body of the request."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def answer(send: Send, status: int, content: bytes) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    _, directory, upstream, *port = sys.argv
    with auditring.open(directory, instance="gateway-1") as log:
        app = AuditMiddleware(Gateway(upstream), log, virtual_cluster="shop")
        uvicorn.run(app, port=int(port[0]) if port else 8000, lifespan="off")
        app.close()

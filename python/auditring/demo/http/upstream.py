"""The service behind the gateway: a small shop with a route for everything that a gateway must cope with."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditring.asgi import Receive, Scope, Send

STREAM_SECONDS = 30.0
"""How long `/v1/export` would go on; whoever asks for it is expected to leave before."""


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await _lifespan(scope, receive, send)
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    path = scope["path"]
    if path == "/v1/export":
        await _export(send)
    elif path == "/v1/broken":
        await _answer(send, 500, {"error": "out of order"})
    elif path.startswith(("/v1/items/", "/v1/orders", "/v1/salaries")):
        created = scope["method"] == "POST"
        await _answer(send, 201 if created else 200, {"path": path, "received": size, "items": list(range(20))})
    else:
        await _answer(send, 404, {"error": "no such thing"})


async def _answer(send: Send, status: int, content: object) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _export(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
    for number in range(int(STREAM_SECONDS / 0.02)):
        await send({"type": "http.response.body", "body": b"%d,row\n" % number * 64, "more_body": True})
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body"})


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        return
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})

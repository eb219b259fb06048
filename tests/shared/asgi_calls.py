"""Requests to an application of ASGI without a server, and the rows that they leave behind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import pytest

import auditring

# Whoever imports this is skipped with it.
pytest.importorskip("duckdb")
from auditring import query

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PEER", "App", "Message", "Receive", "Recording", "Row", "Scope", "Send", "answering", "http", "request"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Row = dict[str, Any]

PEER = ("192.0.2.7", 40_001)


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

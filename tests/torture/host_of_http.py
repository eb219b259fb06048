"""The host of `kills_http.py`: an application on uvicorn, behind `AuditMiddleware`.

    python host_of_http.py DIRECTORY FD NAME

It serves on the listening socket FD, which outlives it: whoever connects while it is dead waits for the next life.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn

import auditring
from auditring.asgi import AuditMiddleware, Receive, Scope, Send
from auditring.sinks import JsonlSink, ParquetSink


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the status and in the parts that the path says: their lengths, and `c` where they are chunks."""
    status, *parts = scope["path"][1:].split("/")
    await receive()
    lengths = [int(part) for part in parts if part != "c"]
    headers = [] if "c" in parts else [(b"content-length", b"%d" % sum(lengths))]
    start: dict[str, Any] = {"type": "http.response.start", "status": int(status), "headers": headers}
    await send(start)
    for number, length in enumerate(lengths, 1):
        await send({"type": "http.response.body", "body": b"x" * length, "more_body": number < len(lengths)})


def main() -> None:
    """Serves until it is killed."""
    directory, fd, name = sys.argv[1:]
    log = auditring.open(
        directory,
        instance=name,
        segment_age=0.2,
        ring_bytes=1 << 20,
        sinks=(ParquetSink(rotation=auditring.Rotation(rows=500, age=0.3)), JsonlSink()),
        when_full=auditring.WhenFull(wait=None),
    )
    config = uvicorn.Config(AuditMiddleware(app, log), log_level="error", access_log=False, lifespan="off")
    print("alive", flush=True)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(fd))])


if __name__ == "__main__":
    main()

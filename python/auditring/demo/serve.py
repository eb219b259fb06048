"""`python -m auditring.demo.serve`: a child of the demo, one uvicorn server on a socket that it inherits.

What must always hold: it ends when its standard input does, so it cannot outlive its parent, however that ended.
The gateway writes its log's balance to standard output, one JSON object a line, the last one after the log has closed.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

import auditring
from auditring.asgi import AuditMiddleware
from auditring.demo.gateway import Gateway
from auditring.demo.upstream import upstream

if TYPE_CHECKING:
    from auditring.asgi import App
    from auditring.log import AuditLog
    from auditring.stats import Stats

EVERY = 0.2
"""Seconds between two lines of the gateway's balance."""


def main() -> None:
    """Serves until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["upstream", "gateway"])
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--upstream", default="")
    parser.add_argument("--dir", default="")
    options = parser.parse_args()
    if options.what == "upstream":
        _serve(upstream, options.fd)
        return
    with auditring.open(options.dir, instance="demo-gateway") as log:
        over = threading.Event()
        reporter = threading.Thread(target=_report, args=(log, over), daemon=True)
        reporter.start()
        _serve(AuditMiddleware(Gateway(options.upstream), log, virtual_cluster="shop"), options.fd)
        over.set()
        reporter.join()
    _line(log)


def _serve(app: App, fd: int) -> None:
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    threading.Thread(target=_until_parent_ends, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=fd)])


def _until_parent_ends(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    server.should_exit = True


def _report(log: AuditLog, over: threading.Event) -> None:
    while not over.wait(EVERY):
        _line(log)


def _line(log: AuditLog) -> None:
    # A parent that has gone needs no telling; standard input ends this process.
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(balance(log.stats())) + "\n")
        sys.stdout.flush()


def balance(stats: Stats) -> dict[str, Any]:
    """The terms of the balance that the demo shows, in JSON's types."""
    terms = "offered claimed accepted torn off dropped refused born journaled in_ring".split()  # noqa: SIM905 - reads better
    return {
        **{term: getattr(stats, term) for term in terms},
        "lost": sum(stats.lost.values()),
        "sinks": {name: {"delivered": sink.delivered, "pending": sink.pending} for name, sink in stats.sinks.items()},
        "balanced": stats.balanced,
    }


if __name__ == "__main__":
    main()

"""`python -m auditring.demo.http.serve`: a child of the demo, one uvicorn server on a socket that it inherits.

What must always hold: it ends when its standard input does, so it cannot outlive its parent, however that ended.
The gateway writes its log's balance to standard output, one JSON object a line, the last one after the log has closed.
"""

from __future__ import annotations

import argparse
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

import auditring
from auditring.asgi import AuditMiddleware
from auditring.demo import balance
from auditring.demo.children import when_told
from auditring.demo.http.gateway import Gateway
from auditring.demo.http.upstream import upstream

if TYPE_CHECKING:
    from auditring.asgi import App
    from auditring.log import AuditLog


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
    balance.say(balance.of(log.stats()))


def _serve(app: App, fd: int) -> None:
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    when_told(lambda: setattr(server, "should_exit", True))
    server.run(sockets=[socket.socket(fileno=fd)])


def _report(log: AuditLog, over: threading.Event) -> None:
    while not over.wait(balance.EVERY):
        balance.say(balance.of(log.stats()))


if __name__ == "__main__":
    main()

"""The ASGI tax: what `AuditMiddleware` adds to the CPU time of a request.

    python benches/asgi_tax.py [--rounds 15] [--seconds 60] [--app proxy|hello] [--null] [--check]

A gateway on uvicorn before an upstream, each a process, and a client that costs little. The gateway listens on two
ports: what comes in on one goes through the middleware, what comes in on the other does not; all the rest is the same,
down to the memory that it lies in (two processes that run the same code differ by several percent). The client asks
both in turns, a few requests each, so that what else happens on the machine hits both alike.

A request's CPU time is that of the event loop's thread, in the middle half of the slices of a round (a process that
cuts in leaves cold caches behind, and the outer quarters measure that); to the audited ones is added what the log's
threads have used, less what they use idle while plain ones are served. The tax is the ratio of a round; its upper bound
is the one that the mean of so many rounds stays below with 95 % confidence (Student's t, on the logarithms). What it
costs to close the log is shown beside it: most is paid once per file, and a real file is longer than this minute.

With `--null` neither port is audited: how far from 0 % the noise of the machine gets alone. `--app hello` is the worst
case: an application that does nothing, so that there is nothing to be a small part of.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditring.asgi import App, Receive, Scope, Send

ALLOWED = 0.03
CONNECTIONS = 4
REQUEST = (
    b"GET /v1/items/%d?key=s3cr3t HTTP/1.1\r\nhost: gateway\r\nuser-agent: bench\r\naccept: */*\r\n"
    b"accept-encoding: gzip, deflate\r\nauthorization: Bearer alice-1f8\r\nx-request-id: req-%08d\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
)
WARM_UP = 300
IDLE = 2.0
"""Seconds in which one sees what the log's threads use when there is nothing to do."""
SLICE = 24
"""Requests to one port before it is the other's turn: short against what else the machine does."""


class Spent(NamedTuple):
    """CPU seconds of the gateway, so far."""

    loop: float
    """Of the event loop's thread."""
    rest: float
    """Of all other threads, which are the log's."""


@dataclass(frozen=True, slots=True)
class Tax:
    """What was measured; CPU in seconds."""

    app: str
    requests: int
    """To each of the two ports."""
    plain: float
    """CPU of a request."""
    audited: float
    threads: float
    """What of that the log's threads have used."""
    ratios: tuple[float, ...]
    closing: float
    """CPU of closing the log: draining, sealing the file."""

    @property
    def mean(self) -> float:
        """The tax as a share of the plain request."""
        return exp(fmean(map(log, self.ratios))) - 1

    @property
    def upper(self) -> float:
        """The upper 95 % bound of the tax."""
        logs = [log(ratio) for ratio in self.ratios]
        error = stdev(logs) / len(logs) ** 0.5
        return exp(fmean(logs) + student(0.95, len(logs) - 1) * error) - 1


def student(probability: float, freedom: int) -> float:
    """Quantile of Student's t (Abramowitz and Stegun 26.7.5), good to 0.1 % from ten degrees of freedom on."""
    z = NormalDist().inv_cdf(probability)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


class Server:
    """A child that serves one application on two ports."""

    def __init__(self, *options: str) -> None:
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
        self.ports = [listener.getsockname()[1] for listener in listeners]
        fds = [listener.fileno() for listener in listeners]
        self._process = subprocess.Popen(  # noqa: S603 - this file, by the interpreter that runs it
            [sys.executable, __file__, "--serve", *map(str, fds), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            text=True,
        )
        for listener in listeners:
            listener.close()

    def spent(self) -> Spent:
        """What it has used."""
        return Spent(*json.loads(self._ask("spent")))

    def close(self) -> float:
        """Shuts the server down and closes its log; returns the CPU that the log's closing took."""
        return float(self._ask("close"))

    def _ask(self, question: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its standard input ends the child.
        self._process.communicate(timeout=30)


class Clients:
    """A few connections to one port, which stay."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, requests: int) -> None:
        """Asks so often, one after the other on each connection; every answer must be a success."""
        numbers = iter(range(requests))

        async def one_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for number in numbers:
                writer.write(REQUEST % (number % 40, number))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
                await reader.readexactly(int(length))

        await asyncio.gather(*(one_connection(*connection) for connection in self._connections))

    async def __aenter__(self) -> Self:
        for _ in range(CONNECTIONS):
            self._connections.append(await asyncio.open_connection("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for _reader, writer in self._connections:
            writer.close()


async def measure(*, rounds: int = 15, seconds: float = 60.0, app: str = "proxy", null: bool = False) -> Tax:
    """Measures for about so many seconds. Asserts that every audited request has its row."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()), "audit")
        upstream = stack.enter_context(Server("--app", "upstream"))
        options = ("--app", app, "--upstream", f"http://127.0.0.1:{upstream.ports[0]}")
        gateway = stack.enter_context(Server(*options, *(() if null else ("--dir", str(directory)))))
        clients = [await stack.enter_async_context(Clients(port)) for port in gateway.ports]
        for client in clients:
            await client.ask(WARM_UP)
        start = time.perf_counter()
        for client in clients:
            await client.ask(WARM_UP)
        took = time.perf_counter() - start
        before = gateway.spent().rest
        await asyncio.sleep(IDLE)
        idle = (gateway.spent().rest - before) / IDLE
        slices = max(1, int(2 * WARM_UP / took * seconds / rounds / 4 / SLICE))
        spent = [await _round(gateway, clients, slices, idle) for _ in range(rounds)]
        requests = rounds * 2 * slices * SLICE
        closing = gateway.close()
        if not null:
            assert rows(directory) == requests + 2 * WARM_UP
        plain, audited, threads = (fmean(column) for column in zip(*spent, strict=True))
        return Tax(
            app=app,
            requests=requests,
            plain=plain,
            audited=audited + threads,
            threads=threads,
            ratios=tuple((audited + threads) / plain for plain, audited, threads in spent),
            closing=closing,
        )


async def _round(gateway: Server, clients: Sequence[Clients], slices: int, idle: float) -> tuple[float, float, float]:
    """CPU of a plain request and of an audited one in the loop, and in the log's threads; asked in turns, 0 1 1 0."""
    loop: tuple[list[float], list[float]] = [], []
    rest = 0.0
    for which in (0, 1, 1, 0) * slices:
        before, start = gateway.spent(), time.perf_counter()
        await clients[which].ask(SLICE)
        after = gateway.spent()
        if which == 0:
            rest -= idle * (time.perf_counter() - start)
        loop[which].append(after.loop - before.loop)
        rest += after.rest - before.rest
    plain, audited = (middle(of_slices) / SLICE for of_slices in loop)
    return plain, audited, rest / (2 * slices * SLICE)


def middle(values: Sequence[float]) -> float:
    """Mean of the middle half: what a slice costs that nobody has come in between."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return fmean(ordered[cut : len(ordered) - cut])


def rows(directory: Path) -> int:
    """Rows of requests in the files."""
    from auditring import query  # noqa: PLC0415 - DuckDB has no business in the servers

    with query.connect(directory) as connection:
        found = connection.execute("SELECT count(*) FROM events WHERE action = 'HttpRequest'").fetchone()
    return found[0] if found else 0


async def hello(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    """An application that does nothing."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


def serve(fds: Sequence[int], app: str, upstream: str, directory: str) -> None:
    """The child: serves until standard input ends, or says `close`; audits what comes in on the second port."""
    import uvicorn  # noqa: PLC0415 - the measuring process has no need of it

    import auditring  # noqa: PLC0415 - the same
    from auditring.asgi import AuditMiddleware  # noqa: PLC0415 - the same
    from auditring.demo.http.gateway import Gateway  # noqa: PLC0415 - the same
    from auditring.demo.http.upstream import upstream as shop  # noqa: PLC0415 - the same

    apps: dict[str, Any] = {"proxy": Gateway(upstream), "hello": hello, "upstream": shop}
    plain: App = apps[app]
    audit = auditring.open(directory) if directory else None
    audited = plain if audit is None else AuditMiddleware(plain, audit)
    listeners = [socket.socket(fileno=fd) for fd in fds]
    audited_port = listeners[1].getsockname()[1]

    async def by_port(scope: Scope, receive: Receive, send: Send) -> None:
        to_audited = scope["type"] == "http" and scope["server"][1] == audited_port
        await (audited if to_audited else plain)(scope, receive, send)

    config = uvicorn.Config(by_port, log_level="warning", access_log=False, timeout_keep_alive=120)
    server = uvicorn.Server(config)
    asked_to_close = threading.Event()
    loop_clock = time.pthread_getcpuclockid(threading.get_ident())

    def answer() -> None:
        for line in sys.stdin:
            if line == "close\n":
                asked_to_close.set()
                break
            loop = time.clock_gettime(loop_clock)
            print(json.dumps([loop, time.process_time() - loop - time.thread_time()]), flush=True)
        server.should_exit = True

    threading.Thread(target=answer, daemon=True).start()
    server.run(sockets=listeners)
    before = time.process_time()
    if audit is not None:
        audit.close()
    if asked_to_close.is_set():
        print(time.process_time() - before, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; with `--check` the exit status says whether the tax is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--app", choices=["proxy", "hello", "upstream"], default="proxy")
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    parser.add_argument("--dir", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve is not None:
        serve(options.serve, options.app, options.upstream, options.dir)
        return 0
    tax = asyncio.run(measure(rounds=options.rounds, seconds=options.seconds, app=options.app, null=options.null))
    if options.json:
        print(json.dumps({"app": tax.app, "plain": tax.plain, "mean": tax.mean, "upper": tax.upper}))
    else:
        print(f"CPU per request ({tax.app}, {tax.requests:,} requests each, {len(tax.ratios)} rounds)")
        print(f"  plain          {tax.plain * 1e6:8.1f} µs")
        print(f"  audited        {tax.audited * 1e6:8.1f} µs, {tax.threads * 1e6:.1f} µs of it the log's threads")
        print(f"  closing        {tax.closing * 1e3:8.1f} ms, once, {tax.requests:,} rows")
        print(f"  tax            {tax.mean:8.2%}")
        print(f"  upper 95 %     {tax.upper:8.2%}  (allowed: {ALLOWED:.0%})")
    return int(options.check and tax.upper > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())

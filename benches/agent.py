"""What sinks cost the workers that they run in, and what is left of it when an agent has them.

    python benches/agent.py [--rounds 8] [--seconds 4] [--events 10]

Two gunicorns with four uvicorn workers each serve the same application, which records some events for each request
beside those of the middleware. One drives a Parquet and a JSONL sink in each worker, the other leaves both to an agent.
Both run all the time, and the client asks them in turns, as fast as they answer, so that what else happens on the
machine hits both alike. On few processors the agent takes its share of the same ones, and the client, too: what the
agent spares a host with processors to spare is the CPU of the workers, and that is shown for itself.

At the end every request must have its rows, in both sinks, in both directories.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Self

from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKERS = 4
CONNECTIONS = 16
WARM_UP = 1.0
TICK = os.sysconf("SC_CLK_TCK")
APP = """
import os

import auditring
from auditring.asgi import AuditMiddleware
from auditring.sinks import JsonlSink, ParquetSink

apart = os.environ["AGENT"] == "1"
log = auditring.open(
    os.environ["AUDIT"],
    instance="web",
    sinks=() if apart else (ParquetSink(), JsonlSink()),
    agent_sinks=("parquet", "jsonl") if apart else (),
    balance=None,
)
EVENTS = range(int(os.environ["EVENTS"]))


async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await log.aclose()
        await send({"type": "lifespan.shutdown.complete"})
        return
    session = scope["auditring.session"]
    for number in EVENTS:
        session.read("orders", number, number, number)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


app = AuditMiddleware(answer, log)
"""


def cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that processes have used so far, theirs alone."""
    spent = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / TICK


class Server:
    """A gunicorn with its workers, and the agent beside it if it has one."""

    def __init__(self, folder: Path, *, agent: bool, events: int) -> None:
        self.audit = folder / "audit"
        self.requests = 0
        (folder / "served.py").write_text(APP, encoding="ascii")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        env = {**os.environ, "AUDIT": str(self.audit), "AGENT": str(int(agent)), "EVENTS": str(events)}
        command = ["-m", "gunicorn", "-w", str(WORKERS), "-k", "uvicorn_worker.UvicornWorker", "--log-level", "error"]
        self.master = subprocess.Popen(  # noqa: S603 - by the interpreter that runs it
            [sys.executable, *command, "-b", f"127.0.0.1:{self.port}", "served:app"], cwd=folder, env=env
        )
        self.agent: subprocess.Popen[bytes] | None = None
        if agent:
            options = ["agent", str(self.audit), "--sink", "parquet", "--sink", "jsonl", "--quiet"]
            self.agent = subprocess.Popen([sys.executable, "-m", "auditring", *options])  # noqa: S603 - see above

    def workers(self) -> list[int]:
        """Their process ids, once all of them have opened their logs."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text(encoding="ascii")
            journal = self.audit / "journal"
            if len(children.split()) == WORKERS and journal.is_dir() and len(list(journal.iterdir())) == WORKERS:
                return [int(pid) for pid in children.split()]
            time.sleep(0.05)
        raise TimeoutError("the workers have not come up")

    def close(self) -> None:
        """Ends gunicorn, then the agent once it has everything."""
        self.master.send_signal(signal.SIGTERM)
        self.master.wait(60)
        deadline = time.monotonic() + 60
        while self.agent is not None and any((self.audit / "journal").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if self.agent is not None:
            self.agent.terminate()
            assert self.agent.wait(60) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.master, self.agent):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)


async def ask(port: int, seconds: float) -> list[float]:
    """Asks on some connections, one request after the other on each; how long each answer took."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            writer.write(b"GET /v1/items/7 HTTP/1.1\r\nhost: gateway\r\nuser-agent: bench\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(2)
            took.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return took


@dataclass(slots=True)
class Seen:
    """One of the two, round by round."""

    rate: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)
    """Microseconds of CPU that a request takes of the workers."""
    agent: list[float] = field(default_factory=list)
    """The same of the agent, also while the other one is asked: what it has not caught up with is its own."""


def measure(*, rounds: int, seconds: float, events: int) -> dict[str, Seen]:
    """Both in turns: there and back."""
    with ExitStack() as stack:
        servers = {}
        for name, agent in (("in the workers", False), ("in an agent", True)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers[name] = stack.enter_context(Server(folder, agent=agent, events=events))
        pids = {name: server.workers() for name, server in servers.items()}
        seen = {name: Seen() for name in servers}
        for server in servers.values():
            server.requests += len(asyncio.run(ask(server.port, WARM_UP)))
        for number in range(rounds):
            for name, server in list(servers.items())[:: 1 if number % 2 == 0 else -1]:
                agents = [] if server.agent is None else [server.agent.pid]
                before, before_agent = cpu(pids[name]), cpu(agents)
                took = asyncio.run(ask(server.port, seconds))
                server.requests += len(took)
                one = seen[name]
                one.rate.append(len(took) / seconds)
                one.p99.append(quantiles(took, n=100)[98] * 1e3)
                one.worker.append((cpu(pids[name]) - before) / len(took) * 1e6)
                one.agent.append((cpu(agents) - before_agent) / len(took) * 1e6)
        for server in servers.values():
            server.close()
            check(server, events)
        return seen


def check(server: Server, events: int) -> None:
    """Each request has its rows, in both sinks."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - behind the clock

    files = server.audit.glob("events/*/*.parquet")
    reads = sum(pq.read_table(file, columns=["action"])["action"].to_pylist().count("Read") for file in files)
    lines = sum(file.read_bytes().count(b'"action":"Read"') for file in server.audit.glob("jsonl/*.jsonl"))
    assert reads == lines == server.requests * events, (reads, lines, server.requests * events)


def report(*, quick: bool = False, rounds: int = 8, seconds: float = 4.0, events: int = 10) -> Report:
    """The section of `make bench`."""
    seen = measure(rounds=3 if quick else rounds, seconds=1.5 if quick else seconds, events=events)
    rows = [
        [
            name,
            Spread.of(one.rate).text(0),
            Spread.of(one.p99).text(1),
            Spread.of(one.worker).text(0),
            Spread.of(one.agent).text(0) if any(one.agent) else "",
        ]
        for name, one in seen.items()
    ]
    inside, apart = seen.values()
    spared = [1 - b / a for a, b in zip(inside.worker, apart.worker, strict=True)]
    text = table(["sinks", "requests/s", "p99 ms", "CPU µs a request, workers", "agent"], rows)
    text += (
        f"\n\nFour uvicorn workers below gunicorn, {CONNECTIONS} connections, {events} events a request beside the "
        f"middleware's; Parquet and JSONL. An agent takes {Spread.of([100 * one for one in spared]).text(0)} % of the "
        "workers' CPU off them; median (quartiles)."
    )
    target = Target(
        "CPU that an agent takes off the workers", 100 * median(spared), 0.0, least=True, unit="%", digits=0
    )
    return Report(title="sinks in an agent", text=text, promises=[target])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--events", type=int, default=10)
    options = parser.parse_args()
    print(report(rounds=options.rounds, seconds=options.seconds, events=options.events).text)


if __name__ == "__main__":
    main()

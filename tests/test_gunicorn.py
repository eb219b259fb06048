"""gunicorn with four pre-forked uvicorn workers that audit into one directory, under load, while one is killed.

The application records an event of its own before it answers. So a request that a client has the answer to is one such
row, in whichever worker it was, also if that was killed between the answer and the middleware's own row.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from auditring.recovery import recover
from auditring.verify import check
from deadlines import until

APP = """
import os

import auditring
from auditring.asgi import AuditMiddleware

log = auditring.open(os.environ["AUDIT"], instance="web", balance=None)


async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        if os.environ["CLOSES"]:
            await log.aclose()
        await send({"type": "lifespan.shutdown.complete"})
        return
    number = int(scope["path"].rpartition("/")[2])
    scope["auditring.session"].write("answers", os.getpid(), number, number)
    body = b"%d" % os.getpid()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


app = AuditMiddleware(answer, log)
"""

WORKERS = 4
DEADLINE = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet lost."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass
class Load:
    """Clients that ask again and again, each on a connection of its own, and what they had an answer to."""

    url: str
    answered: list[int] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    """Who has answered."""
    asked: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Asks until it is stopped; where a worker has died, on a new connection."""
        while not self.stopping.is_set():
            with httpx.Client(timeout=DEADLINE, trust_env=False) as client, suppress(httpx.TransportError):
                for _ in range(50):
                    with self._lock:
                        number = self.asked
                        self.asked += 1
                    answer = client.get(f"{self.url}/items/{number}")
                    if answer.status_code == httpx.codes.OK:
                        self.answered.append(number)
                        self.workers.add(answer.text)
                    if self.stopping.is_set():
                        return

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Six clients at work."""
        threads = [threading.Thread(target=self.run) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join(DEADLINE)
                assert not thread.is_alive()

    def more(self, by: int) -> None:
        """Waits for so many more answers."""
        goal = len(self.answered) + by
        until(lambda: len(self.answered) >= goal, DEADLINE)


@pytest.mark.parametrize(("preload", "closes"), [(True, True), (False, False)], ids=["preload", "each-opens"])
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the workers")
def test_every_answer_of_four_workers_is_one_row(tmp_path: Path, *, preload: bool, closes: bool) -> None:
    """With a worker killed -9 and replaced under load, and the master ended by SIGTERM: each answer once, verified.

    uvicorn ends a worker by the signal that it was told to stop by, so no exit handler runs: an application that does
    not close its log when the server shuts down leaves it to the next opener, and nothing is lost by that.
    """
    (tmp_path / "app.py").write_text(APP)
    root, port = tmp_path / "audit", free_port()
    command = [sys.executable, "-m", "gunicorn", "app:app", "-w", str(WORKERS), "-k", "uvicorn_worker.UvicornWorker"]
    command += ["-b", f"127.0.0.1:{port}", "--graceful-timeout", "30", "--log-level", "warning"]
    command += ["--no-control-socket"] if "control_socket" in _settings() else []
    command += ["--preload"] if preload else []
    env = {**os.environ, "AUDIT": str(root), "CLOSES": "1" if closes else ""}
    load = Load(f"http://127.0.0.1:{port}")
    with (tmp_path / "errors").open("w+") as errors:
        with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=errors, stderr=errors) as master:
            try:
                until(lambda: len(children(master.pid)) == WORKERS, DEADLINE)
                with load.under_way():
                    load.more(200)
                    # Whom the kernel gives a connection to is its own affair: it takes as many as it takes.
                    until(lambda: len(load.workers) > 1, DEADLINE)
                    before = children(master.pid)
                    os.kill(before[0], signal.SIGKILL)
                    until(lambda: len(set(children(master.pid)) - set(before)) == 1, DEADLINE)
                    load.more(200)
                master.terminate()
                assert master.wait(DEADLINE) == 0, (tmp_path / "errors").read_text()
            finally:
                master.kill()
        errors.seek(0)
        assert "Traceback" not in errors.read()
    for result in recover(root):
        assert result.failed is None
        assert result.behind == ()
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    rows_of = Counter(row["first_offset"] for row in rows if row["action"] == "Write")
    assert max(rows_of.values()) == 1
    assert set(load.answered) <= set(rows_of)
    assert len(rows_of) <= load.asked
    workers = {row["process"]: row["partition"] for row in rows if row["action"] == "Write"}
    assert len(set(workers.values())) == len(workers) > 1
    # The middleware's own rows: what the killed worker had in flight, one for each client at most, has none.
    requests = Counter(row["object_ref"] for row in rows if row["action"] == "HttpRequest")
    assert sum(requests.values()) >= len(load.answered) - 6
    report = check(root)
    assert report.complete, report.findings
    # Who was killed, and nobody else where the application closes its log.
    recovered = [row for row in rows if row["action"] == "auditring.Recovered"]
    assert len(recovered) <= 1 or not closes


def _settings() -> set[str]:
    """What this gunicorn can be told."""
    from gunicorn.config import KNOWN_SETTINGS  # noqa: PLC0415 - only here

    return {setting.name for setting in KNOWN_SETTINGS}

"""Every example runs as its first lines say, and leaves the rows that it promises."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("duckdb")
from auditring import query

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
DEADLINE = 60


def run(name: str, *arguments: str) -> str:
    """What the example prints; it must end well and say nothing on standard error."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def counts(directory: Path, *columns: str) -> dict[tuple[object, ...], int]:
    """How many rows there are by the values of `columns`, those of the balance left out."""
    what = "FROM events WHERE NOT ends_with(action, 'Balance') GROUP BY ALL"
    with query.connect(directory) as connection:
        rows = connection.execute(f"SELECT {', '.join(columns)}, count(*) {what}").fetchall()
    return {row[:-1]: row[-1] for row in rows}


def test_every_example_has_a_test() -> None:
    """An example that nobody runs is one that does not work."""
    source = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source] == []


def test_minimal(tmp_path: Path) -> None:
    """Prints the rows of the session, who is alice after she has logged in."""
    lines = [line.split() for line in run("minimal.py", str(tmp_path / "audit")).splitlines()]
    assert ["alice", "OperationDenied", "denied", "salaries"] in lines
    assert ["alice", "com.example.kms.KeyUsed", "success", "-"] in lines
    assert lines[0][1] == "ProxyStartup"
    assert lines[-1][1] == "ProxyCleanShutdown"


def test_minimal_without_a_directory() -> None:
    """Leaves nothing behind."""
    assert "alice" in run("minimal.py")


def test_threads_and_asyncio(tmp_path: Path) -> None:
    """All that four threads and twenty tasks emitted is there, and the printed balance holds."""
    printed = run("threads_and_asyncio.py", str(tmp_path / "audit"))
    assert "≠" not in printed
    assert printed.count(" = ") >= 4
    actions = counts(tmp_path / "audit", "action")
    assert (actions["Read",], actions["Write",]) == (4_000, 20_000)


class Upstream(BaseHTTPRequestHandler):
    """Answers everything with its own path."""

    def do_GET(self) -> None:
        """Echoes."""
        self.send_response(404 if self.path.startswith("/nothing") else 200)
        self.send_header("content-length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    """The URL of a service that echoes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_asgi_gateway(tmp_path: Path, upstream: str) -> None:
    """Serves, refuses, and after Ctrl-C has a row for every request; secrets of the query string in none."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    command = [sys.executable, str(EXAMPLES / "asgi_gateway.py"), str(tmp_path / "audit"), upstream, "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}) as gateway:
        watchdog = threading.Timer(DEADLINE, gateway.kill)
        watchdog.start()
        assert gateway.stderr is not None
        port = next(found[1] for line in gateway.stderr if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        given = {"headers": {"x-api-key": "k-alice"}, "timeout": DEADLINE}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", **given) as alice:
            answers = [alice.get(path) for path in ("/v1/items?secret=s3cr3t", "/nothing", "/v1/orders")]
            answers.append(alice.get("/v1/items", headers={"x-api-key": "k-mallory"}))
        gateway.send_signal(signal.SIGINT)
        gateway.stderr.read()
        gateway.wait()
        watchdog.cancel()
    assert [answer.status_code for answer in answers] == [200, 404, 200, 401]
    assert answers[0].text == "/v1/items?secret=s3cr3t"
    # One, or more where the client was so slow that the server closed its connection, which is done after seconds.
    sessions = counts(tmp_path / "audit", "action")["ClientAccept",]
    assert counts(tmp_path / "audit", "principal", "resource", "outcome", "status") == {
        ("alice", "/v1/items", "success", None): 1,
        ("alice", "/nothing", "failure", "HTTP_404"): 1,
        ("alice", "/v1/orders", "success", None): 1,
        (None, "/v1/items", "denied", "HTTP_401"): 1,
        (None, None, "success", None): 2 + 2 * sessions,  # the process's first and last, each session's first and last
    }


def test_asgi_gateway_says_that_the_port_is_taken(tmp_path: Path, upstream: str) -> None:
    """Ends, and its log with it."""
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(EXAMPLES / "asgi_gateway.py"), str(tmp_path / "audit"), upstream, port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode != 0
    assert counts(tmp_path / "audit", "action")["ProxyCleanShutdown",] == 1

"""Lives of an HTTP server: real clients under load, and the server killed and started again in the same directory.

What is acknowledged is a request whose whole response a client has read: its row is there, once, by the request's id.
Of a request without a response there may be a row, and never two.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditring import query
from lives import PATIENCE, Found, judged, kill, kill_recoveries, recover_all, standings, until

if TYPE_CHECKING:
    import random

_HOST: Final = Path(__file__).with_name("host_of_http.py")
_ASKED: Final = (
    ("GET", "/200/2"),
    ("POST", "/200/2/c"),
    ("GET", "/200/1000/1000/0/c"),
    ("GET", "/200/5/5/0"),
    ("DELETE", "/204/0"),
    ("HEAD", "/200/7"),
    ("GET", "/200/0"),
    ("GET", "/403/3"),
    ("PUT", "/404/3/3/c"),
)
"""Responses that end with their last part, before it, and with their head."""


class Clients:
    """Threads with a connection each, one request after the other until they are told to stop."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.asked: list[set[str]] = []
        self.answered: list[set[str]] = []
        self._stop = threading.Event()
        self._port = port
        self._threads = []
        for number in range(rng.choice((1, 2, 4))):
            self.asked.append(set())
            self.answered.append(set())
            pause = rng.choice((0.0, 0.0, 0.002))
            # Some keep their connection, some make one for each request.
            thread = threading.Thread(target=self._run, args=(number, pause, rng.random() < 0.7))
            self._threads.append(thread)
            thread.start()

    def _run(self, number: int, pause: float, keep: bool) -> None:  # noqa: FBT001 - as a thread is told
        connection = self._connection()
        for count in itertools.count():
            if self._stop.wait(pause):
                break
            name = f"r-{number}-{count}"
            self.asked[number].add(name)
            try:
                method, path = _ASKED[count % len(_ASKED)]
                connection.request(method, path, headers={"x-request-id": name})
                response = connection.getresponse()
                response.read()
                # What reads until the connection ends cannot tell an end from a death.
                assert response.chunked or response.length == 0, vars(response)
            except (OSError, http.client.HTTPException):
                # Its connection died with the server.
                connection.close()
                connection = self._connection()
                continue
            self.answered[number].add(name)
            if not keep:
                connection.close()
                connection = self._connection()
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)

    def count(self) -> int:
        """Requests that were answered so far."""
        return sum(map(len, self.answered))

    def stop(self) -> None:
        """No request more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def one(rng: random.Random, folder: Path) -> Found:
    """One life of a directory, of several servers. Raises `AssertionError`."""
    path, found = folder / "audit", Found()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    listening.set_inheritable(True)
    servers: list[subprocess.Popen[str]] = []

    def serve() -> subprocess.Popen[str]:
        command = [sys.executable, str(_HOST), str(path), str(listening.fileno()), f"server-{len(servers)}"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[listening.fileno()])
        servers.append(server)
        return server

    clients = Clients(listening.getsockname()[1], rng)
    try:
        for _ in range(rng.choice((1, 2, 3))):
            server = serve()
            assert server.stdout is not None
            # Now and then it dies as it is born, and as it adopts the one before.
            if rng.random() < 0.15:
                time.sleep(rng.uniform(0.2, 0.6))
                found.kinds["servers killed in birth"] += 1
            else:
                assert server.stdout.readline() == "alive\n"
                # A machine may be slow to come to its load: then it lives a little longer.
                before = clients.count()
                until(lambda before=before: clients.count() > before + 20, lambda: "nothing is answered")
                time.sleep(rng.uniform(0, 0.5))
                found.kinds["servers killed under load"] += 1
            kill(server)
            server.stdout.close()
            found.kills += 1
        if path.exists() and rng.random() < 0.5:
            kill_recoveries(rng, path, found)
    finally:
        # Who waits for a server that will never come is told so.
        threading.Thread(target=_refuse, args=(listening,), daemon=True).start()
        clients.stop()
        listening.close()
    asked, answered = set().union(*clients.asked), set().union(*clients.answered)
    found.accepted += len(answered)
    if not (path / "journal").exists():
        assert not answered
        return found
    recover_all(rng, path, found)
    judged(path, found)
    standings(path)
    with query.connect(path) as con:
        rows = con.execute("SELECT context->>'http.request.id' FROM events WHERE action = 'HttpRequest'").fetchall()
    told = Counter(name for (name,) in rows)
    assert max(told.values(), default=1) == 1, f"twice: {[name for name, count in told.items() if count > 1]}"
    assert told.keys() <= asked, told.keys() - asked
    assert answered <= told.keys(), f"answered, and no row: {sorted(answered - told.keys())}"
    found.kinds["requests answered"] += len(answered)
    found.kinds["requests without an answer, with a row"] += len(told.keys() - answered)
    return found


def _refuse(listening: socket.socket) -> None:
    """Takes the connections that wait, and closes them, until the socket is closed."""
    listening.settimeout(0.05)
    while True:
        try:
            listening.accept()[0].close()
        except TimeoutError:
            continue
        except OSError:
            return

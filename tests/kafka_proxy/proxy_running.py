"""A proxy that runs while a test's clients use it, in front of librdkafka's mock cluster, and its audit afterwards."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import auditring
from auditring import Keep, query
from kafka_proxy import Proxy, load

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from concurrent.futures import Future
    from pathlib import Path

DEADLINE = 30
USERS = '[users]\nalice = "alice-pass"\nbob = "bob-pass"\n'


class Running:
    """A proxy on an event loop of its own."""

    def __init__(self, directory: Path, clusters: str, *, drain: int = 2) -> None:
        """`clusters` is the TOML of what is to be served; the users of `USERS` are in users.toml."""
        (directory / "users.toml").write_text(USERS)
        path = directory / "proxy.toml"
        path.write_text(f'drain = {drain}\n[log]\ndirectory = "audit"\nprimary_tap = "client"\n{clusters}')
        self.config = load(path)
        kept = self.config.log
        self.log = auditring.open(kept.directory, primary_tap=kept.primary_tap, request=Keep.ALL, balance=None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.proxy = Proxy(self.config, self.log)
        self.run(self.proxy.start())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Runs something on the proxy's loop."""
        return self.begin(what).result(DEADLINE)

    def begin(self, what: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begins something on the proxy's loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def client(self, name: str = "c", **more: Any) -> dict[str, Any]:
        """The configuration of a confluent-kafka client."""
        quick = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "log_level": 0}
        return {"bootstrap.servers": self.proxy.clusters[name].bootstrap, **quick, **more}

    def stop(self) -> None:
        """Stops proxy and log."""
        try:
            self.run(self.proxy.stop())
        finally:
            self.end()

    def end(self) -> None:
        """Ends the loop and the log; the proxy has stopped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.log.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the audit says after the end."""
        with query.connect(self.config.log.directory) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def running(directory: Path, clusters: str, *, drain: int = 2) -> Iterator[Running]:
    """The proxy, stopped at the end."""
    one = Running(directory, clusters, drain=drain)
    try:
        yield one
    finally:
        one.stop()


def login(name: str, password: str | None = None, mechanism: str = "SCRAM-SHA-256") -> dict[str, str]:
    """How a client logs in."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": name,
        "sasl.password": password or f"{name}-pass",
    }

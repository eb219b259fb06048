"""Where Prometheus comes to ask: an HTTP endpoint, or a file for node_exporter's textfile collector.

What must always hold: a scrape that fails says so, by its status or by a file that stays as it was; it never shows less
than there is. Nothing is written on standard output or error. Nobody is asked who they are, so by default the endpoint
is reached from this machine alone.
"""

import contextlib
import ipaddress
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final, Self, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.registry import Collector

from auditring.exceptions import AuditError, ConfigError

__all__ = ["Exposition", "address", "registry", "serve", "write_textfile"]

DEFAULT: Final = "127.0.0.1:9464"
_LOGGER: Final = logging.getLogger("auditring")
_PATIENCE: Final = 10.0
"""Seconds that a client may be silent for before it is let go."""
_QUIET: Final = 60.0
"""Seconds between two messages about scrapes that fail."""


def address(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; an IPv6 address stands in brackets. Raises `ConfigError`."""
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the last port
        raise ConfigError(f"listen: HOST:PORT, as in {DEFAULT} or [::1]:9464, not {listen!r}")
    if (":" in bare) != (host != bare):
        raise ConfigError(
            f"listen: an IPv6 address, and nothing else, stands in brackets, as in [::1]:9464, not {listen!r}"
        )
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def registry(collectors: Collector | Iterable[Collector]) -> CollectorRegistry:
    """A registry of these alone."""
    made = CollectorRegistry()
    for collector in collectors if isinstance(collectors, Iterable) else [collectors]:
        made.register(collector)
    return made


class _Handler(ServerHandler):
    """A scrape that fails is answered, and logged; never printed."""

    error_status = "503 Service Unavailable"
    error_headers: list[tuple[str, str]] = [("Content-Type", "text/plain; charset=utf-8")]  # noqa: RUF012 - as wsgiref has it
    error_body = b"the counters could not be read; the log of this process says why\n"
    http_version = "1.1"
    told: float | None = None

    def log_exception(self, exc_info: Any) -> None:  # noqa: ANN401 - wsgiref's signature
        """Says at most once a minute why a scrape failed."""
        now = time.monotonic()
        if _Handler.told is None or now - _Handler.told >= _QUIET:
            _Handler.told = now
            _LOGGER.error("a scrape failed: %s: %s", exc_info[0].__name__, exc_info[1])


class _Request(WSGIRequestHandler):
    """One connection, which may not stay silent."""

    timeout = _PATIENCE

    def handle(self) -> None:
        """One request."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:  # noqa: PLR2004 - as http.server has it
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
                return
            if not self.parse_request():
                return
            if self.command not in {"GET", "HEAD", "OPTIONS"}:
                self.send_error(405)
                return
            environ = self.get_environ()
            files = cast("IO[bytes]", self.rfile), cast("IO[bytes]", self.wfile)
            handler = _Handler(*files, self.get_stderr(), environ, multithread=True)
            handler.request_handler = self  # type: ignore[attr-defined]  # as wsgiref does
            app = self.server.get_app()  # type: ignore[attr-defined]  # of WSGIServer
            if app is not None:
                handler.run(app)
        except (OSError, ValueError):
            # Whoever asked has gone, or stays silent.
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - http.server's signature
        """A scrape is no news."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread a scrape, none of which keeps the interpreter from ending."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def server_bind(self) -> None:
        """Binds without asking a name server who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - socketserver's signature
        """Whoever asked has gone."""
        _LOGGER.debug("a scrape from %s ended early", client_address)


class Exposition:
    """An endpoint that is being served by a thread of its own."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="auditring-metrics", daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """Where it listens."""
        return self._server.server_name

    @property
    def port(self) -> int:
        """The port; of `:0` the one that the system chose."""
        return self._server.server_port

    def close(self) -> None:
        """Ends it. Twice is no error."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve(collectors: Collector | Iterable[Collector], listen: str = DEFAULT) -> Exposition:
    """Serves `/metrics` on `listen`, `HOST:PORT`, from a thread; Prometheus' text format, or OpenMetrics for who asks.

    The endpoint asks nobody who they are: on another address than this machine's own, whoever reaches it sees what the
    proxy's clients do, in numbers. Raises `ConfigError`, and `OSError` where the address is not to be had.
    """
    host, port = address(listen)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    kind = type("_Server", (_Server,), {"address_family": family})
    server: _Server = kind((host, port), _Request)
    server.set_app(make_wsgi_app(registry(collectors)))
    return Exposition(server)


def write_textfile(collectors: Collector | Iterable[Collector], path: str | os.PathLike[str]) -> None:
    """Replaces a file by one scrape, as a whole, so that who reads it never sees half of one.

    Everybody may read it, for node_exporter is somebody else. Raises `OSError`; the old file stays then.
    """
    text = generate_latest(registry(collectors))
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # What was left there goes by its name, so that nothing is written through another one.
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def keep_writing(
    collectors: Collector | Iterable[Collector],
    path: str | os.PathLike[str],
    every: float,
    *,
    stopping: threading.Event,
    failed: Callable[[Exception], None],
) -> None:
    """Writes the file again and again, until `stopping` is set; what fails is told of, and tried again."""
    while True:
        try:
            write_textfile(collectors, path)
        except (AuditError, OSError) as error:
            failed(error)
        if stopping.wait(every):
            return

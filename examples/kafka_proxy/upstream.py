"""The way to a virtual cluster's brokers: TLS, the proxy's own login, and what a broker speaks before a client may ask.

A client asks for ApiVersions before it logs in. For one that has proved nothing no connection is made on its behalf:
the proxy asks the broker itself and keeps the answer for a while.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kio.schema.errors import ErrorCode

from kafka_proxy import wire
from kafka_proxy.ends import EOF, End, ProtocolError, status_of
from kafka_proxy.sasl import log_in
from kafka_proxy.steps import Request
from kafka_proxy.tls import upstream_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    import auditring
    from kafka_proxy.config import Cluster
    from kafka_proxy.versions import Versions

    Target = tuple[str, int]

CONNECT_SECONDS: Final = 10.0
KEEP_SECONDS: Final = 30.0
OWN: Final = 1


class UnavailableError(ProtocolError):
    """A broker cannot be reached, or does not answer as one; `status` is what was wrong with it."""

    def __init__(self, status: str) -> None:
        super().__init__("BrokerUnavailable")
        self.status = status


@contextmanager
def _reaching() -> Iterator[None]:
    """What goes wrong here is the broker's doing, not the client's."""
    try:
        yield
    except UnavailableError:
        raise
    except EOFError as error:
        raise UnavailableError(EOF) from error
    except (OSError, ProtocolError) as error:  # a TimeoutError is an OSError
        raise UnavailableError(status_of(error)) from error


class Upstream:
    """Connects to brokers."""

    def __init__(self, config: Cluster, log: auditring.AuditLog, versions: Versions) -> None:
        self._tls = upstream_context(config.upstream_tls) if config.upstream_tls else None
        self._credentials = config.upstream_sasl
        self._log = log
        self._versions = versions
        self._known: dict[tuple[Target, int], tuple[float, wire.Codec, Any]] = {}

    async def connect(self, target: Target) -> End:
        """A connection that is ready for requests. Raises `UnavailableError`."""
        host, port = target
        loop = asyncio.get_running_loop()
        with _reaching():
            async with asyncio.timeout(CONNECT_SECONDS):
                name = host if self._tls else None
                _, broker = await loop.create_connection(End, host, port, ssl=self._tls, server_hostname=name)
                try:
                    if self._credentials:
                        await log_in(broker, self._credentials)
                except BaseException:
                    broker.transport.abort()
                    raise
        return broker

    async def api_versions(self, target: Target, asked: memoryview, session: auditring.Session) -> bytes:
        """The answer to an ApiVersions that came before the login: the broker's, less what the proxy cannot read.

        Raises `UnavailableError`, and `ProtocolError` for what is no such request.
        """
        version = int.from_bytes(asked[6:8])
        codec = wire.codec(wire.API_VERSIONS, wire.understood(wire.API_VERSIONS, version))
        correlation_id = wire.i32(asked, 8)
        if codec.version != version:
            refused = self._versions.request(Request(codec, correlation_id), None)
            return codec.answer(correlation_id, refused.body)
        until, codec, body = self._known.get((target, version), (0.0, codec, None))
        if until < monotonic():
            _, wanted = codec.request(asked)
            with _reaching():
                codec, body = await self._ask(target, codec, wanted, session)
            self._known[target, version] = monotonic() + KEEP_SECONDS, codec, body
        return codec.answer(correlation_id, self._versions.response(Request(codec, correlation_id), body))

    async def _ask(
        self, target: Target, codec: wire.Codec, body: Any, session: auditring.Session
    ) -> tuple[wire.Codec, Any]:
        """A broker's ApiVersions; where it does not know that version, its refusal."""
        broker = await self.connect(target)
        try:
            answer = await self._answer(broker, target, codec, body, session)
            if not wire.refused(codec, answer):
                return codec, codec.response(answer)[1]
            oldest = wire.codec(wire.API_VERSIONS, 0)
            answer = await self._answer(broker, target, oldest, oldest.request_type(), session)
            known = oldest.response(answer)[1]
            return oldest, replace(known, error_code=ErrorCode.unsupported_version)
        finally:
            broker.transport.close()

    async def _answer(
        self, broker: End, target: Target, codec: wire.Codec, body: Any, session: auditring.Session
    ) -> memoryview:
        frame = codec.ask(OWN, body)
        broker.transport.write(frame)
        server = "{}:{}".format(*target)
        self._log.request_inject(codec.name, codec.version, OWN, len(frame), server=server, cause=session)
        async with asyncio.timeout(CONNECT_SECONDS):
            return memoryview(await broker.frame())

"""SASL ends here: clients prove themselves to the proxy. And the proxy logs in at brokers that want it, as itself.

An unknown user and a wrong password get one and the same answer; the audit has whom the client claimed to be. What
must always hold: a login that was begun is one event, whether it succeeds, fails, is broken off or takes too long.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from kio.schema.errors import ErrorCode

from kafka_proxy import wire
from kafka_proxy.ends import EOF, ProtocolError, status_of
from kafka_proxy.scram import AuthenticationError, Client, Plain, Server
from kafka_proxy.steps import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import auditring
    from kafka_proxy.config import UpstreamSasl
    from kafka_proxy.ends import End
    from kafka_proxy.scram import Users
    from kafka_proxy.steps import Request

LOGIN_SECONDS: Final = 30.0
FAILED: Final = "SaslAuthenticationFailed"
ILLEGAL: Final = "IllegalSaslState"
UNSUPPORTED: Final = "UnsupportedSaslMechanism"


class Login:
    """One client's login: handshake, then the exchange of its mechanism; bare, without headers, after version 0."""

    def __init__(
        self,
        client: End,
        session: auditring.Session,
        mechanisms: Sequence[str],
        users: Users,
        api_versions: Callable[[memoryview], Awaitable[bytes]],
    ) -> None:
        """`api_versions` answers the one request that a client may send before it has logged in."""
        self._client = client
        self._session = session
        self._mechanisms = tuple(mechanisms)
        self._users = users
        self._api_versions = api_versions
        self._mechanism = ""
        self._claimed: str | None = None
        self.begun = False
        """The client has asked for a login, or for something that it may not have without one."""
        self._bare = False
        self._reply: Callable[[Any, str | None, bytes], None] = lambda *_: None

    async def run(self) -> str:
        """Whom the client has proved to be. Raises `ProtocolError`, `EOFError`."""
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                await self._handshake()
                name = await (self._plain() if self._mechanism == "PLAIN" else self._scram())
        except BaseException as error:
            status = self._status(error)
            if self.begun:
                self._session.client_sasl_auth_failure(
                    self._claimed, mechanism=self._mechanism or None, status=status, authority="decision"
                )
            if isinstance(error, AuthenticationError):
                self._reply(ErrorCode.sasl_authentication_failed, "Authentication failed", b"")
            if isinstance(error, (AuthenticationError, TimeoutError)):
                raise ProtocolError(status) from None
            raise
        self._session.client_sasl_auth_success(name, mechanism=self._mechanism, authority="decision")
        return name

    def _status(self, error: BaseException) -> str:
        """Why there is no login; whoever cancels it has either lost the client, or stops."""
        if isinstance(error, AuthenticationError):
            self._claimed = error.claimed or self._claimed
            return FAILED
        if isinstance(error, TimeoutError):
            return "LoginTimeout"
        if isinstance(error, (EOFError, asyncio.CancelledError)):
            lost = self._client.lost
            return (lost.result() or EOF) if lost.done() else "ProxyStopped"
        return status_of(error)

    async def _request(self, wanted: int) -> tuple[wire.Codec, int, Any]:
        """The next request, which has to be of that API: its codec, correlation id and body."""
        while True:
            frame = memoryview(await self._client.frame())
            key = int.from_bytes(frame[4:6])
            if key == wire.API_VERSIONS:
                self._client.transport.write(await self._api_versions(frame))
                continue
            self.begun = True
            if key != wanted:
                raise ProtocolError(ILLEGAL)
            codec = wire.codec(key, int.from_bytes(frame[6:8]))
            return codec, wire.i32(frame, 8), codec.request(frame)[1]

    async def _handshake(self) -> None:
        codec, correlation_id, body = await self._request(wire.SASL_HANDSHAKE)
        known = body.mechanism in self._mechanisms
        error = ErrorCode.none if known else ErrorCode.unsupported_sasl_mechanism
        answer = codec.response_type(error_code=error, mechanisms=self._mechanisms)
        self._client.transport.write(codec.answer(correlation_id, answer))
        self._mechanism = body.mechanism
        self._bare = codec.version == 0
        if not known:
            raise ProtocolError(UNSUPPORTED)

    async def _token(self) -> bytes:
        """What the client says next; `_reply` answers it."""
        if self._bare:
            frame = await self._client.frame()
            self._reply = self._bare_reply
            return frame[4:]
        codec, correlation_id, body = await self._request(wire.SASL_AUTHENTICATE)

        def reply(error: ErrorCode, text: str | None, token: bytes) -> None:
            more = {"session_lifetime": timedelta(0)} if codec.version else {}
            answer = codec.response_type(error_code=error, error_message=text, auth_bytes=token, **more)
            self._client.transport.write(codec.answer(correlation_id, answer))

        self._reply = reply
        return bytes(body.auth_bytes)

    def _bare_reply(self, error: ErrorCode, _: str | None, token: bytes) -> None:
        if error is ErrorCode.none:  # it has no place for an error; the close says it
            self._client.transport.write(len(token).to_bytes(4) + token)

    async def _plain(self) -> str:
        message = Plain.of(await self._token())
        self._claimed = message.name
        await self._users.plain(message)
        self._reply(ErrorCode.none, None, b"")
        return message.name

    async def _scram(self) -> str:
        server = Server(self._users)
        for step in (server.first, server.final):
            token = await self._token()  # by itself: it also says how to reply
            answer = step(token)
            self._claimed = server.name
            self._reply(ErrorCode.none, None, answer)
        return server.name


class LoggedIn:
    """The guard behind a login: nobody logs in a second time, least of all at the broker."""

    def wants_request(self, key: int, version: int) -> bool:
        """The requests of a login."""
        return key in {wire.SASL_HANDSHAKE, wire.SASL_AUTHENTICATE}

    def wants_response(self, key: int, version: int) -> bool:
        """None: there are none."""
        return False

    def request(self, request: Request, body: Any) -> Answer:
        """Refused, and nothing that a tap should take for the broker's business."""
        answer = request.codec.response_type
        if request.codec.key == wire.SASL_HANDSHAKE:
            return Answer(answer(error_code=ErrorCode.illegal_sasl_state), visible=False)
        text = "already authenticated"
        return Answer(
            answer(error_code=ErrorCode.illegal_sasl_state, error_message=text, auth_bytes=b""), visible=False
        )

    def response(self, request: Request, body: Any) -> Any:
        """There is none."""
        return body


async def log_in(broker: End, credentials: UpstreamSasl) -> None:
    """The proxy logs in at a broker. Raises `ProtocolError`, `EOFError`."""

    async def ask(key: int, body: Any) -> Any:
        codec = wire.codec(key, 1)
        broker.transport.write(codec.ask(0, body))
        answer = codec.response(memoryview(await broker.frame()))[1]
        if answer.error_code is not ErrorCode.none:
            raise ProtocolError("UpstreamAuthenticationFailed")
        return answer

    async def say(token: bytes) -> bytes:
        asked = wire.codec(wire.SASL_AUTHENTICATE, 1).request_type(auth_bytes=token)
        return bytes((await ask(wire.SASL_AUTHENTICATE, asked)).auth_bytes)

    mechanism = credentials.mechanism
    await ask(wire.SASL_HANDSHAKE, wire.codec(wire.SASL_HANDSHAKE, 1).request_type(mechanism=mechanism))
    if mechanism == "PLAIN":
        await say(f"\0{credentials.username}\0{credentials.password}".encode())
        return
    client = Client(credentials.username, credentials.password)
    try:
        challenge = await say(client.first())
        client.check(await say(await asyncio.to_thread(client.final, challenge)))
    except AuthenticationError:
        raise ProtocolError("UpstreamAuthenticationFailed") from None

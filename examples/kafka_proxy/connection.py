"""One client connection, from accept to close.

What must always hold: a session that was begun ends, and before it its broker connection, and before that its taps;
each close says who began it, and has a status only where something went wrong.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from auditring.exceptions import AuditError
from kafka_proxy.ends import End, ProtocolError, status_of
from kafka_proxy.sasl import Login
from kafka_proxy.tls import handshake

if TYPE_CHECKING:
    from collections.abc import Callable

    import auditring
    from kafka_proxy.cluster import VirtualCluster
    from kafka_proxy.ends import Receive
    from kafka_proxy.exchange import Exchange
    from kafka_proxy.gates import Gate
    from kafka_proxy.scram import Users
    from kafka_proxy.taps import TapLike

    Show = Callable[[bytes], None]

LOGIN_SECONDS: Final = 30.0
FLUSH_SECONDS: Final = 2.0
EXPECTED: Final = (OSError, EOFError, ProtocolError, AuditError)

Ending = tuple[str, str | None]
"""Who ended it, and the status where that was not as it should be."""


class Connection:
    """A client, its session, and the broker that it talks to."""

    def __init__(self, cluster: VirtualCluster, gate: Gate, client: End) -> None:
        self.cluster = cluster
        self.gate = gate
        self.client = client
        self.broker: End | None = None
        self.principal: str | None = None
        self.taps: dict[str, TapLike] = {}
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._exchange: Exchange | None = None
        self._draining = False

    async def run(self) -> None:
        """Serves the client until one side closes, or the proxy stops."""
        cluster, transport = self.cluster, self.client.transport
        session = cluster.log.session(
            peer=transport.get_extra_info("peername"),
            local=transport.get_extra_info("sockname"),
            virtual_cluster=cluster.name,
        )
        handle = None
        try:
            if cluster.tls:
                self.principal = await handshake(self.client, cluster.tls, session)
            self.client.lost.add_done_callback(lambda lost: self.end("client", lost.result()))
            if cluster.users:
                self.principal = await self._log_in(session, cluster.users)
            handle = await self._connect(session)
        except EXPECTED as error:
            self.end("proxy", status_of(error))
        if handle and self.broker:
            self.taps = cluster.taps.open(handle)
            self._relay(self.client, self.broker)
        initiator, status = await self._ended
        if self.broker:
            await self.broker.close(FLUSH_SECONDS)
        await self.client.close(FLUSH_SECONDS)
        for tap in self.taps.values():
            tap.close()
        if handle:
            handle.close(initiator=initiator, status=status)
        session.close(initiator=initiator, status=status)

    def end(self, initiator: str, status: str | None = None) -> None:
        """It is over; the first to say so is who began it."""
        if not self._ended.done():
            self._ended.set_result((initiator, status))

    def stop(self, drain: float) -> None:
        """The proxy stops: ends when nothing is in flight any more, after `drain` seconds at the latest."""
        self._draining = True
        self._end_if_idle()
        asyncio.get_running_loop().call_later(drain, self.end, "proxy", "DrainTimeout")

    def _end_if_idle(self) -> None:
        if self._exchange.idle if self._exchange else not any(tap.in_flight for tap in self.taps.values()):
            self.end("proxy")

    async def _log_in(self, session: auditring.Session, users: Users) -> str:
        upstream, target = self.cluster.upstream, self.gate.target
        login = Login(
            self.client,
            session,
            self.cluster.mechanisms,
            users,
            lambda asked: upstream.api_versions(target, asked, session),
        )
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                return await login.run()
        except TimeoutError as error:
            raise ProtocolError("LoginTimeout") from error

    async def _connect(self, session: auditring.Session) -> auditring.Broker:
        """The connection to the broker behind the gate."""
        target = self.gate.target
        began = perf_counter_ns()
        try:
            self.broker = await self.cluster.upstream.connect(target)
        except EXPECTED as error:
            session.broker(target, node_id=self.gate.node_id, status=status_of(error))
            raise ProtocolError("BrokerUnavailable") from error
        self.broker.lost.add_done_callback(lambda lost: self.end("broker", lost.result()))
        return session.broker(
            target,
            node_id=self.gate.node_id,
            local=self.broker.transport.get_extra_info("sockname"),
            duration_ns=perf_counter_ns() - began,
        )

    def _relay(self, client: End, broker: End) -> None:
        """From now on bytes go through both ways: as they come, or where something has to be seen by an exchange."""
        to_client, to_broker = client.transport.write, broker.transport.write
        if self.cluster.looks:
            self._exchange = self.cluster.exchange(self, to_client, to_broker)
            request, response = self._exchange.from_client, self._exchange.from_broker
        else:
            taps = self.taps.values()
            request = relay([tap.from_client for tap in taps], to_broker)
            response = relay([tap.from_broker for tap in taps], to_client)
        broker.start(self._guarded("broker", response), client)
        client.start(self._guarded("client", request), broker)

    def _guarded(self, side: str, receive: Receive) -> Receive:
        """Whatever goes wrong with what came from one side ends the connection, and has a status."""

        def guarded(data: bytes) -> None:
            if self._ended.done():
                return
            try:
                receive(data)
            except Exception as error:
                self.end("proxy", status_of(error))
                if not isinstance(error, EXPECTED):
                    raise
            if self._draining and side == "broker":
                self._end_if_idle()

        return guarded


def relay(shows: list[Show], write: Show) -> Receive:
    """Each chunk is shown to the taps first, then goes on: what has arrived is audited."""
    if len(shows) == 1:
        (show,) = shows

        def through_one(data: bytes) -> None:
            show(data)
            write(data)

        return through_one

    def through(data: bytes) -> None:
        for show in shows:
            show(data)
        write(data)

    return through

"""One client connection, from accept to close.

What must always hold: a session that was begun ends, and before it its broker connection, and before that its taps;
each close says who began it, and has a status only where something went wrong.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from auditring.exceptions import AuditError
from kafka_proxy.ends import EOF, End, ProtocolError, status_of
from kafka_proxy.probe import probe
from kafka_proxy.sasl import Login
from kafka_proxy.tls import handshake
from kafka_proxy.upstream import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import auditring
    from auditring.kafka import Tap
    from kafka_proxy.cluster import VirtualCluster
    from kafka_proxy.ends import Receive
    from kafka_proxy.exchange import Exchange
    from kafka_proxy.gates import Gate
    from kafka_proxy.scram import Users

    Show = Callable[[bytes], None]

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
        self.taps: dict[str, Tap] = {}
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._login: Login | None = None
        self._exchange: Exchange | None = None
        self._probe: asyncio.Task[None] | None = None
        self._draining = False

    async def run(self) -> None:
        """Serves the client until one side closes, or the proxy stops."""
        cluster, transport = self.cluster, self.client.transport
        session = cluster.log.session(
            peer=transport.get_extra_info("peername"),
            local=transport.get_extra_info("sockname"),
            virtual_cluster=cluster.name,
        )
        setup = asyncio.create_task(self._set_up(session))
        waiting: list[asyncio.Future[Any]] = [setup, self._ended]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        setup.cancel()  # where the client has gone or the proxy stops meanwhile; does nothing where it is done
        await asyncio.wait([setup])
        handle = None if setup.cancelled() else setup.result()
        initiator, status = await self._ended
        if self._probe:
            self._probe.cancel()
        if self.broker:
            await self.broker.close(FLUSH_SECONDS)
        await self.client.close(FLUSH_SECONDS)
        for tap in self.taps.values():
            tap.close()
        if handle:
            handle.close(initiator=initiator, status=status)
        session.close(initiator=initiator, status=status)

    async def _set_up(self, session: auditring.Session) -> auditring.Broker | None:
        """All that is to be done before the first byte of the client's reaches a broker; `None` if it failed."""
        cluster = self.cluster
        try:
            self.client.lost.add_done_callback(self._client_lost)
            if cluster.tls:
                self.principal = await handshake(self.client, cluster.tls, session)
            if cluster.users:
                await self._log_in(session, cluster.users)
            handle, broker = await self._connect(session)
            self.taps = cluster.taps.open(handle)
            self._relay(self.client, broker, session, handle)
        except Exception as error:  # noqa: BLE001 - it is not passed over, and at once, before the client can react
            self._went_wrong(error)
            return None
        return handle

    def _went_wrong(self, error: BaseException) -> None:
        """Ends the connection with a status; what nobody has thought of is also said aloud."""
        if self.client.lost.done():  # that came first, and `_client_lost` may not have been called yet
            self._client_lost(self.client.lost)
        self.end("proxy", status_of(error))
        if not isinstance(error, EXPECTED):
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "kafka_proxy: a connection failed", "exception": error})

    def end(self, initiator: str, status: str | None = None) -> None:
        """It is over; the first to say so is who began it."""
        if not self._ended.done():
            self._ended.set_result((initiator, status))

    def stop(self, drain: float) -> None:
        """The proxy stops: ends when nothing is in flight any more, after `drain` seconds at the latest."""
        self._draining = True
        self._end_if_idle()
        asyncio.get_running_loop().call_later(drain, self.end, "proxy", "DrainTimeout")

    @property
    def _idle(self) -> bool:
        """No request waits for its answer, as far as the exchange or, without one, the taps can tell."""
        return self._exchange.idle if self._exchange else not any(tap.in_flight for tap in self.taps.values())

    def _end_if_idle(self) -> None:
        if self._idle:
            self.end("proxy")

    def _client_lost(self, lost: asyncio.Future[str | None]) -> None:
        in_login = self._login is not None and (self._login.begun or self.client.half)
        half = in_login or (self._exchange is not None and self._exchange.half)
        self.end("client", lost.result() or (EOF if half else None))

    def _broker_lost(self, lost: asyncio.Future[str | None]) -> None:
        self.end("broker", lost.result() or (None if self._idle else EOF))

    async def _log_in(self, session: auditring.Session, users: Users) -> None:
        gate, upstream = self.gate, self.cluster.upstream

        async def api_versions(asked: memoryview) -> bytes:
            target = gate.target
            try:
                return await upstream.api_versions(target, asked, session)
            except UnavailableError as error:
                session.broker(target, node_id=gate.node_id, status=error.status)
                raise

        login = self._login = Login(
            self.client,
            session,
            self.cluster.mechanisms,
            users,
            api_versions,
        )
        self.principal = await login.run()
        self._login = None

    async def _connect(self, session: auditring.Session) -> tuple[auditring.Broker, End]:
        """The connection to the broker behind the gate."""
        target = self.gate.target
        began = perf_counter_ns()
        try:
            broker = self.broker = await self.cluster.upstream.connect(target)
        except UnavailableError as error:
            session.broker(target, node_id=self.gate.node_id, status=error.status)
            raise
        broker.lost.add_done_callback(self._broker_lost)
        local = broker.transport.get_extra_info("sockname")
        took = perf_counter_ns() - began
        return session.broker(target, node_id=self.gate.node_id, local=local, duration_ns=took), broker

    def _relay(self, client: End, broker: End, session: auditring.Session, handle: auditring.Broker) -> None:
        """From now on bytes go through both ways: as they come, or where something has to be seen by an exchange."""
        to_client, to_broker = client.transport.write, broker.transport.write
        if self.cluster.looks:
            exchange = self._exchange = self.cluster.exchange(self, session, handle, to_client, to_broker)
            request, response = exchange.from_client, exchange.from_broker
            if wanted := self.cluster.config.probe:
                self._probe = asyncio.create_task(probe(exchange, session, handle, wanted.interval))
                self._probe.add_done_callback(self._probed)
        else:
            taps = self.taps.values()
            request = relay([tap.from_client for tap in taps], to_broker)
            response = relay([tap.from_broker for tap in taps], to_client)
        broker.start(self._guarded("broker", response), client)
        client.start(self._guarded("client", request), broker)

    def _probed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._went_wrong(error)

    def _guarded(self, side: str, receive: Receive) -> Receive:
        """Whatever goes wrong with what came from one side ends the connection, and has a status."""

        def guarded(data: bytes) -> None:
            if self._ended.done():
                return
            try:
                receive(data)
            except Exception as error:  # noqa: BLE001 - it is not passed over
                self._went_wrong(error)
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

"""A virtual cluster: its gates, and the connections that came through them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Literal

from kafka_proxy.acl import Acl
from kafka_proxy.authorizer import Authorizer, offered
from kafka_proxy.config import address, table
from kafka_proxy.connection import Connection
from kafka_proxy.endpoints import Endpoints
from kafka_proxy.ends import status_of
from kafka_proxy.exchange import Exchange
from kafka_proxy.gates import Gate
from kafka_proxy.rename import Rename
from kafka_proxy.sasl import LoggedIn
from kafka_proxy.scram import Users
from kafka_proxy.taps import Taps
from kafka_proxy.tls import server_context
from kafka_proxy.upstream import Upstream
from kafka_proxy.versions import Versions
from kafka_proxy.wire import SASL_AUTHENTICATE, SASL_HANDSHAKE

if TYPE_CHECKING:
    from uuid import UUID

    import auditring
    from kafka_proxy.config import Cluster
    from kafka_proxy.ends import End
    from kafka_proxy.exchange import Write
    from kafka_proxy.steps import Step

ANONYMOUS: Final = "ANONYMOUS"
LOGGER: Final = logging.getLogger("kafka_proxy")  # on standard error, where nobody has said otherwise


class VirtualCluster:
    """One virtual cluster, from `start` to `stop`."""

    def __init__(self, name: str, config: Cluster, log: auditring.AuditLog) -> None:
        """Raises `ConfigError` for what cannot be used: a missing tap, a certificate that cannot be read."""
        self.name = name
        self.config = config
        self.log = log
        self.taps = Taps(config.taps)
        self.tls = server_context(config.tls) if config.tls else None
        sasl = config.sasl
        self.mechanisms: tuple[str, ...] = sasl.mechanisms if sasl else ()
        self.users = Users(table(sasl.users, "users")) if sasl and sasl.users else None
        self.acl = Acl(config.acl) if config.acl else None
        own = (SASL_HANDSHAKE, SASL_AUTHENTICATE) if self.users else ()
        self.versions = Versions(offered if self.acl else lambda _: True, own)
        self.upstream = Upstream(config, log, self.versions)
        self._names: dict[UUID, str] = {}
        self.gates: dict[int | None, Gate] = {}
        self._started = self._stopping = False
        self._opening: set[asyncio.Task[None]] = set()
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Listens. Raises `OSError` where a port cannot be had."""
        config = self.config
        mechanism = self.mechanisms[0] if len(self.mechanisms) == 1 else None
        try:
            if config.bootstrap:
                self._bind(None, config.port, address("bootstrap", config.bootstrap), None)
            for index, broker in enumerate(config.brokers):
                self._bind(index, broker.port, address("address", broker.address), broker.node_id)
        except OSError as error:
            self.log.virtual_cluster_startup(self.name, self._authentication, mechanism, status=status_of(error))
            raise
        for gate in self.gates.values():
            await gate.open(self._accept)
        first = next(iter(self.gates.values()))
        self.log.virtual_cluster_startup(
            self.name, self._authentication, mechanism, f"{first.host}:{first.port}", "{}:{}".format(*first.target)
        )
        self._started = True
        if not config.taps:
            LOGGER.warning("kafka_proxy: %s has taps = []: no data and no administration is recorded", self.name)

    @property
    def _authentication(self) -> Literal["terminate", "inspect", "none"]:
        if self.users or (self.config.tls and self.config.tls.client_ca):
            return "terminate"
        return "inspect" if self.config.sasl else "none"

    @property
    def looks(self) -> bool:
        """Whether requests and responses have to be looked at; otherwise bytes are passed on as they come."""
        config = self.config
        return bool(config.bootstrap or self.users or self.acl or config.rename or config.probe)

    def exchange(
        self, connection: Connection, session: auditring.Session, broker: auditring.Broker, *ends: Write
    ) -> Exchange:
        """The chain of one connection, between what writes to its ends: the client's and the broker's."""
        guards: list[Step] = [self.versions]
        if self.users:
            guards.append(LoggedIn())
        if self.acl:
            guards.append(Authorizer(self.acl, connection.principal or ANONYMOUS, session, broker, self._names))
        filters: list[Step] = []
        if self.config.rename:
            filters.append(Rename(self.config.rename))
        if self.config.bootstrap:
            filters.append(Endpoints(self.address_of))
        return Exchange(*ends, guards=guards, filters=filters, taps=connection.taps, renumber=bool(self.config.probe))

    @property
    def bootstrap(self) -> str:
        """Where clients begin."""
        gate = next(iter(self.gates.values()))
        return f"{self.config.advertised_host or gate.host}:{gate.port}"

    async def close_gates(self) -> None:
        """Takes no more clients."""
        self._stopping = True
        if self._opening:
            await asyncio.wait(self._opening)
        for gate in self.gates.values():
            gate.close()

    async def stop(self, drain: float) -> None:
        """Takes no more clients, lets those that are there have their answers, and closes."""
        await self.close_gates()
        for connection in self._connections:
            connection.stop(drain)
        if self._connections:
            await asyncio.wait(self._connections.values())
        await self.close_gates()  # those of brokers that were seen for the first time meanwhile
        if self._started:
            self.log.virtual_cluster_shutdown(self.name)

    def cut_off(self) -> None:
        """Ends every connection, answers owing or not."""
        for connection in self._connections:
            connection.stop(0)

    def address_of(self, node_id: int, host: str, port: int) -> tuple[str, int]:
        """Where clients find that broker; its gate is opened when it is seen for the first time, or follows it.

        Raises `OSError` where its port cannot be had.
        """
        gate = self.gates.get(node_id)
        if gate is None:
            base = self.config.broker_ports
            gate = self._bind(node_id, base and base + node_id, (host, port), node_id)
            task = asyncio.get_running_loop().create_task(gate.open(self._accept))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        gate.target = host, port
        return self.config.advertised_host or gate.host, gate.port

    def _bind(self, key: int | None, port: int, target: tuple[str, int], node_id: int | None) -> Gate:
        gate = self.gates[key] = Gate(self.config.host, port, target, node_id)
        return gate

    def _accept(self, gate: Gate, client: End) -> None:
        if self._stopping:  # it came while the gate was being closed
            client.transport.abort()
            return
        connection = Connection(self, gate, client)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))

"""One Apache Kafka, broker and controller in one process, with every listener that the tests need.

It keeps its ports and its data over `kill` and `start`, so that a client finds again what it left.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from harness import jars, planted
from harness.clients import results
from harness.ports import free_ports
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.certs import Certificates

_LISTENERS: Final = ("CONTROLLER", "INTERNAL", "PLAIN", "SASL", "AGAIN", "MTLS", "PROXIED")
PLAIN_USERS: Final = ("admin", "alice", "bob")
SCRAM_USERS: Final = ("carla",)
CLUSTER_ID: Final = "auditringAuditringAAAA"

# SASL on CONTROLLER and INTERNAL: with plaintext the broker would be `User:ANONYMOUS` to its own authorizer, and hang
# as soon as there is any ACL of the cluster. A short session: after `kill -9` the broker serves again in some 4 s; but
# not so short that a busy machine, on which a heartbeat comes late, ends it.
_PROPERTIES: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{CONTROLLER}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,AGAIN:SASL_PLAINTEXT,MTLS:SSL,PROXIED:PLAINTEXT
sasl.mechanism.controller.protocol=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={jaas} username="admin" password="{admin}" user_admin="{admin}";
listener.name.internal.sasl.enabled.mechanisms=PLAIN
listener.name.internal.plain.sasl.jaas.config={jaas} username="admin" password="{admin}" user_admin="{admin}";
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl.plain.sasl.jaas.config={jaas} {users};
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.again.sasl.enabled.mechanisms=PLAIN
listener.name.again.plain.sasl.jaas.config={jaas} {users};
listener.name.again.plain.connections.max.reauth.ms=1500
listener.name.mtls.ssl.client.auth=required
listener.name.mtls.ssl.keystore.type=PEM
listener.name.mtls.ssl.keystore.location={certs}/server.pem
listener.name.mtls.ssl.truststore.type=PEM
listener.name.mtls.ssl.truststore.location={certs}/ca.crt
listener.name.mtls.ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
allow.everyone.if.no.acl.found=true
delegation.token.secret.key={token}
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.backoff.ms=100
log.index.size.max.bytes=1048576
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=200
log.dirs={data}
"""


class Broker:
    """A broker in `folder`, formatted when made; `start` it."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        *ports, self.advertised = free_ports(len(_LISTENERS) + 1)
        """The port that the broker names to whoever comes by `proxied`: a proxy's that rewrites nothing."""
        self._ports = dict(zip(_LISTENERS, ports, strict=True))
        folder.mkdir()
        listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in self._ports.items()}
        advertised = listeners | {
            "MTLS": f"MTLS://localhost:{self._ports['MTLS']}",
            "PROXIED": f"PROXIED://127.0.0.1:{self.advertised}",
        }
        self._properties.write_text(
            _PROPERTIES.format(
                listeners=",".join(listeners.values()),
                advertised=",".join(place for name, place in advertised.items() if name != "CONTROLLER"),
                jaas="org.apache.kafka.common.security.plain.PlainLoginModule required",
                admin=planted.password("admin"),
                users=" ".join(f'user_{user}="{planted.password(user)}"' for user in PLAIN_USERS),
                token=f"{planted.MARK}-key-of-tokens",
                certs=certificates.folder,
                data=folder / "data",
                **self._ports,
            )
        )
        self._format()

    @property
    def plain(self) -> str:
        """Where it takes clients without any authentication."""
        return f"127.0.0.1:{self._ports['PLAIN']}"

    @property
    def sasl(self) -> str:
        """Where it wants PLAIN or SCRAM-SHA-256."""
        return f"127.0.0.1:{self._ports['SASL']}"

    @property
    def again(self) -> str:
        """Where it wants PLAIN, and again after a second and a half; within one second it would refuse."""
        return f"127.0.0.1:{self._ports['AGAIN']}"

    @property
    def mtls(self) -> str:
        """Where it wants a certificate."""
        return f"localhost:{self._ports['MTLS']}"

    @property
    def proxied(self) -> str:
        """As `plain`, but whoever comes here is told to go on at `advertised`."""
        return f"127.0.0.1:{self._ports['PROXIED']}"

    def start(self, *, options: tuple[str, ...] = ()) -> None:
        """Starts it, and waits until it serves."""
        command = jars.java("kafka.Kafka", str(self._properties), options=options, archive=not options)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._serves, f"the broker serves; its log is {self.log}")

    @contextmanager
    def running(self, *, options: tuple[str, ...] = ()) -> Iterator[None]:
        """Started, and ended well."""
        try:
            self.start(options=options)
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends it well."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would, but for the kernel's caches."""
        self._end(signal.SIGKILL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes what is sent to it, and answers nothing."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            # The signal is there at once, but a thread that runs goes on until it is next looked at.
            until(lambda: _all_stopped(process.pid), "every thread of the broker has stopped")
            yield
        finally:
            process.send_signal(signal.SIGCONT)  # does nothing if it was killed meanwhile

    def unread(self) -> int:
        """Bytes that its kernel holds for it at `plain`, of the connection with most: what came while it is paused."""
        port = f":{self._ports['PLAIN']:04X}"
        # A JVM listens for both families by one socket of the newer, where there is one. Columns: number, local and
        # remote address, state (01 is connected), queue to be sent and queue to be read.
        tables = (path.read_text().splitlines()[1:] for path in Path("/proc/net").glob("tcp*"))
        rows = [line.split() for table in tables for line in table]
        queues = [row[4].split(":") for row in rows if row[1].endswith(port) and row[3] == "01"]
        return max((int(to_read, 16) for _, to_read in queues), default=0)

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Makes a topic behind every proxy's back, and returns its name. Config `a.b` is spelled `a_b`.

        The controller answers for it before the broker knows of it, and the broker knows of it before it leads it: it
        is made when each of its partitions can be used.
        """
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = self.admin()
        admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result(PATIENCE)
        # The stubs of confluent-kafka say nothing of it.
        spec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        latest = {TopicPartition(name, partition): spec for partition in range(partitions)}
        until(lambda: set(results(admin.list_offsets(latest)).values()) == {None}, f"the broker leads {name}")
        return name

    def alter_topic(self, name: str, **config: str) -> None:
        """Changes a topic's config behind every proxy's back; spelled as in `create_topic`."""
        entries = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for key, value in config.items()
        ]
        topic = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        admin = self.admin()
        admin.incremental_alter_configs([topic])[topic].result(PATIENCE)

    def delete_topic(self, name: str) -> None:
        """Removes a topic behind every proxy's back; one that is then made under the name is not taken for it."""
        admin = self.admin()
        admin.delete_topics([name])[name].result(PATIENCE)
        until(lambda: name not in admin.list_topics(timeout=PATIENCE).topics, f"{name} is not there any more")

    def topic_id(self, name: str) -> str:
        """The id of a topic, as Kafka writes it."""
        admin = self.admin()
        described = admin.describe_topics(TopicCollection([name]))[name].result(PATIENCE)
        # confluent-kafka writes it in the plain alphabet of base64, Kafka in that for names of files.
        return str(described.topic_id).replace("+", "-").replace("/", "_")

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Deletes records behind every proxy's back."""
        admin = self.admin()
        for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
            future.result(PATIENCE)

    def admin(self) -> AdminClient:
        """A client that no proxy sees, with all rights."""
        settings: dict[str, str | int | float | bool] = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
        }
        who = {"sasl.username": "admin", "sasl.password": planted.password("admin")}
        return AdminClient({"bootstrap.servers": self.sasl, "log_level": 0, **settings, **who})

    def tail(self) -> str:
        """The last lines that it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait(PATIENCE)
            self._process = None

    def _serves(self) -> bool:
        """Whether it answers a Metadata request; a port may listen before its broker does."""
        assert self._process is not None
        assert self._process.poll() is None, f"the broker ended by itself:\n{self.tail()}"
        host, port = self.plain.split(":")
        with socket.socket() as sock:
            if sock.connect_ex((host, int(port))) != 0:
                return False
        producer = Producer({"bootstrap.servers": self.plain, "log_level": 0})
        return bool(producer.list_topics(timeout=PATIENCE).brokers)

    def _format(self) -> None:
        scram = [f"SCRAM-SHA-256=[name={user},password={planted.password(user)}]" for user in SCRAM_USERS]
        command = jars.java(
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={CLUSTER_ID}",
            f"--config={self._properties}",
            "--standalone",
            *(part for credential in scram for part in ("--add-scram", credential)),
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"the data folder was not formatted:\n{done.stdout}{done.stderr}"


def _all_stopped(process: int) -> bool:
    """Whether no thread of a process runs any more."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # a thread has just ended
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

"""Rows as messages of a Kafka topic: each one JSON, or what a serializer makes of it, with its identity in the headers.

```
topic       by pattern, such as audit.{virtual_cluster}
key         the session's id; the instance for events of the process
value       canonical JSON, without a newline
timestamp   the event's, milliseconds
headers     event_id     <process>:<seq>
            action       the catalog's name
            schema       version of the JSON's schema
            redelivered  "1", only where the row may have been sent before
```

What must always hold: the cursor moves only when the cluster has acknowledged all that was sent; a failure of any kind
ends the producer, and the next begins at the cursor, so rows come at least once, in their order in each partition, and
those that may come twice are marked and counted; what is under way is bounded in bytes, and nothing is sent to a
cluster that does not answer; secrets are read when a producer is made, and stand in no text.
"""

import contextlib
import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self, get_args

from auditring.config import Exempt, Seconds, positive, seconds, unknown_key
from auditring.exceptions import ConfigError, SinkError, SinkRejected
from auditring.policy import Policy
from auditring.secrets import Secret
from auditring.sinks._kafka_probe import ask
from auditring.sinks._kafka_producer import Cluster
from auditring.sinks._kafka_sent import SentMark
from auditring.sinks._kafka_settings import checked, own_client_id, producer_settings, try_settings
from auditring.sinks._kafka_shared import Member, Pool
from auditring.sinks._kafka_topics import OTHER, TopicPattern
from auditring.sinks._kafka_values import KafkaRecord, Serializer, Values
from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext
from auditring.types import Dialect

__all__ = ["KafkaRecord", "KafkaSink"]

_CHECKPOINT: Final = Checkpoint(bytes=64 << 20, age=1.0)
_REACH: Final = 5.0
"""Seconds that a cluster has to answer a question."""
_CLOSING: Final = 5.0
"""Seconds that it has to take what is under way when the log is being closed."""
_AT_LAST: Final = 1.0
"""The same at each try after the first."""
_ANEW: Final = 20.0
"""The same at the first try of a close that is tried again."""
_FULL: Final = 0.1
_SERVE: Final = 4096
"""Messages between two looks at the reports."""
_MESSAGE: Final = 1_000_000
"""Bytes of a message that librdkafka takes by default."""
_LEAST_MESSAGE: Final = 1024
_ROOM: Final = 512
"""Bytes of a message beside its value, its key and its action."""
_LONGEST_NAMES: Final = 4096
"""Bytes that a key and an action may have at most."""
_LEAST_QUEUE: Final = 1 << 20
_PREFIX: Final = 64
_AGAIN: Final = ("redelivered", "1")
_COUNTERS: Final = ("redelivered", "cut", "folded")
_KEYS: Final = frozenset({
    "servers", "topic", "name", "dialect", "config", "secrets", "exempt", "client_id", "max_topics", "queue_bytes",
    "timeout", "policy",
})  # fmt: skip


class KafkaSink(Sink):
    """Rows as messages; wants `pip install auditring[kafka]`."""

    batching = Batching(rows=8192, partial=True, linger=0.02)
    remote = True
    dotted = ("config", "secrets")
    """Tables of a configuration whose keys have dots in them, however a file writes them."""

    def __init__(  # noqa: PLR0913 - every setting has its own
        self,
        servers: str | Sequence[str],
        topic: str = "audit",
        *,
        name: str = "kafka",
        serializer: Serializer | None = None,
        dialect: Dialect | None = None,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Secret] | None = None,
        exempt: Sequence[Exempt] = (),
        client_id: str = "auditring",
        max_topics: int = 64,
        queue_bytes: int = 64 << 20,
        timeout: Seconds = 20.0,
        checkpoint: Checkpoint | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`servers`: where the cluster is found, as `host:port`. `topic`: its name, or a pattern with names in braces.

        `serializer`: makes the value of a row, by default its JSON; a row at which it raises is refused for good.
        `dialect`: whose names actions have in the JSON. `config`: librdkafka's settings by their names; `secrets`: the
        secret ones among them, by reference. `exempt`: what other auditors write to the clusters that this process
        proxies; see `Exempt`. `client_id`: what the producer's id begins with, before a UUID of this process.
        `max_topics`: how many a pattern may become. `queue_bytes`: the most that is under way. `timeout`: for how long
        a message may be. `checkpoint`: by default 64 MiB or a second. `policy`: what this sink keeps, by default what
        the log keeps.
        """
        self.name = name
        self.policy = policy
        self._servers = _servers(servers)
        self._pattern = TopicPattern(topic, max_topics)
        if dialect is not None and dialect not in get_args(Dialect):
            raise ConfigError(f"dialect: there is no {dialect!r}; known: {', '.join(get_args(Dialect))}")
        if serializer is not None and not callable(serializer):
            raise ConfigError(f"serializer: what makes a message's value of a KafkaRecord, not {serializer!r}")
        if isinstance(exempt, Exempt) or not all(isinstance(one, Exempt) for one in exempt):
            raise ConfigError("exempt: a sequence of Exempts")
        begin = str(client_id)
        if not (begin.isascii() and begin.isprintable() and "*" not in begin and 0 < len(begin) <= _PREFIX):
            raise ConfigError(f"client_id: what the id begins with, ASCII of 1 to {_PREFIX} letters, none of them '*'")
        positive("queue_bytes", queue_bytes)
        if queue_bytes < _LEAST_QUEUE:
            raise ConfigError(f"queue_bytes: at least {_LEAST_QUEUE}, not {queue_bytes}")
        span = seconds("timeout", timeout)
        if span is None or span < 1:
            raise ConfigError("timeout: at least a second, or no broker could answer in time")
        self.exempt = tuple(exempt)
        """What other auditors write."""
        self._serializer = serializer
        self._dialect: Dialect | None = dialect
        self._secrets = dict(secrets or {})
        self._config = {
            **checked(config, secrets),
            "queue.buffering.max.kbytes": queue_bytes >> 10,
            # A message has a head of its own in memory, so they are bounded too: to what rows of a usual size come to.
            "queue.buffering.max.messages": max(10_000, queue_bytes >> 9),
            "message.timeout.ms": int(span * 1000),
        }
        self._prefix = client_id
        self._limits = checkpoint or _CHECKPOINT
        try_settings(self._config, self._secrets)
        self._largest = int(self._config.get("message.max.bytes", _MESSAGE))
        self._pool: Pool | None = None
        self._reset()

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A sink as its table stands in TOML; `secrets` are references, `exempt` and `policy` tables of their own."""
        for key in values:
            if key not in _KEYS:
                raise unknown_key("kafka sink", key, _KEYS)
        if "servers" not in values:
            raise ConfigError("kafka sink: servers: where is the cluster?")
        said: dict[str, Any] = dict(values)
        if "secrets" in said:
            said["secrets"] = {key: Secret.from_mapping(one) for key, one in _table(said, "secrets").items()}
        if "config" in said:
            said["config"] = _table(said, "config")
        if "exempt" in said:
            if not isinstance(said["exempt"], list):
                raise ConfigError("kafka sink: exempt: a list of tables")
            if not all(isinstance(one, Exempt | Mapping) for one in said["exempt"]):
                raise ConfigError("kafka sink: exempt: each a table, { topic = …, client_id = … }")
            said["exempt"] = [one if isinstance(one, Exempt) else Exempt.from_mapping(one) for one in said["exempt"]]
        if "policy" in said and not isinstance(said["policy"], Policy):
            said["policy"] = Policy.from_mapping(_table(said, "policy"))
        return cls(**said)

    def _reset(self) -> None:
        """As a sink is that was not opened."""
        self._cluster: Cluster | Member | None = None
        self._sent: SentMark | None = None
        self._closing: float | None = None
        self._last = _AT_LAST
        """Seconds for the next try while the log is being closed."""
        self._next = 0
        self._safe = 0
        self._again = 0
        """Rows below this may have been sent before this beginning."""
        self._counted = dict.fromkeys(_COUNTERS, 0)
        self._kept = dict(self._counted)
        self._most = self._largest
        """Bytes that a message may have: fewer than the setting says where a topic has shown that it takes no more."""
        self._refused: list[int] = []
        """Rows that a topic takes in no size."""

    def __repr__(self) -> str:
        return f"KafkaSink({self._servers!r}, {self._pattern.text!r}, name={self.name!r})"

    @property
    def checkpoint(self) -> Checkpoint:
        """The sink's own limits."""
        return self._limits

    @property
    def counters(self) -> dict[str, int]:
        """Rows up to the last commit: `redelivered`, perhaps; `cut`; and `folded` into the topic for all others."""
        return dict(self._kept)

    @property
    def traffic(self) -> tuple[Exempt, ...]:
        """What taps of this process do not audit: its own messages, and those of the auditors that it names."""
        return (Exempt(topic=self._pattern.glob, client_id=own_client_id(self._prefix)), *self.exempt)

    @property
    def traffic_elsewhere(self) -> tuple[Exempt, ...]:
        """What taps do not audit where an agent drives the sink, whose id is not known here but for its beginning."""
        return (Exempt(topic=self._pattern.glob, client_id=f"{self._prefix}-*"), *self.exempt)

    def fresh(self) -> Self:
        """A sink of the same settings."""
        new = copy.copy(self)
        new._pattern = TopicPattern(self._pattern.text, self._pattern.most)  # noqa: SLF001 - of the same class
        new._reset()  # noqa: SLF001 - likewise
        return new

    @contextlib.contextmanager
    def shared(self) -> Iterator[Self]:
        """A template whose sinks have one producer together: for an agent, which drives those of many processes."""
        template = self.fresh()
        pool = template._pool = Pool()  # noqa: SLF001 - of the same class
        try:
            yield template
        finally:
            pool.end()

    def probe(self, root: object) -> None:
        """Asks the cluster whether it answers, and whether the topic is there and may be written to."""
        del root
        secrets = self._read_secrets()
        ask(self._settings(secrets), secrets, None if self._pattern.fields else self._pattern.text, _REACH)

    def open(self, context: SinkContext) -> None:
        """Takes whose rows they are; asks nobody."""
        self._process = f"{context.process}:"
        self._instance = context.instance
        self._host = context.host
        self._schema = ("schema", str(context.schema_version))
        self._sent = SentMark(context.root, context.process, self.name)

    def start(self, state: bytes) -> None:
        """A new producer, with secrets as they are now, if the cluster answers."""
        if self._cluster is not None and self._cluster.too_large:
            self._most = max(_LEAST_MESSAGE, self._most // 4)
        self._end()
        if self._closing is not None:
            self._closing, self._last = time.monotonic() + self._last, _AT_LAST
        said = json.loads(state) if state else {}
        self._safe = self._next = said.get("next", 0)
        # Since a beginning each row comes once: one that was merged comes behind rows of a greater seq, and is new.
        self._again = 0 if self._sent is None else self._sent.seq
        self._counted = {name: said.get(name, 0) for name in _COUNTERS}
        self._kept = dict(self._counted)
        secrets = self._read_secrets()
        cluster = self._cluster = self._begun(self._settings(secrets), secrets)
        cluster.reach(_REACH, self._gives_up)
        if not self._pattern.fields:
            cluster.check(self._pattern.text, _REACH, self._gives_up)

    def write(self, batch: RowBatch) -> int:
        """Hands the rows to the producer, which sends them meanwhile."""
        self._next = max(self._next, batch.last_seq + 1)
        if not batch.rows:
            return 0
        cluster, sent = self._cluster, self._sent
        if cluster is None or sent is None:
            raise SinkError("the sink was not started")
        rows = batch.records(self._dialect)
        again = self._again
        values = self._values(rows)
        sent.rise(self._next)
        produce, process, schema, instance = cluster.produce, self._process, self._schema, self._instance
        topic = self._pattern.text
        by_row = bool(self._pattern.fields)
        one_by_one = self._is_least
        report = None
        size = 0
        for number, (line, seq, time_ns, action, category, outcome, session, virtual_cluster) in enumerate(rows):
            value = line if values is None else values[number]
            headers = [("event_id", process + str(seq)), ("action", action), schema]
            if seq < again:
                headers.append(_AGAIN)
                self._counted["redelivered"] += 1
            if by_row:
                topic = self._topic(cluster, virtual_cluster, category, action, outcome)
            if one_by_one:
                report = cluster.blaming(seq, self._refused)
            size += len(value)
            message: Any = (topic, value, session or instance, -1, report, None, time_ns // 1_000_000, headers)
            try:
                produce(*message)
            except BufferError:
                self._wait(cluster, message)
            except cluster.exception as error:
                raise cluster.explained(error.args[0], topic) from None
            if not number % _SERVE:
                cluster.serve()
        cluster.serve()
        return size

    def commit(self) -> bytes:
        """Waits until the cluster has acknowledged all. The state says where to go on, and what was counted."""
        if self._cluster is not None:
            self._cluster.drain(self._gives_up)
        if self._refused:
            refused, self._refused = self._refused, []
            raise SinkRejected("the topic takes no message that is as small as a row can be", refused)
        self._safe = self._next
        self._kept = dict(self._counted)
        return json.dumps({"next": self._next, **self._counted}).encode("ascii")

    def hurry(self) -> None:
        """The log is being closed: what waits for the cluster gives up soon. From another thread."""
        self._closing = time.monotonic() + _CLOSING

    def unhurry(self) -> None:
        """The close is tried again, and there is time."""
        self._last = _ANEW

    def close(self) -> None:
        """Lets go of the producer; nothing is under way."""
        self._end()
        if self._sent is not None:
            self._sent.close(safe=self._safe)

    def forked(self) -> None:
        """The producer and its threads are the parent's."""
        if self._cluster is not None:
            self._cluster.forked()
        if self._sent is not None:
            self._sent.forked()

    @property
    def _is_least(self) -> bool:
        """Messages are as small as they can be: where one is still too large, its row is to blame."""
        return self._most < self._largest and self._most <= _LEAST_MESSAGE

    def _settings(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        settings = producer_settings(self._servers, self._config, secrets)
        settings["client.id"] = own_client_id(self._prefix)
        if self._most < self._largest:
            # A topic takes whole batches of messages, or none of them.
            settings |= {"batch.size": self._most, **({"batch.num.messages": 1} if self._is_least else {})}
        return settings

    def _begun(self, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> Cluster | Member:
        if self._pool is None:
            return Cluster(settings, secrets)
        return self._pool.join(lambda: Cluster(settings, secrets, each=True), self._most)

    def _read_secrets(self) -> dict[str, str]:
        try:
            return {key: secret.read() for key, secret in self._secrets.items()}
        except ConfigError as error:
            raise SinkError(f"a secret cannot be read: {error}") from None

    def _values(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes] | None:
        """The values of messages, where they are not simply the rows' lines. Raises `SinkRejected`."""
        if self._serializer is None and max(len(row[0]) for row in rows) + _ROOM + _LONGEST_NAMES <= self._most:
            return None
        made = Values(self._serializer)
        records = [KafkaRecord(*row) for row in rows]
        names = [len(record.action) + len(record.session or self._instance) for record in records]
        values = [
            made.of(record, self._most - _ROOM - 4 * length) for record, length in zip(records, names, strict=True)
        ]
        # Before anything of the batch is sent, or what is sent would come again.
        made.raise_refused()
        self._counted["cut"] += made.cut
        return values

    def _topic(
        self, cluster: Cluster | Member, virtual_cluster: str | None, category: str, action: str, outcome: str
    ) -> str:
        values = {
            "virtual_cluster": virtual_cluster,
            "category": category,
            "action": action,
            "outcome": outcome,
            "instance": self._instance,
            "host": self._host,
        }
        topic = self._pattern.topic(values)
        # One whose values are called so is there by itself.
        if topic == self._pattern.other and any(values[name] != OTHER for name in self._pattern.fields):
            self._counted["folded"] += 1
        cluster.check(topic, _REACH, self._gives_up)
        return topic

    def _wait(self, cluster: Cluster | Member, message: tuple[Any, ...]) -> None:
        """Waits for room; a cluster that takes nothing ends that, for messages fail after their time."""
        while True:
            cluster.serve(_FULL)
            if self._gives_up():
                raise SinkError("the producer's queue is full, and the log is being closed")
            try:
                cluster.produce(*message)
            except BufferError:
                continue
            except cluster.exception as error:
                raise cluster.explained(error.args[0], message[0]) from None
            return

    def _gives_up(self) -> bool:
        """Whether the log is being closed, and the cluster has had its time."""
        return self._closing is not None and time.monotonic() > self._closing

    def _end(self) -> None:
        self._refused = []
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            cluster.end()


def _servers(servers: str | Sequence[str]) -> str:
    """As librdkafka takes them."""
    given: list[object] = [servers] if isinstance(servers, str) else list(servers)
    if not given or not all(isinstance(one, str) and one.strip() for one in given):
        raise ConfigError("servers: where the cluster is found, as 'host:port', or a sequence of those")
    return ",".join(str(one).strip() for one in given)


def _table(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = values[name]
    if not isinstance(table, Mapping):
        raise ConfigError(f"kafka sink: {name}: a table")
    return dict(table)

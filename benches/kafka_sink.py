"""The Kafka sink beside a bare producer of the same messages: value, key, timestamp and headers.

Both write to one real broker, each time into a new topic, in one process, turn by turn. The bare producer has its
messages ready in memory and asks for no reports; the sink reads them from the journal, makes them, and moves on.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

import auditring
from auditring.sinks import Checkpoint, KafkaSink, RowBatch, Sink
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "kafka"))

from harness.broker import Broker
from harness.certs import Certificates
from harness.topics import end

EVENTS = 400_000
SESSIONS = 50
SERVE = 4096
PATIENCE = 300.0
SETTINGS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.codec": "zstd",
    "linger.ms": 20,
    "partitioner": "murmur2_random",
    "log_level": 0,
}

Message = tuple[bytes, str, int, Any]
"""Value, key, time and headers."""


class Rows(Sink):
    """Takes every row as the message that the Kafka sink makes of it."""

    name = "rows"
    kept: list[Message]

    def __init__(self, kept: list[Message]) -> None:
        self.kept = kept

    def fresh(self) -> Rows:
        """The same list."""
        return Rows(self.kept)

    def open(self, context: Any) -> None:  # noqa: ANN401 - a SinkContext
        """Takes whose rows they are."""
        self._process, self._instance, self._schema = context.process, context.instance, str(context.schema_version)

    def start(self, state: bytes) -> None:
        """Nothing fails here."""

    def write(self, batch: RowBatch) -> int:
        """Makes the messages."""
        rows = batch.records() if batch.rows else []
        for line, seq, time_ns, action, _, _, session, _ in rows:
            headers = [("event_id", f"{self._process}:{seq}"), ("action", action), ("schema", self._schema)]
            self.kept.append((line, session or self._instance, time_ns // 1_000_000, headers))
        return 0

    def commit(self) -> bytes:
        """Memory is safe enough."""
        return b""

    def close(self) -> None:
        """Nothing to let go of."""

    def probe(self, root: Path) -> None:
        """Memory is there."""

    def forked(self) -> None:
        """Nobody forks here."""


class Waiting(KafkaSink):
    """Begins when it is told to, and notes what its thread spends."""

    go = threading.Event()
    spent = 0.0

    def start(self, state: bytes) -> None:
        """Waits for the word; the thread's time counts from there."""
        super().start(state)
        self.go.wait()
        type(self).spent = thread_time()

    def commit(self) -> bytes:
        """Notes the thread's time so far."""
        state = super().commit()
        type(self).total = thread_time() - self.spent
        return state

    total = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds for the same messages, and what the threads computed that make them."""

    messages: int
    bare: float
    sink: float
    bare_cpu: float
    cpu: float
    size: float


def bare(servers: str, topic: str, messages: list[Message]) -> tuple[float, float]:
    """A producer that does nothing else: seconds, and those that its thread computed."""
    producer = Producer({**SETTINGS, "bootstrap.servers": servers, "queue.buffering.max.messages": 131_072})
    producer.list_topics(topic)
    start, begun = perf_counter(), thread_time()
    for number, (value, key, time_ms, headers) in enumerate(messages):
        while True:
            try:
                producer.produce(topic, value, key, timestamp=time_ms, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        if not number % SERVE:
            producer.poll(0)
    assert producer.flush(PATIENCE) == 0
    return perf_counter() - start, thread_time() - begun


def emit(log: auditring.AuditLog, events: int) -> None:
    """Reads and writes of a few sessions, with a denial now and then."""
    sessions = [
        log.session(id=f"conn-{number}", virtual_cluster="payments", peer=(f"10.0.0.{number}", 40_000), client_id="app")
        for number in range(SESSIONS)
    ]
    for number in range(events):
        session = sessions[number % SESSIONS]
        if number % 100 == 0:
            session.operation_denied("WRITE", "Topic", "salaries")
        elif number % 2:
            session.read("orders", number % 12, number, number + 9, number % 1000)
        else:
            session.write("orders", number % 12, number, number + 4, number % 1000, records=5)
    for session in sessions:
        session.close()


def one(broker: Broker, folder: Path, number: int, events: int) -> Round:
    """Both ways, the first one now the one and now the other."""
    topics = {way: broker.create_topic(f"{way}-{number}") for way in ("bare", "sink")}
    messages: list[Message] = []
    Waiting.go.clear()
    sink = Waiting(broker.plain, topics["sink"], checkpoint=Checkpoint(bytes=64 << 20, age=1.0))
    full = auditring.WhenFull(wait=None)
    log = auditring.open(folder / str(number), sinks=[Rows(messages), sink], balance=None, when_full=full)
    emit(log, events)
    # The ring is empty when the last of them is in the journal.
    while (stats := log.stats()).in_ring or len(messages) < stats.next_seq:
        threading.Event().wait(0.01)
    rows = stats.next_seq
    spent, bare_cpu = {}, 0.0
    for way in ("bare", "sink") if number % 2 else ("sink", "bare"):
        if way == "bare":
            spent[way], bare_cpu = bare(broker.plain, topics[way], messages[:rows])
            continue
        start = perf_counter()
        Waiting.go.set()
        log.flush(PATIENCE)
        spent[way] = perf_counter() - start
    sent = log.stats().sinks["kafka"].delivered
    log.close()
    assert end(broker.plain, topics["bare"]) == rows
    assert end(broker.plain, topics["sink"]) >= sent >= rows
    size = sum(len(value) for value, *_ in messages) / len(messages)
    return Round(rows, spent["bare"], spent["sink"], bare_cpu, Waiting.total, size)


@contextmanager
def running(folder: Path) -> Iterator[Broker]:
    """The broker of the tests."""
    broker = Broker(folder / "broker", Certificates(folder / "certs"))
    with broker.running():
        yield broker


def measure(*, rounds: int, events: int) -> list[Round]:
    """Round by round; the first, in which the broker becomes warm, does not count."""
    with TemporaryDirectory() as folder, running(Path(folder)) as broker:
        one(broker, Path(folder), 0, events // 4)
        return [one(broker, Path(folder), number + 1, events) for number in range(rounds)]


def report(*, quick: bool = False) -> Report:
    """The table."""
    events = EVENTS // 8 if quick else EVENTS
    rounds = measure(rounds=1 if quick else 6, events=events)
    share = Spread.of([one.bare / one.sink for one in rounds])

    def rate(seconds: list[float]) -> str:
        rates = [one.messages / took / 1e3 for one, took in zip(rounds, seconds, strict=True)]
        return f"{Spread.of(rates).text(0)} thousand messages/s"

    def cpu(seconds: list[float]) -> str:
        each = [took / one.messages * 1e9 for one, took in zip(rounds, seconds, strict=True)]
        return f"{Spread.of(each).text(0)} ns/message"

    lines = [
        ("the sink, from the journal to acknowledged messages", rate([one.sink for one in rounds])),
        ("a bare producer, the same messages from memory", rate([one.bare for one in rounds])),
        ("the sink's share of that", share.text(2)),
        ("CPU of the bare producer's thread", cpu([one.bare_cpu for one in rounds])),
        ("CPU of the sink's thread", cpu([one.cpu for one in rounds])),
        ("size of a value", f"{Spread.of([one.size for one in rounds]).text(0)} bytes"),
    ]
    return Report(
        "kafka-sink",
        f"{events:,} Reads and Writes into a topic of a real broker on the same machine, acks=all, idempotent, zstd; "
        f"median (quartiles) of {len(rounds)} round(s).\n\n" + table(("what", "measured"), lines),
        [Target("Kafka sink, share of a bare producer's rate", share.median, 0.7, least=True, digits=2)],
    )

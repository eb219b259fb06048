"""A Kafka that is away while events come: `python tests/torture/kafka_outage.py --seconds 600`.

A real broker is killed as a power cut would do it, and comes back after so long. Events come at one rate all the time,
into a table and into Kafka. Then every event is in the topic, what came twice is marked and counted, the table lacks
nothing, nothing was dropped, and memory did not grow with the outage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

import auditring
from auditring import query
from auditring.sinks import KafkaSink, ParquetSink

sys.path.append(str(Path(__file__).resolve().parents[1] / "kafka"))

from harness.broker import Broker
from harness.certs import Certificates

_TICK: Final = 0.01
_CALM: Final = 5.0
"""Seconds before the outage, and after it."""
_PATIENCE: Final = 1800.0
_PARTITIONS: Final = 4
_ROOM: Final = 256 << 20
"""Bytes by which memory may differ: the producer's queue, what a checkpoint holds, and what an allocator keeps."""


def resident() -> int:
    """Bytes of memory that this process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


class Source(threading.Thread):
    """Emits reads at one rate until it is told to stop."""

    def __init__(self, log: auditring.AuditLog, rate: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.stopped = threading.Event()
        self._log = log
        self._rate = rate

    def run(self) -> None:
        """A few at each tick; what a busy machine was late with comes at the next."""
        began = time.monotonic()
        with self._log.session(id="conn-1", virtual_cluster="payments") as session:
            while not self.stopped.wait(_TICK):
                due = int((time.monotonic() - began) * self._rate)
                for number in range(self.sent, due):
                    session.read("orders", number % 12, number, number)
                self.sent = due


def read(servers: str, topic: str, rows: int) -> tuple[int, int, int]:
    """Of the topic: how many of `rows` events are there, messages beyond those, and of these how many bear no mark."""
    settings = {"bootstrap.servers": servers, "group.id": "none", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(_PARTITIONS)])
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=60)[1] for n in range(_PARTITIONS)]
    seen, left, found, unmarked = bytearray(rows), sum(ends), 0, 0
    while left:
        for message in consumer.consume(10_000, 5.0):
            assert message.error() is None, message.error()
            headers: dict[str, Any] = dict(message.headers() or [])
            seq = int(headers["event_id"].rpartition(b":")[2])
            if seen[seq]:
                unmarked += "redelivered" not in headers
            else:
                seen[seq] = 1
                found += 1
            left -= 1
    consumer.close()
    return found, sum(ends) - found, unmarked


def outage(broker: Broker, folder: Path, *, seconds: float, rate: int) -> list[str]:
    """One outage. Returns what was wrong."""
    topic = broker.create_topic("audit", _PARTITIONS)
    sink = KafkaSink(broker.plain, topic)
    wrong: list[str] = []
    log = auditring.open(folder / "audit", sinks=[ParquetSink(), sink], balance=None, journal_bytes=16 << 30)
    source = Source(log, rate)
    source.start()
    time.sleep(_CALM)
    before = resident()
    print(f"{log.stats().sinks['kafka'].delivered:,} rows are in the topic, {before >> 20} MiB resident; broker killed")
    broker.kill()
    most, until = before, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds / 10))
        most = max(most, resident())
    stats = log.stats()
    behind = stats.sinks["kafka"].pending
    print(f"{behind:,} rows wait, {stats.journal_bytes >> 20} MiB of journal, {most >> 20} MiB resident", flush=True)
    if not log.health().problems:
        wrong.append("health() knew of nothing")
    broker.start()
    back = time.monotonic()
    # Events come on for a while: the sink catches up with a stream and not with a heap.
    time.sleep(_CALM)
    source.stopped.set()
    source.join()
    while log.stats().sinks["kafka"].pending and time.monotonic() - back < _PATIENCE:
        time.sleep(0.2)
        most = max(most, resident())
    caught_up = time.monotonic() - back
    log.flush(_PATIENCE)
    stats = log.stats()
    rows, counted = stats.next_seq, stats.sinks["kafka"].counters["redelivered"]
    print(f"{rows:,} rows; {behind:,} of them caught up with in {caught_up:.1f} s; {most >> 20} MiB resident at most")
    print(stats.sinks["kafka"], flush=True)
    if stats.dropped or stats.refused:
        wrong.append(f"{stats.dropped} dropped, {stats.refused} refused")
    if most - before > _ROOM:
        wrong.append(f"memory grew from {before >> 20} to {most >> 20} MiB")
    found, twice, unmarked = read(broker.plain, topic, rows)
    print(f"{found:,} events in the topic; {twice:,} messages twice, {counted:,} counted, {unmarked} unmarked")
    if found != rows:
        wrong.append(f"{rows - found} events are not in the topic")
    if twice > counted or unmarked:
        wrong.append(f"{twice} messages came twice, {counted} were counted, {unmarked} bear no mark")
    log.close()
    with query.connect(folder / "audit") as con:
        ((tabled, sealed),) = con.execute("SELECT count(*), count(DISTINCT seq) FROM events").fetchall()
    print(f"{tabled:,} rows in the tables; emitted {source.sent:,}")
    if tabled != sealed or tabled < rows:
        wrong.append(f"the tables have {tabled} rows, {sealed} of them different, of {rows}")
    return wrong


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the broker is away")
    parser.add_argument("--rate", type=int, default=20_000, help="events a second")
    options = parser.parse_args()
    missing = [program for program in ("java", "mvn", "openssl") if shutil.which(program) is None]
    if missing:
        print(f"a real Kafka needs {' and '.join(missing)}, which this machine has not")
        return int(bool(os.environ.get("CI")))
    with TemporaryDirectory() as place:
        folder = Path(place)
        broker = Broker(folder / "broker", Certificates(folder / "certs"))
        with broker.running():
            wrong = outage(broker, folder, seconds=options.seconds, rate=options.rate)
    for one in wrong:
        print(f"WRONG: {one}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

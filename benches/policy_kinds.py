"""What each kind of rule makes of mixed events, and what it costs; and what a consumer that reads on comes to.

    python benches/policy_kinds.py DIRECTORY KIND [--events N]

Prints a JSON object: one flood under one policy, checked to the last event before anything of it is told.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import auditring
from auditring import Keep, Policy, Rule, query, verify
from auditring.demo.firehose import SESSIONS, Firehose
from auditring.redaction import Hash, Redact
from auditring.sinks import ParquetSink
from flood import in_child
from logs import PATIENT, TMPFS
from tables import Report, Target, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditring._core import Session
    from auditring.log import AuditLog

EVENTS = 10_000_000
ONE_IN = 100
_CHUNK = 1_000
"""Reads and Writes between which the others come."""
_OTHERS = {
    "OperationAllowed": 20,
    "OperationDenied": 4,
    "ClientSaslAuthSuccess": 1,
    "CreateTopics": 1,
}
_PATIENCE = 600.0
_DATA = ("Read", "Write")


def _fifty() -> tuple[Rule, ...]:
    """Forty-nine rules that no event meets, and a last one by network and glob."""
    made = []
    for at in range(49):
        match at % 4:
            case 0:
                made.append(Rule(action="Read", resource=(f"*.internal-{at}", f"tmp?{at}-*"), keep=Keep.OFF))
            case 1:
                made.append(Rule(peer=(f"192.168.{at}.0/24", f"2001:db8:{at}::/48"), keep=Keep.OFF))
            case 2:
                made.append(Rule(principal=(f"svc-{at}-*", f"User:batch-{at}"), keep=Keep.SAMPLE(one_in=at + 2)))
            case _:
                made.append(Rule(virtual_cluster=f"staging-{at}*", resource=f"*-{at}-*", keep=Keep.OFF))
    return (*made, Rule(action="Read", peer="10.1.0.0/25", resource="*.events", keep=Keep.OFF))


KINDS = {
    "all": Policy(seed=7),
    "off by action": Policy(rules=[Rule(action="Read", keep=Keep.OFF)], seed=7),
    "off by narrow rules": Policy(
        rules=[Rule(action="Read", resource=("metrics.*", "orders.*"), principal="service-0*", keep=Keep.OFF)], seed=7
    ),
    "sample of events": Policy(rules=[Rule(action=_DATA, keep=Keep.SAMPLE(one_in=ONE_IN, by=None))], seed=7),
    "sample of stories": Policy(rules=[Rule(action=_DATA, keep=Keep.SAMPLE(one_in=ONE_IN))], seed=7),
    "coalesce": Policy(rules=[Rule(action=_DATA, keep=Keep.COALESCE(1))], seed=7),
    "first": Policy(rules=[Rule(action=(*_DATA, "OperationAllowed"), keep=Keep.FIRST(1))], seed=7),
    "fifty rules": Policy(rules=_fifty(), seed=7),
    "redaction": Policy(
        redact=[
            Redact("principal", Hash("env:AUDITRING_BENCH_KEY")),
            Redact("client_id", Hash("env:AUDITRING_BENCH_KEY")),
        ],
        seed=7,
    ),
}
"""The last needs a ring in memory."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one flood."""

    events: int
    closed: float
    """Seconds from the first event until every file was closed."""
    follower: float | None
    """CPU seconds of the sink's threads; `None` where the system does not tell."""
    rows: int
    size: int
    """Bytes of the files."""
    error: float
    """Of a sample: how far the weights' sum is from what was emitted, in standard errors."""


def _opened(log: AuditLog, stack: ExitStack) -> list[Session]:
    """Clients of whom a few have most of the connections."""
    sessions = []
    for number in range(SESSIONS):
        principal = f"service-{int(40 * (number / SESSIONS) ** 3):02}"
        session = stack.enter_context(
            log.session(
                peer=(f"10.1.0.{number + 1}", 40_000 + number),
                local=("10.0.0.9", 9092),
                virtual_cluster="payments" if number % 3 else "analytics",
                client_id=principal,
                authority="witness",
            )
        )
        session.client_sasl_auth_success(principal, mechanism="SCRAM-SHA-256")
        sessions.append(session)
    return sessions


class _Owned:
    """The firehose's events, each partition with one reader and one writer, as a group's consumers have them."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        slots: dict[tuple[str, str, int], int] = {}
        self.calls: list[tuple[Callable[..., Any], str, int, int, int, int, int]] = []
        for emit, (topic, partition, first, last, correlation) in Firehose(sessions).arguments():
            key = emit.__name__, topic, partition
            slot = slots.setdefault(key, len(slots))
            session = sessions[crc32(repr(key).encode()) % SESSIONS]
            owned = session.write if emit.__name__ == "write" else session.read
            self.calls.append((owned, topic, partition, slot, first, last, correlation))
        self._spans = [0] * len(slots)
        for _, _, _, slot, first, last, _ in self.calls:
            self._spans[slot] += last + 1 - first
        self._bases = [0] * len(slots)
        self._at = 0

    def emit(self, count: int) -> None:
        """Emits the next `count` events."""
        while count > 0:
            calls, bases = self.calls[self._at : self._at + count], self._bases
            for emit, topic, partition, slot, first, last, correlation in calls:
                base = bases[slot]
                emit(topic, partition, base + first, base + last, correlation)
            count -= len(calls)
            self._at += len(calls)
            if self._at == len(self.calls):
                self._bases = [base + span for base, span in zip(bases, self._spans, strict=True)]
                self._at = 0

    def truth(self, count: int) -> tuple[Counter[str], float]:
        """Reads and Writes among the first `count`, and the sum of the squares of the stories' sizes."""
        rounds, rest = divmod(count, len(self.calls))
        told: Counter[str] = Counter()
        stories: Counter[tuple[int, str]] = Counter()
        for part, times in ((self.calls, rounds), (self.calls[:rest], 1)):
            for emit, topic, *_ in part:
                told[emit.__name__.capitalize()] += times
                stories[id(emit.__self__), topic] += times  # type: ignore[attr-defined]  # a bound method
        return told, float(sum(size * size for size in stories.values()))


def _emit(sessions: Sequence[Session], firehose: _Owned, chunks: int) -> Counter[str]:
    """Mixed events; how many there were beside Reads and Writes."""
    others: Counter[str] = Counter()
    for at in range(chunks):
        firehose.emit(_CHUNK)
        for number in range(_OTHERS["OperationAllowed"]):
            sessions[(at + number) % SESSIONS].operation_allowed("READ", "Topic", "orders.events")
        for number in range(_OTHERS["OperationDenied"]):
            sessions[(at + number) % SESSIONS].operation_denied("WRITE", "Topic", "billing.events")
        session = sessions[at % SESSIONS]
        session.client_sasl_auth_success(f"service-{at % 40:02}", mechanism="SCRAM-SHA-256")
        session.create_topics("scratch")
        others.update(_OTHERS)
    return others


def _cpu_of(name: str) -> float | None:
    """CPU seconds of the threads of this name: a Python thread's, and those of the core that work ahead for it."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return None
    ours = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    spent = 0
    for task in tasks.iterdir():
        if ours.get(task.name, task.joinpath("comm").read_text().strip()) in {name, "auditring-ahead"}:
            spent += int(task.joinpath("schedstat").read_text().split()[0])
    return spent / 1e9


def flood(directory: Path, kind: str, events: int) -> Made:
    """Emits, closes, checks."""
    os.environ.setdefault("AUDITRING_BENCH_KEY", "0123456789abcdef0123456789abcdef")
    policy = KINDS[kind]
    log = auditring.open(directory, policy=policy, sinks=[ParquetSink()], when_full=PATIENT, ring_dir=TMPFS)
    with ExitStack() as stack:
        sessions = _opened(log, stack)
        firehose = _Owned(sessions)
        log.flush(_PATIENCE)
        chunks = max(1, events // (_CHUNK + sum(_OTHERS.values())))
        told, squares = firehose.truth(chunks * _CHUNK)
        gc.disable()
        before, start = _cpu_of("auditring-parquet"), perf_counter()
        others = _emit(sessions, firehose, chunks)
        log.flush(_PATIENCE)
        spent = _cpu_of("auditring-parquet")
    log.close(_PATIENCE)
    closed = perf_counter() - start
    emitted = sum((told + others).values())
    others["ClientSaslAuthSuccess"] += SESSIONS
    rows, error = _check(directory, kind, log, told, others, squares)
    size = sum(file.stat().st_size for file in directory.glob("events/*/*.parquet"))
    follower = None if before is None or spent is None else spent - before
    return Made(emitted, closed, follower, rows, size, error)


def _check(
    directory: Path, kind: str, log: AuditLog, told: Counter[str], others: Counter[str], squares: float
) -> tuple[int, float]:
    """Asserts that every event is accounted for, by the log and by DuckDB; rows, and a sample's error."""
    stats = log.stats()
    sink = stats.sinks["parquet"]
    assert stats.balanced, stats
    assert stats.dropped == stats.refused == sink.pending == 0, stats
    assert not stats.lost, stats
    assert not sink.lost, stats
    everything = told + others
    # Connections begin and end.
    assert stats.offered == sum(everything.values()) + 2 * SESSIONS, stats
    for (action, _), count in stats.actions.items():
        assert count == everything.get(action, count), (action, count)
    with query.connect(directory, include_fresh=False) as connection:
        found = connection.execute(
            'SELECT action, count(*), sum("count"), sum(events_total), max(weight) FROM events GROUP BY ALL'
        ).fetchall()
    rows = sum(row[1] for row in found)
    assert (rows, sum(row[2] for row in found)) == (sink.delivered, sink.delivered + sink.merged)
    totals = {action: int(total) for action, _, _, total, _ in found}
    # What is protected, each a row of weight 1.
    by_action = {row[0]: row for row in found}
    for action in ("OperationDenied", "ClientSaslAuthSuccess", "CreateTopics"):
        assert by_action[action][1:] == (others[action], others[action], others[action], 1), by_action[action]
    assert totals["OperationAllowed"] == others["OperationAllowed"]
    off = sum(told.values()) - sum(totals.get(action, 0) for action in _DATA)
    if not kind.startswith("sample"):
        # To the last event: nothing but what is off is missing.
        assert off == stats.off + sink.filtered, (off, stats)
        assert bool(off) == any(rule.keep is Keep.OFF for rule in KINDS[kind].rules), off
        return rows, 0.0
    deviation = math.sqrt((ONE_IN - 1) * (squares if kind.endswith("stories") else sum(told.values())))
    assert abs(off) <= 3 * deviation, (off, deviation)
    return rows, abs(off) / deviation


def consumer(directory: Path, seconds: float, partitions: int = 50) -> tuple[int, int]:
    """Reads of each partition, a hundred a second, under a window of a second: events, and rows of them."""
    each = int(seconds * 100)
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(1))], seed=7)
    with (
        auditring.open(directory, policy=policy, when_full=PATIENT, ring_dir=TMPFS) as log,
        log.session(peer=("10.0.0.7", 40_000), authority="witness") as session,
    ):
        start = perf_counter()
        for at in range(each):
            for partition in range(partitions):
                session.read("orders", partition, at * 5, at * 5 + 4, at, records=5)
            # By the clock and not by the pause, so that it is a hundred a second whatever else runs.
            time.sleep(max(0.0, start + (at + 1) / 100 - perf_counter()))
    with query.connect(directory, include_fresh=False) as connection:
        covered = connection.execute(
            "SELECT partition, min(first_offset), max(last_offset), sum(last_offset + 1 - first_offset), sum(records), "
            "sum(events_total) FROM events WHERE action = 'Read' GROUP BY ALL ORDER BY partition"
        ).fetchall()
        (rows,) = connection.execute("SELECT count(*) FROM events WHERE action = 'Read'").fetchone() or (0,)
    assert covered == [(p, 0, each * 5 - 1, each * 5, each * 5, each) for p in range(partitions)], covered
    assert verify.check(directory).complete
    return each * partitions, rows


def measure(*, events: int) -> dict[str, Made]:
    """A flood of each kind, in a process of its own."""
    found = {}
    for kind in KINDS:
        if kind == "redaction" and TMPFS is None:
            continue
        with TemporaryDirectory() as temporary:
            told: dict[str, Any] = in_child("policy_kinds.py", Path(temporary, "audit"), kind, "--events", events)
            found[kind] = Made(**told)
    return found


def report(*, quick: bool = False) -> Report:
    """The table."""
    found = measure(events=200_000 if quick else EVENTS)
    with TemporaryDirectory() as temporary:
        seconds = 3 if quick else 10
        reads, rows = consumer(Path(temporary, "audit"), seconds)
    lines = [
        (
            kind,
            f"{made.events / made.closed:,.0f}",
            "" if made.follower is None else f"{made.follower / made.events * 1e9:,.0f}",
            f"{made.rows:,}",
            f"{made.size:,}",
            f"{made.error:.1f}" if kind.startswith("sample") else "exact",
        )
        for kind, made in found.items()
    ]
    events = next(iter(found.values())).events
    worst = max(made.error for made in found.values())
    return Report(
        "policy",
        f"{events:,} events of {SESSIONS} sessions, one thread, `wait=None`, into closed Parquet files, a process for "
        "each kind. Every event was found by `log.stats()` and by DuckDB before anything was told; of samples the last "
        "column says how far `sum(count * weight)` is from what was emitted, in standard errors.\n\n"
        + table(("policy", "events/s", "follower, ns/event", "rows", "bytes", "totals"), lines)
        + f"\n\nA consumer of 50 partitions, 100 Reads a second of each for {seconds} s, under a window of a second: "
        f"{reads:,} events, {rows:,} rows, every offset there once.",
        [
            Target("fewer rows of a consumer under a window of a second", reads / rows, 50, least=True, unit="times"),
            Target("totals of samples, in standard errors", worst, 3),
        ],
    )


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--events", type=int, default=EVENTS)
    options = parser.parse_args()
    print(json.dumps(asdict(flood(options.directory, options.kind, options.events))))


if __name__ == "__main__":
    main()

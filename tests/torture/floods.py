"""A flood of Reads at ten times what the disk takes, denials in between: what is lost is counted, and no denial is.

    python tests/torture/floods.py [--seconds 5] [--delay 0.8] [--seed S]

The disk is slow for real: a host runs under `strace`, which holds up every `writev(2)` (the journal's batches are the
only ones) by `--delay` seconds, so that the pump waits in the kernel as it does for a slow device. What the disk takes
is measured first, in rows; then threads offer so much that of ten Reads one is taken at most, what the ring holds
included; a machine that cannot offer so many is given a slower disk:

- `drop`: no denial is lost, what is lost of the Reads is exact, in rows with class and interval;
- `wait`: without a deadline nothing is lost, and each of 16 threads gets on;
- `raise`: callers get `AuditUnavailable` within the deadline, and it says why: the disk is slow; it is full (`writev`
  ends in ENOSPC); the journal's budget is used up by a sink that is dead.

The same seed makes the same denials at the same places of the flood; how fast the machine is, is not in its power.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import auditring
from auditring import Then, WhenFull
from auditring.sinks import ParquetSink, RowBatch
from auditring.verify import check

THREADS = 16
TIMES = 10
MARGIN = 1.2
"""What is offered above that: threads that share an interpreter are late."""
RING = 2 << 20
ROW = 400
"""Bytes that a Read takes in the ring, about."""
TRIES = 3
TOPIC = "orders." + "x" * 300
"""Long, so that a batch is full before an interpreter with sixteen threads is out of breath."""
DENIALS = 30
"""A second, of each thread that emits them."""
DEADLINE = 0.2
SLACK = 2.0
"""What a machine of two processors may add to a deadline while sixteen threads want one interpreter."""
PATIENCE = 120.0


@dataclass
class Figures:
    """What a life came to, as the callers saw it."""

    seconds: float = 0.0
    offered: list[int] = field(default_factory=list)
    """Reads, by thread."""
    denials: list[int] = field(default_factory=list)
    refused: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    """Calls that took longer than a millisecond, in seconds."""
    stats: dict[str, Any] = field(default_factory=dict)


class Dead(ParquetSink):
    """A sink that never works."""

    def write(self, batch: RowBatch) -> int:
        """Fails."""
        raise OSError(5, f"dead at {batch.first_seq}")


class Life:
    """The host: threads that flood a log, in the process that `strace` slows down."""

    def __init__(self, order: dict[str, Any]) -> None:
        rule = order["rule"]
        sink = Dead() if order["dead"] else ParquetSink()
        self.order = order
        self.log = auditring.open(
            order["path"],
            sinks=(sink,),
            ring_bytes=RING,
            when_full=WhenFull(wait=rule[0], then=Then[rule[1]]),
            balance=None,
            journal_bytes=4 << 20 if order["dead"] else 4 << 30,
        )
        self.figures = Figures(offered=[0] * THREADS, denials=[0] * THREADS)
        self._lock = threading.Lock()
        self._end = 0.0

    def run(self) -> None:
        """Floods, closes, and says what it came to."""
        threads = [threading.Thread(target=self._emit, args=(number,)) for number in range(THREADS)]
        began = time.monotonic()
        self._end = began + self.order["seconds"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread hangs"
        self.figures.seconds = time.monotonic() - began
        if not self.order["left"]:
            self.log.close(PATIENCE)
        stats = self.log.stats()
        lost = dict(stats.lost)
        self.figures.stats = {
            name: getattr(stats, name) for name in ("offered", "accepted", "dropped", "refused", "torn", "balanced")
        }
        self.figures.stats["lost"] = lost
        print(json.dumps(asdict(self.figures)), flush=True)
        if self.order["left"]:
            # What never works again is not waited for.
            os._exit(0)

    def _emit(self, number: int) -> None:
        """Offers as many Reads as belong to each moment, all that it can where that is not said; denials in between."""
        rng = random.Random(self.order["seed"] + number)
        rate = self.order["rate"] and self.order["rate"] / THREADS
        session = self.log.session(id=f"s-{number}", peer=("10.0.0.1", number), authority="decision")
        began, offered, denials = time.monotonic(), 0, 0
        next_denial = rng.uniform(0, 2 / DENIALS)
        waits: list[float] = []
        refused = Counter[str]()
        while (now := time.monotonic()) < self._end:
            if now - began >= next_denial:
                next_denial += rng.uniform(0, 2 / DENIALS)
                if self._timed(waits, refused, session.operation_denied, "READ", "Topic", f"d-{number}-{denials}"):
                    denials += 1
                continue
            due = 256 if rate is None else int((now - began) * rate) - offered
            if due <= 0:
                time.sleep(0.001)
            for _ in range(min(due, 256)):
                self._timed(waits, refused, session.read, TOPIC, number, offered, offered)
                offered += 1
                if time.monotonic() >= self._end:
                    break
        with self._lock:
            self.figures.offered[number] = offered
            self.figures.denials[number] = denials
            self.figures.waits += waits
            self.figures.refused += sum(refused.values())
            self.figures.messages = dict(Counter(self.figures.messages) + refused)

    @staticmethod
    def _timed(waits: list[float], refused: Counter[str], call: Any, *fields: object) -> bool:  # noqa: ANN401 - any of the session's methods
        began = time.perf_counter()
        try:
            call(*fields)
        except auditring.AuditUnavailable as error:
            refused[str(error).partition(": ")[2]] += 1
            return False
        finally:
            took = time.perf_counter() - began
            if took > 0.001:
                waits.append(took)
        return True


def live(folder: Path, given: argparse.Namespace, name: str, **order: Any) -> Figures:  # noqa: ANN401 - what a host is told
    """One life under `strace`."""
    order = {
        "path": str(folder / name),
        "seconds": given.seconds,
        "seed": given.seed,
        "rate": None,
        "dead": False,
        "left": False,
        "inject": f"delay_enter={int(given.delay * 1e6)}",
        **order,
    }
    command = [sys.executable, __file__, "--host", json.dumps(order)]
    if order["inject"]:
        trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=writev"]
        command = [*trace, "-e", f"inject=writev:{order['inject']}", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=given.seconds + 2 * PATIENCE)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return Figures(**json.loads(done.stdout))


def rows_of(root: Path, *columns: str) -> list[dict[str, Any]]:
    """Some columns of all rows."""
    tables = [pq.read_table(path, columns=list(columns)) for path in root.glob("events/*/*.parquet")]
    return [row for table in tables for row in table.to_pylist()]


@dataclass
class Found:
    """What is on the disk."""

    reads: list[int]
    denials: list[int]
    lost: list[dict[str, Any]]


def found(root: Path) -> Found:
    """Reads and denials that are there, by thread, each once; and the rows about losses."""
    report = check(root)
    assert report.complete, report.findings
    rows = rows_of(root, "action", "partition", "first_offset", "resource", "lost", "end_time", "context", "seq")
    reads = Counter((row["partition"], row["first_offset"]) for row in rows if row["action"] == "Read")
    denied = Counter(row["resource"] for row in rows if row["action"] == "OperationDenied")
    assert not [one for one, times in (reads + Counter[Any](denied)).items() if times > 1], "twice"
    by_thread = Counter(number for number, _ in reads)
    by_denier = Counter(int(name.split("-")[1]) for name in denied)
    lost = [row for row in rows if row["action"] == "auditring.EventsLost"]
    return Found(
        [by_thread[number] for number in range(THREADS)],
        [by_denier[number] for number in range(THREADS)],
        sorted(lost, key=lambda row: row["seq"]),
    )


def check_losses(lost: list[dict[str, Any]], dropped: int, seconds: float) -> None:
    """Rows about losses add up, name class and interval, and come no closer together than a second."""
    assert sum(row["lost"] for row in lost) == dropped, "the rows about losses do not add up"
    context = [json.loads(row["context"]) for row in lost]
    assert {(one["class"], one["action"]) for one in context} <= {("droppable", "Read")}, context
    spans = [(int(one["fromNanos"]), row["end_time"].timestamp() * 1e9) for row, one in zip(lost, context, strict=True)]
    for (_, end), (begin, _) in pairwise(spans):
        assert begin >= end - 2_000, "two rows are about the same time"
    assert all(begin <= end for begin, end in spans)
    assert len(lost) <= seconds + 3, f"{len(lost)} rows about losses in {seconds:.1f} s"


def show(name: str, figures: Figures, rows: dict[str, Any]) -> None:
    """One life's figures."""
    waits = sorted(figures.waits) or [0.0]
    at = [waits[min(len(waits) - 1, int(len(waits) * part))] for part in (0.5, 0.99, 1.0)]
    print(f"\n{name}: {figures.seconds:.1f} s, {THREADS} threads")
    rows["calls that waited"] = f"{len(figures.waits):,}; p50 {at[0]:.3f} s, p99 {at[1]:.3f} s, max {at[2]:.3f} s"
    for what, value in rows.items():
        print(f"  {what:<34}{value:,}" if isinstance(value, int) else f"  {what:<34}{value}")


def measure(folder: Path, given: argparse.Namespace, name: str) -> float:
    """Rows that the disk takes in a second."""
    figures = live(folder, given, name, rule=(None, "DROP"), seconds=max(2.0, 4 * given.delay))
    takes = sum(figures.offered) / figures.seconds
    print(f"the disk takes {takes:,.0f} rows a second, {given.delay} s a batch", flush=True)
    return takes


def flooded(folder: Path, given: argparse.Namespace, attempt: int = 1) -> tuple[Figures, Found, float]:
    """Ten times what is taken; what became of it, and how many times it was. Where it was not, on a slower disk."""
    taken = measure(folder, given, f"measure-{attempt}") + RING / ROW / given.seconds
    figures = live(folder, given, f"drop-{attempt}", rule=(0.05, "DROP"), rate=TIMES * MARGIN * taken)
    there = found(folder / f"drop-{attempt}")
    times = sum(figures.offered) / max(1, sum(there.reads))
    if times >= TIMES or attempt == TRIES:
        return figures, there, times
    print(f"offered only {times:.1f} times what was taken: a slower disk", flush=True)
    given.delay *= 2
    return flooded(folder, given, attempt + 1)


def drop(folder: Path, given: argparse.Namespace) -> None:
    """What finds no room is dropped."""
    figures, there, times = flooded(folder, given)
    stats = figures.stats
    offered, dropped = sum(figures.offered), stats["dropped"]
    assert (stats["balanced"], stats["lost"]) == (True, {}), stats
    assert (stats["refused"], stats["torn"]) == (0, 0), stats
    assert there.denials == figures.denials, "a denial is lost"
    assert sum(there.reads) + dropped == offered, "the loss of Reads is not exact"
    assert times >= TIMES, f"offered only {times:.1f} times what was taken: no flood"
    check_losses(there.lost, dropped, figures.seconds + PATIENCE if given.seconds > PATIENCE else figures.seconds + 5)
    assert max(figures.waits, default=0) < 0.05 + SLACK, "a call came back late"
    show("drop", figures, {
        "Reads offered": offered,
        "Reads accepted": sum(there.reads),
        "offered / accepted": f"{times:.1f}",
        "Reads dropped (class droppable)": dropped,
        "… told of in so many rows": len(there.lost),
        "denials offered": sum(figures.denials),
        "denials lost (class protected)": sum(figures.denials) - sum(there.denials),
        "Reads accepted by thread": f"least {min(there.reads):,}, greatest {max(there.reads):,}",
    })  # fmt: skip


def wait(folder: Path, given: argparse.Namespace) -> None:
    """Everybody waits as long as it takes."""
    # Everybody comes to his turn a few times, however short this is.
    figures = live(folder, given, "wait", rule=(None, "DROP"), inject=f"delay_enter={int(given.delay / 4 * 1e6)}")
    there, stats = found(folder / "wait"), figures.stats
    assert (stats["balanced"], stats["lost"]) == (True, {}), stats
    assert (stats["dropped"], stats["refused"], stats["torn"]) == (0, 0, 0), stats
    assert (there.reads, there.denials) == (figures.offered, figures.denials), "something is lost"
    assert not there.lost
    assert min(there.reads) > 0, "a thread starves"
    show("wait", figures, {
        "Reads offered and accepted": sum(there.reads),
        "denials offered and accepted": sum(there.denials),
        "lost": 0,
        "Reads by thread": f"least {min(there.reads):,}, greatest {max(there.reads):,}",
    })  # fmt: skip


def refuse(folder: Path, given: argparse.Namespace) -> None:
    """Callers are told, in time and why."""
    causes = {
        "the disk is slow": ({}, "events come faster than the journal takes them"),
        "the disk is full": ({"inject": "error=ENOSPC:when=3+", "left": True}, "No space left on device"),
        "a sink is dead": ({"inject": "", "dead": True, "left": True}, "the journal's budget is used up"),
    }
    for number, (name, (order, said)) in enumerate(causes.items()):
        figures = live(folder, given, f"raise-{number}", rule=(DEADLINE, "RAISE"), **order)
        assert figures.stats["balanced"], figures.stats
        assert figures.stats["dropped"] == 0, figures.stats
        assert figures.refused == figures.stats["refused"] > 0, (figures.refused, figures.stats)
        wrong = {message: times for message, times in figures.messages.items() if said not in message}
        assert sum(wrong.values()) <= figures.refused / 20, f"{name}: callers are told {wrong}"
        late = max(figures.waits, default=0) - DEADLINE
        assert late < SLACK, f"{name}: a caller is told {late:.1f} s late"
        show(f"raise, {name}", figures, {
            "offered": sum(figures.offered) + sum(figures.denials),
            "refused": figures.refused,
            "the deadline": f"{DEADLINE} s",
            "why": max(figures.messages, key=lambda message: figures.messages[message]),
        })  # fmt: skip


def main() -> int:
    """All lives, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each flood")
    parser.add_argument("--delay", type=float, default=0.8, help="seconds that the disk takes for a batch")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--host", type=json.loads, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.host is not None:
        Life(given.host).run()
        return 0
    given.seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"flood: seed {given.seed}, {given.delay} s a batch", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="auditring-flood-"))
    try:
        drop(folder, given)
        wait(folder, given)
        refuse(folder, given)
    except BaseException:
        print(f"the flood failed: --seed {given.seed}; what it left is in {folder}", flush=True)
        raise
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

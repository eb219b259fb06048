"""What sinks cost the thread that emits: none at all, beside every kind at once, one of them dead and one slow.

    python benches/all_sinks.py DIRECTORY [--sinks] [--seconds S] [--rate N]

is one process whose thread emits Reads at a steady rate, in a burst every ten milliseconds, and sums up the CPU time of
its own bursts alone. The rounds take turns. That the sinks work meanwhile, that the slow one is slow and that the dead
one fails is asserted; so is the balance. What the sinks' own threads take is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import logging
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Any

import auditring
from auditring import CloseIncomplete
from auditring.sinks import JsonlSink, KafkaSink, LoggingSink, ParquetSink, Sink
from flood import in_child
from logs import PATIENT, TMPFS, authenticated
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from auditring.sinks import RowBatch

RATE = 20_000
TICK = 0.01
SLOW = 0.5
"""Seconds that the slow sink takes for a batch."""
ALLOWED = 1.1
PARTIAL_CLOSE = 2.0


class Slow(Sink):
    """Takes half a second for whatever it gets."""

    name = "slow"

    def start(self, state: bytes) -> None:
        """Has nothing to go back to."""

    def write(self, batch: RowBatch) -> int:
        """Sleeps."""
        time.sleep(SLOW)
        return batch.rows

    def commit(self) -> bytes:
        """Has nothing to make safe."""
        return b""

    def close(self) -> None:
        """Has nothing open."""


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def every_kind(directory: Path) -> list[Sink]:
    """All kinds, each at its work; Kafka's broker is away and stays so."""
    handler = logging.FileHandler(directory.with_suffix(".log"))
    logger = logging.getLogger("auditring.audit")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("auditring").setLevel(logging.CRITICAL)
    return [ParquetSink(), JsonlSink(), LoggingSink(), KafkaSink(nobody(), "audit"), Slow()]


def emit(directory: Path, *, sinks: bool, seconds: float, rate: int) -> dict[str, Any]:
    """Emits for some seconds, and what that took the emitting thread and the others."""
    chosen = every_kind(directory) if sinks else []
    log = auditring.open(directory, sinks=chosen, when_full=PATIENT, ring_dir=TMPFS, balance=None)
    session = authenticated(log)
    burst = range(int(rate * TICK))
    events, mine, late = 0, 0.0, 0
    everything, began = process_time(), perf_counter()
    due = began
    while due - began < seconds:
        due += TICK
        if (left := due - perf_counter()) > 0:
            time.sleep(left)
        else:
            late += 1
        start = thread_time()
        for _ in burst:
            session.read("orders", 3, 1000, 1099, 42)
        mine += thread_time() - start
        events += len(burst)
    everything, took = process_time() - everything, perf_counter() - began
    session.close()
    try:
        log.close(PARTIAL_CLOSE if sinks else None)
        assert not sinks, "Kafka's broker is away, and the log closed as if it had all"
    except CloseIncomplete:
        assert sinks
    after = log.stats()
    assert after.balanced, after
    assert after.dropped == after.refused == 0, after
    assert after.actions["Read", "success"] == events
    if sinks:
        assert after.sinks["kafka"].delivered == 0 < after.sinks["jsonl"].delivered, after.sinks
    return {"events": events, "emit": mine / events * 1e9, "rest": (everything - mine) / took, "late": late}


def report(*, quick: bool = False) -> Report:
    """The table."""
    rounds, seconds = (2, 3.0) if quick else (8, 8.0)
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for number in range(rounds):
        for sinks in (False, True) if number % 2 == 0 else (True, False):
            with TemporaryDirectory() as folder:
                more = ["--sinks"] if sinks else []
                found[sinks].append(in_child("all_sinks.py", Path(folder, "audit"), "--seconds", seconds, *more))
    names = {False: "no sink", True: "Parquet, JSONL, log lines, Kafka (away), a slow one"}
    ratios = [every["emit"] / none["emit"] for none, every in zip(found[False], found[True], strict=True)]
    lines = [
        (
            names[sinks],
            Spread.of([one["emit"] for one in found[sinks]]).text(),
            Spread.of([100 * one["rest"] for one in found[sinks]]).text(),
        )
        for sinks in (False, True)
    ]
    return Report(
        "sinks",
        f"One thread emits {RATE:,} Reads a second, 200 every 10 ms; its CPU time alone. Median (quartiles) of "
        f"{rounds} rounds of {seconds:g} s.\n\n"
        + table(("", "ns of CPU an emit", "% of a CPU for all else"), lines)
        + f"\n\nAll at once, times none, in the same round: {Spread.of(ratios).text(2)}.",
        [Target("CPU of an emit with all sinks, times that with none", Spread.of(ratios).median, ALLOWED, digits=2)],
    )


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sinks", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rate", type=int, default=RATE)
    options = parser.parse_args()
    print(json.dumps(emit(options.directory, sinks=options.sinks, seconds=options.seconds, rate=options.rate)))


if __name__ == "__main__":
    main()

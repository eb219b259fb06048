"""What it costs to wait for the disk, and what `Durability.POWER` costs the flow, beside `PROCESS`.

    python benches/durability.py DIRECTORY --waiters N --seconds S [--power SECONDS]

is one process whose threads each emit an event and wait until it is durable, again and again. The peer is a loop that
appends as many bytes to a file on the same disk and calls `fdatasync`: what the disk can do for one who asks.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

import auditring
from auditring import Durability
from auditring.sinks import JsonlSink
from flood import flooded, in_child
from logs import PATIENT, TMPFS, authenticated
from tables import Report, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

WAITERS = (1, 8, 64)
MODES: dict[str, float | None] = {"PROCESS": None, "POWER(0)": 0.0, "POWER(0.01)": 0.01, "POWER(0.1)": 0.1}
"""By name, the interval; none under `PROCESS`, where `sync()` alone waits for the disk."""
BARE = "bare `write` and `fdatasync`"
SECONDS = 2.0
EVENTS = 1_000_000
RECORD = 256
"""Bytes that the bare loop appends: about a journaled event with its batch."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long it took from the emit until the event was durable, in milliseconds, and how many a second were."""

    p50: float
    p99: float
    rate: float

    @classmethod
    def of(cls, samples: Sequence[float], took: float) -> Waits:
        """Of single waits, in seconds."""
        cuts = quantiles(samples, n=100, method="inclusive")
        return cls(cuts[49] * 1e3, cuts[98] * 1e3, len(samples) / took)


def durability(interval: float | None) -> Durability:
    """The value that has this interval."""
    return Durability.PROCESS if interval is None else Durability.POWER(interval)


def wait(directory: Path, *, waiters: int, seconds: float, interval: float | None) -> Waits:
    """Threads that emit and wait, and what they saw. Every event is in the lines at the end."""
    samples: list[list[float]] = [[] for _ in range(waiters)]
    start = threading.Barrier(waiters + 1)
    log = auditring.open(
        directory, sinks=[JsonlSink()], when_full=PATIENT, ring_dir=TMPFS, durability=durability(interval)
    )
    log.sync()
    assert log.stats().durable_seq > 0

    def work(mine: list[float]) -> None:
        session = authenticated(log)
        session.read("orders", 0, 0, 0, 0)
        log.sync()
        start.wait()
        end = perf_counter() + seconds
        while (now := perf_counter()) < end:
            session.read("orders", 3, 1000, 1099, 42)
            log.sync()
            mine.append(perf_counter() - now)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in samples]
    for thread in threads:
        thread.start()
    start.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    took = perf_counter() - began
    # The sessions' own ends.
    log.sync()
    assert log.stats().undurable == 0
    log.close()
    every = [sample for mine in samples for sample in mine]
    found = sum(file.read_bytes().count(b'"action":"Read"') for file in directory.glob("jsonl/*.jsonl"))
    assert found == len(every) + waiters, (found, len(every))
    return Waits.of(every, took)


def bare(folder: Path, *, seconds: float) -> Waits:
    """One thread that appends and waits for the disk."""
    record = os.urandom(RECORD)
    samples = []
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        began = perf_counter()
        while (now := perf_counter()) < began + seconds:
            os.write(fd, record)
            os.fdatasync(fd)
            samples.append(perf_counter() - now)
        took = perf_counter() - began
    finally:
        os.close(fd)
    assert (folder / "bare").stat().st_size == RECORD * len(samples)
    return Waits.of(samples, took)


def measure_waits(*, rounds: int, seconds: float) -> dict[tuple[str, int], list[Waits]]:
    """By mode and number of waiters, round by round: each round has all of them, and the bare loop."""
    found: dict[tuple[str, int], list[Waits]] = {}
    for number in range(rounds):
        order = [(mode, waiters) for waiters in WAITERS for mode in MODES]
        for mode, waiters in order if number % 2 == 0 else order[::-1]:
            with TemporaryDirectory() as folder:
                power = [] if MODES[mode] is None else ["--power", MODES[mode]]
                arguments = [Path(folder, "audit"), "--waiters", waiters, "--seconds", seconds, *power]
                waits = Waits(**in_child("durability.py", *arguments))
            found.setdefault((mode, waiters), []).append(waits)
        with TemporaryDirectory() as folder:
            found.setdefault((BARE, 1), []).append(bare(Path(folder), seconds=seconds))
    return found


def measure_floods(*, rounds: int, events: int) -> dict[str, list[float]]:
    """Events a second into closed Parquet files, by mode, round by round."""
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        modes = list(MODES)
        for mode in modes if number % 2 == 0 else modes[::-1]:
            with TemporaryDirectory() as folder:
                directory = Path(folder, "audit")
                flood = flooded(directory, events=events, power=MODES[mode])
                counted = sum(pq.read_metadata(file).num_rows for file in directory.glob("events/*/*.parquet"))
                assert counted == flood.journaled, (mode, counted, flood.journaled)
            found[mode].append(flood.rate)
    return found


def report(*, quick: bool = False) -> Report:
    """The tables."""
    rounds, seconds, events = (1, SECONDS / 4, EVENTS // 10) if quick else (3, SECONDS, EVENTS)
    waits = measure_waits(rounds=rounds, seconds=seconds)
    floods = measure_floods(rounds=rounds, events=events)

    def line(mode: str, waiters: int) -> tuple[str, ...]:
        each = waits[mode, waiters]
        p50, p99, rate = (Spread.of([getattr(one, name) for one in each]) for name in ("p50", "p99", "rate"))
        share = Spread.of([one.rate / bare.rate for one, bare in zip(each, waits[BARE, 1], strict=True)])
        return mode, str(waiters), p50.text(2), p99.text(2), rate.text(0), share.text(2)

    lines = [line(BARE, 1), *(line(mode, waiters) for waiters in WAITERS for mode in MODES)]
    head = ("", "waiters", "p50, ms", "p99, ms", "durable events/s", "times the bare loop's")
    flows = [
        (
            mode,
            Spread.of([rate / 1e6 for rate in rates]).text(2),
            Spread.of([a / b for a, b in zip(rates, floods["PROCESS"], strict=True)]).text(2),
        )
        for mode, rates in floods.items()
    ]
    return Report(
        "durability",
        f"From the emit until `log.sync()` returned, in so many threads at a time; JSON lines are written meanwhile. "
        f"The bare loop appends {RECORD} bytes and calls `fdatasync`, on the same disk. Median (quartiles) of {rounds} "
        f"round(s) of {seconds:g} s each.\n\n{table(head, lines)}\n\n"
        f"{events:,} Reads and Writes as fast as one thread emits them, into closed Parquet files; nobody waits.\n\n"
        + table(("", "million events/s", "times PROCESS in the same round"), flows),
    )


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--waiters", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--power", type=float, default=None, metavar="SECONDS")
    options = parser.parse_args()
    found = wait(options.directory, waiters=options.waiters, seconds=options.seconds, interval=options.power)
    print(json.dumps({"p50": found.p50, "p99": found.p99, "rate": found.rate}))


if __name__ == "__main__":
    main()

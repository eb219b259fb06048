"""What being watched costs: a scrape after ten million events, an emit while somebody scrapes, counting by scope.

    python benches/run.py --only scrape

Each comparison is made in turns within one run: a ratio is taken between neighbours, and the median of those is shown.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from prometheus_client import generate_latest

import auditring
from auditring import _core
from auditring.demo.firehose import Firehose, open_sessions
from auditring.exposition import registry
from auditring.metrics import DirectoryCollector
from logs import PATIENT, TMPFS
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from prometheus_client.registry import Collector

    from auditring import AuditLog

EVENTS = 10_000_000
PROCESSES = 100_000
"""That have come and gone: at four workers, each recycled every ten minutes, those of half a year."""
SCOPES = {"vc": "virtual_cluster", "door": "listener"}
TURN = 200_000
"""Events between two changes of what is compared."""
EVERY = 0.1
"""Seconds between scrapes while they are compared: Prometheus comes every 15."""
_COUNTED = 'auditring_events_total{action="Read",'


def timed(collector: Collector, rounds: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Milliseconds of so many scrapes."""
    made, took = registry(collector), []
    for _ in range(rounds):
        start = clock()
        generate_latest(made)
        took.append((clock() - start) * 1e3)
    return took


def pump_seconds() -> float:
    """CPU that the pump has taken so far; there is one."""
    (pump,) = (thread for thread in threading.enumerate() if thread.name == "auditring-pump")
    assert pump.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(pump.ident))


def read_events(collector: Collector) -> int:
    """How many Reads a scrape tells of, over all scopes."""
    lines = generate_latest(registry(collector)).decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_COUNTED)))


def scrapes(events: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of scrapes after so many events: of the log, of its directory, and a directory's first."""
    with (
        TemporaryDirectory() as folder,
        auditring.open(folder, when_full=PATIENT, ring_dir=TMPFS, label_scopes=SCOPES) as log,
        ExitStack() as stack,
    ):
        Firehose(open_sessions(log, stack)).emit(events)
        log.flush(300)
        stats = log.stats()
        assert stats.balanced
        assert stats.dropped == 0
        directory = DirectoryCollector(folder, log)
        first = timed(directory, 1)
        assert read_events(log.collector()) == read_events(directory) == stats.actions["Read", "success"]
        return {
            "of a log": timed(log.collector(), rounds),
            "of its directory": timed(directory, rounds),
            "of a log, CPU": timed(log.collector(), rounds, time.thread_time),
            "of its directory, CPU": timed(directory, rounds, time.thread_time),
            "of its directory, the first": first,
        }


def totals_of(uuid: UUID, folder: Path) -> None:
    """The totals of a process that has gone, as the core writes them, but for the syncs."""
    cells = {"1": 1000, "2": 1000, "5": 1000, str(1 << 28 | 17 << 4 | 1): 1000}
    said = {"instance": "", "host": "", "next_seq": 1000, "cells": cells, "sinks": {"parquet": {"delivered": 1000}}}
    body = json.dumps(said).encode()
    (folder / str(uuid)).write_bytes(f"auditring totals 1 {zlib.crc32(body):08x} {len(body)}\n".encode() + body)


def crowded(processes: int) -> dict[str, float]:
    """CPU, in milliseconds, of looks at a directory in which so many processes have been."""
    with TemporaryDirectory() as root:
        folder = Path(root) / "totals"
        folder.mkdir()
        for _ in range(processes):
            totals_of(uuid4(), folder)

        def look(directory: _core.Directory) -> float:
            start = time.thread_time()
            seen = directory.read()
            took = (time.thread_time() - start) * 1e3
            assert {name: value for name, labels, value in seen["samples"] if not labels}["journaled"] == (
                1000 * seen["processes"]["gone"]
            )
            return took

        took = {"the first ever": look(_core.Directory(root))}
        directory = _core.Directory(root)
        took["of a new scraper"] = look(directory)
        time.sleep(0.1)  # a folder that has just changed is listed again
        look(directory)
        took["where nobody has gone since"] = look(directory)
        totals_of(uuid4(), folder)
        took["where one has"] = look(directory)
        return took


class Scraper:
    """Somebody who scrapes, as long as they are let."""

    def __init__(self, collector: Collector) -> None:
        self._registry = registry(collector)
        self._going = threading.Event()
        self._ended = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._going.wait(EVERY):
                generate_latest(self._registry)
                self.count += 1
                self._ended.wait(EVERY)

    def let(self, going: bool) -> None:  # noqa: FBT001 - what is compared
        """Whether it may."""
        if going:
            self._going.set()
        else:
            self._going.clear()

    def end(self) -> None:
        """For good."""
        self._ended.set()
        self._thread.join()


def watched(rounds: int, turn: int) -> tuple[list[float], list[float], int]:
    """CPU of the thread that emits, ns an event, in turns: unwatched and watched; and how many scrapes there were."""
    took: tuple[list[float], list[float]] = ([], [])
    with (
        TemporaryDirectory() as folder,
        auditring.open(folder, sinks=(), when_full=PATIENT, ring_dir=TMPFS) as log,
        ExitStack() as stack,
    ):
        firehose = Firehose(open_sessions(log, stack))
        scraper = Scraper(log.collector())
        firehose.emit(turn)
        for _ in range(rounds):
            for going in (False, True):
                scraper.let(going)
                start = time.thread_time()
                firehose.emit(turn)
                took[going].append((time.thread_time() - start) / turn * 1e9)
        scraper.end()
        log.sync(300)
        assert log.stats().dropped == 0
        return *took, scraper.count


def pumped(log: AuditLog, firehose: Firehose, turn: int) -> float:
    """CPU of the pump, ns an event."""
    before = pump_seconds()
    firehose.emit(turn)
    log.sync(300)
    return (pump_seconds() - before) / turn * 1e9


def scoped(rounds: int, turn: int) -> tuple[list[float], list[float]]:
    """CPU of the pump, ns an event, in turns: without scopes and with them."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for scopes in (None, SCOPES):
            with (
                TemporaryDirectory() as folder,
                auditring.open(folder, sinks=(), when_full=PATIENT, ring_dir=TMPFS, label_scopes=scopes) as log,
                ExitStack() as stack,
            ):
                firehose = Firehose(open_sessions(log, stack))
                pumped(log, firehose, turn)
                took[scopes is not None].append(pumped(log, firehose, turn))
                assert bool(log.stats().scoped) == (scopes is not None)
    return took


def ratios(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Of neighbours, each turn against those on both of its sides."""
    turns = [value for pair in zip(before, after, strict=True) for value in pair]
    return [b / a if at % 2 == 0 else a / b for at, (a, b) in enumerate(pairwise(turns))]


def report(*, quick: bool) -> Report:
    """The tables."""
    events, rounds, turn = (200_000, 5, 50_000) if quick else (EVENTS, 40, TURN)
    took = scrapes(events, rounds)
    quiet, noisy, count = watched(rounds, turn)
    plain, by_scope = scoped(max(3, rounds // 5), turn * 2)
    cost, share = median(ratios(quiet, noisy)), median(ratios(plain, by_scope))
    many = 1_000 if quick else PROCESSES
    rows = [(f"a scrape {name}", f"{Spread.of(samples).text(2)} ms") for name, samples in took.items()]
    rows += [
        ("an emit, thread CPU, nobody scraping", f"{Spread.of(quiet).text()} ns"),
        (f"… while somebody scrapes {1 / EVERY:.0f} times a second ({count} scrapes)", f"{Spread.of(noisy).text()} ns"),
        ("the pump, CPU an event", f"{Spread.of(plain).text()} ns"),
        ("… with two label_scopes", f"{Spread.of(by_scope).text()} ns"),
    ]
    rows += [
        (f"of {many:,} processes that have gone, {name}, CPU", f"{ms:,.1f} ms") for name, ms in crowded(many).items()
    ]
    promises = [
        Target(f"a scrape of a log after {events:,} events", median(took["of a log"]), 5, unit="ms"),
        Target(f"a scrape of its directory after {events:,} events", median(took["of its directory"]), 5, unit="ms"),
        Target("emit, thread CPU, scraped / not", cost, 1.05, digits=2),
        Target("pump, CPU an event, with label_scopes / without", share, 1.1, digits=2),
    ]
    return Report(f"A scrape after {events:,} events", table(("what", "median (quartiles)"), rows), promises)

"""What lanes are for: two threads that emit at once, beside two processes that do, on an interpreter without a GIL.

    .venv-ft/bin/python benches/lanes.py [--rounds 300] [--events 20000]

In turns, within one run: one thread; two processes of one thread each; two threads of one process, each with a session
in a lane of its own; the same in one lane. All begin at the same instant, at which every one of them already spins, and
emit bursts that the ring takes without its pump being woken; off the clock the ring is emptied. With a GIL two threads
gain nothing, which the script says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import auditring
import auditring.opening
from auditring import WhenFull
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditring import Session

LANE = 32 << 20
LEAD = 0.003
"""Seconds between the word to begin and the beginning."""
WANTED = 0.85
ONE = "one thread"
PROCESSES = "two processes, a thread each"
LANES = "two threads, a lane each"
SHARED = "two threads, one lane"


def burst(session: Session, events: int, begin: float) -> tuple[float, float]:
    """Emits from an instant on; when it began and ended."""
    read, clock = session.read, time.perf_counter
    while clock() < begin:
        pass
    began = clock()
    for _ in range(events):
        read("orders", 3, 1000, 1099, 42)
    return began, clock()


def work(threads: int, lanes: int) -> None:
    """A process that does what standard input says: a line with an instant and a number of events, then another one."""
    auditring.opening._LANES = lanes  # noqa: SLF001 - there is no setting: the core knows best
    lines: list[tuple[float, int]] = []
    spans: list[list[tuple[float, float]]] = [[] for _ in range(threads)]
    told, done = threading.Barrier(threads + 1), threading.Barrier(threads + 1)
    with (
        TemporaryDirectory() as folder,
        auditring.open(
            folder, sinks=(), ring_bytes=LANE * lanes, journal_bytes=256 << 20, when_full=WhenFull(wait=None)
        ) as log,
    ):

        def emit(number: int) -> None:
            session = log.session()
            while True:
                told.wait()
                if not lines:
                    return
                begin, events = lines[-1]
                spans[number].append(burst(session, events, begin))
                done.wait()

        running = [threading.Thread(target=emit, args=(number,)) for number in range(threads)]
        for one in running:
            one.start()
        for line in sys.stdin:
            begin, events = json.loads(line)
            lines.append((begin, events))
            told.wait()
            done.wait()
            log.sync(60)
            sys.stdout.write(json.dumps([of[-1] for of in spans]) + "\n")
            sys.stdout.flush()
        lines.clear()
        told.wait()
        for one in running:
            one.join()
        stats = log.stats()
        assert stats.balanced, stats
        assert stats.dropped == stats.refused == 0, stats


@dataclass(slots=True)
class Worker:
    """One such process."""

    process: subprocess.Popen[str]
    threads: int

    @classmethod
    def start(cls, threads: int, lanes: int) -> Worker:
        """Another interpreter of the same kind."""
        command = [sys.executable, __file__, "--work", str(threads), str(lanes)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        return cls(process, threads)

    def tell(self, begin: float, events: int) -> None:
        """The next burst."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([begin, events]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> list[tuple[float, float]]:
        """When each thread began and ended."""
        assert self.process.stdout is not None
        return [(began, ended) for began, ended in json.loads(self.process.stdout.readline())]

    def end(self) -> None:
        """What it emitted was balanced."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0


def rate(workers: Sequence[Worker], events: int) -> float:
    """Events a second of all threads of some workers, from the first that begins to the last that ends."""
    begin = time.perf_counter() + LEAD
    for worker in workers:
        worker.tell(begin, events)
    spans = [span for worker in workers for span in worker.answer()]
    return events * len(spans) / (max(ended for _, ended in spans) - min(began for began, _ in spans))


def measure(rounds: int, events: int) -> dict[str, list[float]]:
    """Rates by subject, round by round, there and back."""
    alone, other, both, shared = (Worker.start(*of) for of in ((1, 1), (1, 1), (2, 2), (2, 1)))
    subjects = {ONE: [alone], PROCESSES: [alone, other], LANES: [both], SHARED: [shared]}
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(-5, rounds):
        for name in subjects if number % 2 == 0 else [*subjects][::-1]:
            speed = rate(subjects[name], events)
            if number >= 0:
                found[name].append(speed)
    for worker in (alone, other, both, shared):
        worker.end()
    return found


def report(*, rounds: int = 300, events: int = 20_000) -> Report:
    """The table, and whether two lanes gain what was promised."""
    busy, found = os.getloadavg()[0], measure(rounds, events)

    def gains(name: str) -> Spread:
        return Spread.of([speed / one for speed, one in zip(found[name], found[ONE], strict=True)])

    rows = [
        (name, Spread.of([speed / 1e6 for speed in speeds]).text(2), gains(name).text(2))
        for name, speeds in found.items()
    ]
    share = Spread.of([lanes / apart for lanes, apart in zip(found[LANES], found[PROCESSES], strict=True)])
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    where = f"Python {sys.version.split()[0]}, {'with a GIL: no gain is to be expected' if gil else 'no GIL'}"
    how = f"median (quartiles) of {rounds} rounds of {events:,} events a thread"
    text = "\n\n".join(
        (
            f"{where}; {os.cpu_count()} CPUs, load {busy:.1f}; {how}.",
            table(("who emits", "million events a second", "times one thread"), rows),
            f"Two lanes against two processes, round by round: {share.text(2)}.",
        )
    )
    return Report("lanes", text, [Target("two lanes, of two processes", share.median, WANTED, least=True, digits=2)])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return 0
    found = report(rounds=given.rounds, events=given.events)
    print(found.text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

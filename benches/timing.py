"""Rounds in turns: what is compared runs side by side within one process, so that the machine's moods hit all alike.

What must always hold: a ratio is taken within a round and never between two runs; every subject's statement is compiled
for itself, so that none spoils the interpreter's inline caches for another; the collector is off while the clock runs.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from timeit import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of some samples."""
        if len(samples) < 2:
            return cls(samples[0], samples[0], samples[0])
        low, _, high = quantiles(samples, n=4, method="inclusive")
        return cls(median(samples), low, high)

    def text(self, digits: int = 1) -> str:
        """The median, then the quartiles in brackets."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def nothing() -> None:
    """What needs no preparation."""


@dataclass(slots=True)
class Subject:
    """One statement that is measured: `values` are local variables in it, as they would be in a host's loop."""

    name: str
    statement: str
    values: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 8_000
    """In one round."""
    each: int = 1
    """Events that one execution of the statement makes."""
    after: Callable[[], object] = nothing
    """Run behind each round, off the clock: makes room, drains, clears."""

    def timer(self, clock: Callable[[], float] = perf_counter) -> Timer:
        """The statement in a loop of its own."""
        setup = "; ".join(f"{name} = _values[{name!r}]" for name in self.values) or "pass"
        return Timer(self.statement, setup, clock, {"_values": self.values})


LOOP = "the loop alone"


class Samples:
    """Nanoseconds per event of each subject in each round, less what the loop itself took in that round."""

    def __init__(self, rounds: Mapping[str, list[float]], loop: Sequence[float]) -> None:
        """`loop` is what an iteration cost, round by round."""
        self._rounds = rounds
        self.loop = Spread.of(loop)

    def spread(self, name: str) -> Spread:
        """Of one subject."""
        return Spread.of(self._rounds[name])

    def ratio(self, name: str, to: str) -> Spread:
        """How often the one takes as long as the other, round by round."""
        return Spread.of([a / b for a, b in zip(self._rounds[name], self._rounds[to], strict=True)])


def interleave(subjects: Sequence[Subject], rounds: int, clock: Callable[[], float] = perf_counter) -> Samples:
    """Runs every subject once a round, there and back: A B C, C B A, and so on.

    What never waits may be measured by the thread's own CPU time, which does not count when others have the CPU.
    """
    loop = Timer("pass", timer=clock)
    timers = [(subject, subject.timer(clock)) for subject in subjects]
    times: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    loops: list[float] = []
    for subject, timer in timers:
        timer.timeit(min(subject.calls, 1_000))
        subject.after()
    gc.collect()
    for number in range(rounds):
        loops.append(loop.timeit(50_000) / 50_000 * 1e9)
        for subject, timer in timers if number % 2 == 0 else timers[::-1]:
            spent = timer.timeit(subject.calls)
            subject.after()
            times[subject.name].append((spent / subject.calls * 1e9 - loops[-1]) / subject.each)
    return Samples(times, loops)

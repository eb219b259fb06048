"""One thread that emits Kafka-like Reads and Writes as fast as it can, in a process of its own, and what that took.

    python benches/flood.py DIRECTORY [--events N] [--sink parquet|jsonl] [--seed S] [--power SECONDS]

Prints a JSON object. The sizes that the JSONL sink wrote at a time are among it, so that a bare loop can write alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Any

import auditring
from auditring import Durability
from auditring.demo.firehose import Firehose, open_sessions
from auditring.sinks import JsonlSink, ParquetSink
from logs import PATIENT, TMPFS

if TYPE_CHECKING:
    from auditring.sinks import RowBatch, Sink


@dataclass(frozen=True, slots=True)
class Flood:
    """What was measured; times in seconds."""

    events: int
    emitting: float
    """Of the emitting loop alone."""
    closed: float
    """From the first event until every file was closed and synced."""
    loop_cpu: float
    """Of the emitting thread while it emitted."""
    all_cpu: float
    """Of the whole process until everything was closed."""
    blocked: float
    waits: int
    resident: int
    """Most bytes of memory that the process ever had resident."""
    journaled: int
    """Rows altogether, the sessions' and the library's own among them."""
    chunks: tuple[int, ...]
    """Bytes that the JSONL sink wrote at a time."""

    @property
    def rate(self) -> float:
        """Events a second into closed files."""
        return self.events / self.closed

    @property
    def other_cpu(self) -> float:
        """CPU of everything but the emitting loop."""
        return self.all_cpu - self.loop_cpu


class _Noting(JsonlSink):
    """The JSONL sink, which notes how much it wrote at a time."""

    def fresh(self) -> _Noting:
        """The object itself: one process, one log."""
        self.chunks: list[int] = []
        return self

    def write(self, batch: RowBatch) -> int:
        """Writes, and notes."""
        self.chunks.append(super().write(batch))
        return self.chunks[-1]


def flood(directory: Path, *, events: int, sink: str = "parquet", seed: int = 0, power: float | None = None) -> Flood:
    """Emits, closes, measures; `power` is the interval of `Durability.POWER`."""
    chosen: Sink = _Noting() if sink == "jsonl" else ParquetSink()
    durability = Durability.PROCESS if power is None else Durability.POWER(power)
    log = auditring.open(directory, sinks=[chosen], when_full=PATIENT, ring_dir=TMPFS, durability=durability)
    with ExitStack() as stack:
        firehose = Firehose(open_sessions(log, stack), seed=seed)
        log.flush(60)
        gc.disable()
        all_cpu, loop_cpu, start = process_time(), thread_time(), perf_counter()
        firehose.emit(events)
        emitting, loop_cpu = perf_counter() - start, thread_time() - loop_cpu
    log.close()
    closed, all_cpu = perf_counter() - start, process_time() - all_cpu
    stats = log.stats()
    assert stats.balanced, stats
    assert stats.dropped == stats.refused == 0, stats
    assert not stats.lost, stats
    return Flood(
        events=events,
        emitting=emitting,
        closed=closed,
        loop_cpu=loop_cpu,
        all_cpu=all_cpu,
        blocked=stats.blocked_ns / 1e9,
        waits=stats.waits,
        resident=most_resident(),
        journaled=stats.journaled,
        chunks=tuple(chosen.chunks) if isinstance(chosen, _Noting) else (),
    )


def most_resident() -> int:
    """Most bytes of this process that were ever in memory; not those of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_child(script: str, *arguments: object) -> dict[str, Any]:
    """Runs one of the scripts beside this one and returns the JSON that it printed."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own script
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def flooded(directory: Path, *, events: int, sink: str = "parquet", seed: int = 0, power: float | None = None) -> Flood:
    """`flood` in a process of its own, so that its memory and CPU are nobody else's."""
    more = [] if power is None else ["--power", power]
    found = in_child("flood.py", directory, "--events", events, "--sink", sink, "--seed", seed, *more)
    return Flood(**{**found, "chunks": tuple(found["chunks"])})


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--sink", choices=["parquet", "jsonl"], default="parquet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--power", type=float, default=None, metavar="SECONDS")
    options = parser.parse_args()
    found = flood(options.directory, events=options.events, sink=options.sink, seed=options.seed, power=options.power)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

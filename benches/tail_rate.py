"""Following a live directory: whether `auditring tail -f` keeps up with 200,000 events a second, and what that takes.

    python benches/tail_rate.py DIRECTORY --rate N --seconds S

is the process that emits, at an even pace; the section runs it beside `auditring tail`, whose lines it counts and
times.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import auditring
from auditring.demo.firehose import Firehose, open_sessions
from logs import PATIENT, TMPFS
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 200_000
SECONDS = 10.0
_BEAT = 0.01
"""Seconds between two bursts of the emitting loop."""
DONE = "com.example.bench.Done"
FEW = ("--action", "OperationDenied", "--action", DONE)
FORMS: dict[str, Sequence[str]] = {
    "JSON": ("--json",),
    "for people": (),
    "JSON, one row in 2,000": ("--json", *FEW),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One flood that was followed."""

    emitted: int
    lines: int
    seconds: float
    """From the first line to the last."""
    lags: Sequence[float]
    """Seconds from an event's own time until its line was read, of the last line of every piece that was read."""
    cpu: float
    """Of the process that follows."""


def emit(directory: Path, *, rate: int, seconds: float) -> int:
    """Emits at an even pace, one denial in each burst, then says that it is done. Returns how many events that was."""
    with auditring.open(directory, when_full=PATIENT, ring_dir=TMPFS) as log, ExitStack() as stack:
        sessions = open_sessions(log, stack)
        firehose = Firehose(sessions)
        log.flush(60)
        print("ready", flush=True)
        sys.stdin.readline()
        burst = int(rate * _BEAT)
        beats = int(seconds / _BEAT)
        start = time.perf_counter()
        for beat in range(beats):
            firehose.emit(burst - 1)
            sessions[0].operation_denied("WRITE", "Topic", "salaries")
            time.sleep(max(0.0, start + (beat + 1) * _BEAT - time.perf_counter()))
        log.emit(DONE)
        # The last row is seen before the sessions end, so that lines can be counted.
        sys.stdin.readline()
    return beats * burst + 1


def lag(line: bytes) -> float:
    """How long ago a line's event was, by the wall clock."""
    if line.startswith(b"{"):
        ago = time.time_ns() - int(json.loads(line)["timeNanos"])
        return ago / 1e9
    return time.time() - datetime.fromisoformat(line[:27].decode()).timestamp()


def follow(directory: Path, options: Sequence[str], *, rate: int, seconds: float) -> Run:
    """Starts both processes and reads what is printed."""
    script = [sys.executable, __file__, str(directory), "--rate", str(rate), "--seconds", str(seconds)]
    watch = [
        sys.executable,
        "-c",
        "from auditring.cli import main; main()",
        "tail",
        "-f",
        str(directory),
        "--last",
        "1",
    ]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as emitter:  # noqa: S603 - our own script
        assert emitter.stdin is not None
        assert emitter.stdout is not None
        assert emitter.stdout.readline() == b"ready\n"
        with subprocess.Popen([*watch, *options], stdout=subprocess.PIPE) as watcher:  # noqa: S603 - the same
            assert watcher.stdout is not None
            ready(directory, watcher)
            emitter.stdin.write(b"go\n")
            emitter.stdin.flush()
            lines, lags, took = read(watcher.stdout.fileno())
            watcher.send_signal(signal.SIGINT)
            _, _, usage = os.wait4(watcher.pid, 0)
            watcher.returncode = 0  # it has been waited for here, for what it used
        emitter.stdin.write(b"end\n")
        emitter.stdin.flush()
        emitted = int(emitter.stdout.readline())
    return Run(emitted, lines, took, lags, usage.ru_utime + usage.ru_stime)


def ready(directory: Path, watcher: subprocess.Popen[bytes]) -> None:
    """Waits until the process that follows has opened a journal."""
    deadline = time.monotonic() + 60
    while not any(name.endswith(".journal") for name in opened(watcher.pid)):
        assert time.monotonic() < deadline, f"nobody follows {directory}"
        time.sleep(0.01)


def opened(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found


def read(fd: int) -> tuple[int, list[float], float]:
    """Counts lines up to the last, and times them."""
    lines, lags, first, last = 0, [], 0.0, b""
    mark = DONE.encode()
    while True:
        piece = os.read(fd, 1 << 20)
        assert piece, "the tail ended by itself"
        first = first or time.perf_counter()
        lines += piece.count(b"\n")
        ends = piece.rfind(b"\n")
        if ends >= 0:
            begins = piece.rfind(b"\n", 0, ends)
            line = piece[begins + 1 : ends] if begins >= 0 else last + piece[:ends]
            lags.append(lag(line))
            if mark in line:
                return lines, lags, time.perf_counter() - first
        last = piece[ends + 1 :] if ends >= 0 else last + piece


def measure(*, rate: int, seconds: float, forms: Sequence[str] = tuple(FORMS)) -> dict[str, Run]:
    """A flood for each form; every event has its line, or, where few are wanted, each that is."""
    found = {}
    for form in forms:
        with TemporaryDirectory() as folder:
            run = follow(Path(folder, "audit"), FORMS[form], rate=rate, seconds=seconds)
        denials = int(seconds / _BEAT)
        wanted = denials + 1 if FEW[0] in FORMS[form] else run.emitted
        past = 0 if FEW[0] in FORMS[form] else 1
        assert run.lines == wanted + past, (form, run.lines, wanted)
        found[form] = run
    return found


def report(*, quick: bool = False) -> Report:
    """The table."""
    seconds = SECONDS / 5 if quick else SECONDS
    runs = measure(rate=RATE, seconds=seconds)
    lines = [
        (
            form,
            f"{run.emitted / run.seconds:,.0f}",
            f"{Spread.of(run.lags).median * 1e3:,.0f}",
            f"{max(run.lags) * 1e3:,.0f}",
            f"{run.cpu / run.emitted * 1e9:,.0f}",
        )
        for form, run in runs.items()
    ]
    head = ("`auditring tail -f`", "events/s", "median lag, ms", "greatest lag, ms", "CPU, ns/event")
    worst = max(max(run.lags) for run in runs.values())
    return Report(
        "tail",
        f"{RATE:,} events a second for {seconds:.0f} s from one process, followed by another into a pipe that a third "
        "reads. Lag is from an event's own time until its line was read; CPU is all of the following process.\n\n"
        + table(head, lines),
        [Target(f"greatest lag of a tail at {RATE:,} events/s", worst, 1.0, unit="s", digits=2)],
    )


def main() -> None:
    """The process that emits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    print(emit(options.directory, rate=options.rate, seconds=options.seconds), flush=True)


if __name__ == "__main__":
    main()

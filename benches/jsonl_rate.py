"""The way to JSON lines, beside a bare loop that writes the same bytes in the same pieces."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from flood import Flood, flooded
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS = 3_000_000
CHECKPOINT = 64 << 20
"""Bytes between two syncs of the sink."""
_LINE = 930
"""Bytes of a line, about."""


@dataclass(frozen=True, slots=True)
class Round:
    """A flood into JSON lines, and the bare loops over its bytes; seconds."""

    flood: Flood
    size: int
    bare: float
    synced: float
    """The bare loop with the sink's syncs."""


def pieces(directory: Path, chunks: Sequence[int]) -> list[bytes]:
    """What the sink wrote at a time."""
    found = []
    left = iter(size for size in chunks if size)
    for file in sorted(directory.glob("jsonl/*.jsonl")):
        data = memoryview(file.read_bytes())
        while data:
            size = next(left)
            found.append(bytes(data[:size]))
            data = data[size:]
    assert next(left, None) is None
    return found


def check(lines: Sequence[bytes], flood: Flood) -> None:
    """Asserts that there is a line for every event, in order, and that the last ones are whole."""
    assert sum(piece.count(b"\n") for piece in lines) == flood.journaled
    assert all(piece.endswith(b"\n") for piece in lines)
    at = 0
    for piece in lines[0], lines[-1]:
        seqs = [json.loads(line)["seq"] for line in piece.splitlines()]
        assert seqs == list(range(at, at + len(seqs)))
        at = flood.journaled - lines[-1].count(b"\n")


def warm(folder: Path, events: int) -> None:
    """Writes about as much for nothing: a virtual machine pays dearly for pages that it has not used lately."""
    path = folder / "warm"
    zeros = bytes(1 << 20)
    with path.open("wb", buffering=0) as file:
        for _ in range(events * _LINE >> 20):
            file.write(zeros)
    path.unlink()
    os.sync()


def bare(lines: Sequence[bytes], path: Path, *, sync: bool) -> float:
    """Writes the pieces into one new file."""
    since = 0
    start = perf_counter()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for piece in lines:
            since += os.write(fd, piece)
            if sync and since >= CHECKPOINT:
                os.fsync(fd)
                since = 0
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    spent = perf_counter() - start
    assert path.stat().st_size == sum(map(len, lines))
    path.unlink()
    return spent


def measure(*, rounds: int, events: int) -> list[Round]:
    """A flood and both loops, round by round."""
    found = []
    for number in range(rounds):
        with TemporaryDirectory() as folder:
            directory = Path(folder, "audit")
            warm(Path(folder), events)
            flood = flooded(directory, events=events, sink="jsonl")
            lines = pieces(directory, flood.chunks)
            check(lines, flood)
            spent = {}
            for sync in (False, True) if number % 2 else (True, False):
                warm(Path(folder), events)
                spent[sync] = bare(lines, Path(folder, "bare"), sync=sync)
            found.append(Round(flood, sum(map(len, lines)), spent[False], spent[True]))
    return found


def report(*, quick: bool = False) -> Report:
    """The table."""
    events = EVENTS // 10 if quick else EVENTS
    rounds = measure(rounds=1 if quick else 3, events=events)
    share = Spread.of([one.bare / one.flood.closed for one in rounds])
    synced = Spread.of([one.synced / one.flood.closed for one in rounds])

    def rate(seconds: Sequence[float]) -> str:
        return f"{Spread.of([events / took / 1e6 for took in seconds]).text(2)} million events/s"

    lines = [
        ("auditring, to closed and synced files", rate([one.flood.closed for one in rounds])),
        ("a bare `write` loop, same bytes, same pieces", rate([one.bare for one in rounds])),
        ("… with an `fsync` every 64 MiB, as the sink does", rate([one.synced for one in rounds])),
        ("auditring's share of the bare loop's rate", share.text(2)),
        ("… of the one with `fsync`", synced.text(2)),
        (
            "CPU of all but the emitting loop",
            f"{Spread.of([one.flood.other_cpu / events * 1e9 for one in rounds]).text(0)} ns/event",
        ),
        ("size of the lines", f"{Spread.of([one.size / events for one in rounds]).text(0)} bytes/event"),
    ]
    return Report(
        "jsonl",
        f"{events:,} Reads and Writes into JSON lines; median (quartiles) of {len(rounds)} round(s).\n\n"
        + table(("what", "measured"), lines),
        [Target("JSON lines, share of a bare write loop's rate", share.median, 0.6, least=True, digits=2)],
    )

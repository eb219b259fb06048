"""What every kind of life shares: what it came to, its recovery, often killed too, and what its directory says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import zstandard

import auditring
from auditring import _core, query
from auditring.recovery import recover
from auditring.sinks import JsonlSink, ParquetSink
from auditring.stats import balance
from auditring.verify import check

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from auditring.redaction import RedactionKey

PATIENCE: Final = 60.0


@dataclass
class Found:
    """What a life came to."""

    kills: int = 0
    accepted: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Row:
    """What is asked of a row, alike in a table and in a line."""

    process: str
    seq: int
    action: str
    resource: str | None
    first: int | None
    last: int | None
    count: int


def kill(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """`kill -9`, and its end."""
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)


def kill_recoveries(rng: random.Random, path: Path, found: Found, options: tuple[str, ...] = ()) -> None:
    """Recoveries that are killed at a random moment: a command's, or one that the next life of a proxy begins with."""
    for _ in range(rng.choice((0, 0, 1, 2))):
        opening = rng.random() < 0.5
        command = ["-c", _OPENER, str(path)] if opening else ["-m", "auditring", "recover", str(path), *options]
        with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as other:
            time.sleep(rng.uniform(0.15, 0.8))
            other.send_signal(signal.SIGKILL)
        found.kinds[f"recoveries killed, of {'an open' if opening else 'the command'}"] += 1
        found.kills += 1


_OPENER: Final = """
import sys, time
import auditring
from auditring.sinks import JsonlSink, ParquetSink

log = auditring.open(sys.argv[1], instance="opener", sinks=(ParquetSink(), JsonlSink()))
time.sleep(60)
"""


def recover_all(rng: random.Random, path: Path, found: Found, keys: tuple[RedactionKey, ...] = ()) -> None:
    """At last nobody is killed: the command's way, or the next `open`. Nobody and nothing is left behind."""
    if rng.random() < 0.5:
        found.kinds["recovered by the next open"] += 1
        with auditring.open(path, instance="last", sinks=(ParquetSink(), JsonlSink())) as log:
            until(lambda: len(list((path / "journal").iterdir())) == 1, lambda: f"the dead are left: {log.health()}")
            assert log.health().ok, log.health()
    else:
        found.kinds["recovered by the command"] += 1
        for result in recover(path, keys=keys):
            assert result.failed is None, result
            assert result.behind == (), result
            if result.salvage is not None:
                found.kinds["rows out of rings"] += result.salvage.rows
                found.kinds["calls that were torn"] += result.salvage.torn
                assert not result.salvage.ring_gone, result
                assert result.salvage.unreadable == result.salvage.journal_gone == 0, result
    left = list((path / "journal").iterdir()) if (path / "journal").exists() else []
    assert not left, left


def until(holds: Any, what: Any) -> None:  # noqa: ANN401 - a condition, and what to say where it never comes to hold
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


def tables(path: Path) -> list[Row]:
    """Every row, as DuckDB has it."""
    with query.connect(path) as con:
        rows = con.execute(
            "SELECT process, seq, action, resource, first_offset, last_offset, count FROM events ORDER BY process, seq"
        ).fetchall()
    return [Row(*row) for row in rows]


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Every JSON line."""
    for file in sorted((path / "jsonl").rglob("*.jsonl*")):
        data = file.read_bytes()
        text = zstandard.ZstdDecompressor().stream_reader(data).read() if file.suffix == ".zst" else data
        yield from map(json.loads, text.splitlines())


def lines(path: Path) -> list[Row]:
    """The same out of the JSON lines."""
    rows = []
    for line in documents(path):
        offsets, reference = line.get("offsets", {}), line.get("objectRef", {})
        rows.append(
            Row(
                line["process"],
                line["seq"],
                line["action"],
                reference.get("topicName"),
                offsets.get("first"),
                offsets.get("last"),
                line.get("count", 1),
            )
        )
    return sorted(rows, key=lambda row: (row.process, row.seq))


def judged(path: Path, found: Found, *, in_lines: bool = True) -> list[Row]:
    """Tables, and lines where there are such, have the same rows, each once; the directory proves whole. The rows."""
    rows = tables(path)
    assert len({(row.process, row.seq) for row in rows}) == len(rows), "an event id twice"
    if in_lines:
        # The name of a resource is spelled in as many ways as there are kinds of it; offsets are a topic's.
        plain = [row if row.first is not None else replace(row, resource=None) for row in rows]
        others = [row if row.first is not None else replace(row, resource=None) for row in lines(path)]
        differ = next((pair for pair in zip(plain, others, strict=False) if pair[0] != pair[1]), None)
        assert plain == others, differ or f"{len(plain)} rows in tables, {len(others)} in lines"
    lost = [row for row in rows if row.action == "auditring.EventsLost"]
    assert lost == [], lost
    report = check(path)
    assert report.complete, report.findings
    found.rows += len(rows)
    return rows


def standings(path: Path) -> dict[str, dict[str, Any]]:
    """The counters of every process, by instance; each balances."""
    processes: dict[str, dict[str, Any]] = {}
    for process in _core.outside(str(path)):
        assert all(line.holds for line in balance(process)), [str(line) for line in balance(process)]
        processes[process["instance"]] = process
    return processes


def covered(rows: list[Row], action: str, resource: str, told: int, most: int) -> int:
    """Offsets that were told are in one row each, which may stand for many, with at most so many more; how many."""
    ranges = sorted((row.first, row.last) for row in rows if row.action == action and row.resource == resource)
    position = 0
    for first, last in ranges:
        assert first == position, (
            f"{resource}: {position} is {'twice' if first is not None and first < position else 'lost'}"
        )
        assert last is not None
        position = last + 1
    assert told <= position <= told + most, f"{resource}: told {told}, there are {position}"
    return position

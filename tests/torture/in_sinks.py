"""What lies in the sinks of a directory, told by topic: a thread of a host in torture has a topic of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import zstandard

from auditring import query

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lines", "once", "tables"]


def tables(path: Path) -> dict[str, list[int]]:
    """The offsets of each topic, in the order of the events."""
    with query.connect(path) as con:
        rows = con.execute(
            "SELECT resource, list(first_offset ORDER BY seq) FROM events WHERE action = 'Write' GROUP BY ALL"
        ).fetchall()
    return dict(rows)


def lines(path: Path) -> dict[str, list[int]]:
    """The same out of the JSON lines."""
    found: dict[str, list[tuple[int, int]]] = {}
    ids: set[str] = set()
    for file in sorted((path / "jsonl").rglob("*.jsonl*")):
        data = file.read_bytes()
        text = zstandard.ZstdDecompressor().stream_reader(data).read() if file.suffix == ".zst" else data
        for line in text.splitlines():
            row = json.loads(line)
            assert row["eventId"] not in ids, f"{row['eventId']} twice"
            ids.add(row["eventId"])
            if row["action"] == "Write":
                found.setdefault(row["objectRef"]["topicName"], []).append((row["seq"], row["offsets"]["first"]))
    return {topic: [offset for _, offset in sorted(rows)] for topic, rows in found.items()}


def once(path: Path, told: dict[str, int]) -> int:
    """Every acknowledged event is once in either sink, and at most one more of each thread: the call under way.

    Returns how many events there are. Raises `AssertionError`.
    """
    in_tables = tables(path)
    assert in_tables == lines(path), "tables and lines differ"
    for topic, count in told.items():
        offsets = in_tables.get(topic, [])
        assert offsets == list(range(len(offsets))), f"{topic}: lost or twice"
        assert count <= len(offsets) <= count + 1, f"{topic}: told {count}, there are {len(offsets)}"
    return sum(len(offsets) for offsets in in_tables.values())

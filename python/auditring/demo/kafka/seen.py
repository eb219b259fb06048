"""What the clients were told by Kafka's own API: offsets, refusals, logins. The audit has to say the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


class Ranges:
    """Offsets of one partition, each as it comes."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []

    def add(self, offset: int) -> None:
        """Notes one."""
        if self._runs and offset == self._runs[-1][1] + 1:
            self._runs[-1][1] = offset
        else:
            self._runs.append([offset, offset])

    def merged(self) -> list[tuple[int, int]]:
        """First and last offset of what hangs together, in order."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(self._runs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return merged


Offsets = set[tuple[str, int, int, int]]
"""Who, partition, first and last offset."""


@dataclass
class Touched:
    """Offsets of the topic that somebody has written or read."""

    who: str
    records: int = 0
    bytes: int = 0
    partitions: defaultdict[int, Ranges] = field(default_factory=lambda: defaultdict(Ranges))

    def add(self, partition: int, offset: int, size: int) -> None:
        """Notes a record."""
        self.partitions[partition].add(offset)
        self.records += 1
        self.bytes += size

    @property
    def offsets(self) -> Offsets:
        """All of them."""
        return {
            (self.who, partition, first, last)
            for partition, ranges in self.partitions.items()
            for first, last in ranges.merged()
        }


@dataclass
class Seen:
    """All that the clients have seen. Each part is one client's, so one thread's, to write."""

    written: Touched = field(default_factory=lambda: Touched("alice"))
    read: Touched = field(default_factory=lambda: Touched("bob"))
    refused: set[tuple[str, str, str]] = field(default_factory=set)
    """Who, operation, topic."""
    failed_logins: Counter[str] = field(default_factory=Counter)
    """How often, by the name that was given."""

"""The balance of a log in the words of the protocol, and its health. Values only: nothing here looks anything up."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

__all__ = ["Equation", "Health", "Histogram", "Problem", "SinkStats", "Stats", "balance"]


@dataclasses.dataclass(frozen=True, slots=True)
class Equation:
    """One line of the balance with the numbers put in."""

    text: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        """Whether both sides are equal."""
        return self.left == self.right

    def __str__(self) -> str:
        """The equation, then its numbers."""
        return f"{self.text}: {self.left} {'=' if self.holds else '≠'} {self.right}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How long something took, time after time."""

    bounds: tuple[float, ...]
    """Of the buckets, in seconds, each included."""
    counts: tuple[int, ...]
    """How often, for each bucket; the last one is for what took longer than all bounds."""
    sum: float
    """All of it together, in seconds."""

    @property
    def count(self) -> int:
        """How often in all."""
        return sum(self.counts)

    def __add__(self, other: "Histogram") -> "Histogram":
        """Both together; their bounds are the same."""
        counts = tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Histogram(bounds=self.bounds, counts=counts, sum=self.sum + other.sum)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SinkStats:
    """What became of the journaled events at one sink, up to its last commit."""

    delivered: int
    merged: int
    sampled_out: int
    filtered: int
    lost: Mapping[str, int]
    """By cause: `budget`, `corrupt`, `rejected`."""
    pending: int
    """Journaled, and not yet safe in the sink."""
    failures: int = 0
    """How often the sink has failed in this process; every failure was followed by another try."""
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What the sink counts of its own."""
    failing: bool = False
    """The last try failed."""
    oldest_ns: int | None = None
    """When the first event happened that is not yet safe in the sink, in nanoseconds since the epoch."""
    lag_ns: int | None = 0
    """How old that is; 0 where there is none, `None` where the journal could not be asked."""
    last_success_ns: int | None = None
    """When the sink last made rows safe, in nanoseconds since the epoch; `None` where it has not yet."""
    commits: Histogram | None = None
    """How long it took each time: to seal a table, or to flush lines."""

    @classmethod
    def from_totals(cls, totals: Mapping[str, int], *, journaled: int, **more: Any) -> "SinkStats":  # noqa: ANN401 - the fields beyond the totals
        """From a cursor's totals, where what was lost stands as `lost_<cause>`; `more` is what they do not tell."""
        lost = {key.removeprefix("lost_"): n for key, n in totals.items() if key.startswith("lost_") and n}
        passed: dict[str, Any] = {name: totals.get(name, 0) for name in ("delivered", "merged", "sampled_out")}
        filtered = totals.get("filtered_out", totals.get("filtered", 0))
        pending = journaled - sum(passed.values()) - filtered - sum(lost.values())
        return cls(**passed, filtered=filtered, lost=MappingProxyType(lost), pending=pending, **more)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """Every event offered to the log, by where it is now. The equations hold at any quiet moment; see `balanced`."""

    offered: int
    claimed: int
    accepted: int
    torn: int
    off: int
    exempt: int
    """Of `off`: what taps saw of an auditor's own messages, which is not audited again."""
    dropped: int
    refused: int
    born: int
    """Rows that the library itself made (`auditring.…`, and the first and last of a process)."""
    journaled: int
    in_ring: int
    lost: Mapping[str, int]
    """By cause: `unreadable`, `journal_gone`, `ring_gone`."""
    actions: Mapping[tuple[str, str], int]
    """By (action, outcome): journaled at the primary tap, off, or dropped; so true also where rows are not kept."""
    scope_labels: tuple[str, ...]
    """By what else events are counted: the labels of `label_scopes`."""
    scoped: Mapping[tuple[str, str, tuple[str, ...] | None], int]
    """By (action, outcome, values of those labels), of what was journaled at the primary tap and has any of them; the
    values are `None` for all that there was no room for."""
    ring_bytes: int
    ring_used: int
    ring_high_water: int
    """The most of the ring that was ever in use, when the pump looked or a call found no room."""
    clock: str
    """What stamps the events: `tsc` or `monotonic`."""
    journal_bytes: int
    blocked_ns: int
    """For how long producers have waited for room in the ring, all together."""
    waits: int
    next_seq: int
    durable_seq: int
    """Next seq behind the rows that are known to be on the disk itself: the least that a power loss leaves."""
    durable_lag_ns: int
    """Under `Durability.POWER`: for how long the oldest row that is not on the disk has been waiting for it."""
    alive: bool
    """Whether the log takes events."""
    sinks: Mapping[str, SinkStats]

    @classmethod
    def from_core(cls, core: Mapping[str, Any], sinks: Mapping[str, SinkStats]) -> "Stats":
        """From the core's counters and the sinks' totals."""
        names = {field.name for field in dataclasses.fields(cls)} - {"sinks", "lost", "actions", "scoped"}
        return cls(
            **{name: core[name] for name in names},
            lost=MappingProxyType({cause: n for cause, n in core["lost"].items() if n}),
            actions=MappingProxyType(dict(core["actions"])),
            scoped=MappingProxyType(dict(core["scoped"])),
            sinks=MappingProxyType(dict(sinks)),
        )

    @property
    def undurable(self) -> int:
        """Journaled rows that are not known to be on the disk itself."""
        return self.next_seq - self.durable_seq

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The balance, line by line."""
        lost = sum(self.lost.values())
        lines = [
            Equation(
                "offered = claimed + off + dropped + refused",
                self.offered,
                self.claimed + self.off + self.dropped + self.refused,
            ),
            Equation("claimed = accepted + torn", self.claimed, self.accepted + self.torn),
            Equation(
                "accepted + born = journaled + lost + in_ring",
                self.accepted + self.born,
                self.journaled + lost + self.in_ring,
            ),
        ]
        for name, sink in self.sinks.items():
            passed = sink.delivered + sink.merged + sink.sampled_out + sink.filtered + sum(sink.lost.values())
            lines.append(
                Equation(
                    f"journaled = delivered + merged + sampled_out + filtered + lost + pending at {name}",
                    self.journaled,
                    passed + sink.pending,
                ),
            )
        return tuple(lines)

    @property
    def balanced(self) -> bool:
        """Whether every equation holds, at a quiet moment.

        While events are being written the numbers are of different moments.
        """
        return all(line.holds for line in self.equations) and all(sink.pending >= 0 for sink in self.sinks.values())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong now."""

    component: str
    """`pump`, `ring`, or `sink:<name>`."""
    cause: str
    since: datetime
    advice: str
    """What a person can do about it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Whether the log keeps its promises at this moment."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What works, but not as well as it could."""

    @property
    def ok(self) -> bool:
        """No problem is known."""
        return not self.problems

    def __bool__(self) -> bool:
        """The same as `ok`."""
        return self.ok


def balance(process: Mapping[str, Any]) -> tuple[Equation, ...]:
    """The balance of a process as its files show it from outside, line by line."""
    edge = process["off"] + process["dropped"] + process["refused"]
    lines = [
        Equation("offered = claimed + off + dropped + refused", process["offered"], process["claimed"] + edge),
        Equation(
            "accepted + born = journaled + lost",
            process["accepted"] + process["born"],
            process["journaled"] + sum(process["lost"].values()),
        ),
    ]
    for name, sink in process["sinks"].items():
        passed = sink["delivered"] + sink["merged"] + sink["sampled_out"] + sink["filtered_out"]
        lines.append(
            Equation(
                f"journaled = delivered + merged + sampled_out + filtered_out + lost + pending at {name}",
                process["journaled"],
                passed + sum(sink["lost"].values()) + sink["pending"],
            )
        )
    return tuple(lines)

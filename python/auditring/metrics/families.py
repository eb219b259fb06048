"""Every metric that there is, and one scrape in the making.

What must always hold: a metric that a scrape shows stands in `SPECS`, with its type, its labels and what it says; so
docs, dashboard and alerts can be held against one table.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from auditring import _core
from auditring.stats import Histogram

__all__ = ["KINDS", "LOST", "SINK_LOST", "SPECS", "TERMS", "Scrape", "Spec"]

_PREFIX: Final = "auditring_"


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """One metric."""

    kind: Literal["counter", "gauge", "histogram", "info"]
    doc: str
    labels: tuple[str, ...] = ()
    of: Literal["both", "log", "directory"] = "both"
    """Whose collector shows it; one of a directory shows those of its own log, too, where it was given one."""


KINDS: Final = tuple((action["name"], outcome) for action in _core.actions() for outcome in action["outcomes"])
"""What the catalog knows to happen. It stands at 0 before it does, or the first time would be no increase."""
LOST: Final = ("unreadable", "journal_gone", "ring_gone")
SINK_LOST: Final = ("budget", "corrupt", "rejected")
"""Likewise."""
TERMS: Final = ("offered", "claimed", "accepted", "torn", "off", "dropped", "refused", "born", "journaled")
"""The terms of the balance that have no label."""

SPECS: Final[Mapping[str, Spec]] = {
    "events": Spec(
        "counter",
        "Events by what happened: journaled at the primary tap, off, or dropped",
        ("action", "outcome"),
    ),
    "scope_folded": Spec("counter", "Events counted under other, because label_scopes had no room for their values"),
    "offered": Spec("counter", "Emit calls that named an event"),
    "claimed": Spec("counter", "Events that were given room in the ring"),
    "accepted": Spec("counter", "Events committed to the ring; none of them can be lost by the death of the process"),
    "torn": Spec("counter", "Claims whose writer died before it committed"),
    "off": Spec("counter", "Events that the policy turned off"),
    "exempt": Spec("counter", "Of those: events of an auditor's own messages, as taps saw them"),
    "dropped": Spec("counter", "Events lost because the ring was full"),
    "refused": Spec("counter", "Events refused with an error because the ring was full"),
    "born": Spec("counter", "Rows that the library itself made"),
    "journaled": Spec("counter", "Rows in the journal"),
    "lost": Spec("counter", "Events lost after they were accepted", ("cause",)),
    "waits": Spec("counter", "Emit calls that waited for room in the ring"),
    "blocked_seconds": Spec("counter", "Time that emit calls have waited for room"),
    "in_ring": Spec("gauge", "Accepted events that are not journaled yet"),
    "ring_pressure_ratio": Spec("gauge", "Share of the ring in use; of the fullest where there are several"),
    "ring_size_bytes": Spec("gauge", "Size of the ring; of all rings of a directory"),
    "ring_used_bytes": Spec("gauge", "Bytes of the ring in use; of all rings of a directory"),
    "ring_high_water_bytes": Spec("gauge", "The most of one ring that was ever in use when the pump looked"),
    "journal_bytes": Spec("gauge", "Size of the journal on disk; of all journals of a directory"),
    "undurable": Spec("gauge", "Journaled rows that are not known to be on the disk itself", of="log"),
    "durable_lag_seconds": Spec(
        "gauge", "Under Durability.POWER: for how long the oldest of them has been waiting for the disk", of="log"
    ),
    "clock": Spec("info", "What stamps the events: tsc or monotonic", ("clock",), of="log"),
    "disk_free_bytes": Spec("gauge", "Room on the disk of the audit directory for who is not root"),
    "disk_size_bytes": Spec("gauge", "Size of that disk"),
    "sink_delivered": Spec("counter", "Rows that are safe in the sink", ("sink",)),
    "sink_merged": Spec("counter", "Events merged without loss into another row", ("sink",)),
    "sink_sampled_out": Spec("counter", "Events left out by sampling", ("sink",)),
    "sink_filtered": Spec("counter", "Events that the sink declined", ("sink",)),
    "sink_lost": Spec("counter", "Events that a sink could not be given", ("sink", "cause")),
    "sink_counted": Spec("counter", "What a sink counts of its own", ("sink", "what"), of="log"),
    "sink_pending": Spec("gauge", "Journaled events that are not yet safe in the sink", ("sink",)),
    "sink_lag_seconds": Spec("gauge", "Age of the oldest of them; 0 where there is none", ("sink",)),
    "sink_last_success_timestamp_seconds": Spec("gauge", "When the sink last made rows safe", ("sink",)),
    "sink_failures": Spec("counter", "Failures of the sink, each followed by another try", ("sink",), of="log"),
    "sink_failing": Spec("gauge", "1 while the sink cannot be written to", ("sink",), of="log"),
    "sink_commit_seconds": Spec(
        "histogram", "Time to make rows safe: to seal a table, or to flush lines", ("sink",), of="log"
    ),
    "oldest_undelivered_seconds": Spec("gauge", "Age of the oldest journaled event that some sink lacks"),
    "healthy": Spec(
        "gauge", "1 while no problem is known; a component that has one stands here with 0", ("component",)
    ),
    "processes": Spec("gauge", "Processes by state: writing, ended, dead, gone, missing", ("state",), of="directory"),
    "unreadable": Spec("gauge", "What could not be read at this scrape; its last numbers stay", of="directory"),
    "scrape_errors": Spec("counter", "What scrapes of this collector could not read, since it was made"),
    "build": Spec("info", "What runs here", ("version", "schema", "python")),
    "process": Spec("info", "Which log this is, by the names in its rows", ("process", "proxy", "host"), of="log"),
}

_FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


class Scrape:
    """Samples of one scrape, gathered by family; in the order of `SPECS`."""

    def __init__(self, scopes: Sequence[str] = ()) -> None:
        """`scopes`: further labels of the events."""
        self._scopes = tuple(scopes)
        self._families: dict[str, Metric] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample of a counter or a gauge."""
        family = self._family(name)
        family.add_metric(labels, value)  # type: ignore[attr-defined]  # all but the base have it

    def info(self, name: str, **values: str) -> None:
        """The sample of an info."""
        family = InfoMetricFamily(_PREFIX + name, SPECS[name].doc, value=values)
        self._families[name] = family

    def histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        """One histogram."""
        family = self._family(name)
        assert isinstance(family, HistogramMetricFamily)  # noqa: S101 - for the type checker
        below, buckets = 0, []
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(labels, buckets=buckets, sum_value=histogram.sum)

    def _family(self, name: str) -> Metric:
        if name not in self._families:
            spec = SPECS[name]
            labels = spec.labels + (self._scopes if name == "events" else ())
            self._families[name] = _FAMILIES[spec.kind](_PREFIX + name, spec.doc, labels=labels)
        return self._families[name]

    def __iter__(self) -> Iterator[Metric]:
        """The families that have a sample, and those that always stand there."""
        for name in SPECS:
            if name in self._families:
                yield self._families[name]

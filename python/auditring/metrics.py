"""The balance for Prometheus: pull only. A scrape reads counters; an event costs nothing.

Counters are raised before any policy, so they stay true when rows are sampled or turned off. One collector a registry.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from auditring.stats import Health, SinkStats, Stats

__all__ = ["LogCollector"]

_NANOSECONDS: Final = 1e9
_COUNTERS: Final = {
    "offered": "Emit calls that named an event",
    "claimed": "Events that were given room in the ring",
    "accepted": "Events committed to the ring; none of them can be lost by the death of the process",
    "torn": "Claims whose writer died before it committed",
    "off": "Events that the policy turned off",
    "exempt": "Of those: events of an auditor's own messages, as taps saw them",
    "dropped": "Events lost because the ring was full",
    "refused": "Events refused with an error because the ring was full",
    "born": "Rows that the library itself made",
    "journaled": "Rows in the journal",
}
_FATES: Final = {
    "delivered": "Rows that are safe in the sink",
    "merged": "Events merged without loss into another row",
    "sampled_out": "Events left out by sampling",
    "filtered": "Events that the sink declined",
}


class LogCollector(Collector):
    """Reads one log at every scrape."""

    def __init__(self, stats: Callable[[], Stats], health: Callable[[], Health], pressure: Callable[[], float]) -> None:
        """Takes the questions to ask, not the answers."""
        self._stats = stats
        self._health = health
        self._pressure = pressure

    def describe(self) -> Iterator[Metric]:
        """Names without a scrape, so that registering asks nothing of the log."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        stats = self._stats()
        yield self._events(stats)
        for name, doc in _COUNTERS.items():
            yield CounterMetricFamily(f"auditring_{name}", doc, value=getattr(stats, name))
        yield self._by("auditring_lost", "Events lost after they were accepted", "cause", stats.lost)
        yield CounterMetricFamily("auditring_waits", "Emit calls that waited for room in the ring", value=stats.waits)
        yield CounterMetricFamily(
            "auditring_blocked_seconds",
            "Time that emit calls have waited for room",
            value=stats.blocked_ns / _NANOSECONDS,
        )
        yield GaugeMetricFamily("auditring_in_ring", "Accepted events that are not journaled yet", value=stats.in_ring)
        yield GaugeMetricFamily("auditring_ring_pressure_ratio", "Share of the ring in use", value=self._pressure())
        yield GaugeMetricFamily("auditring_journal_bytes", "Size of the journal on disk", value=stats.journal_bytes)
        yield GaugeMetricFamily(
            "auditring_undurable", "Journaled rows that are not known to be on the disk itself", value=stats.undurable
        )
        yield GaugeMetricFamily(
            "auditring_durable_lag_seconds",
            "Under Durability.POWER: for how long the oldest of them has been waiting for the disk",
            value=stats.durable_lag_ns / _NANOSECONDS,
        )
        yield from self._sinks(stats.sinks.items())
        yield self._healthy()

    @staticmethod
    def _events(stats: Stats) -> Metric:
        family = CounterMetricFamily(
            "auditring_events",
            "Events by what happened: journaled at the primary tap, off, or dropped",
            labels=("action", "outcome"),
        )
        for (action, outcome), n in sorted(stats.actions.items()):
            family.add_metric((action, outcome), n)
        return family

    @staticmethod
    def _by(name: str, doc: str, label: str, values: Mapping[str, int]) -> Metric:
        family = CounterMetricFamily(name, doc, labels=(label,))
        for key, n in sorted(values.items()):
            family.add_metric((key,), n)
        return family

    def _sinks(self, sinks: Iterable[tuple[str, SinkStats]]) -> Iterator[Metric]:
        sinks = list(sinks)
        for fate, doc in _FATES.items():
            yield self._by(f"auditring_sink_{fate}", doc, "sink", {name: getattr(sink, fate) for name, sink in sinks})
        lost = CounterMetricFamily(
            "auditring_sink_lost", "Events that a sink could not be given", labels=("sink", "cause")
        )
        pending = GaugeMetricFamily(
            "auditring_sink_pending", "Journaled events that are not yet safe in the sink", labels=("sink",)
        )
        for name, sink in sinks:
            pending.add_metric((name,), sink.pending)
            for cause, n in sorted(sink.lost.items()):
                lost.add_metric((name, cause), n)
        yield lost
        counted = CounterMetricFamily(
            "auditring_sink_counted", "What a sink counts of its own", labels=("sink", "what")
        )
        for name, sink in sinks:
            for what, n in sorted(sink.counters.items()):
                counted.add_metric((name, what), n)
        yield counted
        yield self._by(
            "auditring_sink_failures",
            "Failures of the sink, each followed by another try",
            "sink",
            {name: sink.failures for name, sink in sinks},
        )
        yield pending

    def _healthy(self) -> Metric:
        health = self._health()
        family = GaugeMetricFamily(
            "auditring_healthy",
            "1 while no problem is known; a component that has one stands here with 0",
            labels=("component",),
        )
        family.add_metric(("log",), float(health.ok))
        for problem in health.problems:
            family.add_metric((problem.component,), 0.0)
        return family

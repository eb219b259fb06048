"""One log of this process, for Prometheus."""

import dataclasses
import os
import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from auditring import _core
from auditring.metrics.families import KINDS, LOST, SINK_LOST, TERMS, Scrape
from auditring.stats import Health, SinkStats, Stats

__all__ = ["LogCollector", "Source", "Telling", "tell_healthy", "tell_log", "tell_sinks"]

_NANOSECONDS: Final = 1e9
_FATES: Final = ("delivered", "merged", "sampled_out", "filtered")
_OTHER: Final = "other"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The questions that may be asked of a log; not the answers."""

    stats: Callable[[], Stats]
    health: Callable[[], Health]
    pressure: Callable[[], float]
    root: Path | None
    name: Callable[[], tuple[str, str, str]]
    """Process, instance, host."""


class Telling(Collector):
    """What every collector here counts of itself."""

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self._errors = 0
        self._counting = threading.Lock()
        # Once: it reads a file of the installation.
        self._build = {
            "version": version("auditring"),
            "schema": str(_core.SCHEMA_VERSION),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
        }

    def describe(self) -> Iterator[Metric]:
        """Names without a scrape, so that registering asks nothing."""
        yield from ()

    @property
    def errors(self) -> int:
        """What could not be read since the collector was made."""
        return self._errors

    def _failed(self, times: int = 1) -> None:
        with self._counting:
            self._errors += times

    def _tell_self(self, scrape: Scrape, root: Path | None) -> None:
        """The disk, what could not be read, and what runs here."""
        if root is not None:
            try:
                disk = os.statvfs(root)
            except OSError:
                self._failed()
            else:
                scrape.add("disk_free_bytes", disk.f_bavail * disk.f_frsize)
                scrape.add("disk_size_bytes", disk.f_blocks * disk.f_frsize)
        scrape.add("scrape_errors", self._errors)
        scrape.info("build", **self._build)


class LogCollector(Telling):
    """Reads one log at every scrape."""

    def __init__(self, source: Source) -> None:
        """Takes the questions to ask."""
        super().__init__()
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        source = self._source
        stats = source.stats()
        scrape = Scrape(stats.scope_labels)
        _tell_events(scrape, stats)
        for name in TERMS:
            scrape.add(name, getattr(stats, name))
        for cause, n in {**dict.fromkeys(LOST, 0), **stats.lost}.items():
            scrape.add("lost", n, cause)
        scrape.add("exempt", stats.exempt)
        scrape.add("waits", stats.waits)
        scrape.add("blocked_seconds", stats.blocked_ns / _NANOSECONDS)
        scrape.add("in_ring", stats.in_ring)
        scrape.add("ring_pressure_ratio", source.pressure())
        scrape.add("ring_size_bytes", stats.ring_bytes)
        scrape.add("ring_used_bytes", stats.ring_used)
        scrape.add("ring_high_water_bytes", stats.ring_high_water)
        scrape.add("journal_bytes", stats.journal_bytes)
        tell_log(scrape, stats)
        for name, sink in stats.sinks.items():
            for fate in _FATES:
                scrape.add(f"sink_{fate}", getattr(sink, fate), name)
            for cause, n in {**dict.fromkeys(SINK_LOST, 0), **sink.lost}.items():
                scrape.add("sink_lost", n, name, cause)
            scrape.add("sink_pending", sink.pending, name)
            if sink.lag_ns is None:
                self._failed()
            else:
                scrape.add("sink_lag_seconds", sink.lag_ns / _NANOSECONDS, name)
            if sink.last_success_ns is not None:
                scrape.add("sink_last_success_timestamp_seconds", sink.last_success_ns / _NANOSECONDS, name)
        tell_sinks(scrape, stats.sinks.items())
        lags = [sink.lag_ns for sink in stats.sinks.values() if sink.lag_ns is not None]
        scrape.add("oldest_undelivered_seconds", max(lags, default=0) / _NANOSECONDS)
        tell_healthy(scrape, source.health(), "log")
        process, instance, host = source.name()
        scrape.info("process", process=process, proxy=instance, host=host)
        self._tell_self(scrape, source.root)
        yield from scrape


def _tell_events(scrape: Scrape, stats: Stats) -> None:
    """By action and outcome; by scope, too, where that is wanted: what has none is what the scopes leave."""
    rest = {**dict.fromkeys(KINDS, 0), **stats.actions}
    scoped: dict[tuple[str, ...], int] = {}
    folded = 0
    for (action, outcome, values), n in stats.scoped.items():
        rest[action, outcome] -= n
        folded += n if values is None else 0
        # A value that is called so joins those that were folded.
        key = (action, outcome, *(values or (_OTHER,) * len(stats.scope_labels)))
        scoped[key] = scoped.get(key, 0) + n
    nothing = ("",) * len(stats.scope_labels)
    for labels, n in sorted([*scoped.items(), *(((*key, *nothing), n) for key, n in rest.items())]):
        scrape.add("events", n, *labels)
    if stats.scope_labels:
        scrape.add("scope_folded", folded)


def tell_log(scrape: Scrape, stats: Stats) -> None:
    """What nobody but the process itself knows of its log."""
    scrape.add("undurable", stats.undurable)
    scrape.add("durable_lag_seconds", stats.durable_lag_ns / _NANOSECONDS)
    scrape.info("clock", clock=stats.clock)


def tell_sinks(scrape: Scrape, sinks: Iterable[tuple[str, SinkStats]]) -> None:
    """What nobody but the process itself knows of the sinks that it drives; several of one name are one."""
    by_name: dict[str, list[SinkStats]] = {}
    for name, sink in sinks:
        by_name.setdefault(name, []).append(sink)
    for name, some in by_name.items():
        scrape.add("sink_failures", sum(sink.failures for sink in some), name)
        scrape.add("sink_failing", float(any(sink.failing for sink in some)), name)
        counted: Counter[str] = Counter()
        for sink in some:
            counted.update(sink.counters)
        for what, n in sorted(counted.items()):
            scrape.add("sink_counted", n, name, what)
        commits = [sink.commits for sink in some if sink.commits is not None]
        if commits:
            scrape.histogram("sink_commit_seconds", sum(commits[1:], commits[0]), name)


def tell_healthy(scrape: Scrape, health: Health, of: str, others: Mapping[str, bool] | None = None) -> None:
    """Components that have a problem, and the whole."""
    scrape.add("healthy", float(health.ok), of)
    for component, well in (others or {}).items():
        scrape.add("healthy", float(well), component)
    for problem in health.problems:
        scrape.add("healthy", 0.0, problem.component)

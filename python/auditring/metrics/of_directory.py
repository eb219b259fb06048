"""All processes of an audit directory, for Prometheus: one scrape for several workers, whichever of them is asked.

What must always hold: counters are the sums of what the journals say, the dead included, and never go back, whoever is
asked and whenever it was started. What cannot be read is told of (`auditring_unreadable`,
`auditring_scrape_errors_total`), and its last numbers stay; where there are none, or the directory itself cannot be
read, the scrape fails.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from auditring import _core
from auditring.directory import require
from auditring.metrics.families import KINDS, LOST, SINK_LOST, SPECS, TERMS, Scrape
from auditring.metrics.of_log import Telling, tell_healthy, tell_log, tell_sinks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from auditring.stats import Health, SinkStats, Stats

__all__ = ["DirectoryCollector"]

_NANOSECONDS: Final = 1e9
_NAMES: Final = {"sink_filtered_out": "sink_filtered"}
"""Counters that are called otherwise in cursors."""


_Key = tuple[str, tuple[tuple[str, str], ...]]
_Counters = dict[_Key, int]


class _Log(Protocol):
    """What is asked of a log of this process."""

    def stats(self) -> Stats: ...
    def health(self) -> Health: ...


class DirectoryCollector(Telling):
    """Sums an audit directory at every scrape."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        log: _Log | None = None,
        *,
        sinks: Callable[[], Iterable[tuple[str, SinkStats]]] | None = None,
    ) -> None:
        """`log`: this process's own, for what files do not tell: its health, and how its sinks do.

        `sinks`: the same of sinks that this process drives for others, by name. Raises `NotAnAuditDirectory`.
        """
        super().__init__()
        self._root = Path(root).absolute()
        require(self._root)
        self._directory = _core.Directory(str(self._root))
        self._log = log
        self._sinks = sinks

    def collect(self) -> Iterator[Metric]:
        """One scrape. Raises `OSError` where the directory, or a process that was never seen, cannot be read."""
        try:
            seen = self._directory.read()
        except OSError:
            self._failed()
            raise
        self._failed(len(seen["unreadable"]))
        counters = {(_NAMES.get(name, name), labels): value for name, labels, value in seen["samples"]}
        counters = {**dict.fromkeys(_zeros(counters), 0), **counters}
        scopes = _scope_labels(counters)
        scrape = Scrape(scopes)
        _tell_counters(scrape, counters, scopes)
        for name in ("in_ring", "journal_bytes"):
            scrape.add(name, seen[name])
        scrape.add("ring_pressure_ratio", seen["pressure"])
        scrape.add("ring_size_bytes", seen["ring_bytes"])
        scrape.add("ring_used_bytes", seen["ring_used"])
        scrape.add("ring_high_water_bytes", seen["ring_high_water"])
        # One that has everything of everybody is in nobody's journal any more.
        idle: dict[str, Any] = {"pending": 0, "oldest_ns": None, "last_success_ns": None}
        self._tell_lag(scrape, {**dict.fromkeys(_sinks(counters), idle), **seen["sinks"]})
        for state, n in seen["processes"].items():
            scrape.add("processes", n, state)
        scrape.add("unreadable", len(seen["unreadable"]))
        whole = not seen["unreadable"] and not seen["processes"]["missing"]
        self._tell_own(scrape, {"directory": whole})
        self._tell_self(scrape, self._root)
        yield from scrape

    @staticmethod
    def _tell_lag(scrape: Scrape, sinks: dict[str, dict[str, Any]]) -> None:
        now, oldest = time.time_ns(), 0.0
        for name, sink in sinks.items():
            lag = 0.0 if sink["oldest_ns"] is None else max(0, now - sink["oldest_ns"]) / _NANOSECONDS
            oldest = max(oldest, lag)
            scrape.add("sink_pending", sink["pending"], name)
            scrape.add("sink_lag_seconds", lag, name)
            if sink["last_success_ns"] is not None:
                scrape.add("sink_last_success_timestamp_seconds", sink["last_success_ns"] / _NANOSECONDS, name)
        scrape.add("oldest_undelivered_seconds", oldest)

    def _tell_own(self, scrape: Scrape, others: dict[str, bool]) -> None:
        """What this process alone knows of its own log and its own sinks."""
        driven = [] if self._sinks is None else list(self._sinks())
        if self._log is None:
            for component, well in others.items():
                scrape.add("healthy", float(well), component)
        else:
            stats = self._log.stats()
            tell_log(scrape, stats)
            tell_healthy(scrape, self._log.health(), "log", others)
            driven += stats.sinks.items()
        tell_sinks(scrape, driven)


def _tell_counters(scrape: Scrape, counters: _Counters, scopes: tuple[str, ...]) -> None:
    for (name, labels), value in sorted(counters.items()):
        if name == "blocked_ns":
            scrape.add("blocked_seconds", value / _NANOSECONDS)
        elif name in SPECS:
            values = dict(labels)
            wanted = SPECS[name].labels + (scopes if name == "events" else ())
            scrape.add(name, value, *(values.get(label, "") for label in wanted))


def _zeros(counters: _Counters) -> Iterator[_Key]:
    """What stands there before it happens."""
    yield from ((name, ()) for name in (*TERMS, "exempt", "waits", "blocked_ns"))
    yield from (("lost", (("cause", cause),)) for cause in LOST)
    yield from (("events", (("action", action), ("outcome", outcome))) for action, outcome in KINDS)
    for sink in _sinks(counters):
        yield from (("sink_lost", (("cause", cause), ("sink", sink))) for cause in SINK_LOST)


def _sinks(counters: _Counters) -> set[str]:
    return {dict(labels)["sink"] for name, labels in counters if name == "sink_delivered"}


def _scope_labels(counters: _Counters) -> tuple[str, ...]:
    """What events are counted by, beside action and outcome, by any process."""
    known = SPECS["events"].labels
    labels = {label for name, pairs in counters if name == "events" for label, _ in pairs}
    return tuple(sorted(labels.difference(known)))

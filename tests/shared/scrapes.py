"""What a scrape says, and whether it may follow another."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from auditring.exposition import registry

__all__ = ["Scrape", "gone_back", "parsed", "scraped", "value"]

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Scrape:
    """Every sample by name and labels. An empty label is none, as for Prometheus."""
    return {
        (sample.name, tuple(sorted((label, of) for label, of in sample.labels.items() if of))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(collector: Collector) -> Scrape:
    """One scrape of a collector, by way of the text that Prometheus would read."""
    return parsed(generate_latest(registry(collector)).decode())


def value(scrape: Scrape, name: str, **labels: str) -> float:
    """One sample."""
    return scrape["auditring_" + name, tuple(sorted(labels.items()))]


def gone_back(before: Scrape, after: Scrape) -> dict[str, tuple[float, float | None]]:
    """Counters that are less than they were, or not there any more."""
    counters = {key: n for key, n in before.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}
    return {f"{key}": (n, after.get(key)) for key, n in counters.items() if after.get(key, -1.0) < n}

"""The balance for Prometheus: pull only. A scrape reads counters; an event costs nothing.

Counters are raised before any policy, so they stay true when rows are sampled or turned off. One collector a registry.
`LogCollector` shows one log of this process; `DirectoryCollector` what all processes of a directory add up to, the
dead included, so that any one of several workers can be asked.
"""

from auditring.metrics.of_directory import DirectoryCollector
from auditring.metrics.of_log import LogCollector

__all__ = ["DirectoryCollector", "LogCollector"]

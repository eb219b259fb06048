"""Measures, and prints the tables that README and docs/performance.md show: `make bench`.

    make bench                                        everything (about a quarter of an hour)
    make bench ARGS="--only emit,peers"               some of it
    make bench ARGS="--quick"                         a first impression: smaller, fewer rounds

Every section asserts that what it times is right before it times it, and that nothing was lost afterwards. Ratios hold;
absolute numbers belong to the machine and the moment. Nothing else should be running, so the load is printed, too.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tables import Report, targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables import Target

SECTIONS = {
    "emit": "emit_cost",
    "peers": "peer_cost",
    "end-to-end": "end_to_end",
    "jsonl": "jsonl_rate",
    "query": "query_time",
    "policy": "policy_kinds",
    "asgi": "asgi_cost",
    "tail": "tail_rate",
    "tap": "kafka_tap",
    "kafka-tax": "kafka_tax",
    "kafka-sink": "kafka_sink",
    "durability": "durability",
    "scrape": "scrape",
    "sinks": "all_sinks",
    "agent": "agent",
}
CALM = 0.5
"""Load per CPU above which nothing that is measured deserves trust."""


def machine() -> str:
    """Where this is measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    versions = ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in ("pyarrow", "duckdb"))
    return (
        f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {versions}"
    )


def load() -> float:
    """What else the machine does, per CPU."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def settle(patience: float) -> None:
    """Waits for the machine to become calm, but not for ever."""
    deadline = time.monotonic() + patience
    while load() > CALM and time.monotonic() < deadline:
        time.sleep(5)


def run(names: Sequence[str], *, quick: bool, patience: float) -> list[Target]:
    """Prints the sections, each as soon as it is there."""
    promises: list[Target] = []
    for name in names:
        settle(patience)
        busy, start = load(), time.monotonic()
        found: Report = importlib.import_module(SECTIONS[name]).report(quick=quick)
        warning = "" if busy <= CALM else f" The machine was busy: {busy:.1f} runnable threads per CPU at the start."
        print(f"\n### {found.title}\n\n{found.text}\n\nTook {time.monotonic() - start:.0f} s.{warning}", flush=True)
        promises += found.promises
    return promises


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="smaller, fewer rounds")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for a calm machine, per section")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    for name in names:
        if name not in SECTIONS:
            parser.error(f"--only: there is no section {name!r}; there are {', '.join(SECTIONS)}")
    print(f"`python benches/run.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`".replace(" `", "`"))
    print(f"\n{machine()}", flush=True)
    promises = run(names, quick=options.quick, patience=options.wait)
    print(f"\n### targets\n\n{targets(promises)}")
    return int(options.check and not all(target.met for target in promises))


if __name__ == "__main__":
    sys.exit(main())

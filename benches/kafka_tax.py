"""What a tap costs a Kafka proxy: CPU of its process per MB and per small request, as a share of what the proxy needs.

    python benches/kafka_tax.py [--rounds 15] [--null] [--check]

A real broker; before it the proxy of the examples, which forwards bytes; clients of confluent-kafka in processes of
their own. Half of them have connections with a tap, half without, through one and the same process. They are asked in
turns (A B B A), so that what else happens on the machine hits both alike.

`MB` are records of 1 KiB, written and read in the batches that the clients make. A `request` is one record, sent at
once (`linger.ms` 0) and without waiting for the answer to the one before.

CPU is that of all of the process's threads. The log is open for both: to those without a tap is added what its threads
use while nobody else is served, to those with one all the rest of what these threads have used in the round. The tax is
the ratio of a round; shown are median and quartiles, and an upper bound: the median of so many rounds stays below it in
95 % of samples drawn from them anew (bootstrap). What it costs to close the log is shown beside it; most of that is
paid once per file.

With `--null` none has a tap: how far from 1 the noise of the machine gets alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from kafka_load import RECORD, Child, Spent
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.broker import Broker

ALLOWED = 1.10
IDLE = 2.0
"""Seconds after which the log's threads have nothing left to do."""
ASKED_IDLE = 4
"""Slices without a tap in which one sees what they use all the same, beside a loop that is at work."""
MB = 1_000_000
STORED = 32 << 10
"""Records of the topic that is read, from start to end each time."""
TAPPED, PLAIN = "tapped", "plain"
QUICK = {"reconnect.backoff.ms": 10, "log_level": 0}
READER = {**QUICK, "auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
SMALL = {**QUICK, "linger.ms": 0, "batch.num.messages": 1}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of traffic: who makes it, how much at a time, and how much of a unit that is."""

    name: str
    unit: str
    load: str
    topic: str
    settings: dict[str, Any]
    records: int
    """In one slice."""
    scale: float
    """Units a record."""


@dataclass(slots=True)
class Tax:
    """What was measured of one kind; CPU seconds per unit, round by round."""

    kind: Kind
    loop: dict[str, list[float]] = field(default_factory=lambda: {PLAIN: [], TAPPED: []})
    """Of the event loop's thread."""
    threads: dict[str, list[float]] = field(default_factory=lambda: {PLAIN: [], TAPPED: []})
    """Of the log's threads; where there is no tap, idle."""
    rates: dict[str, list[float]] = field(default_factory=lambda: {PLAIN: [], TAPPED: []})
    """Units a second, as the clients see it."""

    @property
    def ratios(self) -> list[float]:
        """With a tap, times without, all threads counted."""
        plain, tapped = (
            [loop + rest for loop, rest in zip(self.loop[name], self.threads[name], strict=True)]
            for name in (PLAIN, TAPPED)
        )
        return [b / a for a, b in zip(plain, tapped, strict=True)]

    @property
    def loops(self) -> list[float]:
        """The event loop's thread alone."""
        return [b / a for a, b in zip(self.loop[PLAIN], self.loop[TAPPED], strict=True)]

    def cost(self, name: str) -> str:
        """Microseconds per unit: of the loop, and of the log's threads."""
        return f"{median(self.loop[name]) * 1e6:,.1f} + {median(self.threads[name]) * 1e6:,.1f}"


def upper(values: Sequence[float], samples: int = 5_000) -> float:
    """What the median of as many draws from the values stays below in 95 % of the samples."""
    draw = random.Random(1)  # noqa: S311 - no secret; the same values give the same bound
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(samples))
    return medians[int(0.95 * samples)]


def kinds(*, scale: float) -> list[Kind]:
    """What is measured; `scale` makes the slices smaller."""
    stored, sent = int(STORED * scale), int(2_000 * scale)
    per_mb = len(RECORD) / MB
    return [
        Kind("written", "MB", "produce", "written", QUICK, stored, per_mb),
        Kind("read", "MB", "consume", "stored", READER, stored, per_mb),
        Kind("requests, at most 5 in flight", "request", "produce", "small", {**SMALL, "max.in.flight": 5}, sent, 1),
        Kind("requests, as many in flight as there are", "request", "produce", "small", SMALL, sent, 1),
    ]


def measure(broker: Broker, *, rounds: int, scale: float = 1.0, null: bool = False) -> tuple[list[Tax], float, int]:
    """Measures; returns the taxes, the CPU of closing the log, and its rows. Asserts that each write has its row."""
    wanted = kinds(scale=scale)
    for topic in {kind.topic for kind in wanted}:
        broker.create_topic(topic, retention_bytes=str(256 << 20), segment_bytes=str(32 << 20))
    with ExitStack() as stack:
        with Child("produce", broker.plain, "stored", "filler", json.dumps(QUICK)) as filler:
            filler.ask("records", next(kind.records for kind in wanted if kind.topic == "stored"))
        directory = Path(stack.enter_context(TemporaryDirectory()), "audit")
        proxy = stack.enter_context(Child("proxy", str(directory), str(broker.advertised), broker.proxied))
        servers = f"127.0.0.1:{broker.advertised}"
        clients: dict[tuple[str, str], Child] = {}
        for name in PLAIN, TAPPED:
            proxy.ask("plain" if null or name == PLAIN else "tap")
            for kind in wanted:
                arguments = (kind.load, servers, kind.topic, name, json.dumps(kind.settings))
                client = clients[kind.name, name] = stack.enter_context(Child(*arguments))
                # Its connections are made, and have a tap or none.
                client.ask("records", kind.records)
        # What the first ones made is through by then.
        time.sleep(IDLE)
        idle = [_idle(proxy, clients[kind.name, PLAIN], kind) for kind in wanted]
        found = [Tax(kind) for kind in wanted]
        for _ in range(rounds):
            for tax, unused in zip(found, idle, strict=True):
                _round(proxy, {name: clients[tax.kind.name, name] for name in (PLAIN, TAPPED)}, tax, unused)
        for client in clients.values():
            client.end()
        closing = float(proxy.end())
        rows = check(directory, wanted, 1 + 2 * rounds, null=null)
    return found, closing, rows


def _idle(proxy: Child, client: Child, kind: Kind) -> float:
    """CPU seconds a second of the log's threads while only a client without a tap is served."""
    before, start = Spent(*proxy.ask("spent")), time.perf_counter()
    for _ in range(ASKED_IDLE):
        client.ask("records", kind.records)
    return (Spent(*proxy.ask("spent")).rest - before.rest) / (time.perf_counter() - start)


def _round(proxy: Child, clients: dict[str, Child], tax: Tax, idle: float) -> None:
    """One round of one kind: both in turns, there and back."""
    kind = tax.kind
    loops: dict[str, list[float]] = {PLAIN: [], TAPPED: []}
    rest = idling = 0.0
    for name in (PLAIN, TAPPED, TAPPED, PLAIN):
        before, start = Spent(*proxy.ask("spent")), time.perf_counter()
        took = clients[name].ask("records", kind.records)
        after = Spent(*proxy.ask("spent"))
        loops[name].append(after.loop - before.loop)
        rest += after.rest - before.rest
        if name == PLAIN:
            idling += idle * (time.perf_counter() - start)
        tax.rates[name].append(kind.records * kind.scale / took)
    units = 2 * kind.records * kind.scale
    for name, threads in (PLAIN, idling), (TAPPED, rest - idling):
        tax.loop[name].append(sum(loops[name]) / units)
        tax.threads[name].append(threads / units)


def check(directory: Path, wanted: Sequence[Kind], slices: int, *, null: bool) -> int:
    """Asserts that all that went by a tap is in the files, and nothing else. Returns how many rows there are."""
    from auditring import query  # noqa: PLC0415 - DuckDB has no business in the children

    def count(what: str, where: str) -> int:
        with query.connect(directory) as connection:
            found = connection.execute(f"SELECT {what} FROM events WHERE {where}").fetchone()  # noqa: S608 - our own
        return int(found[0] or 0) if found else 0

    for load, action, records in (("produce", "Write", "sum(records)"), ("consume", "Read", "sum(records)")):
        went = 0 if null else slices * sum(kind.records for kind in wanted if kind.load == load)
        assert count(records, f"action = '{action}' AND client_id = '{TAPPED}'") == went, action
        assert count("count(*)", f"action = '{action}' AND client_id = '{PLAIN}'") == 0, action
    assert count("count(*)", "action LIKE 'auditring.%Lost' OR action = 'auditring.TapBlind'") == 0
    return count("count(*)", "true")


def with_broker(body: Callable[[Broker], Report]) -> Report | None:
    """Runs a body with the broker that the tests have; none where there is no Java."""
    import pytest  # noqa: PLC0415 - the broker of the tests is made for it

    from harness import jars  # noqa: PLC0415 - found by way of kafka_load
    from harness.broker import Broker  # noqa: PLC0415 - the same
    from harness.certs import Certificates  # noqa: PLC0415 - the same

    try:
        jars.require_java()
    except pytest.skip.Exception:
        return None
    with TemporaryDirectory() as folder:
        broker = Broker(Path(folder, "broker"), Certificates(Path(folder, "certs")))
        with broker.running():
            return body(broker)


def text(found: Sequence[Tax], closing: float, rows: int) -> str:
    """The table."""
    lines = []
    for tax in found:
        rates = [f"{median(tax.rates[name]):,.0f}" for name in (PLAIN, TAPPED)]
        lines.append(
            (
                f"{tax.kind.name}, per {tax.kind.unit}",
                tax.cost(PLAIN),
                tax.cost(TAPPED),
                Spread.of(tax.ratios).text(3),
                f"{upper(tax.ratios):.3f}",
                Spread.of(tax.loops).text(3),
                " / ".join(rates),
            )
        )
    head = (
        "traffic",
        "plain, µs",
        "tapped, µs",
        "times plain",
        "upper 95 % bound",
        "the loop's thread alone",
        "units a second, plain / tapped",
    )
    return (
        f"CPU of the proxy's process, the event loop's thread + the log's; {len(found[0].ratios)} interleaved rounds, "
        f"median (quartiles).\n\n"
        f"{table(head, lines)}\n\nClosing the log took {closing * 1e3:,.0f} ms of CPU; {rows:,} rows."
    )


def promises(found: Sequence[Tax]) -> list[Target]:
    """Every kind's tax, as measured."""
    return [
        Target(f"CPU with a tap, times without: {tax.kind.name}", median(tax.ratios), ALLOWED, digits=3)
        for tax in found
    ]


def report(*, quick: bool = False, rounds: int = 15, scale: float = 1.0, null: bool = False) -> Report:
    """The section."""
    sizes: dict[str, Any] = {"rounds": 5, "scale": 0.25} if quick else {"rounds": rounds, "scale": scale}

    def body(broker: Broker) -> Report:
        found, closing, rows = measure(broker, **sizes, null=null)
        return Report("kafka-tax", text(found, closing, rows), promises(found))

    return with_broker(body) or Report("kafka-tax", "Not measured: a real broker needs Java, Maven and openssl.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; with `--check` the exit status says whether the tax is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--scale", type=float, default=1.0, help="of the slices")
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)

    found = report(rounds=options.rounds, scale=options.scale, null=options.null)
    print(found.text)
    return int(options.check and not (found.promises and all(target.met for target in found.promises)))


if __name__ == "__main__":
    sys.exit(main())

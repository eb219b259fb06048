"""Sinks that hang, raise and crawl, and hosts that are killed meanwhile, at a journal budget of next to nothing.

    python tests/torture/sinks.py [--lives 200] [--seed S] [--seconds 60]

A host with a Parquet sink and JSON lines, one of them required, both behind a valve that at random moments fails, hangs
or crawls, also in `start` and `commit`; some rows the JSON sink refuses for good. It emits from two threads into a
journal of a megabyte until it is killed, or closed. Then what it left is recovered with sinks that work. Whatever
happened: each sink's terms add up to what is journaled, to the unit; the required one has lost nothing at the budget;
refused rows alone are counted as refused; and `auditring.verify` finds nothing wrong with files, lines and totals.

The same seed makes the same choices; when exactly the kernel lets a process die is not in its power.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from auditring import _core
from auditring.recovery import recover
from auditring.verify import check

HOST = """
import json, random, sys, threading, time
import auditring
from auditring import SinkRejected
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink

order = json.loads(sys.argv[1])
rng = random.Random(order["seed"])
began = time.monotonic()

class Valve:
    def fresh(self):
        return self

    def _suffer(self):
        # Of the moment alone: what it does with a row must not depend on the row.
        for since, until, how in self.moods:
            if since <= time.monotonic() - began < until:
                if how == "raise":
                    raise OSError(5, "a mood")
                if how == "exit":
                    raise SystemExit
                if how == "hang":
                    time.sleep(max(0.0, until - (time.monotonic() - began)))
                if how == "crawl":
                    time.sleep(0.02)

    def start(self, state):
        self._suffer()
        super().start(state)

    def write(self, batch):
        if rng.random() < 0.5:
            self._suffer()
        made = super().write(batch)
        if rng.random() < 0.5:
            self._suffer()
        return made

    def commit(self):
        if rng.random() < 0.5:
            self._suffer()
        state = super().commit()
        if rng.random() < 0.1:
            self._suffer()
        return state

class Table(Valve, ParquetSink):
    moods = order["moods"][0]

class Lines(Valve, JsonlSink):
    moods = order["moods"][1]

    def write(self, batch):
        if order["picky"] and batch.rows:
            bad = [row["seq"] for row in map(json.loads, batch.json_lines().splitlines())
                   if row["action"] == "Write"]
            if bad:
                raise SinkRejected("never", bad)
        return super().write(batch)

log = auditring.open(
    order["path"], instance="host", journal_bytes=1 << 20, ring_bytes=1 << 20, segment_age=0.5, balance=0.5,
    sinks=(
        Table(rotation=auditring.Rotation(rows=order["rows"], age=0.3)),
        Lines(checkpoint=Checkpoint(bytes=1 << 20, age=0.2)),
    ),
    required=order["required"],
    when_full=auditring.WhenFull(wait=None),
)
stop = threading.Event()

def emit(number):
    session = log.session(id=f"s-{number}")
    for offset in range(10**9):
        session.read(f"t-{number}", 0, offset, offset)
        if order["picky"] and offset % 5000 == 77:
            session.write("refused", 0, offset, offset)
        if offset % 64 == 0:
            time.sleep(order["pause"])
            if stop.is_set():
                break

threads = [threading.Thread(target=emit, args=(number,), daemon=True) for number in range(2)]
for thread in threads:
    thread.start()
print("alive", flush=True)
if order["close_after"] is not None:
    time.sleep(order["close_after"])
    stop.set()
    try:
        log.close(20)
    except auditring.CloseIncomplete as error:
        print(error, file=sys.stderr)
    print("closed", flush=True)
time.sleep(60)
"""


def moods(rng: random.Random, lasts: float) -> list[tuple[float, float, str]]:
    """When a sink is in which mood; sometimes never, sometimes all the time."""
    found, now = [], rng.choice((0.0, rng.uniform(0, lasts)))
    while rng.random() < 0.7 and now < lasts:
        until = now + rng.choice((0.1, 0.5, lasts, 3600.0))
        found.append((now, until, rng.choice(("raise", "hang", "crawl", "exit"))))
        now = until + rng.uniform(0, 0.3)
    return found


def one(rng: random.Random, folder: Path) -> Counter[str]:
    """One life, and what is left of it. Raises `AssertionError`."""
    path = folder / "audit"
    lasts = rng.uniform(0.3, 1.5)
    close_after = lasts if rng.random() < 0.3 else None
    required = rng.choice((["parquet"], ["parquet"], ["jsonl"], [], ["parquet", "jsonl"]))
    order = {
        "seed": rng.getrandbits(32),
        "path": str(path),
        "rows": rng.choice((500, 20_000, 1_000_000)),
        "pause": rng.choice((0.0, 0.0005, 0.002)),
        "moods": [moods(rng, lasts), moods(rng, lasts)],
        "picky": rng.random() < 0.3,
        "required": required,
        "close_after": close_after,
    }
    found = Counter[str]()
    with subprocess.Popen(
        [sys.executable, "-c", HOST, json.dumps(order)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "alive\n", order
        time.sleep(lasts + (rng.uniform(0, 0.5) if close_after is not None else 0.0))
        host.send_signal(signal.SIGKILL)
        found["lives that ended by themselves" if "closed" in host.stdout.read() else "lives that were killed"] += 1
    for result in recover(path):
        assert result.failed is None, result
        assert result.behind == (), result
    assert not list((path / "journal").iterdir())
    (process,) = _core.outside(str(path))
    found["events journaled"] += process["journaled"]
    for name, sink in process["sinks"].items():
        weigh(name, sink, process["journaled"], required, order)
        for cause, count in sink["lost"].items():
            found[f"lost[{cause}] at {name}"] += count
    report = check(path)
    assert report.complete, report.findings
    return found


def weigh(name: str, sink: dict[str, Any], journaled: int, required: list[str], order: dict[str, Any]) -> None:
    """Whether one sink's terms are what they must be."""
    terms = sum(sink[term] for term in ("delivered", "merged", "sampled_out", "filtered_out"))
    assert sink["pending"] == 0, (name, sink)
    assert terms + sum(sink["lost"].values()) == journaled, (name, sink, journaled)
    allowed = set() if name in required else {"budget"}
    if name == "jsonl" and order["picky"]:
        allowed.add("rejected")
    assert {cause for cause, count in sink["lost"].items() if count} <= allowed, (name, sink, order)


def main() -> int:
    """Lives as often as is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="of the first life; each has the next")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long, though there were fewer lives")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"sinks: {given.lives} lives, seed {seed}", flush=True)
    totals, began, done = Counter[str](), time.monotonic(), 0
    for number in range(given.lives):
        if given.seconds is not None and time.monotonic() - began > given.seconds:
            break
        folder = Path(tempfile.mkdtemp(prefix="auditring-sinks-"))
        try:
            totals.update(one(random.Random(seed + number), folder))
        except BaseException as error:  # noqa: BLE001 - whatever it was, the seed is what is wanted
            print(f"life {number} failed: --seed {seed + number} --lives 1; what it left is in {folder}", flush=True)
            print(f"{type(error).__name__}: {error}", flush=True)
            return 1
        shutil.rmtree(folder)
        done += 1
    print(
        f"{done} lives: every sink's terms add up; seeds {seed} to {seed + done - 1}; {time.monotonic() - began:.0f} s"
    )
    for name, count in sorted(totals.items()):
        print(f"  {count:>12,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

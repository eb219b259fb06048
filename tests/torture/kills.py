"""`kill -9` at random moments, again and again: every acknowledged event is there, once, or this fails with its seed.

    python tests/torture/kills.py [--kills 1000] [--seed S]

A host emits from several threads; a shared page says of each thread how many of its calls have returned. It is killed
at a random moment of a random life: as it is born, under load, while files are sealed and segments rolled, in `close`.
Then it is recovered, and often the recovery is killed, too. At the end, of every thread: the offsets from 0 to what it
was told are each in one row, of Parquet and of JSON lines, and at most one more (the call that was under way); totals,
files and journals agree (`auditring.verify`).

The same seed makes the same choices; when exactly the kernel lets a process die is not in its power.
"""

from __future__ import annotations

import argparse
import json
import mmap
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from auditring.recovery import recover
from auditring.verify import check
from in_sinks import once

SLOT = struct.Struct("<q")
PAGE = 4096

HOST = """
import json, mmap, random, sys, threading, time
import auditring, auditring.opening
from auditring import Keep, Policy, Rule
from auditring.sinks import JsonlSink, ParquetSink

order = json.loads(sys.argv[1])
rng = random.Random(order["seed"])
file = open(order["page"], "r+b")
page = mmap.mmap(file.fileno(), 4096)
auditring.opening._LANES = order["lanes"]
log = auditring.open(
    order["path"], instance="host", segment_bytes=order["segment_bytes"], segment_age=0.2, ring_bytes=1 << 20,
    sinks=(
        ParquetSink(rotation=auditring.Rotation(rows=order["rows"], age=0.3)),
        JsonlSink(rotation=auditring.Rotation(rows=order["rows"]), compress=order["compress"]),
    ),
    when_full=auditring.WhenFull(wait=None),
)
stop = threading.Event()

def emit(number):
    session = log.session(id=f"s-{number}", peer=("10.0.0.1", number), authority="decision")
    for offset in range(10**9):
        session.write(f"t-{number}", 0, offset, offset)
        page[8 * number : 8 * number + 8] = (offset + 1).to_bytes(8, "little")
        if order["pause"] and offset % 64 == 0:
            time.sleep(order["pause"])
        if stop.is_set():
            break

threads = [threading.Thread(target=emit, args=(number,), daemon=True) for number in range(order["threads"])]
for thread in threads:
    thread.start()
print("alive", flush=True)
if order["close_after"] is not None:
    time.sleep(order["close_after"])
    stop.set()
    for thread in threads:
        thread.join()
    log.close()
    print("closed", flush=True)
time.sleep(60)
"""


@dataclass
class Found:
    """What a life came to."""

    accepted: int = 0
    killed_in: str = "load"
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def one(rng: random.Random, folder: Path) -> Found:
    """One life, and what is left of it. Raises `AssertionError`."""
    path, page = folder / "audit", folder / "page"
    page.write_bytes(bytes(PAGE))
    threads = rng.choice((1, 2, 4))
    close_after = rng.uniform(0.0, 0.4) if rng.random() < 0.25 else None
    order = {
        "seed": rng.getrandbits(32),
        "path": str(path),
        "page": str(page),
        "threads": threads,
        "segment_bytes": rng.choice((1 << 16, 1 << 20, 64 << 20)),
        "rows": rng.choice((500, 20_000, 1_000_000)),
        "compress": rng.random() < 0.5,
        "pause": rng.choice((0.0, 0.0005, 0.01)),
        "lanes": rng.choice((None, 2, 4)),
        "close_after": close_after,
    }
    found = Found()
    found.kinds[f"rings of {order['lanes'] or 'the usual'} lanes"] += 1
    with subprocess.Popen([sys.executable, "-c", HOST, json.dumps(order)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        # Now and then it dies as it is born.
        if rng.random() < 0.1:
            time.sleep(rng.uniform(0.2, 0.6))
            found.killed_in = "birth"
        else:
            assert host.stdout.readline() == "alive\n", order
            wait = rng.uniform(0, 0.6)
            if close_after is not None:
                found.killed_in = "close"
                wait = close_after + rng.uniform(0, 0.3)
            time.sleep(wait)
        host.send_signal(signal.SIGKILL)
    with page.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as shared:
        told = [SLOT.unpack_from(shared, SLOT.size * number)[0] for number in range(threads)]
    found.accepted = sum(told)
    if not (path / "journal").exists():
        assert found.accepted == 0
        return found
    for _ in range(rng.choice((0, 0, 1, 2))):
        found.kinds["recoveries killed"] += 1
        command = [sys.executable, "-m", "auditring", "recover", str(path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
            time.sleep(rng.uniform(0.15, 0.8))
            other.send_signal(signal.SIGKILL)
    for result in recover(path):
        assert result.failed is None, result
        assert result.behind == (), result
        if result.salvage is not None:
            found.kinds["rows out of rings"] += result.salvage.rows
            found.kinds["calls that were torn"] += result.salvage.torn
            assert not result.salvage.ring_gone, result
            assert result.salvage.unreadable == result.salvage.journal_gone == 0, result
    assert not list((path / "journal").iterdir())
    found.rows = once(path, {f"t-{number}": count for number, count in enumerate(told)})
    report = check(path)
    assert report.complete, report.findings
    return found


def main() -> int:
    """Kills as often as is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="of the first life; each has the next")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long, though there were fewer kills")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"kills: {given.kills}, seed {seed}", flush=True)
    totals, began, done = Counter[str](), time.monotonic(), 0
    for number in range(given.kills):
        if given.seconds is not None and time.monotonic() - began > given.seconds:
            break
        folder = Path(tempfile.mkdtemp(prefix="auditring-kills-"))
        try:
            found = one(random.Random(seed + number), folder)
        except BaseException:
            print(f"kill {number} failed: --seed {seed + number} --kills 1; what it left is in {folder}", flush=True)
            raise
        shutil.rmtree(folder)
        done += 1
        totals.update(found.kinds)
        totals["events accepted"] += found.accepted
        totals["rows"] += found.rows
        totals[f"killed in {found.killed_in}"] += 1
        if done % 50 == 0:
            print(f"{done} kills, {totals['events accepted']:,} events accepted, 0 lost, 0 twice", flush=True)
    print(f"{done} kills: 0 lost, 0 twice; seeds {seed} to {seed + done - 1}; {time.monotonic() - began:.0f} s")
    for name, count in sorted(totals.items()):
        print(f"  {count:>12,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`kill -9` at random moments, again and again: every acknowledged event is there, once, or this fails with its seed.

    python tests/torture/kills.py [--host threads|uvicorn|kafka] [--kills 1000] [--seconds 60] [--seed S]

A host is killed at a random moment of a random life: as it is born, under load, while files are sealed, segments
rolled and policies changed, in `close`, as it adopts the one that died before it. Then it is recovered, and often the
recovery is killed, too. At the end what was acknowledged is in one row, of Parquet and of JSON lines; totals, files and
journals agree (`auditring.verify`). What is acknowledged, and how a row is known by it, is said where each kind of host
lives:

- `kills_threads.py`: threads that emit; two hosts at once in a directory; policies, redaction
- `kills_http.py`: uvicorn and real HTTP clients
- `kills_kafka.py`: the Kafka proxy between real clients and a real broker

The same seed makes the same choices; when exactly the kernel lets a process die is not in its power.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import kills_http
import kills_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from lives import Found

    Life = Callable[[random.Random, Path], Found]

_HOSTS: Final = ("threads", "uvicorn", "kafka")


def life_of(host: str) -> AbstractContextManager[Life]:
    """What lives one life of a kind of host."""
    if host == "kafka":
        import kills_kafka  # noqa: PLC0415 - it wants Java, and the clients of Kafka

        return kills_kafka.running()
    return nullcontext(kills_http.one if host == "uvicorn" else kills_threads.one)


def lives(host: str, *, kills: int, seconds: float | None, seed: int) -> None:
    """Kills as often as is wanted, and prints what it came to. Raises what a life raises."""
    print(f"{host}: {kills} kills, seed {seed}", flush=True)
    totals, began, done = Counter[str](), time.monotonic(), 0
    with life_of(host) as life:
        while totals["kills"] < kills and (seconds is None or time.monotonic() - began < seconds):
            folder = Path(tempfile.mkdtemp(prefix="auditring-kills-"))
            try:
                found = life(random.Random(seed + done), folder)
            except BaseException:
                print(f"failed: --host {host} --seed {seed + done} --kills 1; what it left is in {folder}", flush=True)
                raise
            shutil.rmtree(folder)
            done += 1
            totals.update(found.kinds)
            totals["kills"] += found.kills
            totals["acknowledged"] += found.accepted
            totals["rows"] += found.rows
            if done % 50 == 0:
                print(f"{totals['kills']} kills, {totals['acknowledged']:,} acknowledged, 0 lost, 0 twice", flush=True)
    took = time.monotonic() - began
    print(f"{host}: {totals['kills']} kills in {done} lives: 0 lost, 0 twice")
    print(f"  seeds {seed} to {seed + done - 1}, {took:.0f} s")
    for name, count in sorted(totals.items()):
        print(f"  {count:>12,}  {name}")


def main() -> int:
    """All kinds of hosts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=_HOSTS, action="append", help="by default threads; each has its share")
    parser.add_argument("--kills", type=int, default=1000, help="of each kind of host")
    parser.add_argument("--seed", type=int, default=None, help="of the first life; each has the next")
    parser.add_argument("--seconds", type=float, default=None, help="for all; stop then, though there were fewer kills")
    given = parser.parse_args()
    hosts = given.host or ["threads"]
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    for host in hosts:
        lives(host, kills=given.kills, seconds=given.seconds and given.seconds / len(hosts), seed=seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())

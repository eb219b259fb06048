"""The host of `kills_threads.py`: threads that emit, and say in a shared page how many of their calls have returned.

    python host_of_threads.py ORDER

`ORDER` is JSON. It opens a log, says `alive`, emits until it is told to close, or for ever, and never ends by itself.
"""

from __future__ import annotations

import json
import mmap
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import auditring
import auditring.opening
from auditring import Drop, Hash, Keep, Policy, Redact, Rule, Truncate
from auditring.sinks import JsonlSink, ParquetSink

MOST_THREADS: Final = 64
CHANGES: Final = 2 * MOST_THREADS
"""The slot in the page behind two of each thread (its Writes, its Reads): policies that have come into force."""
SECRETS: Final = ("198.51.100.77", "client-secret", "note-secret")
REDACT: Final = (
    Redact("peer", Hash("env:AUDITRING_KILLS_KEY")),
    Redact("client_id", Truncate(length=2)),
    Redact("context.note", Drop()),
)
RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "all": (),
    "coalesce": (Rule(action=("Read", "Write"), keep=Keep.COALESCE(0.2)),),
    "first": (
        Rule(action="Read", keep=Keep.FIRST(0.2)),
        Rule(action="Write", keep=Keep.COALESCE(0.1)),
    ),
    "sample": (Rule(action="Read", keep=Keep.SAMPLE(one_in=7, by=None)),),
    "off": (Rule(action="Read", keep=Keep.OFF), Rule(action="Write", keep=Keep.COALESCE(0.2))),
}
"""What is kept of Reads, in every way that there is; of Writes every offset, though many may stand in one row."""


class Page:
    """Numbers that outlive the process that writes them."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def __getitem__(self, slot: int) -> int:
        return int.from_bytes(self._map[8 * slot : 8 * slot + 8], "little")

    def __setitem__(self, slot: int, value: int) -> None:
        self._map[8 * slot : 8 * slot + 8] = value.to_bytes(8, "little")


def policy(name: str, *, redact: bool) -> Policy:
    """One of `RULES`."""
    return Policy(rules=RULES[name], redact=REDACT if redact else (), seed=7)


def emit(log: auditring.AuditLog, order: dict[str, Any], number: int, page: Page, stop: threading.Event) -> None:
    """Writes, and for every fourth a Read, each with an offset of its own; what has returned is said at once."""
    session = log.session(
        id=f"s-{number}",
        peer=(SECRETS[0], 1 + number),
        client_id=f"{SECRETS[1]}-{number}",
        context={"note": SECRETS[2]},
        authority="decision",
    )
    name, reads = f"{order['number']}-{number}", 0
    for offset in range(10**9):
        session.write(f"t-{name}", 0, offset, offset)
        page[2 * number] = offset + 1
        if offset % 4 == 0:
            session.read(f"r-{name}", 0, reads, reads)
            reads += 1
            page[2 * number + 1] = reads
        if order["pause"] and offset % 64 == 0:
            time.sleep(order["pause"])
        if stop.is_set():
            break


def change(log: auditring.AuditLog, order: dict[str, Any], page: Page, stop: threading.Event) -> None:
    """One policy after the other."""
    rng = random.Random(order["seed"])
    changed = 0
    while not stop.wait(rng.uniform(0, 0.02)):
        if log.set_policy(policy(rng.choice(list(RULES)), redact=order["redact"])):
            changed += 1
            page[CHANGES] = changed


def main() -> None:
    """Lives until it is killed."""
    order = json.loads(sys.argv[1])
    page = Page(Path(order["page"]))
    auditring.opening._LANES = order["lanes"]  # noqa: SLF001 - there is no setting: the core knows best
    log = auditring.open(
        order["path"],
        instance=f"host-{order['number']}",
        policy=policy("all" if order["policy"] == "changing" else order["policy"], redact=order["redact"]),
        segment_bytes=order["segment_bytes"],
        segment_age=0.2,
        ring_bytes=1 << 20,
        sinks=(
            ParquetSink(rotation=auditring.Rotation(rows=order["rows"], age=0.3)),
            JsonlSink(rotation=auditring.Rotation(rows=order["rows"]), compress=order["compress"]),
        ),
        when_full=auditring.WhenFull(wait=None),
    )
    stop = threading.Event()
    threads = [
        threading.Thread(target=emit, args=(log, order, number, page, stop), daemon=True)
        for number in range(order["threads"])
    ]
    if order["policy"] == "changing":
        threads.append(threading.Thread(target=change, args=(log, order, page, stop), daemon=True))
    for thread in threads:
        thread.start()
    print("alive", flush=True)
    if order["close_after"] is not None:
        time.sleep(order["close_after"])
        stop.set()
        for thread in threads:
            thread.join()
        log.close()
    time.sleep(600)


if __name__ == "__main__":
    main()

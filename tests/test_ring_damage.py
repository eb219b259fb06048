"""A ring that somebody writes over while its process lives: it is declared, counted, and another takes its place."""

import json
import struct
import threading
from pathlib import Path
from typing import Any

import auditring
from auditring.sinks import ParquetSink
from auditring.verify import check
from deadlines import until
from sealed_rows import rows_of

RING = 1 << 20
WORD = struct.Struct("<Q")


def scribble(ring: Path, behind: int) -> None:
    """Writes over the header of a record, behind so many that wait in the ring."""
    with ring.open("r+b") as file:
        data = file.seek(0, 2) - RING
        file.seek(data)
        records = file.read()
        at = next(at for at in range(0, RING, 8) if WORD.unpack_from(records, at)[0])
        for _ in range(behind):
            at += (WORD.unpack_from(records, at)[0] & 0xFFFF_FFFF) + 7 & ~7
        file.seek(data + at)
        file.write(WORD.pack(WORD.unpack_from(records, at)[0] ^ 1 << 40))


def test_a_header_that_was_written_over_is_declared_and_another_ring_goes_on(tmp_path: Path) -> None:
    """What was before it is there, what was behind it is told of to the event, and nobody waits for room for ever."""
    log = auditring.open(tmp_path / "audit", sinks=(ParquetSink(),), ring_bytes=RING, ring_dir=tmp_path, balance=None)
    running: Any = log._running  # noqa: SLF001 - nobody else can hold the pump
    core, pump = running.core, running._pump  # noqa: SLF001 - likewise
    look, held, go = pump._look, threading.Event(), threading.Event()  # noqa: SLF001 - likewise

    def hold() -> None:
        held.set()
        go.wait(30)
        look()

    log.flush(30)
    pump._look = hold  # noqa: SLF001 - likewise
    until(held.is_set)
    for number in range(20):
        log.emit("com.example.Thing", context={"n": str(number)})
    scribble(Path(core.ring_path), 5)
    go.set()
    until(lambda: any(one.component == "ring-damaged" for one in log.health().problems))
    until(lambda: core.stats()["damaged"] is None)
    log.emit("com.example.After")
    log.flush(30)
    assert log.stats().balanced
    assert dict(log.stats().lost) == {"unreadable": 15}
    log.close()
    rows = rows_of(tmp_path / "audit")
    assert [json.loads(row["context"])["n"] for row in rows if row["action"] == "com.example.Thing"] == list("01234")
    assert sum(row["action"] == "com.example.After" for row in rows) == 1
    (lost,) = (row for row in rows if row["action"] == "auditring.EventsLost")
    assert (lost["lost"], json.loads(lost["context"])["cause"]) == (15, "unreadable")
    (replaced,) = (row for row in rows if row["action"] == "auditring.RingReplaced")
    assert "is no record" in json.loads(replaced["context"])["cause"]
    assert not list(tmp_path.glob("*.ring"))
    report = check(tmp_path / "audit")
    assert report.complete, report.findings

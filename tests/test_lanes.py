"""A ring of several lanes: what holds whichever thread writes into which, on an interpreter with a GIL too."""

import signal
import struct
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Keep, Then, WhenFull, recovery
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import check
from crowds import in_threads
from deadlines import until
from sealed_rows import lines_of

FIRST_LANE, LANE_LINES = 4096, 256
"""Where a ring's file has the tails of its lanes: a word each, whose bits 32 to 62 count the claims."""


@pytest.fixture(params=[2, 4])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Every log of a test has so many lanes."""
    monkeypatch.setattr("auditring.opening._LANES", request.param)
    return int(request.param)


def claims(log: auditring.AuditLog, lanes: int) -> list[int]:
    """Claims ever made in each lane of a log's ring."""
    core = log._live().core  # noqa: SLF001 - nothing outside says where the ring lies
    assert core.lanes == lanes
    assert core.ring_path is not None
    with Path(core.ring_path).open("rb") as ring:
        ring.seek(FIRST_LANE)
        data = ring.read(LANE_LINES * lanes)
    return [struct.unpack_from("<Q", data, LANE_LINES * lane)[0] >> 32 & 0x7FFFFFFF for lane in range(lanes)]


def reads_of(root: Path) -> dict[str, list[int]]:
    """The offsets of each session's reads, by seq."""
    columns = ["seq", "session", "first_offset"]
    only = [("action", "=", "Read")]
    tables = [pq.read_table(path, columns=columns, filters=only) for path in root.glob("events/*/*.parquet")]
    found = defaultdict(list)
    for row in sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["seq"]):
        found[row["session"]].append(row["first_offset"])
    return found


def complete(root: Path) -> None:
    """Nothing is missing, doubled or damaged."""
    report = check(root)
    assert report.complete, report.findings


def test_threads_are_spread_over_the_lanes(tmp_path: Path, lanes: int) -> None:
    """A session writes into the lane of the thread that opened it, whoever emits; broker and plugin go with it."""
    with auditring.open(tmp_path, sinks=()) as log:
        before = claims(log, lanes)
        sessions: list[auditring.Session] = []
        for _ in range(lanes):
            thread = threading.Thread(target=lambda: sessions.append(log.session()))
            thread.start()
            thread.join()
        assert [now - then for now, then in zip(claims(log, lanes), before, strict=True)] == [1] * lanes
        # From here on one thread emits them all.
        brokers: list[auditring.Broker] = []
        for number, session in enumerate(sessions):
            then = claims(log, lanes)
            brokers.append(broker := session.broker("b:1"))
            for offset in range(10 * number):
                broker.read("orders", 0, offset, offset)
            session.plugin(filter="f", namespace="com.example").emit("com.example.Thing")
            grown = [now - before for now, before in zip(claims(log, lanes), then, strict=True)]
            assert sorted(grown)[:-1] == [0] * (lanes - 1), "one lane alone"
            assert max(grown) == 10 * number + 2


@pytest.mark.usefixtures("lanes")
def test_what_many_threads_emit_is_there_once_and_in_order(tmp_path: Path) -> None:
    """Each session's rows in the order of its calls, in tables and lines, and the balance adds up."""
    threads, each = 6, 2_000
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()), when_full=WhenFull(wait=None)) as log:

        def emit(number: int) -> None:
            session = log.session(id=f"s-{number}")
            for offset in range(each):
                session.read("orders", number, offset, offset)

        in_threads(threads, emit)
        log.flush(30)
        stats = log.stats()
        assert stats.in_ring == 0
        assert stats.claimed == threads * (each + 2), "each session is opened and abandoned"
    assert reads_of(tmp_path) == {f"s-{number}": list(range(each)) for number in range(threads)}
    complete(tmp_path)


def test_flush_waits_for_every_lane(tmp_path: Path, lanes: int) -> None:
    """What was accepted before is in the sinks, whichever lane it went into, while others go on."""
    turns = 3
    with auditring.open(tmp_path, when_full=WhenFull(wait=None)) as log:
        go = threading.Semaphore(0)

        def flood() -> None:
            with log.session(id="flood") as session:
                for _ in range(turns):
                    go.acquire()
                    for offset in range(5_000):
                        session.write("orders", 0, offset, offset)

        flooding = threading.Thread(target=flood)
        flooding.start()
        sessions: list[auditring.Session] = []
        for _ in range(lanes):
            thread = threading.Thread(target=lambda: sessions.append(log.session(id=f"quiet-{len(sessions)}")))
            thread.start()
            thread.join()
        for turn in range(turns):
            go.release()
            for session in sessions:
                session.read("orders", 0, turn, turn)
            log.flush(30)
            assert reads_of(tmp_path) == {f"quiet-{number}": list(range(turn + 1)) for number in range(lanes)}
        flooding.join()
    complete(tmp_path)


def test_a_ring_that_goes_is_replaced_with_as_many_lanes(tmp_path: Path, lanes: int) -> None:
    """Under load in several of them: nothing is lost, nothing comes twice."""
    each = 2_000
    with auditring.open(tmp_path, when_full=WhenFull(wait=None)) as log:
        core = log._live().core  # noqa: SLF001 - nothing outside says where the ring lies
        assert core.ring_path is not None
        ring, half = Path(core.ring_path), threading.Barrier(lanes + 1)

        def emit(number: int) -> None:
            session = log.session(id=f"s-{number}")
            for offset in range(each):
                session.read("orders", number, offset, offset)
                if offset == each // 2:
                    half.wait()

        def remove() -> None:
            half.wait()
            ring.unlink()

        removing = threading.Thread(target=remove)
        removing.start()
        in_threads(lanes, emit)
        removing.join()
        until(lambda: ring.exists() and core.ring_linked)
        log.session(id="after").read("orders", 0, 0, 0)
        log.flush(30)
        assert sum(claims(log, lanes)) >= 2, "the new one is in use"
    assert reads_of(tmp_path) == {"after": [0]} | {f"s-{number}": list(range(each)) for number in range(lanes)}
    complete(tmp_path)


def test_what_is_dropped_or_off_in_any_lane_is_counted(tmp_path: Path, lanes: int) -> None:
    """Exactly, and rows tell how many."""
    each, full = 1_000, WhenFull(wait=0, then=Then.DROP)
    with auditring.open(tmp_path, write=Keep.OFF, ring_bytes=1 << 20, when_full=full) as log:

        def emit(number: int) -> None:
            # So much in every record that the lanes are full within some hundred calls.
            session = log.session(id=f"s-{number}", context={"note": "x" * 4_000})
            for offset in range(each):
                session.read("orders", number, offset, offset)
                session.write("orders", number, offset, offset)

        in_threads(2 * lanes, emit)
        log.flush(30)
        stats = log.stats()
        assert stats.off == 2 * lanes * each
        assert stats.offered == stats.claimed + stats.off + stats.dropped + stats.refused
        assert stats.offered == 2 * lanes * (2 + 2 * each)
        dropped = stats.dropped
    assert dropped > 0
    tables = [pq.read_table(path, columns=["lost"]) for path in tmp_path.glob("events/*/*.parquet")]
    assert sum(row["lost"] or 0 for table in tables for row in table.to_pylist()) == dropped
    assert sum(map(len, reads_of(tmp_path).values())) == 2 * lanes * each - dropped
    complete(tmp_path)


HOST = """
import sys, threading, time
import auditring, auditring.opening
from auditring.sinks import JsonlSink, ParquetSink

auditring.opening._LANES = int(sys.argv[2])
log = auditring.open(sys.argv[1], instance="dead", sinks=(ParquetSink(), JsonlSink()), ring_bytes=1 << 20,
                     when_full=auditring.WhenFull(wait=None))

def emit(number):
    session = log.session(id=f"s-{number}")
    for offset in range(10**9):
        session.read("orders", number, offset, offset)
        if offset % 100 == 0:
            sys.stdout.write(f"{number} {offset}\\n")
            sys.stdout.flush()

for number in range(4):
    threading.Thread(target=emit, args=(number,), daemon=True).start()
time.sleep(60)
"""


def test_a_killed_host_is_recovered_in_every_lane(tmp_path: Path, lanes: int) -> None:
    """All that it said was accepted is there once, of every thread, in the order of its calls."""
    command = [sys.executable, "-c", HOST, str(tmp_path / "audit"), str(lanes)]
    last: dict[str, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        for said, line in enumerate(host.stdout):
            if line.endswith("\n"):
                number, offset = line.split()
                last[f"s-{number}"] = int(offset)
            # What it had said until then is read to its end.
            if said >= 300 and len(last) == 4:
                host.send_signal(signal.SIGKILL)
    for result in recovery.recover(tmp_path / "audit"):
        assert result.failed is None, result
        assert result.salvage is not None
        assert result.salvage.unreadable == result.salvage.journal_gone == 0
    found = reads_of(tmp_path / "audit")
    assert sorted(found) == sorted(last)
    for session, told in last.items():
        assert found[session] == list(range(len(found[session])))
        assert len(found[session]) > told
    lines = lines_of(tmp_path / "audit")
    assert len({line["eventId"] for line in lines}) == len(lines)
    assert sum(line["action"] == "Read" for line in lines) == sum(map(len, found.values()))
    complete(tmp_path / "audit")

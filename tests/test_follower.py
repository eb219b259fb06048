"""Followers and the pump when something breaks: nothing is lost or doubled, everybody is told, nobody hangs."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Then, WhenFull
from auditring.open_logs import forget
from auditring.pump import Pump
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink, RowBatch
from auditring.tally import Tally
from deadlines import until


def rows_of(root: Path) -> list[dict[str, Any]]:
    """All rows of all sealed files, by seq; the columns that these tests look at."""
    columns = ["seq", "action", "category", "lost"]
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path, columns=columns).to_pylist()]
    return sorted(rows, key=lambda row: row["seq"])


class Broken(ParquetSink):
    """A Parquet sink that fails wherever it is told to, as often as it is told to."""

    def __init__(self, where: str, times: int) -> None:
        super().__init__()
        self.where = where
        self.times = times

    def fresh(self) -> "Broken":
        """Itself, so that it can be mended while it is at work."""
        return self

    def _maybe(self, where: str) -> None:
        if where == self.where and self.times:
            self.times -= 1
            raise OSError(28, "No space left on device")

    def start(self, state: bytes) -> None:
        """Fails before, or does its work."""
        self._maybe("start")
        super().start(state)

    def write(self, batch: RowBatch) -> int:
        """Fails after half of the work."""
        made = super().write(batch)
        self._maybe("write")
        return made

    def commit(self) -> bytes:
        """Fails before, or does its work."""
        self._maybe("commit")
        return super().commit()


@pytest.mark.parametrize("where", ["start", "write", "commit"])
def test_a_sink_that_fails_and_recovers_has_every_row_once(tmp_path: Path, where: str) -> None:
    """The failure is counted, seen in health and told by rows; after it every row is there once."""
    with auditring.open(tmp_path, sinks=(Broken(where, 3),), balance=None) as log, log.session() as session:
        for i in range(20_000):
            session.read("orders", 0, i, i)
        while log.stats().sinks["parquet"].failures < 3 or not log.health().ok:
            with contextlib.suppress(auditring.SinkError):
                log.flush(30)
        log.flush(30)
        assert log.stats().balanced
    rows = rows_of(tmp_path)
    assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + len(rows)))
    assert sum(row["action"] == "Read" for row in rows) == 20_000
    told = [row["action"] for row in rows if row["category"] == "audit"]
    assert told == ["auditring.SinkFailed", "auditring.SinkRecovered"]


def test_health_names_the_sink_its_cause_and_what_to_do(tmp_path: Path) -> None:
    """While a sink fails, health is bad and says which, why, since when and what to do."""
    broken = Broken("write", 10**9)
    log = auditring.open(tmp_path, sinks=(broken, JsonlSink()))
    log.emit("com.example.Thing")
    with pytest.raises(auditring.SinkError, match="No space left"):
        log.flush(30)
    health = log.health()
    (problem,) = health.problems
    assert not health
    assert problem.component == "sink:parquet"
    assert "No space left" in problem.cause
    assert problem.advice
    until(lambda: log.stats().sinks["jsonl"].pending == 0)
    with pytest.raises(auditring.CloseIncomplete, match="parquet at seq"):
        log.close()
    assert (tmp_path / "journal" / log.process).is_dir()
    assert log.stats().sinks["jsonl"].pending == 0
    broken.times = 0
    log.close(30)
    assert "com.example.Thing" in {row["action"] for row in rows_of(tmp_path)}
    assert log.stats().balanced


class Stuck(ParquetSink):
    """Blocks in its first write until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def fresh(self) -> "Stuck":
        """Itself: an event cannot be copied."""
        return self

    def write(self, batch: RowBatch) -> int:
        """Waits."""
        self.let_go.wait(60)
        return super().write(batch)


def test_a_slow_sink_delays_only_itself_and_close_does_not_wait_longer_than_it_is_told(tmp_path: Path) -> None:
    """Flush and close end in time while one sink is stuck, the other has everything, and closing again goes on."""
    stuck = Stuck()
    log = auditring.open(tmp_path, sinks=(stuck, JsonlSink()), balance=None)
    log.emit("com.example.Thing")
    # Else it is the pump that is waited for, and a sink has all of a journal in which there is nothing yet.
    log._live().journaled(30)  # noqa: SLF001 - into the journal, and no further
    with pytest.raises(TimeoutError, match="parquet"):
        log.flush(0.2)
    until(lambda: log.stats().sinks["jsonl"].pending == 0)
    with pytest.raises(auditring.CloseIncomplete, match="parquet"):
        log.close(5)
    stuck.let_go.set()
    log.close(30)
    assert len(rows_of(tmp_path)) == 3
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_journal_at_its_budget_makes_producers_wait_without_the_gil(tmp_path: Path) -> None:
    """While a sink is stuck and the journal full, an emit waits and other threads get on; nothing is lost by it."""
    stuck, emitted, total = Stuck(), 0, 100_000

    def produce() -> None:
        nonlocal emitted
        with log.session(id="s") as session:
            for i in range(total):
                session.read("orders", 0, i, i)
                emitted += 1

    log = auditring.open(
        tmp_path,
        sinks=(stuck,),
        when_full=WhenFull(wait=None),
        ring_bytes=1 << 20,
        journal_bytes=2 << 20,
        segment_bytes=256 << 10,
    )
    producer = threading.Thread(target=produce)
    producer.start()
    until(lambda: any(problem.component == "journal" for problem in log.health().problems))
    until(lambda: log.pressure > 0.7)
    assert producer.is_alive()
    assert emitted < total
    stuck.let_go.set()
    producer.join(60)
    assert not producer.is_alive()
    log.close(60)
    stats = log.stats()
    assert stats.balanced
    assert (stats.dropped, stats.refused) == (0, 0)
    assert stats.blocked_ns > 0
    assert sum(row["action"] == "Read" for row in rows_of(tmp_path)) == total
    assert log.health().ok


def test_a_sink_that_panics_or_exits_does_not_end_its_thread(tmp_path: Path) -> None:
    """Whatever a sink raises, SystemExit too, is a failure like any other."""

    class Rude(ParquetSink):
        """Tries to end the thread."""

        rude = 1

        def commit(self) -> bytes:
            """Exits, once."""
            if self.rude:
                self.rude -= 1
                raise SystemExit
            return super().commit()

    with auditring.open(tmp_path, sinks=(Rude(),)) as log:
        log.emit("com.example.Thing")
        with pytest.raises(auditring.SinkError):
            log.flush(30)
    assert log.stats().sinks["parquet"].failures == 1
    assert log.stats().balanced


def test_a_checkpoint_ends_at_the_first_limit() -> None:
    """Rows, bytes and age each end a checkpoint; a limit that is not set never does."""
    tally = Tally(Checkpoint(rows=10, bytes=100, age=5.0), 1000.0)
    assert (tally.room(8), tally.left(1002.0), tally.left(1006.0), tally.full()) == (8, 3.0, 0.0, False)
    tally.add(7, 50)
    assert (tally.room(8), tally.full()) == (3, False)
    tally.add(3, 0)
    assert tally.full()
    endless = Tally(Checkpoint(), 0.0)
    endless.add(10**9, 10**12)
    assert (endless.room(8), endless.left(1e9), endless.full()) == (8, None, False)
    sized = Tally(Checkpoint(bytes=100), 0.0)
    sized.add(1, 100)
    assert sized.full()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0 or not Path("/proc/mounts").exists():
        pytest.skip("mounting a small file system needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)],  # noqa: S607 - the same
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small file system is not allowed here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607 - the same


def troubled(log: auditring.AuditLog) -> set[str]:
    """The components that have a problem."""
    return {problem.component for problem in log.health().problems}


def fill(disk: Path) -> Path:
    """Takes all the room there is."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return hog


def test_a_full_disk_hangs_no_caller_and_recovers_by_itself(small_disk: Path, tmp_path: Path) -> None:
    """While the disk is full, emits return, drops are counted, health is bad; when there is room again all goes on."""
    full = WhenFull(wait=0.02, then=Then.DROP)
    log = auditring.open(small_disk / "audit", ring_dir=tmp_path, ring_bytes=1 << 20, when_full=full)
    session = log.session(id="s")
    hog = fill(small_disk)
    emitted = 0
    while log.stats().dropped < 1000:
        for _ in range(10_000):
            session.read("orders", 0, emitted, emitted)
            emitted += 1
        assert emitted < 50_000_000
    # The ring, that it is full, may be told of before the pump has tried.
    until(lambda: "pump" in troubled(log))
    with pytest.raises(auditring.AuditError):
        log.flush(60)
    hog.unlink()
    until(lambda: "pump" not in troubled(log))
    session.read("orders", 1, 0, 0)
    log.close(60)
    stats = log.stats()
    assert stats.balanced
    assert stats.dropped >= 1000
    rows = rows_of(small_disk / "audit")
    assert sum(row["action"] == "Read" for row in rows) == emitted + 1 - stats.dropped
    lost = [row for row in rows if row["action"] == "auditring.EventsLost"]
    assert sum(row["lost"] for row in lost) == stats.dropped
    assert "auditring.JournalFailed" in {row["action"] for row in rows}


def test_a_full_disk_is_the_cause_that_a_refusal_names(small_disk: Path, tmp_path: Path) -> None:
    """With Then.RAISE the refusal says that the disk is full, so that a fail-closed proxy can say it too."""
    full = WhenFull(wait=0.02, then=Then.RAISE)
    log = auditring.open(small_disk / "audit", ring_dir=tmp_path, ring_bytes=1 << 20, when_full=full)
    session = log.session(id="s")
    hog = fill(small_disk)
    refusals: list[str] = []

    def flood() -> None:
        for i in range(50_000_000):
            session.read("orders", 0, i, i)

    def told() -> bool:
        with pytest.raises(auditring.AuditUnavailable) as caught:
            flood()
        refusals.append(str(caught.value))
        return "pump" in troubled(log)

    # A ring fills up in no time: the first refusals may come before the pump has tried, and said why there is no room.
    until(told)
    told()
    assert "No space left" in refusals[-1]
    hog.unlink()
    log.close(60)
    assert log.stats().refused == len(refusals)
    assert log.stats().balanced


def test_a_dead_pump_hangs_no_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the pump's thread dies, emits that would wait for ever return, health says so, and close ends."""

    def die(_: Pump) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Pump, "_pump", die)
    log = auditring.open(tmp_path, ring_bytes=1 << 20, when_full=WhenFull(wait=None))
    until(lambda: not log.health().ok)
    with log.session() as session:
        while not log.stats().dropped:
            for i in range(1000):
                session.read("orders", 0, i, i)
    (pump, ring) = sorted(log.health().problems, key=lambda problem: problem.component)
    assert (pump.component, ring.component) == ("pump", "ring")
    assert "a bug" in pump.cause
    with pytest.raises(auditring.JournalError, match="a bug"):
        log.flush()
    with pytest.raises(auditring.CloseIncomplete, match="a bug"):
        log.close()
    forget(log)  # or the exit handler would try once more


def test_a_ring_that_somebody_deletes_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health says that the ring's file is gone; what is emitted meanwhile still arrives."""
    seen, keep_ring = threading.Event(), Pump._keep_ring  # noqa: SLF001 - it would be mended before anybody had looked

    def once_seen(pump: Pump) -> None:
        if seen.is_set():
            keep_ring(pump)

    monkeypatch.setattr(Pump, "_keep_ring", once_seen)
    with auditring.open(tmp_path, ring_dir=tmp_path) as log:
        ring = log._live().core.ring_path  # noqa: SLF001 - no public name for a file that is not for readers
        assert ring is not None
        Path(ring).unlink()
        until(lambda: "ring-file" in troubled(log))
        log.emit("com.example.Thing")
        seen.set()
    assert "com.example.Thing" in {row["action"] for row in rows_of(tmp_path)}


def test_close_on_a_full_disk_gives_up_and_says_so(small_disk: Path, tmp_path: Path) -> None:
    """A close that cannot write ends by itself and says what is missing; once there is room, closing again succeeds."""
    log = auditring.open(small_disk / "audit", ring_dir=tmp_path, ring_bytes=1 << 20)
    hog = fill(small_disk)
    log.emit("com.example.Thing")
    with pytest.raises(auditring.CloseIncomplete):
        log.close()
    hog.unlink()
    log.close(60)
    assert "com.example.Thing" in {row["action"] for row in rows_of(small_disk / "audit")}
    assert log.stats().balanced
    assert log.health().ok

"""Faults of a log that cannot go on as it was: full, without its ring, with a sink that lags; found by attack."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditring
import deadlines
from auditring import Then, WhenFull
from auditring.sinks import Batching, JsonlSink, ParquetSink, RowBatch
from sealed_rows import lines_of

DEADLINE = 30.0
wait_for = partial(deadlines.until, seconds=DEADLINE)
"""Waits for a condition, as long as these tests may."""


class Dead(JsonlSink):
    """A sink that never works."""

    def write(self, batch: RowBatch) -> int:
        """Fails."""
        raise OSError(5, f"dead at {batch.first_seq}")


def full_log(root: Path, ring: Path, when_full: WhenFull) -> auditring.AuditLog:
    """A log whose journal is at its budget and whose ring is full, because its only sink is dead."""
    return auditring.open(
        root, sinks=[Dead()], ring_dir=ring, ring_bytes=1 << 20, journal_bytes=1 << 20, when_full=when_full
    )


def deny(session: auditring.Session) -> None:
    """Emits protected events until one is refused."""
    for _ in range(10_000_000):
        session.operation_denied("WRITE", "Topic", "salaries")


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[tuple[auditring.AuditLog, auditring.Session]]:
    """Such a log that raises, and an open session of it."""
    log = full_log(tmp_path / "audit", tmp_path, WhenFull(wait=0.01, then=Then.RAISE))
    session = log.session(id="victim", authority="decision")

    def at_budget() -> bool:
        with pytest.raises(auditring.AuditUnavailable):
            deny(session)
        return any(problem.component == "journal" for problem in log.health().problems)

    # The first refusals may be a slow pump's: only at its budget does it make no room any more.
    wait_for(at_budget)
    with pytest.raises(auditring.AuditUnavailable):
        deny(session)
    yield log, session
    with pytest.raises(auditring.CloseIncomplete):
        log.close(0.1)


def test_a_budget_smaller_than_a_segment_frees_itself(tmp_path: Path) -> None:
    """The segment being written ends at the budget, so that it can go: nothing is dropped while the sink keeps up."""
    log = auditring.open(tmp_path, sinks=[JsonlSink()], journal_bytes=1 << 20, when_full=WhenFull(wait=DEADLINE))
    with log.session() as session:
        for i in range(60_000):
            session.read("orders", 0, i, i)
    log.close(DEADLINE)
    stats = log.stats()
    assert (stats.dropped, stats.sinks["jsonl"].delivered) == (0, stats.journaled)


def test_a_refused_authentication_is_not_in_force(flooded: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """A principal whose row was refused is in no later row."""
    _, session = flooded
    with pytest.raises(auditring.AuditUnavailable):
        session.client_sasl_auth_success("mallory")


def test_close_ends_although_the_ring_is_full(flooded: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """A log that cannot take the last events of its sessions is closed all the same, and says what is missing."""
    log, session = flooded
    with pytest.raises(auditring.CloseIncomplete):
        log.close(0.5)
    with pytest.raises(auditring.LogClosed):
        session.read("orders", 0)


def test_close_ends_although_callers_wait_for_ever(tmp_path: Path) -> None:
    """With `wait=None` and no room a close neither hangs nor leaves a caller behind."""
    log = full_log(tmp_path / "audit", tmp_path, WhenFull(wait=None))
    session = log.session(id="s")
    ended = threading.Event()

    def flood() -> None:
        with pytest.raises(auditring.LogClosed):
            deny(session)
        ended.set()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    wait_for(lambda: log.pressure > 0.99)
    with pytest.raises(auditring.CloseIncomplete):
        log.close(1.0)
    assert ended.wait(DEADLINE)


def test_a_deleted_ring_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    """A ring file that somebody cleans away gets a successor; seqs go on, and a row tells."""
    log = auditring.open(tmp_path / "audit", sinks=[JsonlSink()], ring_dir=tmp_path)
    session = log.session(id="s")
    (ring,) = tmp_path.glob("*.ring")
    session.read("orders", 0, 0, 0)
    ring.unlink()
    emitted = 1

    def replaced() -> bool:
        nonlocal emitted
        session.read("orders", 0, emitted, emitted)
        emitted += 1
        return ring.exists()

    wait_for(replaced)
    session.read("orders", 0, emitted, emitted)
    log.close(DEADLINE)
    rows = lines_of(tmp_path / "audit")
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    reads = [row["offsets"]["first"] for row in rows if row["action"] == "Read"]
    assert reads == list(range(emitted + 1))
    assert "auditring.RingReplaced" in {row["action"] for row in rows}
    assert log.stats().balanced


def test_a_log_without_sinks_leaves_no_ring(tmp_path: Path) -> None:
    """Its journal stays for readers; the ring, which is empty, does not."""
    log = auditring.open(tmp_path / "audit", sinks=[], ring_dir=tmp_path)
    log.close(DEADLINE)
    assert not list(tmp_path.glob("*.ring"))
    assert list((tmp_path / "audit" / "journal").glob("*/*.journal"))


class Slow(ParquetSink):
    """A table sink that lags behind: the next batch is always gathered before this one is written."""

    batching = Batching(rows=20_000, partial=False, tables=True)

    def write(self, batch: RowBatch) -> int:
        """Takes its time, as a disk does."""
        time.sleep(0.02)
        return super().write(batch)


def test_a_table_sink_that_lags_goes_on_when_the_journal_fills_up(tmp_path: Path) -> None:
    """At half of the budget checkpoints end early, also right behind a batch: nothing is gathered for ever."""
    full = WhenFull(wait=None)
    with auditring.open(
        tmp_path / "audit", sinks=[Slow()], journal_bytes=16 << 20, when_full=full, balance=None
    ) as log:
        with log.session(id="s") as session:
            for n in range(400_000):
                session.read("orders", n % 3, n, n)
        log.flush(DEADLINE)
        sink = log.stats().sinks["parquet"]
        assert (sink.pending, sink.delivered) == (0, 400_003)
    rows = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "audit").glob("events/*/*.parquet"))
    assert rows == 400_004


class Unending(JsonlSink):
    """A sink that has everything and cannot end, as long as it is told so."""

    refuses = True

    def fresh(self) -> "Unending":
        """Itself, so that it can be told."""
        return self

    def close(self) -> None:
        """Fails."""
        if self.refuses:
            raise OSError(5, "not yet")
        super().close()


def test_a_log_whose_sink_could_not_end_is_ended_by_closing_it_again(tmp_path: Path) -> None:
    """Its cursor is past everything, and the journal stays all the same: the sink goes on from there."""
    sink = Unending()
    log = auditring.open(tmp_path, sinks=(sink,), balance=None)
    log.emit("com.example.Thing")
    with pytest.raises(auditring.CloseIncomplete, match="not yet"):
        log.close()
    assert len(list((tmp_path / "journal").iterdir())) == 1
    sink.refuses = False
    log.close()
    assert not list((tmp_path / "journal").iterdir())
    assert sum(line["action"] == "com.example.Thing" for line in lines_of(tmp_path)) == 1
    assert log.stats().balanced

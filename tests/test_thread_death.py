"""Threads that die: begun anew where the state is whole, declared dead where it is not, and never silent."""

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import auditring
from auditring import Then, WhenFull, follower, pump, recovery, tally
from auditring.health import HealthBoard
from auditring.recovery import recover
from auditring.sinks import JsonlSink, ParquetSink, RowBatch
from auditring.verify import check
from deadlines import flushed, until
from sealed_rows import lines_of, rows_of
from valves import JsonlValve

BEYOND: float = 1e19
"""Seconds that no clock can be moved on by: the core panics, with its pump or its reader half-way through a call."""


SILENT = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""For threads that are meant to die."""


LEFT = """
import os, signal, sys, auditring
from auditring.sinks import JsonlSink
log = auditring.open(sys.argv[1], sinks=(JsonlSink(),), balance=None)
log.emit("com.example.Left")
os.kill(os.getpid(), signal.SIGKILL)
"""


OTHERS: set[threading.Thread] = set()
"""Threads from before the test: a log whose `close` could not end leaves the thread of the sink that tries on."""


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def strike(name: str, error: type[BaseException]) -> None:
    """Raises an error in a thread of this test's log, wherever that is, as `PyThreadState_SetAsyncExc` does."""
    (thread,) = [one for one in threading.enumerate() if one.name == name and one not in OTHERS]
    assert thread.ident is not None
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(error)) == 1


@pytest.mark.parametrize("error", [SystemExit, MemoryError, KeyboardInterrupt, OSError])
def test_an_error_in_the_pumps_thread_is_no_end_of_it(tmp_path: Path, error: type[BaseException]) -> None:
    """It goes on with all that it had, a row tells, and nobody lost anything."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()), balance=None) as log:
        log.emit("com.example.Before")
        strike("auditring-pump", error)
        until(partial(_told, log, tmp_path))
        log.emit("com.example.After")
        until(lambda: log.health().ok)
    rows = rows_of(tmp_path)
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert sum(row["action"].startswith("com.example.") for row in rows) == 2
    assert error.__name__ in str(rows_of(tmp_path, "auditring.JournalFailed"))
    assert check(tmp_path).complete


def _told(log: auditring.AuditLog, root: Path) -> bool:
    with contextlib.suppress(auditring.JournalError):
        log.flush(30)
    return any(line["action"] == "auditring.JournalFailed" for line in lines_of(root))


def _failed(log: auditring.AuditLog, times: int) -> bool:
    return log.stats().sinks["jsonl"].failures == times


@pytest.mark.parametrize("error", [SystemExit, MemoryError, KeyboardInterrupt])
def test_an_error_in_a_sinks_thread_is_no_end_of_it(tmp_path: Path, error: type[BaseException]) -> None:
    """The sink is begun anew behind its last commit: every row once."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()), balance=None) as log:
        for i in range(3):
            log.emit("com.example.Thing", context={"i": str(i)})
            strike("auditring-jsonl", error)
            until(partial(_failed, log, i + 1))
            until(lambda: log.health().ok)
    lines = lines_of(tmp_path)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert sum(line["action"] == "com.example.Thing" for line in lines) == 3
    assert check(tmp_path).complete


class Striking(JsonlSink):
    """Strikes its own thread where it handles a failure, so that it dies without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 2

    def fresh(self) -> "Striking":
        """Itself, to be counted down."""
        return self

    def write(self, batch: RowBatch) -> int:
        """Fails, and leaves an error behind for whoever handles that."""
        if self.times:
            self.times -= 1
            raise UntoldError
        return super().write(batch)


class UntoldError(OSError):
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise UntoldError


@SILENT
def test_a_sinks_thread_that_died_without_a_word_is_begun_anew(tmp_path: Path) -> None:
    """The pump's thread looks after it: health and a row tell, and every row is there once."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), Striking()), balance=None) as log:
        log.emit("com.example.Thing")
        until(lambda: log.stats().sinks["jsonl"].pending == 0)
        until(lambda: log.health().ok)
    lines = lines_of(tmp_path)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert "thread has died" in str([line for line in lines if line["action"] == "auditring.SinkFailed"])
    assert check(tmp_path).complete


@SILENT
def test_the_pumps_thread_is_begun_anew_by_those_that_it_looks_after(tmp_path: Path) -> None:
    """Where it dies without a word a sink's thread starts it again: what waits in the ring comes, and a row tells."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None) as log:
        strike("auditring-pump", UntoldError)
        until(partial(_told, log, tmp_path))
        log.emit("com.example.Thing")
    lines = lines_of(tmp_path)
    assert "com.example.Thing" in {line["action"] for line in lines}
    assert "thread has died" in str([line for line in lines if line["action"] == "auditring.JournalFailed"])


@pytest.fixture
def panicked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[auditring.AuditLog]:
    """A log whose pump was left half-way by a panic of the core, with events behind that in its ring."""
    log = auditring.open(
        tmp_path,
        sinks=(ParquetSink(), JsonlSink()),
        ring_bytes=1 << 20,
        when_full=WhenFull(wait=10.0, then=Then.RAISE),
    )
    log.emit("com.example.Before")
    log.flush(30)
    monkeypatch.setattr(pump, "_SLICE", BEYOND)
    until(lambda: not log.health().ok)
    monkeypatch.undo()
    yield log
    with pytest.raises(auditring.CloseIncomplete):
        log.close(5)


def test_a_panic_of_the_core_is_declared_and_callers_do_not_wait_in_vain(panicked: auditring.AuditLog) -> None:
    """Health names it, an emit that finds no room raises at once, and so do `flush` and `close`."""
    (problem,) = panicked.health().problems
    assert problem.component == "pump"
    assert problem.cause.startswith("dead: PanicException")

    def flood() -> None:
        session = panicked.session(id="s")
        for i in range(1_000_000):
            session.read("orders", 0, i, i)

    with pytest.raises(auditring.AuditUnavailable, match="Panic"):
        flood()
    with pytest.raises(auditring.JournalError):
        panicked.flush(5)


def test_what_a_dead_pump_has_left_in_the_ring_is_recovered_by_the_next_opener(
    panicked: auditring.AuditLog, tmp_path: Path
) -> None:
    """Also in the same process, once the log is closed; every accepted event is there once."""
    for i in range(100):
        panicked.emit("com.example.Behind", context={"i": str(i)})
    with pytest.raises(auditring.CloseIncomplete, match="next opener"):
        panicked.close(5)
    (result,) = recover(tmp_path)
    assert (result.failed, result.behind) == (None, ())
    for rows in (rows_of(tmp_path), lines_of(tmp_path)):
        assert sum(row["action"] == "com.example.Before" for row in rows) == 1
        assert sum(row["action"] == "com.example.Behind" for row in rows) == 100
    assert check(tmp_path).complete


HOST = """
import sys, os, time
import auditring
from auditring import pump

log = auditring.open(sys.argv[1])
pump._SLICE = 1e19
while log.health().ok:
    time.sleep(0.01)
for i in range(100):
    log.emit("com.example.Behind", context={"i": str(i)})
os._exit(0)
"""


def test_a_process_that_ends_with_a_dead_pump_is_recovered(tmp_path: Path) -> None:
    """Its ring is read by the next opener, as after any death."""
    subprocess.run([sys.executable, "-c", HOST, str(tmp_path)], check=True, timeout=60, stderr=subprocess.DEVNULL)
    (result,) = recover(tmp_path)
    assert result.salvage is not None
    assert result.salvage.rows == 100
    assert len(rows_of(tmp_path, "com.example.Behind")) == 100
    assert check(tmp_path).complete


def test_a_panic_in_a_sinks_reader_is_no_end_of_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the panic left is thrown away, and the rows come again from the cursor."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()), balance=None) as log:
        log.flush(30)
        monkeypatch.setattr(follower, "_IDLE", BEYOND)
        monkeypatch.setattr(tally.Tally, "left", lambda *_: BEYOND)
        log.emit("com.example.Thing")
        until(lambda: log.stats().sinks["jsonl"].failures > 0 or log.stats().sinks["parquet"].failures > 0)
        monkeypatch.undo()
        until(lambda: flushed(log))
        until(lambda: log.health().ok)
    lines = lines_of(tmp_path)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert "PanicException" in str(lines)
    assert check(tmp_path).complete


def test_an_error_in_the_thread_that_brings_the_dead_to_their_sinks_is_no_end_of_it(tmp_path: Path) -> None:
    """Who was let go of by it is the next opener's; who is still held is gone on with."""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", LEFT, str(tmp_path)], check=False)
        assert done.returncode == -signal.SIGKILL
    board = HealthBoard()
    valve = JsonlValve(hangs=True)
    orphans = recovery.Orphans(tmp_path, (valve,), board)
    orphans.adopt()
    first, second = orphans._orphans  # noqa: SLF001 - who is held by whom is what this is about
    orphans.start()
    until(valve.waiting.is_set)
    strike("auditring-recovery", SystemExit)
    valve.opened.set()
    until(lambda: any(one.component == "recovery" for one in board.health().problems))
    until(lambda: not second.held)
    orphans.stop(30)
    assert not first.held
    assert [one.process for one in orphans.results] == [second.process]
    assert [one.process for one in recover(tmp_path, sinks=(JsonlSink(),))] == [first.process]
    assert sum(line["action"] == "com.example.Left" for line in lines_of(tmp_path)) == 2

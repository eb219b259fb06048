"""`Durability.POWER`: what `sync()` returned for is on the disk, and no sink has anything that is not."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import auditring
import deadlines
from auditring import Durability
from auditring.sinks import JsonlSink
from auditring.verify import check
from sealed_rows import lines_of, rows_of

DEADLINE = 30.0
NEVER = Durability.POWER(3600)
"""Nothing is synced unless somebody asks, or a segment ends."""
TORTURE = Path(__file__).parent / "torture" / "power.py"
wait_for = partial(deadlines.until, seconds=DEADLINE)
traced = pytest.mark.skipif(shutil.which("strace") is None, reason="strace watches system calls, and makes them fail")


def opened(root: Path, durability: Durability = NEVER, **settings: Any) -> auditring.AuditLog:  # noqa: ANN401 - those of `open`
    """A log of lines whose journal stays in one segment."""
    return auditring.open(root, sinks=[JsonlSink()], durability=durability, segment_age=3600, balance=None, **settings)


def emit(log: auditring.AuditLog, count: int) -> None:
    """So many Reads."""
    with log.session(id="s", authority="decision") as session:
        for offset in range(count):
            session.read("orders", 0, offset, offset)


def test_a_sink_waits_for_the_disk_and_sync_and_flush_do_not_wait_for_the_interval(tmp_path: Path) -> None:
    """What is journaled and not durable is in no line; both calls make it durable at once, and closing does."""
    log = opened(tmp_path)
    emit(log, 100)
    wait_for(lambda: log.stats().next_seq == 103)
    assert lines_of(tmp_path) == []
    log.sync(DEADLINE)
    stats = log.stats()
    assert (stats.durable_seq, stats.undurable, stats.durable_lag_ns) == (103, 0, 0)
    wait_for(lambda: len(lines_of(tmp_path)) == 103)
    emit(log, 100)
    log.flush(DEADLINE)
    assert len(lines_of(tmp_path)) == 205
    emit(log, 100)
    log.close(DEADLINE)
    assert len(lines_of(tmp_path)) == 308
    assert check(tmp_path).complete


@pytest.mark.parametrize("interval", [0.0, 0.02])
def test_what_is_emitted_becomes_durable_by_itself(tmp_path: Path, interval: float) -> None:
    """Nobody has to ask for it."""
    with opened(tmp_path, Durability.POWER(interval)) as log:
        for _ in range(5):
            emit(log, 10)
            wait_for(lambda: log.stats().next_seq > 0 and log.stats().undurable == 0)
        wait_for(lambda: log.stats().durable_seq == 61)
        wait_for(lambda: log.stats().sinks["jsonl"].pending == 0)


def test_startup_tells_what_is_promised(tmp_path: Path) -> None:
    """And for which interval."""
    with opened(tmp_path / "power", Durability.POWER(0.25)), opened(tmp_path / "process", Durability.PROCESS):
        pass
    said = {one: lines_of(tmp_path / one)[0]["context"]["durability"] for one in ("power", "process")}
    assert said == {"power": "power(0.25)", "process": "process"}


SLOW = """
import sys, time
import auditring
from auditring import Durability

log = auditring.open(sys.argv[1], sinks=[], balance=None, durability=Durability.POWER(0))
with log.session(id="s", authority="decision") as session:
    session.read("orders", 0, 0, 0)
deadline = time.monotonic() + 30
while log.health().ok and time.monotonic() < deadline:
    time.sleep(0.01)
for problem in log.health().problems:
    print(problem.component, problem.cause)
log.sync()
print(log.stats().undurable, log.health().ok)
log.close()
"""


@traced
def test_health_tells_of_a_disk_that_does_not_keep_the_promise(tmp_path: Path) -> None:
    """How many rows wait, and for how long; it is well again when they are on the disk. No emit waits for it."""
    command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync"]
    command += ["-e", "inject=fdatasync:delay_enter=4000000:when=1"]
    done = subprocess.run(
        [*command, sys.executable, "-c", SLOW, str(tmp_path)], check=True, timeout=60, capture_output=True, text=True
    )
    told, well = done.stdout.splitlines()
    assert re.match(r"durability \d rows have been waiting for the disk for up to [234]\.\d s, not 0", told), told
    assert well == "0 True"


WAITERS = """
import sys, threading
import auditring
from auditring import Durability
from auditring.sinks import JsonlSink

interval = None if sys.argv[2] == "process" else float(sys.argv[2])
log = auditring.open(
    sys.argv[1], sinks=[JsonlSink()], segment_age=3600, balance=None,
    durability=Durability.PROCESS if interval is None else Durability.POWER(interval),
)
log.flush()
start = threading.Barrier(32)

def work():
    with log.session(authority="decision") as session:
        start.wait()
        for offset in range(10):
            session.read("orders", 0, offset, offset)
            log.sync()
            assert log.stats().durable_seq > 0

threads = [threading.Thread(target=work) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
log.close()
"""


@traced
@pytest.mark.parametrize("interval", ["process", "3600"])
def test_those_who_wait_share_a_sync(tmp_path: Path, interval: str) -> None:
    """32 threads that each wait ten times need far fewer than 320 times `fdatasync`, under both promises."""
    root, calls = tmp_path / "audit", tmp_path / "calls"
    command = ["strace", "-f", "-y", "-o", str(calls), "-e", "trace=fdatasync"]
    # A disk that is slower than any delay of the threads: whoever comes meanwhile shares the next one.
    command += ["-e", "inject=fdatasync:delay_enter=100000"]
    subprocess.run([*command, sys.executable, "-c", WAITERS, str(root), interval], check=True, timeout=60)
    syncs = re.findall(r"fdatasync\(\d+<[^>]*\.journal", calls.read_text())
    assert 10 <= len(syncs) < 160, len(syncs)
    assert sum(line["action"] == "Read" for line in lines_of(root)) == 320


FAILING = """
import sys, time
import auditring
from auditring import Durability, pump
from auditring.sinks import JsonlSink

# Between the refusal and the next try there is time to look.
pump._FIRST_DELAY = 3.0
log = auditring.open(
    sys.argv[1], sinks=[JsonlSink()], segment_age=3600, balance=None, durability=Durability.POWER(3600)
)
session = log.session(id="s", authority="decision")
log.flush()
before = log.stats().durable_seq
session.read("orders", 0, 0, 0)
try:
    log.sync(20)
except (OSError, auditring.JournalError) as error:
    print("refused:", error)
print("durable" if log.stats().durable_seq > before else "not durable")
deadline = time.monotonic() + 20
while log.stats().durable_seq <= before and time.monotonic() < deadline:
    time.sleep(0.01)
log.sync(20)
assert log.stats().durable_seq > before
while not log.health().ok and time.monotonic() < deadline:
    time.sleep(0.01)
print("well:", log.health().ok)
log.close()
"""


@traced
def test_a_sync_that_fails_makes_nothing_durable_and_its_batches_are_written_again(tmp_path: Path) -> None:
    """The caller is told, the segment ends and is written again elsewhere on the disk, and a row names the cause."""
    root, calls = tmp_path / "audit", tmp_path / "calls"
    # The first is what `flush` waits for; the second meets the event.
    command = ["strace", "-f", "-y", "-o", str(calls), "-e", "trace=fdatasync,renameat,rename,renameat2"]
    command += ["-e", "inject=fdatasync:error=EIO:when=2"]
    done = subprocess.run(
        [*command, sys.executable, "-c", FAILING, str(root)], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith("refused:"), said
    assert "Input/output error" in said[0] or "error 5" in said[0]
    assert said[1:] == ["not durable", "well: True"]
    again = [line for line in calls.read_text().splitlines() if "rename" in line and ".journal.tmp" in line]
    assert len(again) == 1, again
    rows = lines_of(root)
    assert [row["action"] for row in rows].count("auditring.JournalFailed") == 1
    assert check(root).complete


def torture(*arguments: str) -> str:
    """What the torture prints."""
    done = subprocess.run(
        [sys.executable, str(TORTURE), *arguments], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.strip())
    return done.stdout


def test_a_power_cut_takes_nothing_that_was_durable() -> None:
    """On a file system of its own, which is copied at a random moment and mounted anew; see the torture's head."""
    said = torture("--cuts", "2", "--seed", "7")
    assert "2 power cuts" in said


def test_a_killed_process_loses_nothing_that_was_only_accepted(tmp_path: Path) -> None:
    """The ring outlives it, and whoever adopts it syncs the journal before a sink has a row of it."""
    host = """
import sys, time
import auditring
from auditring import Durability
from auditring.sinks import JsonlSink, ParquetSink

log = auditring.open(sys.argv[1], sinks=[ParquetSink(), JsonlSink()], durability=Durability.POWER(3600), balance=None)
session = log.session(id="s", authority="decision")
for offset in range(5000):
    session.read("orders", 0, offset, offset)
print("told", flush=True)
time.sleep(60)
"""
    root = tmp_path / "audit"
    with subprocess.Popen([sys.executable, "-c", host, str(root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        process.send_signal(signal.SIGKILL)
    assert rows_of(root) == []
    done = subprocess.run([sys.executable, "-m", "auditring", "recover", str(root)], check=False, timeout=60)
    assert done.returncode == 0
    for rows in rows_of(root, "Read"), [line for line in lines_of(root) if line["action"] == "Read"]:
        assert len(rows) == 5000
    assert check(root).complete


def test_a_child_of_a_fork_has_a_disk_thread_of_its_own(tmp_path: Path) -> None:
    """It syncs its own journal; the parent's goes on."""
    with opened(tmp_path) as log:
        emit(log, 10)
        log.sync(DEADLINE)
        if (child := os.fork()) == 0:
            try:
                emit(log, 10)
                log.sync(DEADLINE)
                log.close(DEADLINE)
            except BaseException:  # noqa: BLE001 - the parent is told by the status
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        emit(log, 10)
        log.sync(DEADLINE)
        assert log.stats().undurable == 0
    assert sum(line["action"] == "Read" for line in lines_of(tmp_path)) == 30


def test_sync_from_many_threads_while_the_log_closes(tmp_path: Path) -> None:
    """Each returns or raises what it documents; none hangs."""
    log = opened(tmp_path)
    ended: list[str] = []

    def work() -> None:
        try:
            while True:
                log.sync(DEADLINE)
        except (auditring.LogClosed, OSError) as error:
            ended.append(type(error).__name__)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    emit(log, 100)
    log.close(DEADLINE)
    for thread in threads:
        thread.join(DEADLINE)
    assert len(ended) == 8, ended
    assert json.loads((tmp_path / "jsonl").glob("*.jsonl").__next__().read_bytes().splitlines()[-1])["seq"] == 103

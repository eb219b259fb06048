"""Faults that processes and disks bring: forks, kills, a call that fails; found by attack, each with its test."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import tool

DEADLINE = 30.0

FORKING = """
import os, signal, sys
import auditring
from auditring.sinks import JsonlSink

log = auditring.open(sys.argv[1], sinks=[JsonlSink()])
if os.fork() == 0:
    # From the child, whose hooks have run by now: it is they that let go.
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
signal.pause()
"""

PROBE = """
import fcntl, glob, os, struct, sys

for path in glob.glob(sys.argv[1] + "/journal/*/*lock"):
    file = os.open(path, os.O_RDWR)
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="open-file-description locks are Linux's")
def test_a_forked_child_holds_no_lock_for_a_dead_parent(tmp_path: Path) -> None:
    """After `kill -9` of the parent both of its locks are free although a child of it lives."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        parent.wait(DEADLINE)
        subprocess.run([sys.executable, "-c", PROBE, str(tmp_path)], check=True, timeout=DEADLINE)
    assert list((tmp_path / "journal").iterdir())


FAILING_DISK = """
import sys, time
import auditring
from auditring.health import HealthBoard

troubles, bad = 0, HealthBoard.bad

def noted(board, component, cause, advice):
    global troubles
    bad(board, component, cause, advice)
    troubles += component == "pump" and any(problem.component == "pump" for problem in board.health().problems)

# It is over in a moment, in which nobody may look.
HealthBoard.bad = noted
log = auditring.open(sys.argv[1], segment_age=0.2, sinks=[])
session = log.session(id="s")
deadline = time.monotonic() + 20
emitted = 0
while time.monotonic() < deadline and not (troubles and log.health().ok):
    session.read("orders", 0, emitted, emitted)
    emitted += 1
    time.sleep(0.005)
journaled = log.stats().next_seq
log.sync(20)
print(emitted, troubles, log.stats().durable_seq >= journaled, log.health().ok, log.stats().lost)
"""


def test_a_segment_whose_fdatasync_failed_is_written_again(tmp_path: Path) -> None:
    """The error is seen in `health()`; then the segment lies elsewhere, `sync` keeps its promise, no row is lost."""
    command = [tool("strace"), "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync,rename"]
    command += ["-e", "inject=fdatasync:error=EIO:when=1", sys.executable, "-c", FAILING_DISK, str(tmp_path / "audit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * DEADLINE)
    assert done.returncode == 0, done.stderr
    emitted, troubles, durable, ok, lost = done.stdout.split(maxsplit=4)
    assert (int(troubles) > 0, durable, ok, lost.strip()) == (True, "True", "True", "{}")
    trace = (tmp_path / "trace").read_text()
    assert "fdatasync" in trace
    assert "(INJECTED)" in trace
    assert ".journal.tmp" in trace
    assert int(emitted) > 0


FORKING_LINES = """
import os, sys, threading, time
import auditring
from auditring import WhenFull
from auditring.sinks import JsonlSink

log = auditring.open(sys.argv[1], sinks=[JsonlSink()], when_full=WhenFull(wait=None))
session = log.session(id="s")
stop = threading.Event()

def emit():
    n = 0
    while not stop.is_set():
        session.read("orders", 0, n, n)
        n += 1

thread = threading.Thread(target=emit)
thread.start()
while not log.stats().sinks["jsonl"].delivered:
    time.sleep(0.001)
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 20
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            stop.set()
            sys.exit("a child hangs in its handler")
        time.sleep(0.001)
stop.set()
thread.join()
session.close()
log.close()
print(log.stats().balanced)
"""


def test_a_fork_while_lines_are_written_hangs_no_child(tmp_path: Path) -> None:
    """The sink's thread holds its file at that moment, and does not exist in the child to let go of it."""
    command = [sys.executable, "-c", FORKING_LINES, str(tmp_path / "audit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=4 * DEADLINE)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr

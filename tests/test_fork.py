"""Forks under load, and the ways in which `multiprocessing` starts a worker: every process has a log of its own."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from auditring.recovery import recover
from auditring.verify import check

DEADLINE = 120.0

UNDER_LOAD = """
import os, signal, sys, threading, time
import auditring
from auditring import WhenFull

log = auditring.open(sys.argv[1], ring_bytes=1 << 20, when_full=WhenFull(wait=None))
stop = threading.Event()
counts = [0] * 8

def emit(number):
    session = log.session(id=f"parent-{number}")
    while not stop.is_set():
        session.read("orders", number, counts[number], counts[number])
        counts[number] += 1
        if counts[number] % 32 == 0:
            time.sleep(0.005)
    session.close()

def child(number):
    # Its parent's threads are gone, whatever they held.
    with log.session(id=f"child-{number}") as session:
        for at in range(50):
            session.write("orders", number, at, at)
    if number % 3 == 1:
        os._exit(0)
    if number % 3 == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(0)

threads = [threading.Thread(target=emit, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
children = []
for number in range(6):
    goal = log.stats().accepted + 500
    while log.stats().accepted < goal:
        time.sleep(0.0005)
    pid = os.fork()
    if pid == 0:
        child(number)
    children.append(pid)
deadline = time.monotonic() + 60
for number, pid in enumerate(children):
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            stop.set()
            sys.exit(f"child {number} hangs")
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(ended[1])
    assert code == (-signal.SIGKILL if number % 3 == 2 else 0), (number, code)
stop.set()
for thread in threads:
    thread.join()
log.close()
print(*counts)
"""


def recovered(root: Path) -> None:
    """Takes in what the dead have left, and proves that nothing is missing."""
    for result in recover(root):
        assert result.failed is None
    report = check(root)
    assert report.complete, report.findings


def offsets(root: Path, action: str) -> list[tuple[str, int, int]]:
    """Process, partition and first offset of all rows of an action; there may be many."""
    names = ["process", "partition", "first_offset"]
    rows: list[tuple[str, int, int]] = []
    for path in root.glob("events/*/*.parquet"):
        table = pq.read_table(path, columns=[*names, "action"])
        table = table.filter(pc.equal(table["action"].cast(pa.string()), action))
        rows += zip(*(table[name].to_pylist() for name in names), strict=True)
    return rows


def test_forks_under_load_double_and_lose_nothing(tmp_path: Path) -> None:
    """Eight threads emit while children are forked that emit, too, and end in three ways; no child hangs."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", UNDER_LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    recovered(tmp_path)
    counts = [int(count) for count in done.stdout.split()]
    reads = [row[1:] for row in offsets(tmp_path, "Read")]
    assert Counter(reads) == Counter((number, at) for number in range(8) for at in range(counts[number]))
    writes = offsets(tmp_path, "Write")
    assert len({process for process, *_ in writes}) == 6
    assert sorted(one[1:] for one in writes) == [(number, at) for number in range(6) for at in range(50)]


WORKERS = """
import multiprocessing, os, sys
import auditring

def work(root, number):
    log = auditring.open(root)
    with log.session(id=f"worker-{number}") as session:
        for at in range(200):
            session.read("orders", number, at, at)
    return log.process

def hold(log):
    log.emit("com.example.Never")

if __name__ == "__main__":
    method, root = sys.argv[1:]
    context = multiprocessing.get_context(method)
    with auditring.open(root) as log:
        log.emit("com.example.Parent")
        one = context.Process(target=work, args=(root, 0))
        one.start()
        one.join(60)
        assert one.exitcode == 0, one.exitcode
        pool = context.Pool(2)
        pool.starmap(work, [(root, number) for number in range(1, 4)], chunksize=1)
        pool.close()
        pool.join()
        # Ended by SIGTERM in the middle.
        pool = context.Pool(1)
        pool.starmap(work, [(root, 4)])
        pool.terminate()
        pool.join()
        if method != "fork":
            try:
                context.Process(target=hold, args=(log,)).start()
            except TypeError as error:
                print(error)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_start_method_keep_their_rows(tmp_path: Path, method: str) -> None:
    """Who ends by itself has sealed its file, who is terminated is recovered; a log crosses no start but a fork."""
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    root = tmp_path / "audit"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(script), method, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if method == "fork" else "a log belongs to its process: open one in the worker\n")
    recovered(root)
    reads = sorted(row[1:] for row in offsets(root, "Read"))
    assert reads == [(number, at) for number in range(5) for at in range(200)]
    # The parent and each worker's call; the one that is terminated may not have come to its end.
    ended, recovered_ones = (len(offsets(root, action)) for action in ("ProxyCleanShutdown", "auditring.Recovered"))
    assert ended + recovered_ones == 6
    assert recovered_ones <= 1


WHILE_KEPT = """
import os, sys, threading
from pathlib import Path
import auditring

log = auditring.open(sys.argv[1])
core = log._live().core
directory = Path(core.directory)
stop = threading.Event()

def keep():
    # Something to put back each time: that takes a while, as a slow disk does.
    while not stop.is_set():
        (directory / "followers").unlink(missing_ok=True)
        core.keep_journal()

def locks():
    open_files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            open_files.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return sum(name.startswith(str(directory)) and name.endswith("lock") for name in open_files)

thread = threading.Thread(target=keep)
thread.start()
kept = 0
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        os._exit(locks())
    kept += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
stop.set()
thread.join()
assert locks() > 0
log.close(60)
assert kept == 0, kept
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_child_that_is_forked_while_the_journal_is_looked_at_keeps_no_lock(tmp_path: Path) -> None:
    """Whatever the pump's thread has in hand at that moment: else a dead parent would look alive as long as a child."""
    run = [sys.executable, "-c", WHILE_KEPT, str(tmp_path / "audit")]
    subprocess.run(run, check=True, timeout=DEADLINE)

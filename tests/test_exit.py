"""How a process may end, and what becomes of what its log had accepted."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from auditring.recovery import recover
from auditring.sinks import JsonlSink
from auditring.verify import check
from sealed_rows import rows_of

DEADLINE = 60.0

HEAD = """
import atexit, os, signal, sys, threading, time
import auditring
from auditring import Then, WhenFull
from auditring.sinks import JsonlSink
root = sys.argv[1]
"""


def run(root: Path, body: str, **given: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - what `run` takes
    """Runs a script in an interpreter of its own."""
    command = [sys.executable, "-c", HEAD + textwrap.dedent(body), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, **given)


def reads_of(root: Path) -> list[int]:
    """The offsets of the Reads, in order; once recovered, and proved to be whole."""
    for result in recover(root):
        assert result.failed is None
    report = check(root)
    assert report.complete, report.findings
    return [row["first_offset"] for row in rows_of(root, "Read")]


@pytest.mark.parametrize(
    ("death", "code"),
    [
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGHUP)", -signal.SIGHUP),
        ("os.abort()", -signal.SIGABRT),
    ],
    ids=["_exit", "sigterm", "sighup", "abort"],
)
def test_a_death_without_exit_handlers_loses_nothing(tmp_path: Path, death: str, code: int) -> None:
    """What was accepted is in ring or journal, and the next opener makes rows of it; the last one says so."""
    body = """
        log = auditring.open(root)
        session = log.session(id="s")
        for at in range(20_000):
            session.read("orders", 0, at, at)
    """
    done = run(tmp_path, textwrap.dedent(body) + death)
    assert done.returncode == code, done.stderr
    assert list((tmp_path / "journal").iterdir())
    assert reads_of(tmp_path) == list(range(20_000))
    assert rows_of(tmp_path)[-1]["action"] == "auditring.Recovered"
    assert not list((tmp_path / "journal").iterdir())


@pytest.mark.parametrize(
    ("number", "handler"),
    [(signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"), (signal.SIGINT, "")],
    ids=["sigterm-handled", "sigint"],
)
def test_a_signal_that_ends_the_interpreter_seals_everything(
    tmp_path: Path, number: signal.Signals, handler: str
) -> None:
    """Where a signal's handler raises, under load, exit handlers run: files are sealed, the journal is gone."""
    body = """
        log = auditring.open(root, when_full=WhenFull(wait=None))  # or it may drop what the signal has it count
        session = log.session(id="s")
        at = 0
        try:
            while True:
                session.read("orders", 0, at, at)
                at += 1
                if at == 1000:
                    print("ready", flush=True)
        finally:
            print(at, flush=True)
    """
    command = [sys.executable, "-c", HEAD + handler + textwrap.dedent(body), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        host.send_signal(number)
        told, errors = host.communicate(timeout=DEADLINE)
        assert host.returncode == (0 if handler else -signal.SIGINT), errors
    assert not list((tmp_path / "journal").iterdir())
    offsets = reads_of(tmp_path)
    assert offsets == list(range(len(offsets)))
    # The signal may come between the call and the count of it.
    assert int(told) <= len(offsets) <= int(told) + 1
    assert rows_of(tmp_path)[-1]["action"] == "ProxyCleanShutdown"


def test_threads_that_emit_while_the_interpreter_ends_neither_crash_nor_hang(tmp_path: Path) -> None:
    """Daemon threads go on to the last: each event is a row or its call raised, and what they were told is true."""
    body = """
        told = open(sys.argv[2], "r+b", buffering=0)
        log = auditring.open(root, ring_bytes=1 << 20, when_full=WhenFull(wait=None))

        def emit(number):
            at = 0
            while True:
                try:
                    session = log.session(id=f"s-{number}-{at}")
                    session.read("orders", number, at, at)
                    at += 1
                    os.pwrite(told.fileno(), at.to_bytes(8, "little"), 8 * number)
                    session.close()
                    if at % 64 == 0:
                        time.sleep(0.001)
                except auditring.LogClosed:
                    pass

        threads = [threading.Thread(target=emit, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        while log.stats().accepted < 2_000:
            time.sleep(0.001)
    """
    for attempt in range(2):
        root, page = tmp_path / str(attempt), tmp_path / f"{attempt}.page"
        page.write_bytes(bytes(64))
        command = [sys.executable, "-c", HEAD + textwrap.dedent(body), str(root), str(page)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
        assert (done.returncode, done.stderr) == (0, "")
        assert not list((root / "journal").iterdir())
        assert check(root).complete
        by_thread = Counter(row["partition"] for row in rows_of(root, "Read"))
        told = [int.from_bytes(page.read_bytes()[8 * number : 8 * number + 8], "little") for number in range(8)]
        for number, count in enumerate(told):
            assert count <= by_thread[number] <= count + 1


def test_producers_that_wait_for_ever_hold_up_no_exit(tmp_path: Path) -> None:
    """A full ring, a dead sink, callers without a deadline: the interpreter ends, and nothing accepted is lost."""
    body = """
        class Dead(JsonlSink):
            def write(self, batch):
                raise OSError(5, "dead")

        log = auditring.open(root, sinks=[Dead()], ring_bytes=1 << 20, journal_bytes=1 << 20,
                             when_full=WhenFull(wait=None))

        def emit(number):
            session = log.session(id=f"s-{number}")
            try:
                for at in range(10**9):
                    session.read("orders", number, at, at)
            except auditring.LogClosed:
                pass

        for number in range(4):
            threading.Thread(target=emit, args=(number,), daemon=True).start()
        while not log._live().core.stats()["over_budget"] or log.pressure < 0.7:
            time.sleep(0.001)
        atexit.register(lambda: print(log.stats().accepted, log.stats().balanced))
    """
    done = run(tmp_path, body)
    assert done.returncode == 0, done.stderr
    assert "was not sealed at exit" in done.stderr
    accepted, balanced = done.stdout.split()
    assert balanced == "True"
    assert int(accepted) > 1000
    # The sink works again: recovery brings it all that it never had. (An opener that closes at once stops its own.)
    (result,) = recover(tmp_path, sinks=[JsonlSink()])
    assert result.failed is None
    assert result.behind == ()
    lines = [line for path in tmp_path.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()]
    assert sum(b'"Read"' in line for line in lines) >= int(accepted) - 4 * 2
    assert check(tmp_path).complete


def test_exit_handlers_run_in_their_order(tmp_path: Path) -> None:
    """What was registered after a log was opened can use it, whatever was opened since; what was before, cannot."""
    body = """
        def last():
            try:
                log.emit("com.example.TooLate")
            except auditring.LogClosed:
                print("closed", flush=True)

        atexit.register(last)
        log = auditring.open(root)
        atexit.register(lambda: log.emit("com.example.AtExit"))
        other = auditring.open(root)
        atexit.register(lambda: other.emit("com.example.AtExit"))
    """
    done = run(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
    assert len(rows_of(tmp_path, "com.example.AtExit")) == 2
    assert len(rows_of(tmp_path, "ProxyCleanShutdown")) == 2


SUB = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def inside():
    code = '''
import sys
sys.path[:] = {path!r}
try:
    import auditring
except ImportError as error:
    print(f"refused: {{error}}", flush=True)
'''
    interpreters.run_string(interpreters.create(), code.format(path=sys.path))
"""


@pytest.mark.parametrize("first", ["inside()", "import auditring"])
def test_a_sub_interpreter_is_refused_and_the_main_one_works(tmp_path: Path, first: str) -> None:
    """The error says why; it does not matter who comes first."""
    body = (
        "import sys" + SUB + first + "\ninside()\nimport auditring\nauditring.open(sys.argv[1], balance=None).close()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", body, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, env={**os.environ})
    assert done.returncode == 0, done.stderr
    said = set(done.stdout.splitlines())
    assert said == {"refused: auditring works in the main interpreter alone; in a sub-interpreter it is not available"}
    assert [row["action"] for row in rows_of(tmp_path)] == ["ProxyStartup", "ProxyCleanShutdown"]

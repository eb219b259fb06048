"""A fork beside sinks at work: the child inherits no lock that one of them held, and nobody waits for ever."""

import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE = 60.0

HEAD = """
import logging, os, signal, sys, threading, time
import auditring
from auditring.sinks import LoggingSink

inside, forked = threading.Event(), threading.Event()
stream = threading.Lock()  # such as a stream has: nobody makes it anew in a child
parent = os.getpid()

class Handler(logging.Handler):
    def emit(self, record):
        with stream:
            if record.action == "com.example.Wait" and os.getpid() == parent:
                inside.set()
                at_work()

def open_log():
    logging.getLogger("auditring.audit").addHandler(Handler())
    logging.getLogger("auditring.audit").setLevel("INFO")
    return auditring.open(sys.argv[1], sinks=(LoggingSink(),), balance=None)

def wait_for_calls():
    # A fork waits for a call for a moment only, and on a busy machine a call may take longer than that.
    auditring.forking._PATIENCE = 30

def open_at_work():
    log = open_log()
    log.emit("com.example.Wait")
    assert inside.wait(30)
    return log
"""

IN_THE_MIDDLE = """
def at_work():
    time.sleep(0.1)

wait_for_calls()
log = open_at_work()
child = os.fork()
if child == 0:
    os._exit(0 if stream.acquire(timeout=5) else 7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
log.close(30)
"""

THAT_HANGS = """
def at_work():
    assert forked.wait(30)

log = open_at_work()
child = os.fork()
if child == 0:
    os._exit(0)
forked.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
log.emit("com.example.After")
log.close(30)
"""

THAT_FORKS = """
def at_work():
    child = os.fork()
    if child == 0:
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

log = open_log()
log.emit("com.example.Wait")
log.flush(30)
log.emit("com.example.After")
log.close(30)
"""

FORKS_AT_ONCE = """
def at_work():
    pass

def fork():
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0 if stream.acquire(timeout=5) else 7)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

codes = []
wait_for_calls()
log = open_log()
threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    log.emit("com.example.Load")
    time.sleep(0.0005)
print(sum(code == 0 for code in codes) // 80 - 1)
log.close(30)
"""

HANDLER_THAT_CLOSES = """
def at_work():
    time.sleep(0.3)

def ended(number, frame):
    log.close(30)
    print(0, flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, ended)
log = open_at_work()
threading.Timer(0.05, os.kill, (parent, signal.SIGTERM)).start()
if os.fork() == 0:
    os._exit(0)
time.sleep(30)
"""

HANDLER_THAT_FORKS = """
def at_work():
    pass

def forks(number=0, frame=None):
    if (child := os.fork()) == 0:
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

signal.signal(signal.SIGALRM, forks)
log = open_log()
codes = []
for number in range(1, 101):
    # Once each time: somewhere in the fork, its hooks among it.
    signal.setitimer(signal.ITIMER_REAL, number * 0.0001)
    log.emit("com.example.Load")
    codes.append(forks())
    signal.setitimer(signal.ITIMER_REAL, 0)
print(sum(codes))
log.close(30)
"""

INTERRUPTED = """
def at_work():
    time.sleep(0.3)

log = open_at_work()
try:
    threading.Timer(0.05, os.kill, (parent, signal.SIGINT)).start()
    if os.fork() == 0:
        os._exit(0)
    time.sleep(30)
    print("the interrupt was forgotten")
except KeyboardInterrupt:
    print(0)
log.close(30)
"""

BODIES = {
    "middle": IN_THE_MIDDLE,
    "hangs": THAT_HANGS,
    "forks": THAT_FORKS,
    "at-once": FORKS_AT_ONCE,
    "handler-closes": HANDLER_THAT_CLOSES,
    "handler-forks": HANDLER_THAT_FORKS,
    "interrupted": INTERRUPTED,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_fork_beside_a_sinks_call(tmp_path: Path, body: str) -> None:
    """What ends within a moment is waited for, and so is no lock held in the child; what hangs is not, nor oneself."""
    done = subprocess.run(
        # Later interpreters warn of a fork beside threads, which is what this is about.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + body, str(tmp_path / "audit")],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")

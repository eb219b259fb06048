"""Locks between processes that the system refuses, as a file system over a network may: named, and got over."""

import subprocess
import sys
from pathlib import Path

import auditring
from tools import tool

HOST = """
import sys, time
import auditring
from auditring import Retention

def causes():
    return [problem.cause for problem in log.health().problems if problem.component == "retention"]

log = auditring.open(sys.argv[1], retention=Retention(max_bytes=1 << 40), balance=None)
deadline = time.monotonic() + 60
while not causes() and time.monotonic() < deadline:
    time.sleep(0.02)
print(*causes())
while causes() and time.monotonic() < deadline:
    log.emit("com.example.Event")
    time.sleep(0.02)
print(*causes())
log.close(30)
"""


def under_strace(folder: Path, when: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command in which `flock` fails."""
    strace = [tool("strace"), "-f", "-o", str(folder / "trace"), "-e", "trace=flock", "-e"]
    return subprocess.run(
        [*strace, f"inject=flock:error=ENOLCK:when={when}", sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_retention_says_which_lock_it_cannot_have_and_goes_on_when_it_can(tmp_path: Path) -> None:
    """The host serves meanwhile."""
    done = under_strace(tmp_path, "1..3", "-c", HOST, str(tmp_path / "audit"))
    assert (done.returncode, done.stderr) == (0, "")
    refused, well = done.stdout.splitlines()
    assert "No locks available" in refused
    assert "lock'" in refused
    assert well == ""


def test_an_agent_that_cannot_lock_its_directory_says_so(tmp_path: Path) -> None:
    """In one line, with the file's name."""
    auditring.open(tmp_path / "audit").close()
    done = under_strace(
        tmp_path, "1+", "-m", "auditring", "agent", str(tmp_path / "audit"), "--sink", "jsonl", "--once"
    )
    assert done.returncode == 2
    assert f"No locks available: '{tmp_path / 'audit' / 'agent.lock'}'" in done.stderr
    assert len(done.stderr.splitlines()) == 1

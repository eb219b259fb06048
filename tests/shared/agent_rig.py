"""Hosts and agents as processes of their own, and what came of them: each event by a name of its own, counted."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from auditring.agent import Agent
from auditring.sinks.base import Sink
from deadlines import until
from sealed_rows import whole_lines

__all__ = ["AgentProcess", "HostProcess", "lines", "running", "settled", "tables"]

ACTION = "com.example.Made"
_HOST = """
import sys, threading, time
import auditring
from auditring import Durability
from auditring.sinks import JsonlSink, ParquetSink

KINDS = {"parquet": ParquetSink, "jsonl": JsonlSink}
name, path, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = auditring.open(path, instance=name, when_full=auditring.WhenFull(wait=None), SETTINGS)
asked, done, saying = threading.Event(), 0, threading.Lock()

def say(*words):
    with saying:
        print(*words, flush=True)

def emit():
    global done
    while not asked.is_set():
        for _ in range(max(1, rate // 100)):
            log.emit("com.example.Made", context={"n": f"{name}:{done}"})
            done += 1
        say(done)
        asked.wait(0.01)

thread = threading.Thread(target=emit)
thread.start()
for line in sys.stdin:
    verb, *rest = line.split()
    if verb == "release":
        log.release_sink(rest[0], timeout=30)
    elif verb == "attach":
        log.attach_sink(KINDS[rest[0]]())
    elif verb == "close":
        break
    say("did", verb)
asked.set()
thread.join()
log.close(30)
say("closed", done)
"""


class HostProcess:
    """A proxy that emits until it is told to close, or is killed."""

    def __init__(
        self, name: str, path: Path, *, rate: int = 2000, settings: str = "sinks=(), agent_sinks=('parquet', 'jsonl')"
    ) -> None:
        """Starts it; `settings`: what `open` is given besides."""
        self.name = name
        self.accepted = 0
        """Events of which it has said that they were accepted."""
        self.closed = False
        self.settings = settings
        self.left: set[str] = set()
        """Its sinks that it was told to leave to an agent."""
        self._did: list[str] = []
        code = _HOST.replace("SETTINGS", settings)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, name, str(path), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if not line.endswith("\n"):
                continue
            word, *rest = line.split()
            if word == "did":
                self._did.append(rest[0])
            elif word == "closed":
                self.accepted, self.closed = int(rest[0]), True
            else:
                self.accepted = int(word)

    def tell(self, *words: str) -> None:
        """Has it do something, and waits until it has."""
        before = len(self._did)
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        until(lambda: len(self._did) > before)

    def until_emitted(self, more: int) -> None:
        """Waits until it has emitted so many more."""
        target = self.accepted + more
        until(lambda: self.accepted >= target)

    def close(self) -> int:
        """Closes its log; how many events it had emitted."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        assert self.process.wait(60) == 0
        self._end()
        assert self.closed
        return self.accepted

    def _end(self) -> None:
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> int:
        """`kill -9`; the least that it had emitted."""
        self.process.kill()
        self.process.wait(30)
        self._end()
        return self.accepted


class AgentProcess:
    """`auditring agent`."""

    def __init__(
        self,
        path: Path | None,
        *options: str,
        sinks: tuple[str, ...] = ("parquet", "jsonl"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it."""
        chosen = [word for sink in sinks for word in ("--sink", sink)]
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "auditring", "agent", *([] if path is None else [str(path)]), *chosen, *options],
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        self.said.extend(self.process.stderr or ())

    def until_said(self, text: str) -> None:
        """Waits until it has said something."""
        until(lambda: any(text in line for line in self.said))

    def stop(self) -> int:
        """SIGTERM; its status."""
        self.process.terminate()
        return self.end()

    def end(self) -> int:
        """Waits for its end; its status."""
        status = self.process.wait(60)
        self._end()
        return status

    def _end(self) -> None:
        self._reader.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait(30)
        self._end()


@contextmanager
def agent(path: Path, *options: str, sinks: tuple[str, ...] = ("parquet", "jsonl")) -> Iterator[AgentProcess]:
    """An agent that is stopped at the end, and has to say that all is safe."""
    one = AgentProcess(path, *options, sinks=sinks)
    try:
        yield one
    except BaseException:
        one.kill()
        sys.stderr.write("".join(one.said))
        raise
    assert one.stop() == 0, "".join(one.said)


def settled(path: Path) -> bool:
    """Whether every process has gone, with all of it in its sinks."""
    journal = path / "journal"
    return journal.is_dir() and not any(journal.iterdir())


def tables(path: Path) -> Counter[str]:
    """How often each event is in a Parquet file."""
    found: Counter[str] = Counter()
    for file in path.glob("events/*/*.parquet"):
        rows = pq.read_table(file, columns=["action", "context"]).to_pylist()
        found.update(json.loads(row["context"])["n"] for row in rows if row["action"] == ACTION)
    return found


def lines(path: Path) -> Counter[str]:
    """How often each event is in a line."""
    found: Counter[str] = Counter()
    for file in path.glob("jsonl/*.jsonl"):
        for line in whole_lines(file):
            event = json.loads(line)
            if event["action"] == ACTION:
                found[event["context"]["n"]] += 1
    return found


@contextmanager
def running(root: Path, *sinks: Sink) -> Iterator[Agent]:
    """An agent in a thread of this process; its hosts may be logs of this process, too."""
    agent = Agent(root, sinks)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(30)
        assert not thread.is_alive()

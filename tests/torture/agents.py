"""`kill -9` of agents and hosts, again and again: every event is in each sink once, or this fails with its seed.

    PYTHONPATH=tests/shared python tests/torture/agents.py [--kills 200] [--seconds 600] [--seed S]

In each life some hosts emit into a directory of their own, with and without `Durability.POWER`, some with sinks that
change hands; agents are killed at random moments and started anew, two at a time now and then, and so are hosts. At
the end what a host had said to be accepted is in one row of Parquet and one line each, the journals are gone, and
`auditring verify` finds nothing missing. The same seed makes the same choices; when exactly the kernel lets a process
die is not in its power.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from agent_rig import AgentProcess, HostProcess, lines, settled, tables
from auditring.verify import check
from deadlines import until

_SETTINGS: Final = (
    "sinks=(), agent_sinks=('parquet', 'jsonl')",
    "sinks=(), agent_sinks=('parquet', 'jsonl'), durability=Durability.POWER(0.02)",
    "sinks=(), agent_sinks=('parquet', 'jsonl'), segment_bytes=1 << 16, segment_age=0.2",
    "sinks=(), agent_sinks=('parquet', 'jsonl'), required=('parquet', 'jsonl'), journal_bytes=1 << 20",
    "sinks=(ParquetSink(), JsonlSink())",
)
_CHANGING: Final = _SETTINGS[-1]


class Life:
    """One directory's life."""

    def __init__(self, rng: random.Random, path: Path, found: Counter[str]) -> None:
        """Begins with some hosts and an agent."""
        self.kills = 0
        self._rng = rng
        self._path = path
        self._found = found
        self._killed: dict[str, int] = {}
        self._agents = [AgentProcess(path)]
        self._hosts = [
            HostProcess(f"host-{number}", path, rate=rng.choice((500, 2000, 5000)), settings=rng.choice(_SETTINGS))
            for number in range(rng.randint(1, 3))
        ]

    def live(self, most: int) -> None:
        """So many things happen at most; then what came of it is judged."""
        for _ in range(self._rng.randint(2, most)):
            time.sleep(self._rng.uniform(0.0, 1.5))
            what = (self.kill_agent, self.kill_agent, self.second, self.stop_agent, self.kill_host, self.hand_over)
            self._rng.choice(what)()
        closed = {host.name: host.close() for host in self._hosts}
        until(lambda: settled(self._path), 120)
        for agent in self._agents:
            agent.process.terminate()
        for agent in self._agents:
            assert agent.end() in {0, -signal.SIGTERM}, agent.said
        judge(self._path, closed, self._killed)
        self._found["events"] += sum(closed.values()) + sum(self._killed.values())

    def kill_agent(self) -> None:
        """One goes, another comes."""
        self._agents.pop(0).kill()
        self._agents.append(AgentProcess(self._path))
        self._found["agents killed"] += 1
        self.kills += 1

    def second(self) -> None:
        """One comes that has to wait."""
        self._agents.append(AgentProcess(self._path))
        self._found["second agents"] += 1

    def stop_agent(self) -> None:
        """One goes as it should, or before it had begun."""
        assert self._agents.pop(0).stop() in {0, -signal.SIGTERM}
        self._agents.append(AgentProcess(self._path))
        self._found["agents stopped"] += 1

    def kill_host(self) -> None:
        """One of several."""
        if len(self._hosts) > 1:
            host = self._hosts.pop(self._rng.randrange(len(self._hosts)))
            self._killed[host.name] = host.kill()
            self._found["hosts killed"] += 1
            self.kills += 1

    def hand_over(self) -> None:
        """Hosts with sinks of their own leave one to an agent, or take it back."""
        for host in self._hosts:
            if host.settings == _CHANGING:
                sink = self._rng.choice(("parquet", "jsonl"))
                host.tell("release" if sink not in host.left else "attach", sink)
                host.left ^= {sink}
                self._found["sinks handed over"] += 1


def judge(path: Path, closed: dict[str, int], killed: dict[str, int]) -> None:
    """Each event once, in each sink."""
    rows = tables(path)
    assert rows == lines(path), "the sinks differ"
    assert set(rows.values()) <= {1}, "some are there twice"
    by_host = Counter(name.rpartition(":")[0] for name in rows)
    for name, count in closed.items():
        assert by_host[name] == count, (name, by_host[name], count)
    for name, count in killed.items():
        assert all(rows[f"{name}:{number}"] for number in range(count)), name
    report = check(path)
    assert report.complete, report.wrong


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    found: Counter[str] = Counter()
    kills, lives, end = 0, 0, time.monotonic() + options.seconds
    while kills < options.kills and time.monotonic() < end:
        path = Path(tempfile.mkdtemp(prefix="agents-")) / "audit"
        try:
            life = Life(rng, path, found)
            life.live(8)
            kills += life.kills
        except BaseException:
            print(f"seed {options.seed}, life {lives}: {path} is left as it is", file=sys.stderr)
            raise
        shutil.rmtree(path.parent)
        lives += 1
    said = ", ".join(f"{count:,} {what}" for what, count in sorted(found.items()))
    print(f"{kills} kills in {lives} lives: {said}; nothing lost, nothing twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())

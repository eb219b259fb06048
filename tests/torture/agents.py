"""`kill -9` of agents and hosts, again and again: every event is in each sink once, or this fails with its seed.

    python tests/torture/agents.py [--kills 200] [--seconds 600] [--seed S]

In each life some hosts emit into a directory of their own, with and without `Durability.POWER`, some with sinks that
change hands; agents are killed at random moments and started anew, two at a time now and then, and so are hosts. At the
end what a host had said to be accepted is in one row of Parquet and one line each, the directory is empty but for its
files, and `auditring verify` finds nothing missing. The same seed makes the same choices; when exactly the kernel lets a
process die is not in its power.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))

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


def life(rng: random.Random, path: Path, most: int, found: Counter[str]) -> int:
    """One directory's life; how many were killed."""
    hosts, kills = [], 0
    for number in range(rng.randint(1, 3)):
        host = HostProcess(f"host-{number}", path, rate=rng.choice((500, 2000, 5000)), settings=rng.choice(_SETTINGS))
        hosts.append(host)
    killed: dict[str, int] = {}
    agents: list[AgentProcess] = [AgentProcess(path)]
    for _ in range(rng.randint(2, most)):
        time.sleep(rng.uniform(0.0, 1.5))
        match rng.choice(("agent", "agent", "agent", "second", "stop", "host", "hand over")):
            case "second":
                agents.append(AgentProcess(path))
                found["second agents"] += 1
            case "stop":
                assert agents.pop(0).stop() in {0, 1}
                agents.append(AgentProcess(path))
                found["agents stopped"] += 1
            case "host" if len(hosts) > 1:
                host = hosts.pop(rng.randrange(len(hosts)))
                killed[host.name] = host.kill()
                kills += 1
                found["hosts killed"] += 1
            case "hand over":
                for host in hosts:
                    if host.settings == _CHANGING:
                        sink = rng.choice(("parquet", "jsonl"))
                        host.tell("release" if sink not in host.left else "attach", sink)
                        host.left ^= {sink}
                        found["sinks handed over"] += 1
            case _:
                agents.pop(0).kill()
                kills += 1
                found["agents killed"] += 1
                agents.append(AgentProcess(path))
    closed = {host.name: host.close() for host in hosts}
    until(lambda: settled(path), 120)
    for agent in agents:
        agent.process.terminate()
    for agent in agents:
        assert agent.end() == 0, agent.said
    judge(path, closed, killed)
    found["events"] += sum(closed.values()) + sum(killed.values())
    return kills


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
            kills += life(rng, path, 8, found)
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

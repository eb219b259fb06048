"""`auditring agent`: other processes' sinks, while these live, when they die, and when it is the agent that dies."""

import time
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

import pytest

from agent_rig import AgentProcess, HostProcess, agent, lines, settled, tables
from auditring.verify import check
from deadlines import until


def whole(path: Path, *, closed: dict[str, int], killed: dict[str, int] | None = None) -> None:
    """Each event of each host is in each sink once: all of those that closed, and at least what the killed had said."""
    until(lambda: settled(path))
    found = tables(path)
    assert found == lines(path)
    assert set(found.values()) <= {1}, "none is there twice"
    by_host = Counter(name.rpartition(":")[0] for name in found)
    for name, count in closed.items():
        assert by_host[name] == count
    for name, count in (killed or {}).items():
        assert by_host[name] >= count
        assert all(found[f"{name}:{number}"] for number in range(count))
    report = check(path)
    assert report.complete, report.wrong


def test_hosts_without_sinks_have_every_event_in_each_sink_once(tmp_path: Path) -> None:
    """The agent is there before the first host, and follows those that come; what has ended it removes."""
    path = tmp_path / "audit"
    with agent(path) as one:
        one.until_said("no log has been opened there yet")
        hosts = [HostProcess(f"host-{number}", path) for number in range(3)]
        for host in hosts:
            host.until_emitted(500)
        closed = {host.name: host.close() for host in hosts}
        whole(path, closed=closed)


def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """`kill -9` under load, at any moment; one of the hosts is killed, too, and adopted."""
    path = tmp_path / "audit"
    hosts = [HostProcess(f"host-{number}", path) for number in range(2)]
    for _ in range(3):
        one = AgentProcess(path)
        one.until_said("followed")
        hosts[0].until_emitted(300)
        one.kill()
    killed = {hosts[1].name: hosts[1].kill()}
    with agent(path) as last:
        last.until_said("recovered")
        hosts[0].until_emitted(200)
        whole(path, closed={hosts[0].name: hosts[0].close()}, killed=killed)


def test_a_sink_changes_hands_under_load_either_way(tmp_path: Path) -> None:
    """Host to agent, agent to host while it runs, and agent to host when it is killed."""
    path = tmp_path / "audit"
    host = HostProcess("host", path, settings="sinks=(ParquetSink(), JsonlSink())")
    host.until_emitted(200)
    one = AgentProcess(path)
    one.until_said("followed")
    for sink in ("parquet", "jsonl"):
        host.tell("release", sink)
    host.until_emitted(300)
    until(lambda: len(lines(path)) > 0)
    host.tell("attach", "jsonl")
    host.until_emitted(300)
    one.kill()
    host.tell("attach", "parquet")
    host.until_emitted(300)
    with agent(path) as second:
        second.until_said("followed")
        host.tell("release", "parquet")
        host.until_emitted(300)
        whole(path, closed={"host": host.close()})


def test_a_second_agent_waits_and_takes_over(tmp_path: Path) -> None:
    """One agent has the directory; when it has gone the other goes on."""
    path = tmp_path / "audit"
    host = HostProcess("host", path)
    first = AgentProcess(path)
    first.until_said("followed")
    with agent(path) as second:
        second.until_said(f"agent {first.process.pid} has")
        host.until_emitted(200)
        assert first.stop() == 0
        second.until_said("followed")
        host.until_emitted(200)
        whole(path, closed={"host": host.close()})


def test_of_logs_that_survive_a_loss_of_power_it_brings_only_what_is_on_the_disk(tmp_path: Path) -> None:
    """With an interval that never comes nothing is read; at the close all of it is."""
    path = tmp_path / "audit"
    settings = "sinks=(), agent_sinks=('parquet', 'jsonl'), durability=Durability.POWER({}), segment_age=3600"
    never = HostProcess("never", path, settings=settings.format(3600))
    often = HostProcess("often", path, settings=settings.format(0.05))
    with agent(path):
        until(lambda: any(name.startswith("often:") for name in lines(path)))
        never.until_emitted(300)
        assert not any(name.startswith("never:") for name in lines(path))
        whole(path, closed={host.name: host.close() for host in (never, often)})


def test_once_brings_all_that_is_there_and_ends(tmp_path: Path) -> None:
    """The dead to their end, the living as far as they were; the status says whether that was all."""
    path = tmp_path / "audit"
    dead, living = HostProcess("dead", path), HostProcess("living", path)
    dead.until_emitted(300)
    living.until_emitted(300)
    killed = {dead.name: dead.kill()}
    had = living.accepted
    assert AgentProcess(path, "--once").end() == 0
    for found in (lines(path), tables(path)):
        assert all(found[f"living:{number}"] for number in range(had))
        assert all(found[f"dead:{number}"] for number in range(killed["dead"]))
    living.until_emitted(100)
    had = living.accepted
    assert AgentProcess(path, "--once").end() == 0
    found = lines(path)
    assert all(found[f"living:{number}"] for number in range(had)), "also where nobody has died"
    closed = {living.name: living.close()}
    assert AgentProcess(path, "--once").end() == 0
    whole(path, closed=closed, killed=killed)


def test_a_journal_that_is_full_for_its_sake_waits_for_it(tmp_path: Path) -> None:
    """Its sinks are required as a log's own are: the host waits for the agent, and goes on when that has come."""
    path = tmp_path / "audit"
    settings = "sinks=(), agent_sinks=('parquet', 'jsonl'), required=('parquet', 'jsonl'), journal_bytes=1 << 18"
    host = HostProcess("host", path, rate=20_000, settings=f"{settings}, segment_bytes=1 << 15, ring_bytes=1 << 20")
    before = -1

    def stands() -> bool:
        nonlocal before
        now, time_ = host.accepted, time.monotonic()
        until(lambda: time.monotonic() - time_ > 0.3)
        same, before = now == before, now
        return same and now > 0

    until(stands)
    with agent(path):
        host.until_emitted(2000)
        whole(path, closed={"host": host.close()})


def test_one_that_cannot_be_followed_keeps_no_other_waiting(tmp_path: Path) -> None:
    """Of one that has died, and left a damaged list of sinks, it is told; the next is followed all the same."""
    path = tmp_path / "audit"
    bad = HostProcess("bad", path)
    bad.until_emitted(50)
    bad.kill()
    (directory,) = (path / "journal").iterdir()
    (directory / "followers").write_bytes(b"nonsense")
    with agent(path) as one:
        one.until_said("WARNING")
        good = HostProcess("good", path)
        good.until_emitted(100)
        closed = good.close()
        until(lambda: sum(name.startswith("good:") for name in lines(path)) == closed)
        assert any(directory.name in line and "damaged" in line for line in one.said)


def test_it_takes_what_a_deployment_says_and_serves_its_metrics(tmp_path: Path) -> None:
    """Directory and sinks by the file's table; a scrape has every process and what is known of the sinks."""
    path = tmp_path / "audit"
    file = tmp_path / "auditring.toml"
    sinks = '[[sink]]\nkind = "jsonl"\n[[sink]]\nkind = "parquet"\n'
    file.write_text(f'path = "{path}"\n{sinks}[agent]\nsinks = ["jsonl"]\n')
    host = HostProcess("host", path, settings="sinks=(), agent_sinks=('jsonl',)")
    one = AgentProcess(None, "--config", str(file), "--listen", "127.0.0.1:0", sinks=())
    one.until_said("serving metrics")
    (line,) = [line for line in one.said if "serving metrics" in line]
    port = int(line.split()[-1])
    host.until_emitted(100)

    def scraped() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    until(lambda: 'sink="jsonl"' in scraped())
    host.close()
    until(lambda: settled(path))
    assert one.stop() == 0
    assert not list(path.glob("events/*/*.parquet"))


@pytest.mark.parametrize("arguments", [["--sink", "parquet", "--sink", "parquet"], ["--sink", "nonsense"]])
def test_what_cannot_be_is_said_at_once(tmp_path: Path, arguments: list[str]) -> None:
    """A mistake of the person at the keyboard ends it with status 2, before anything is touched."""
    one = AgentProcess(tmp_path / "audit", *arguments, sinks=())
    assert one.end() == 2
    assert not (tmp_path / "audit").exists()


def test_a_path_that_is_no_directory_ends_it(tmp_path: Path) -> None:
    """Nothing is waited for that can never come."""
    (tmp_path / "file").write_text("")
    one = AgentProcess(tmp_path / "file")
    assert one.end() == 2
    assert "is no directory" in "".join(one.said)

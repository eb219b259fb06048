"""Processes killed with `kill -9`: what they had accepted comes out once, by whoever opens the directory next."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import auditring
from auditring import query, recovery, threads
from auditring.cli.commands import auditring as cli
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import check
from deadlines import until
from sealed_rows import lines_of

SINKS = "(ParquetSink(), JsonlSink())"
HOST = """
import os, sys, threading, time
import auditring
from auditring.sinks import JsonlSink, ParquetSink

path, threads = sys.argv[1], int(sys.argv[2])
log = auditring.open(path, instance="dead", sinks=SINKS, when_full=auditring.WhenFull(wait=None))
log.flush(30)
told = os.open(sys.argv[3], os.O_WRONLY)

def emit(number):
    session = log.session(id=f"s-{number}", peer=("10.0.0.1", 1000 + number), authority="decision")
    for offset in range(10**9):
        session.read(f"topic-{number}", 0, offset, offset)
        # Each line is whole: what is in it was accepted.
        if offset % 50 == 0:
            os.write(told, f"{number} {offset}\\n".encode())

for number in range(threads):
    threading.Thread(target=emit, args=(number,), daemon=True).start()
time.sleep(60)
"""


def killed(tmp_path: Path, *, after: int, threads: int = 3, sinks: str = SINKS) -> dict[int, int]:
    """A host that is killed once it has said so often what it had accepted; the last that each thread said."""
    fifo = tmp_path / f"told-{time.monotonic_ns()}"
    os.mkfifo(fifo)
    code = HOST.replace("SINKS", sinks)
    command = [sys.executable, "-c", code, str(tmp_path / "audit"), str(threads), str(fifo)]
    with subprocess.Popen(command) as host, fifo.open() as told:
        last: dict[int, int] = {}
        for _, line in zip(range(after), told, strict=False):
            number, offset = line.split()
            last[int(number)] = int(offset)
        host.send_signal(signal.SIGKILL)
        for line in told:
            if line.endswith("\n"):
                number, offset = line.split()
                last[int(number)] = int(offset)
    assert last, "it lived long enough to accept something"
    return last


def accepted(path: Path, last: dict[int, int]) -> None:
    """Everything that was said to be accepted is there, once, in tables and in lines, and all that came before it."""
    with query.connect(path) as con:
        rows = con.execute(
            "SELECT resource, count(*), count(DISTINCT first_offset), max(first_offset) FROM events "
            "WHERE action = 'Read' AND instance = 'dead' GROUP BY resource"
        ).fetchall()
    found = {int(resource.removeprefix("topic-")): tuple(rest) for resource, *rest in rows}
    for number, offset in last.items():
        count, distinct, greatest = found[number]
        assert greatest >= offset
        assert count == distinct == greatest + 1
    lines = lines_of(path)
    reads = [line for line in lines if line["action"] == "Read" and line["instance"] == "dead"]
    assert len(reads) == sum(count for count, *_ in found.values())
    assert len({line["eventId"] for line in lines}) == len(lines)


def verified(path: Path) -> None:
    """Nothing is missing, doubled or damaged."""
    report = check(path)
    assert report.complete, report.findings


@pytest.mark.parametrize("after", [1, 40, 4_000])
def test_the_next_open_recovers(tmp_path: Path, after: int) -> None:
    """At once into the journal, then into the sinks; its directory goes."""
    last = killed(tmp_path, after=after)
    path = tmp_path / "audit"
    (journal,) = (path / "journal").iterdir()
    ring = Path(json.loads((journal / "owner").read_text())["ring_path"])
    assert ring.exists()
    with auditring.open(path, instance="next", sinks=(ParquetSink(), JsonlSink())) as log:
        ended = query.connect(path).execute("SELECT count(*) FROM events WHERE action = 'auditring.Recovered'")
        assert ended.fetchall() == [(1,)]
        assert log.health().ok, log.health()
    assert not journal.exists()
    assert not ring.exists()
    accepted(path, last)
    verified(path)


def test_the_command_recovers(tmp_path: Path) -> None:
    """Without a proxy; a second time there is nobody."""
    last = killed(tmp_path, after=100)
    path = tmp_path / "audit"
    done = CliRunner().invoke(cli, ["recover", str(path)])
    assert done.exit_code == 0, done.output
    assert "events out of its ring" in done.output
    assert "all of it is in its sinks" in done.output
    accepted(path, last)
    verified(path)
    again = CliRunner().invoke(cli, ["recover", str(path)])
    assert again.exit_code == 0
    assert "Nobody to recover" in again.output


def test_two_at_once(tmp_path: Path) -> None:
    """One recovers, the other goes on; each row once."""
    last = killed(tmp_path, after=500)
    path = tmp_path / "audit"
    command = [sys.executable, "-m", "auditring", "recover", str(path), "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate()[0] for one in both]
    assert [one.returncode for one in both] == [0, 0, 0]
    results = [json.loads(line) for text in said for line in text.splitlines()]
    assert sum(result["salvage"] is not None for result in results) == 1
    accepted(path, last)
    verified(path)


def test_a_recovery_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    """At random moments, until one comes through."""
    last = killed(tmp_path, after=2_000)
    path = tmp_path / "audit"
    command = [sys.executable, "-m", "auditring", "recover", str(path)]
    for milliseconds in (250, 300, 350, 400, 500, 700):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as one:
            time.sleep(milliseconds / 1000)
            one.send_signal(signal.SIGKILL)
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    accepted(path, last)
    verified(path)


def test_a_stopped_process_is_not_dead(tmp_path: Path) -> None:
    """SIGSTOP is no end: nobody touches what it holds."""
    path = tmp_path / "audit"
    fifo = tmp_path / "told"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", HOST.replace("SINKS", SINKS), str(path), "1", str(fifo)]
    with subprocess.Popen(command) as host, fifo.open() as told:
        told.readline()
        host.send_signal(signal.SIGSTOP)
        try:
            assert recovery.recover(path) == []
            with auditring.open(path) as log:
                assert log.health().ok
        finally:
            host.send_signal(signal.SIGCONT)
            host.kill()
    (result,) = recovery.recover(path)
    assert result.failed is None
    assert result.salvage is not None


def test_what_cannot_be_recovered_keeps_nobody_from_opening(tmp_path: Path) -> None:
    """Health names it, and the log works."""
    killed(tmp_path, after=10)
    path = tmp_path / "audit"
    (journal,) = (path / "journal").iterdir()
    owner = json.loads((journal / "owner").read_text())
    (journal / "owner").write_text(json.dumps({**owner, "machine_id": "another"}))
    with auditring.open(path) as log:
        (problem,) = log.health().problems
        assert problem.component == f"recovery:{journal.name}"
        assert "another machine" in problem.cause
        with log.session(id="s", peer=("10.0.0.1", 1), authority="decision") as session:
            session.read("t", 0, 1, 1)
    (journal / "owner").write_text(json.dumps(owner))
    (result,) = recovery.recover(path)
    assert result.failed is None


def test_a_sink_that_nobody_has_keeps_the_journal(tmp_path: Path) -> None:
    """Its rows wait for whoever brings that sink; the others have theirs."""
    killed(tmp_path, after=10)
    path = tmp_path / "audit"
    (result,) = recovery.recover(path, sinks=(ParquetSink(),))
    assert (result.behind, result.failed) == (("jsonl",), None)
    assert (path / "journal" / result.process).exists()
    (result,) = recovery.recover(path)
    assert (result.behind, result.salvage) == ((), None)
    assert not (path / "journal" / result.process).exists()


def without_its_lines(tmp_path: Path) -> str:
    """A dead process whose lines were cut off behind its cursor's back; which one."""
    killed(tmp_path, after=10)
    path = tmp_path / "audit"
    (journal,) = (path / "journal").iterdir()
    for file in (path / "jsonl").glob(f"{journal.name}-*"):
        file.write_bytes(b"")
    return journal.name


def test_the_command_does_not_wait_for_a_sink_that_fails(tmp_path: Path) -> None:
    """It says what is wrong, and the others have their rows."""
    process = without_its_lines(tmp_path)
    path = tmp_path / "audit"
    command = [sys.executable, "-m", "auditring", "recover", str(path), "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    (result,) = (one for one in map(json.loads, done.stdout.splitlines()) if one["process"] == process)
    assert result["behind"] == ["jsonl"]
    assert "shorter than its cursor says" in result["failed"]


def test_a_sink_that_fails_is_in_nobodys_way(tmp_path: Path) -> None:
    """Neither of the other dead, which are brought to their end, nor of closing; it is told until it works again."""
    process = without_its_lines(tmp_path)
    killed(tmp_path, after=10)
    killed(tmp_path, after=10)
    path = tmp_path / "audit"
    dead = {one.name for one in (path / "journal").iterdir()}
    deadline = time.monotonic() + 60
    with auditring.open(path, sinks=(ParquetSink(), JsonlSink())) as log:
        while {one.name for one in (path / "journal").iterdir()} & dead != {process}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while not log.health().problems:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert all(problem.component.startswith(f"recovery:{process}") for problem in log.health().problems)
    assert (path / "journal" / process).exists()


def test_a_journal_without_sinks_stays(tmp_path: Path) -> None:
    """And nobody says that its rows are anywhere else."""
    killed(tmp_path, after=10, sinks="()")
    path = tmp_path / "audit"
    done = CliRunner().invoke(cli, ["recover", str(path)])
    assert done.exit_code == 0, done.output
    assert "it had no sinks" in done.output
    assert "all of it is in its sinks" not in done.output


def test_lines_go_on_in_the_names_that_they_began_with(tmp_path: Path) -> None:
    """Whatever the recoverer's own sink is called after."""
    killed(tmp_path, after=400, sinks="(ParquetSink(), JsonlSink(dialect='kroxylicious-v1'))")
    path = tmp_path / "audit"
    (result,) = recovery.recover(path)
    assert result.failed is None
    lines = lines_of(path)
    assert "auditring.Read" in (said := {line["action"] for line in lines})
    assert "Read" not in said


def test_a_sink_that_cannot_be_opened_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    """They have their rows; it is named."""
    killed(tmp_path, after=10, sinks="(JsonlSink(), ParquetSink())")
    path = tmp_path / "audit"
    (path / "jsonl").rename(path / "elsewhere")
    (path / "jsonl").write_text("no directory")
    (result,) = recovery.recover(path, sinks=(JsonlSink(), ParquetSink()))
    assert result.behind == ("jsonl",)
    assert result.failed is not None
    assert "NotADirectoryError" in result.failed


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can put something in the way of root")
def test_what_could_not_be_removed_of_the_dead_is_removed_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that brought its rows to the sinks tries again, and says meanwhile what is in its way."""
    killed(tmp_path, after=5)
    root = tmp_path / "audit"
    monkeypatch.setattr(recovery, "_FIRST_DELAY", 0.05)
    (dead,) = (root / "journal").iterdir()
    mount = shutil.which("mount")
    in_the_way = dead / "in-the-way"
    in_the_way.mkdir()
    subprocess.run([str(mount), "-t", "tmpfs", "none", str(in_the_way)], check=True)
    remains = dead.with_name(f".dead-{dead.name}")
    try:
        log = auditring.open(root, sinks=(ParquetSink(), JsonlSink()))
        until(lambda: any(one.component == f"recovery:{dead.name}" for one in log.health().problems))
        assert remains.exists()
    finally:
        subprocess.run(["umount", str(remains / "in-the-way")], check=True)  # noqa: S607 - the system's own
    until(lambda: not remains.exists())
    until(lambda: log.health().ok)
    log.close()


def test_a_thread_that_could_not_be_had_for_the_dead_is_begun_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is open all the same, and says what waits."""
    killed(tmp_path, after=5)
    root = tmp_path / "audit"
    real = threads.started
    refused: list[str] = []

    def no_thread(run: Callable[[], None], name: str) -> threading.Thread:
        if len(refused) < 2:
            refused.append(name)
            raise OSError(11, "no thread to be had")
        return real(run, name)

    monkeypatch.setattr(recovery, "started", no_thread)
    with auditring.open(root, sinks=(ParquetSink(), JsonlSink())) as log:
        until(lambda: len(list((root / "journal").iterdir())) == 1)
        until(lambda: log.health().ok)
    assert refused == ["auditring-recovery"] * 2
    report = check(root)
    assert report.complete, report.findings

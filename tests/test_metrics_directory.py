"""Several processes behind one scrape: each counts once, at every moment, and no counter ever goes back."""

import itertools
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import Keep, recovery
from auditring.directory import NotAnAuditDirectory
from auditring.metrics import DirectoryCollector
from auditring.sinks import JsonlSink, ParquetSink
from deadlines import flushed, until
from scrapes import Scrape, gone_back, scraped, value

HOST = """
import os, sys
import auditring
from auditring.sinks import JsonlSink

scopes = {"vc": "virtual_cluster"}
log = auditring.open(sys.argv[1], sinks=(JsonlSink(),), label_scopes=scopes, write=auditring.Keep.OFF)
told = log.declare("com.example.Told", context=("number",))
session = log.session(virtual_cluster="payments")
for number in range(10**9):
    session.read("orders", 0, number, number)
    session.write("orders", 0, number, number)
    if number % 100 == 0:
        told(session, str(number))
        print(number, flush=True)
    if number == int(sys.argv[2]):
        log.flush(30)
        print("flushed", flush=True)
        sys.stdin.read()
"""


def host(root: Path, last: int) -> "subprocess.Popen[str]":
    """A process that emits that many reads, then waits to be killed."""
    command = [sys.executable, "-c", HOST, str(root), str(last)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert any(line == "flushed\n" for line in started.stdout), "it has flushed before it ended"
    return started


def killed(root: Path, last: int) -> None:
    """The same, killed."""
    with host(root, last) as process:
        process.send_signal(signal.SIGKILL)


def test_two_logs_add_up(tmp_path: Path) -> None:
    """Every term of the balance, of the journal as of each sink, is the sum of what the logs say of themselves."""
    sinks = (ParquetSink(), JsonlSink())
    with auditring.open(tmp_path, sinks=sinks) as one, auditring.open(tmp_path, sinks=sinks, write=Keep.OFF) as two:
        for log, times in ((one, 3), (two, 5)):
            with log.session() as session:
                for number in range(times):
                    session.read("orders", 0, number, number)
                    session.write("orders", 0, number, number)
                session.operation_denied("WRITE", "Topic", "salaries")
            log.flush(30)
        seen, stats = scraped(DirectoryCollector(tmp_path)), (one.stats(), two.stats())
        for term in ("offered", "claimed", "accepted", "torn", "off", "dropped", "refused", "born", "journaled"):
            assert value(seen, f"{term}_total") == sum(getattr(each, term) for each in stats), term
        for kind in {key for each in stats for key in each.actions}:
            counted = value(seen, "events_total", action=kind[0], outcome=kind[1])
            assert counted == sum(each.actions.get(kind, 0) for each in stats), kind
        for sink in ("parquet", "jsonl"):
            assert value(seen, "sink_delivered_total", sink=sink) == sum(each.sinks[sink].delivered for each in stats)
            assert value(seen, "sink_pending", sink=sink) == 0
            assert value(seen, "sink_lag_seconds", sink=sink) == 0
        assert value(seen, "processes", state="writing") == 2
        assert value(seen, "ring_size_bytes") == sum(each.ring_bytes for each in stats)
        assert value(seen, "ring_high_water_bytes") > 0


def test_no_counter_goes_back_across_death_recovery_and_removal(tmp_path: Path) -> None:
    """Neither for who has looked all the time, nor for who has just come; at last everything accepted is counted."""
    old: DirectoryCollector | None = None
    kept: Scrape = {}
    fresh: Scrape = {}

    def look() -> Scrape:
        nonlocal old, kept, fresh
        old = old or DirectoryCollector(tmp_path)
        before, kept = kept, scraped(old)
        assert gone_back(before, kept) == {}
        before, fresh = fresh, scraped(DirectoryCollector(tmp_path))
        assert gone_back(before, fresh) == {}
        return fresh

    with host(tmp_path, 2000) as process:
        assert value(look(), "processes", state="writing") == 1
        process.send_signal(signal.SIGKILL)
    assert value(look(), "processes", state="dead") == 1
    with host(tmp_path, 3000) as process:
        look()
        process.send_signal(signal.SIGKILL)
    seen = look()
    assert (value(seen, "processes", state="ended"), value(seen, "processes", state="gone")) in {(1, 0), (0, 1), (0, 0)}
    recovery.recover(tmp_path)
    seen = look()
    assert value(seen, "processes", state="gone") == 2
    for action, times in (("Read", 5002), ("com.example.Told", 52)):
        labels = {"action": action, "outcome": "success", "vc": "payments"}
        assert value(seen, "events_total", **labels) == times, action
    assert value(seen, "events_total", action="Write", outcome="success") == 5002, "what is off has no scope"
    assert value(seen, "sink_delivered_total", sink="jsonl") == value(seen, "journaled_total")
    with auditring.open(tmp_path) as log:
        log.emit("com.example.Thing")
        look()
    look()


def test_what_recovery_takes_out_of_a_ring_has_its_scope(tmp_path: Path) -> None:
    """A host that is killed in the middle leaves events in its ring; they are counted as the others are."""
    for _ in range(10):
        command = [sys.executable, "-c", HOST, str(tmp_path), "-1"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert sum(1 for _ in itertools.islice(process.stdout, 200)) == 200
            process.send_signal(signal.SIGKILL)
        (found,) = recovery.recover(tmp_path)
        if found.salvage is not None and found.salvage.rows:
            break
    else:
        pytest.fail("none of ten left anything in its ring")
    seen = scraped(DirectoryCollector(tmp_path))
    scopes = {labels: n for (name, labels), n in seen.items() if name == "auditring_events_total" and n}
    reads = {labels: n for labels, n in scopes.items() if dict(labels)["action"] == "Read"}
    ((labels, n),) = reads.items()
    assert (dict(labels)["vc"], n >= 19_900) == ("payments", True)


def test_a_process_counts_once_while_it_goes(tmp_path: Path) -> None:
    """However often one looks while logs are opened, closed and removed, nothing is missing and nothing doubled."""
    (tmp_path / "journal").mkdir()
    ended = threading.Event()
    looks: list[Scrape] = []

    def look() -> None:
        collector = DirectoryCollector(tmp_path)
        while not ended.is_set():
            looks.append(scraped(collector))

    watcher = threading.Thread(target=look)
    watcher.start()
    journaled = 0
    for _ in range(12):
        with auditring.open(tmp_path, sinks=(JsonlSink(),)) as log:
            for _ in range(20):
                log.emit("com.example.Thing")
        journaled += log.stats().journaled
    ended.set()
    watcher.join()
    for before, after in itertools.pairwise(looks):
        assert gone_back(before, after) == {}
    assert max(value(look, "journaled_total") for look in looks) <= journaled
    seen = scraped(DirectoryCollector(tmp_path))
    assert (value(seen, "journaled_total"), value(seen, "processes", state="gone")) == (journaled, 12)


def test_what_cannot_be_read_is_told_and_keeps_its_numbers(tmp_path: Path) -> None:
    """A damaged cursor costs no counter; who has no last numbers of the process fails, rather than show less."""
    killed(tmp_path, 500)
    collector = DirectoryCollector(tmp_path)
    before = scraped(collector)
    (journal,) = (tmp_path / "journal").iterdir()
    whole = (journal / "jsonl.cursor").read_bytes()
    (journal / "jsonl.cursor").write_bytes(b"nonsense")
    seen = scraped(collector)
    assert gone_back(before, seen) == {}
    assert (value(seen, "unreadable"), value(seen, "scrape_errors_total")) == (1, 1)
    assert value(seen, "healthy", component="directory") == 0
    fresh = DirectoryCollector(tmp_path)
    with pytest.raises(OSError, match=r"jsonl\.cursor"):
        scraped(fresh)
    (journal / "jsonl.cursor").write_bytes(whole)
    seen = scraped(fresh)
    assert gone_back(before, {**seen, ("auditring_scrape_errors_total", ()): 1.0}) == {}
    assert (value(seen, "unreadable"), value(seen, "scrape_errors_total")) == (0, 1)


def test_a_journal_that_is_taken_away_keeps_its_numbers(tmp_path: Path) -> None:
    """One that disappears without totals is told of, and counted as it was."""
    killed(tmp_path, 100)
    collector = DirectoryCollector(tmp_path)
    before = scraped(collector)
    (journal,) = (tmp_path / "journal").iterdir()
    shutil.rmtree(journal)
    seen = scraped(collector)
    assert gone_back(before, seen) == {}
    assert (value(seen, "processes", state="missing"), value(seen, "healthy", component="directory")) == (1, 0)


class Stuck(JsonlSink):
    """A sink that cannot be written to as long as it is told so."""

    broken = threading.Event()

    def commit(self) -> bytes:
        """Raises, or does what lines do."""
        if self.broken.is_set():
            raise OSError(28, "no space left on device")
        return super().commit()


def test_a_sink_that_is_down_grows_old(tmp_path: Path) -> None:
    """How long it lacks its oldest row is seen from inside and outside, and is over when it works again."""
    Stuck.broken.set()
    with auditring.open(tmp_path, sinks=(Stuck(),), probe=False) as log:
        log.emit("com.example.Thing")
        until(lambda: log.stats().sinks["jsonl"].failing and log.stats().sinks["jsonl"].pending > 0)
        directory = DirectoryCollector(tmp_path, log)
        first = scraped(directory)
        until(lambda: value(scraped(directory), "sink_lag_seconds", sink="jsonl") > 0.2)
        seen, own = scraped(directory), scraped(log.collector())
        for each in (seen, own):
            lag = value(each, "sink_lag_seconds", sink="jsonl")
            assert 0 < lag <= value(each, "oldest_undelivered_seconds") + 1e-9
            assert value(each, "sink_pending", sink="jsonl") > 0
            assert value(each, "sink_failing", sink="jsonl") == 1
            assert value(each, "sink_failures_total", sink="jsonl") > 0
            assert value(each, "healthy", component="sink:jsonl") == 0
            assert ("auditring_sink_last_success_timestamp_seconds", (("sink", "jsonl"),)) not in each
        assert value(seen, "sink_lag_seconds", sink="jsonl") > value(first, "sink_lag_seconds", sink="jsonl")
        Stuck.broken.clear()
        until(lambda: flushed(log))
        for collector in (directory, log.collector()):
            until(lambda of=collector: value(scraped(of), "sink_failing", sink="jsonl") == 0)  # type: ignore[misc]  # bound at once
            each = scraped(collector)
            assert value(each, "sink_last_success_timestamp_seconds", sink="jsonl") > 1.6e9
            assert value(each, "sink_commit_seconds_count", sink="jsonl") >= 1


def test_the_sinks_that_a_process_drives_for_others_are_shown(tmp_path: Path) -> None:
    """Two of one name are one: their failures and their times add up."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),)) as log:
        log.emit("com.example.Thing")
        log.flush(30)
        own = log.stats().sinks["jsonl"]
        seen = scraped(DirectoryCollector(tmp_path, sinks=lambda: [("jsonl", own), ("jsonl", own)]))
        assert own.commits is not None
        assert value(seen, "sink_commit_seconds_count", sink="jsonl") == 2 * own.commits.count
        assert ("auditring_undurable", ()) not in seen, "of what log?"


def test_a_path_without_a_log_is_no_empty_directory(tmp_path: Path) -> None:
    """A slip is an error at once, and a directory that goes later fails the scrape."""
    with pytest.raises(NotAnAuditDirectory):
        DirectoryCollector(tmp_path)
    root = tmp_path / "audit"
    auditring.open(root).close()
    collector = DirectoryCollector(root)
    scraped(collector)
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        scraped(collector)


def test_a_look_leaves_nothing_open(tmp_path: Path) -> None:
    """Neither files nor mappings, however often one looks."""
    with auditring.open(tmp_path) as log:
        log.emit("com.example.Thing")
        log.flush(30)
        collector = DirectoryCollector(tmp_path)
        scraped(collector)

        def held() -> tuple[int, Any]:
            maps = Path("/proc/self/maps").read_text()
            return len(list(Path("/proc/self/fd").iterdir())), maps.count(".ring")

        if not Path("/proc/self/maps").exists():
            pytest.skip("only Linux says what is open")
        before = held()
        for _ in range(20):
            scraped(collector)
        # The log's own threads open this and that for a moment, now or when it was counted before.
        until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))

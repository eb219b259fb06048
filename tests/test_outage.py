"""Reports of trouble and of loss: seldom under a flood of them, and never not at all."""

import contextlib
import itertools
import time
from pathlib import Path

import pytest

import auditring
from auditring import Keep, Policy, Rule, Then, WhenFull, follower
from auditring.outage import Outage
from auditring.sinks import JsonlSink, ParquetSink
from deadlines import until
from sealed_rows import lines_of, rows_of
from valves import JsonlValve


def test_an_outage_is_told_at_once_then_at_growing_intervals_and_at_least_once_an_hour() -> None:
    """Over a day of a failure every ten seconds there are a few dozen reports."""
    outage = Outage(0.0)
    told = [float(now) for now in range(0, 86_400, 10) if outage.is_due(float(now))]
    assert told[:5] == [0.0, 60.0, 180.0, 420.0, 900.0]
    gaps = [later - earlier for earlier, later in itertools.pairwise(told)]
    assert gaps == sorted(gaps)
    assert max(gaps) == 3600.0
    assert 86_400 - told[-1] <= 3600.0
    assert outage.lasted_ns(2.5) == 2_500_000_000


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute lasts a fifth of a second, so that what comes once a minute can be waited for."""
    monkeypatch.setattr("auditring.outage._FIRST", 0.2)
    monkeypatch.setattr("auditring.outage._LONGEST", 0.4)
    monkeypatch.setattr(follower, "_LONGEST_DELAY", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_sink_that_fails_for_long_is_told_of_again_and_again_but_not_each_time(tmp_path: Path) -> None:
    """Each report says how many attempts there were; the last row says how many it took."""
    valve = JsonlValve()
    with auditring.open(tmp_path, sinks=(ParquetSink(), valve), balance=None) as log:
        log.emit("com.example.Thing")
        until(lambda: log.stats().sinks["jsonl"].failures > 30)
        valve.opened.set()
        until(lambda: log.health().ok)
        failures = log.stats().sinks["jsonl"].failures
    failed = [line for line in lines_of(tmp_path) if line["action"] == "auditring.SinkFailed"]
    (recovered,) = [line for line in lines_of(tmp_path) if line["action"] == "auditring.SinkRecovered"]
    attempts = [line["context"]["attempts"] for line in failed]
    assert 3 <= len(failed) < failures / 2
    assert attempts == sorted(set(attempts), key=int)
    assert int(recovered["context"]["attempts"]) == failures


@pytest.mark.usefixtures("quick")
def test_a_sink_that_hangs_is_told_of_though_it_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health and rows name the call that does not come back, and its end."""
    valve = JsonlValve(hangs=True)
    monkeypatch.setattr(follower, "_HANG", 0.3)
    with auditring.open(tmp_path, sinks=(ParquetSink(), valve), balance=None) as log:
        said = "write has not come back"
        until(lambda: any(one.component == "sink:jsonl" and said in one.cause for one in log.health().problems))
        until(lambda: _count(log, tmp_path) >= 2)
        # What takes longer than usual from here on, as everything may on a machine that is busy, is no second hang.
        monkeypatch.setattr(follower, "_HANG", 60.0)
        valve.opened.set()
        until(lambda: log.health().ok)
    recovered = [line for line in lines_of(tmp_path) if line["action"] == "auditring.SinkRecovered"]
    assert len([line for line in recovered if line["resource"] == "jsonl"]) == 1
    assert log.stats().sinks["jsonl"].failures == 0


def _count(log: auditring.AuditLog, root: Path) -> int:
    """Reports of the one that hangs, which the other has; a slow one of that other may be taken for a hang, too."""
    log.emit("com.example.Thing")
    # The one that hangs keeps it from ending; the other is asked all the same.
    with contextlib.suppress(TimeoutError):
        log.flush(0.1)
    return len([row for row in rows_of(root, "auditring.SinkFailed") if row["resource"] == "jsonl"])


def test_rows_about_losses_come_once_a_second_and_add_up(tmp_path: Path) -> None:
    """A flood of drops for seconds: a row for each kind and second, none of them missing, and the sum is exact."""
    full = WhenFull(wait=0.0, then=Then.DROP)
    few = JsonlSink(policy=Policy(rules=[Rule(action="Read", keep=Keep.SAMPLE(one_in=10_000))]))
    with auditring.open(tmp_path, sinks=(few,), ring_bytes=1 << 20, when_full=full, balance=None) as log:
        began = time.monotonic()
        with log.session(id="s") as session:
            while time.monotonic() - began < 3.5:
                for i in range(1000):
                    session.read("orders", 0, i, i)
        lasted = time.monotonic() - began
    dropped = log.stats().dropped
    assert dropped > 0
    lost = [line for line in lines_of(tmp_path) if line["action"] == "auditring.EventsLost"]
    assert sum(line["lost"] for line in lost) == dropped
    assert 3 <= len(lost) <= lasted + 3
    spans = [(int(line["context"]["fromNanos"]), line["context"]) for line in lost]
    assert [since for since, _ in spans] == sorted(since for since, _ in spans)

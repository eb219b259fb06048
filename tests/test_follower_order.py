"""In which order a follower lets others see what it has done: whoever waits for one thing finds what comes with it."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditring
from auditring.follower import SinkFollower
from auditring.health import HealthBoard
from auditring.sinks import JsonlSink
from auditring.tally import Losses
from deadlines import until
from sealed_rows import lines_of


class Refusing(JsonlSink):
    """Refuses its first commits, so many as are left; itself in the log, so that it can be asked."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals
        self.told: list[str] = []

    def fresh(self) -> "Refusing":
        """Itself."""
        return self

    def start(self, state: bytes) -> None:
        """Notes it."""
        self.told.append("start")
        super().start(state)

    def commit(self) -> bytes:
        """Fails as a disk would."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(5, "refused")
        return super().commit()

    def hurry(self) -> None:
        """Notes it."""
        self.told.append("hurry")

    def unhurry(self) -> None:
        """Notes it."""
        self.told.append("unhurry")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[auditring.AuditLog]:
    """One whose sink refuses once, at the first flush."""
    with auditring.open(tmp_path, sinks=(Refusing(1),), balance=None) as log:
        yield log


def test_a_failure_that_comes_before_the_flush_waits_is_heard_of(
    log: auditring.AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts from when the sink was asked: the thread that flushes may have been held up since."""
    ask = SinkFollower.ask

    def asked(self: SinkFollower, target: int) -> int:
        failures = ask(self, target)
        until(lambda: self.failures > failures)
        return failures

    monkeypatch.setattr(SinkFollower, "ask", asked)
    with pytest.raises(auditring.SinkError, match="refused"):
        log.flush(30)
    monkeypatch.undo()
    log.flush(30)


def test_who_sees_that_a_sink_has_failed_or_has_recovered_finds_it_in_health_and_told(
    log: auditring.AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health is bad before the failure counts, and good before rows are safe, when the row of it is on its way."""
    seen: list[tuple[str, int]] = []
    bad, good = HealthBoard.bad, HealthBoard.good

    def look(what: str) -> None:
        seen.append((what, log.stats().sinks["jsonl"].failures))

    def spoiled(self: HealthBoard, component: str, *said: str) -> None:
        bad(self, component, *said)
        if component == "sink:jsonl":
            look("bad")

    def mended(self: HealthBoard, component: str) -> None:
        if component == "sink:jsonl" and not self.health().ok:
            until(lambda: any(action == "auditring.SinkRecovered" for action, _ in log.stats().actions))
            look("good")
        good(self, component)

    monkeypatch.setattr(HealthBoard, "bad", spoiled)
    monkeypatch.setattr(HealthBoard, "good", mended)
    with pytest.raises(auditring.SinkError, match="refused"):
        log.flush(30)
    assert not log.health().ok
    log.flush(30)
    assert log.health().ok
    assert seen == [("bad", 0), ("good", 1)]
    log.close(30)
    assert sum(line["action"] == "auditring.SinkRecovered" for line in lines_of(tmp_path)) == 1


def test_a_close_that_is_tried_again_gives_a_sink_time(tmp_path: Path) -> None:
    """It was told to hurry by the first, which gave up; of the second it hears before it begins anew."""
    sink = Refusing(10**9)
    log = auditring.open(tmp_path, sinks=(sink,), balance=None)
    log.emit("com.example.Thing")
    with pytest.raises(auditring.CloseIncomplete, match="jsonl"):
        log.close(30)
    assert "unhurry" not in sink.told
    told = len(sink.told)
    assert sink.told.count("hurry") == 1
    sink.refusals = 0
    log.close(30)
    assert sink.told[told:][:2] == ["unhurry", "start"]
    assert "com.example.Thing" in {line["action"] for line in lines_of(tmp_path)}


def test_a_loss_is_told_of_once_by_whatever_thread_comes_first() -> None:
    """One that has older numbers tells of nothing, and takes nothing back."""
    told: list[int] = []
    losses = Losses("jsonl", {}, lambda _, *, lost, **__: told.append(lost))
    losses.tell({"lost_budget": 5}, math.inf)
    losses.tell({"lost_budget": 0}, math.inf)
    losses.tell({"lost_budget": 5}, math.inf)
    losses.tell({"lost_budget": 6}, math.inf)
    assert told == [5, 1]

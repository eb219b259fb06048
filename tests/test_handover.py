"""A log and the sinks that it leaves to others: what is listed, who drives, and what is told of it."""

import struct
import threading
import time
from pathlib import Path
from typing import Self

import pytest

import auditring
from auditring import AuditLog, ConfigError, Durability, Exempt, Keep, Policy, Rule, _core
from auditring.handover import Waiting
from auditring.health import HealthBoard
from auditring.kafka import Tap
from auditring.sinks import JsonlSink, ParquetSink
from auditring.sinks.base import RowBatch, Sink, SinkContext
from deadlines import flushed, until


def listed(log: AuditLog) -> dict[str, tuple[bool, bool, bool]]:
    """Each sink of its journal: left to an agent, required, driven."""
    (directory,) = (Path(log.path or "") / "journal").iterdir()
    living = _core.Living.open(directory)
    assert living is not None
    return {name: (by_agent, required, held) for name, by_agent, required, held in living.sinks()}


def test_a_log_lists_an_agents_sinks_from_its_first_row_on(tmp_path: Path) -> None:
    """By name, or as a sink with a policy of its own; the first table sink is the required one, whoever drives it."""
    narrow = JsonlSink(policy=Policy(rules=(Rule(action=("Read",), keep=Keep.OFF),)))
    with auditring.open(tmp_path, sinks=(JsonlSink(name="own"),), agent_sinks=("parquet", narrow)) as log:
        assert listed(log) == {
            "own": (False, False, True),
            "parquet": (True, True, False),
            "jsonl": (True, False, False),
        }
        log.emit("com.example.Made")
        log.flush(30)
        assert log.stats().sinks["own"].pending == 0
        assert log.stats().sinks["parquet"].pending == log.stats().journaled
        assert log.stats().balanced


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("parquet", "a collection of sinks' names"),
        (ParquetSink(), "a collection of sinks' names"),
        (("parquet", "parquet"), "two are named 'parquet'"),
        (("own",), "two are named 'own'"),
        (("../x",), "cannot name a file"),
        ((7,), "is no auditring.sinks.Sink"),
    ],
)
def test_what_cannot_be_an_agents_sinks_is_refused_before_anything_is_made(
    tmp_path: Path, given: tuple[str, ...], wrong: str
) -> None:
    """A mistake in the settings is an error, and leaves no trace."""
    with pytest.raises(ConfigError, match=wrong):
        auditring.open(tmp_path / "audit", sinks=(JsonlSink(name="own"),), agent_sinks=given)
    assert not (tmp_path / "audit").exists()


def test_a_sink_is_left_and_taken_back_with_all_that_it_had(tmp_path: Path) -> None:
    """Its cursor goes on from where it was; the numbers are those of its file meanwhile."""
    log = auditring.open(tmp_path, sinks=(JsonlSink(),))
    log.emit("com.example.Made")
    log.flush(30)
    log.release_sink("jsonl", timeout=30)
    # Whoever looks at a lock, such as the log itself, may hold it for a moment.
    until(lambda: listed(log)["jsonl"] == (True, True, False))
    log.emit("com.example.Made")
    until(lambda: log.stats().sinks["jsonl"].pending == 1)
    assert log.stats().balanced
    assert log.stats().sinks["jsonl"].delivered == 2
    log.attach_sink(JsonlSink())
    until(lambda: flushed(log) and log.stats().sinks["jsonl"].pending == 0)
    log.close(30)
    assert "".join(one.read_text() for one in tmp_path.glob("jsonl/*.jsonl")).count("com.example.Made") == 2
    assert not any((tmp_path / "journal").iterdir())


class _ToKafka(JsonlSink):
    """Says that it writes to a cluster that may be proxied here."""

    traffic = (Exempt(topic="audit", client_id="auditor-1"),)


def test_a_sink_that_is_attached_is_known_to_the_loop_guard(tmp_path: Path) -> None:
    """As one that the log was opened with is: else the log would audit what that sink writes, and that again."""

    def text(value: str) -> bytes:
        return struct.pack(">h", len(value)) + value.encode()

    head = struct.pack(">hhi", 0, 3, 7) + text("auditor-1") + struct.pack(">hhi", -1, -1, 1000)
    request = head + struct.pack(">i", 1) + text("audit") + struct.pack(">iii", 1, 0, 0)
    body = struct.pack(">ii", 7, 1) + text("audit") + struct.pack(">iihqqi", 1, 0, 0, 5, -1, 0)
    with auditring.open(tmp_path, sinks=()) as log:
        for _ in range(2):
            log.attach_sink(_ToKafka())
            with log.session(authority="decision") as session, session.broker("kafka:9092") as broker:
                tap = Tap(broker)
                tap.from_client(struct.pack(">i", len(request)) + request)
                tap.from_broker(struct.pack(">i", len(body)) + body)
            log.release_sink("jsonl", timeout=30)
        assert "Write" not in {action for action, _ in log.stats().actions}
        assert log.stats().exempt > 0
        log.attach_sink(_ToKafka())


def test_a_sink_that_a_log_never_had_gets_what_the_journal_still_has(tmp_path: Path) -> None:
    """From the first row on where nothing has gone."""
    with auditring.open(tmp_path, sinks=()) as log:
        log.emit("com.example.Made")
        assert log.attach_sink(JsonlSink(policy=Policy(rules=(Rule(action=("com.example.Off",), keep=Keep.OFF),))))
        log.emit("com.example.Off")
        log.flush(30)
        sink = log.stats().sinks["jsonl"]
        assert (sink.pending, sink.filtered, sink.delivered) == (0, 1, log.stats().journaled - 1)


def test_who_drives_is_said_and_nobody_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that an agent drives is a note; one that nobody drives is a problem after a moment."""
    monkeypatch.setattr("auditring.looking._UNDRIVEN", 0.0)
    with auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",)) as log:
        until(lambda: any(one.component == "agent:jsonl" for one in log.health().problems))
        (directory,) = (tmp_path / "journal").iterdir()
        living = _core.Living.open(directory)
        assert living is not None
        rows = _core.Follower.of_living(living, "jsonl")
        until(lambda: log.health().ok)
        assert "the sink jsonl is driven by an agent" in log.health().notes
        assert not log.attach_sink(JsonlSink())
        assert any("jsonl is driven by somebody else" in note for note in log.health().notes)
        rows.close()
        until(lambda: listed(log)["jsonl"] == (False, True, True) and not log.health().notes[1:])
        log.emit("com.example.Made")
        log.flush(30)
        assert log.stats().sinks["jsonl"].pending == 0


def test_what_this_log_has_not_it_cannot_leave_and_what_it_has_not_take(tmp_path: Path) -> None:
    """A slip in a name is an error with a suggestion."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),)) as log:
        with pytest.raises(ConfigError, match="did you mean 'jsonl'"):
            log.release_sink("jsonll")
        with pytest.raises(ConfigError, match="has one that is named 'jsonl'"):
            log.attach_sink(JsonlSink())
        with pytest.raises(ConfigError, match="is no auditring"):
            log.attach_sink("jsonl")  # type: ignore[arg-type]


def test_a_sink_that_cannot_be_taken_is_told_of_and_tried_again() -> None:
    """And one that is not wanted any more is not tried."""
    board, tries, seen = HealthBoard(), [], threading.Event()

    def take(sink: Sink) -> bool:
        tries.append(sink.name)
        if len(tries) == 1:
            raise OSError("not now")
        # What has failed once is over with the next try, in which it was to be seen.
        assert seen.wait(30)
        return len(tries) > 2

    waiting = Waiting(take, board)
    waiting.add(JsonlSink())
    until(lambda: not board.health().ok)
    seen.set()
    until(lambda: not waiting.names)
    until(lambda: board.health().ok)
    waiting.add(JsonlSink(name="other"))
    assert waiting.drop("other") or "other" in tries
    waiting.stop()
    before = len(tries)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.3)
    assert len(tries) == before


class Stuck(JsonlSink):
    """One whose writes do not come back before they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck, self.writing, self.free = threading.Event(), threading.Event(), threading.Event()

    def fresh(self) -> Self:
        """The one and only."""
        return self

    def write(self, batch: RowBatch) -> int:
        """Waits, while it is stuck."""
        if self.stuck.is_set():
            self.writing.set()
            self.free.wait()
        return super().write(batch)


def test_a_sink_that_lets_go_late_is_not_the_logs_any_more(tmp_path: Path) -> None:
    """What was released is an agent's, whenever the call that it was in comes back; the log closes without it."""
    sink = Stuck()
    log = auditring.open(tmp_path, sinks=(sink,))
    log.flush(30)
    sink.stuck.set()
    log.emit("com.example.Made")
    sink.writing.wait()
    with pytest.raises(TimeoutError, match="let go of when it does"):
        log.release_sink("jsonl", timeout=0)
    sink.free.set()
    until(lambda: listed(log)["jsonl"] == (True, True, False))
    until(lambda: "jsonl" in log.stats().sinks)
    log.close(30)
    assert log.health().ok


class Unopened(JsonlSink):
    """One that cannot be opened."""

    def open(self, context: SinkContext) -> None:
        """Refuses."""
        raise PermissionError(f"not for {context.instance}")


def test_a_sink_that_could_not_be_taken_back_stays_an_agents(tmp_path: Path) -> None:
    """Or nobody would drive it."""
    with auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",)) as log:
        with pytest.raises(PermissionError):
            log.attach_sink(Unopened())
        until(lambda: listed(log)["jsonl"] == (True, True, False))
        log.attach_sink(JsonlSink())
        until(lambda: flushed(log) and log.stats().sinks["jsonl"].pending == 0)


def test_a_sink_that_is_attached_goes_by_the_policy_that_the_journal_has(tmp_path: Path) -> None:
    """And it is said where that is another one than its own."""
    narrow = JsonlSink(policy=Policy(rules=(Rule(action=("com.example.Made",), keep=Keep.OFF),)))
    with auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",)) as log:
        log.attach_sink(narrow)
        assert any("jsonl goes by the policy that the journal has had" in note for note in log.health().notes)


def test_a_log_that_survives_a_loss_of_power_closes_when_its_end_does(tmp_path: Path) -> None:
    """Whoever brings its rows to their sinks: its directory and its ring are let go of."""
    log = auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",), durability=Durability.POWER(3600))
    log.emit("com.example.Made")
    log.close(30)
    ((_, directory, held, _),) = _core.processes(tmp_path)
    assert not held
    shown = _core.Living.open(directory)
    assert shown is not None
    rows = _core.Follower.of_living(shown, "jsonl")
    until(lambda: rows.next(100, 1.0, partial=True) is not None or rows.ended)
    assert rows.ended
    rows.close()

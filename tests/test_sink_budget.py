"""Sinks that are dead, slow or hang, and a journal with a budget: the others go on, and what one lacks is counted."""

import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditring
from auditring import ConfigError, WhenFull, _core, query
from auditring.recovery import recover
from auditring.sinks import JsonlSink, ParquetSink, RowBatch, Sink
from auditring.stats import SinkStats
from auditring.verify import check
from deadlines import until
from sealed_rows import rows_of
from valves import JsonlValve, ParquetValve

BUDGET = 1 << 20
WAIT = WhenFull(wait=None)


def opened(root: Path, *sinks: Sink, required: tuple[str, ...] | None = None) -> auditring.AuditLog:
    """A log with a small journal that drops nothing."""
    return auditring.open(
        root, sinks=sinks, required=required, journal_bytes=BUDGET, when_full=WAIT, balance=None, ring_bytes=1 << 20
    )


def emit(log: auditring.AuditLog, count: int, until_: Callable[[], bool] = lambda: False) -> int:
    """Emits so many events in a session, or until something holds."""
    with log.session(id="s") as session:
        for i in range(count):
            session.read("orders", 0, i, i)
            if i % 512 == 511 and until_():
                return i + 1
    return count


def let_go(log: auditring.AuditLog) -> bool:
    """Whether health says that rows of a sink were let go."""
    return any(problem.component.startswith("lost:") for problem in log.health().problems)


def whole(sink: SinkStats, journaled: int) -> bool:
    """Whether a sink's terms add up with nothing pending."""
    return sink.pending == 0 and journaled == (
        sink.delivered + sink.merged + sink.sampled_out + sink.filtered + sum(sink.lost.values())
    )


@pytest.mark.parametrize("hangs", [False, True])
def test_a_dead_sink_that_is_not_required_stops_nobody_and_its_loss_is_exact(tmp_path: Path, hangs: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The required sink gets every row; the other lacks what went at the budget, says how much, and catches up."""
    valve = JsonlValve(hangs=hangs)
    log = opened(tmp_path, ParquetSink(), valve)
    emitted = emit(log, 1_000_000, lambda: let_go(log))
    problem = next(one for one in log.health().problems if one.component == "lost:jsonl")
    assert "let go" in problem.cause
    assert problem.advice
    # Its reader may still hold the first segment open, though that is deleted; what follows is lost for certain.
    emitted += emit(log, 30_000)
    assert log.stats().dropped == log.stats().refused == 0
    valve.opened.set()
    until(lambda: log.stats().sinks["jsonl"].lost.get("budget", 0) > 0)
    log.close(60)
    stats = log.stats()
    assert stats.balanced
    parquet, jsonl = stats.sinks["parquet"], stats.sinks["jsonl"]
    assert (parquet.delivered, dict(parquet.lost)) == (stats.journaled, {})
    assert whole(jsonl, stats.journaled)
    lines = [json.loads(line) for path in tmp_path.glob("jsonl/*") for line in path.read_text().splitlines()]
    assert len({line["seq"] for line in lines}) == len(lines) == jsonl.delivered
    told = rows_of(tmp_path, "auditring.EventsLost")
    assert {(json.loads(row["context"])["sink"], json.loads(row["context"])["cause"]) for row in told} == {
        ("jsonl", "budget")
    }
    assert sum(row["lost"] for row in told) == jsonl.lost["budget"]
    assert rows_of(tmp_path, "auditring.RowsLetGo")
    tables = [pq.read_table(path, columns=["action"]) for path in tmp_path.glob("events/*/*.parquet")]
    assert sum(table.column("action").to_pylist().count("Read") for table in tables) == emitted
    report = check(tmp_path)
    assert report.complete, report.findings


def test_a_table_sink_that_is_not_required_says_in_its_files_what_they_lack(tmp_path: Path) -> None:
    """`lost` of the file's metadata makes its equation hold; until then a reader and `verify` tell of the rows."""
    valve = ParquetValve(hangs=True)
    log = opened(tmp_path, valve, JsonlSink(), required=("jsonl",))
    emit(log, 1_000_000, lambda: let_go(log))
    emit(log, 30_000)
    until(valve.waiting.is_set)
    with pytest.warns(query.QueryWarning, match="in no file and no longer in the journal"):
        query.connect(tmp_path).close()
    report = check(tmp_path)
    assert report.complete, report.findings
    assert any("let go at the journal's budget" in finding.text for finding in report.everything)
    valve.opened.set()
    log.close(60)
    stats = log.stats()
    assert stats.sinks["parquet"].lost["budget"] > 0
    assert whole(stats.sinks["parquet"], stats.journaled)
    assert stats.sinks["jsonl"].delivered == stats.journaled
    report = check(tmp_path)
    assert report.complete, report.findings
    assert [process.lost for process in report.processes] == [stats.sinks["parquet"].lost["budget"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        query.connect(tmp_path).close()


class Slow(ParquetSink):
    """Takes its time with every batch."""

    def write(self, batch: RowBatch) -> int:
        """Writes, later."""
        time.sleep(0.05)
        return super().write(batch)


def test_a_required_sink_that_is_slow_holds_the_log_back_and_a_dead_one_beside_it_does_not(tmp_path: Path) -> None:
    """Producers wait for the one, which loses nothing; for the other its rows go, and both have exact terms."""
    valve = JsonlValve()
    log = opened(tmp_path, Slow(), valve)
    emit(log, 100_000)
    log.emit("com.example.Last")
    valve.opened.set()
    log.close(60)
    stats = log.stats()
    assert (stats.dropped, stats.sinks["parquet"].delivered) == (0, stats.journaled)
    assert stats.blocked_ns > 0
    assert stats.sinks["jsonl"].lost["budget"] > 0
    assert whole(stats.sinks["jsonl"], stats.journaled)
    assert check(tmp_path).complete


def test_a_log_without_a_required_sink_never_waits(tmp_path: Path) -> None:
    """With `required=()` both sinks may be dead: events are journaled, and the oldest go."""
    valves = JsonlValve(), ParquetValve(hangs=True)
    log = opened(tmp_path, *valves, required=())
    emit(log, 60_000)
    assert let_go(log) or log.stats().journal_bytes < BUDGET
    for valve in valves:
        valve.opened.set()
    log.close(60)
    stats = log.stats()
    assert stats.dropped == 0
    assert all(whole(sink, stats.journaled) for sink in stats.sinks.values())
    assert check(tmp_path).complete


def test_sinks_that_keep_up_lose_nothing_at_a_small_budget(tmp_path: Path) -> None:
    """Who is not required commits in time, long before its own limits, as the journal fills up."""
    log = auditring.open(
        tmp_path, sinks=(JsonlSink(), ParquetSink()), journal_bytes=8 << 20, when_full=WAIT, balance=None
    )
    with log.session(id="s") as session:
        for i in range(150_000):
            session.read("orders", 0, i, i)
            if i % 1000 == 0:
                # Some 2 MiB a second: a commit that is wanted at half of the budget has two seconds.
                until(lambda: log.stats().in_ring == 0)
                time.sleep(0.03)
    log.close(60)
    stats = log.stats()
    assert {name: dict(sink.lost) for name, sink in stats.sinks.items()} == {"jsonl": {}, "parquet": {}}


HOST = """
import sys, threading
import auditring
from auditring.sinks import JsonlSink, ParquetSink

class Hung(JsonlSink):
    def write(self, batch):
        threading.Event().wait()

log = auditring.open(
    sys.argv[1], sinks=(ParquetSink(), Hung()), journal_bytes=1 << 20, ring_bytes=1 << 20,
    when_full=auditring.WhenFull(wait=None),
)
session = log.session(id="s")
for i in range(10**9):
    session.read("orders", 0, i, i)
    if i == 60_000:
        print("full", flush=True)
"""


def test_a_process_killed_while_its_sink_hangs_is_recovered_with_an_exact_loss(tmp_path: Path) -> None:
    """What had gone at the budget by then is counted from the journal's own names when the sink goes on."""
    with subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "full\n"
        host.send_signal(signal.SIGKILL)
    (result,) = recover(tmp_path)
    assert (result.failed, result.behind) == (None, ())
    (process,) = _core.outside(str(tmp_path))
    sink = process["sinks"]["jsonl"]
    assert sink["lost"]["budget"] > 0
    assert process["journaled"] == sink["delivered"] + sink["lost"]["budget"]
    assert process["sinks"]["parquet"]["delivered"] == process["journaled"]
    report = check(tmp_path)
    assert report.complete, report.findings


SEALING = """
import sys, threading
import auditring
from auditring import Rotation
from auditring.sinks import JsonlSink, ParquetSink

class Sealing(ParquetSink):
    def commit(self):
        super().commit()
        print("sealed", flush=True)
        threading.Event().wait()

log = auditring.open(
    sys.argv[1], sinks=(Sealing(rotation=Rotation(rows=2000)), JsonlSink()), required=("jsonl",),
    journal_bytes=1 << 20, ring_bytes=1 << 20, when_full=auditring.WhenFull(wait=None), balance=None,
)
session = log.session(id="s")
for i in range(10**9):
    session.read("orders", 0, i, i)
    if i == 60_000:
        print("full", flush=True)
"""


def test_a_file_sealed_just_before_a_crash_is_not_lost_though_the_journal_has_let_go_of_its_rows(
    tmp_path: Path,
) -> None:
    """The cursor moves behind it, with its terms; what went beyond it is lost, and nothing else."""
    with subprocess.Popen([sys.executable, "-c", SEALING, str(tmp_path)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert {host.stdout.readline() for _ in range(2)} == {"sealed\n", "full\n"}
        host.send_signal(signal.SIGKILL)
    (dead,) = (tmp_path / "journal").iterdir()
    first_held = min(int(path.stem.partition("-")[2]) for path in dead.glob("*.journal"))
    (result,) = recover(tmp_path)
    assert (result.failed, result.behind) == (None, ())
    (process,) = _core.outside(str(tmp_path))
    sink = process["sinks"]["parquet"]
    before, *rest = sorted(tmp_path.glob("events/*/*.parquet"))
    end = int(before.stem.rpartition("-")[2]) + 1
    assert end > 0  # a sink that the journal presses seals before its 2,000 rows are there
    assert first_held > end, "the journal has let go of more than the file holds"
    assert sink["lost"]["budget"] == first_held - end
    assert sink["delivered"] == sum(pq.read_metadata(path).num_rows for path in (before, *rest))
    assert process["journaled"] == sink["delivered"] + sink["lost"]["budget"]
    assert process["sinks"]["jsonl"]["delivered"] == process["journaled"]
    report = check(tmp_path)
    assert report.complete, report.findings


@pytest.mark.parametrize("required", ["parquet", ("parquett",), (1,)])
def test_required_names_are_checked(tmp_path: Path, required: object) -> None:
    """Unknown names, and a text instead of a collection, are errors before anything is touched."""
    with pytest.raises(ConfigError, match="required"):
        auditring.open(tmp_path / "audit", required=required)  # type: ignore[arg-type]
    assert not (tmp_path / "audit").exists()


def test_the_first_table_sink_is_required_by_itself(tmp_path: Path) -> None:
    """Wherever it stands among the sinks; without one it is the first."""
    for sinks, wanted in (((JsonlSink(), ParquetSink()), "parquet"), ((JsonlSink(),), "jsonl")):
        with auditring.open(tmp_path, sinks=sinks) as log:
            (process,) = [one for one in _core.outside(str(tmp_path)) if one["process"] == log.process]
            assert [name for name, sink in process["sinks"].items() if sink["required"]] == [wanted]

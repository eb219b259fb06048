"""Poison: a record that cannot be decoded, and a row that a sink will never take. Neither stops the flow."""

import json
import mmap
import threading
from pathlib import Path

import pytest

import auditring
from auditring import Keep, Policy, Rule, SinkRejected
from auditring.pump import Pump
from auditring.sinks import Batching, JsonlSink, ParquetSink, RowBatch
from auditring.verify import check
from deadlines import flushed, until
from sealed_rows import lines_of, rows_of


def scribbled(root: Path, monkeypatch: pytest.MonkeyPatch, at: int, data: bytes) -> auditring.AuditLog:
    """A log of three events, of which the middle one was written over in the ring between commit and pump; closed.

    `at`: from the text that it alone has.
    """
    (root / "ring").mkdir()
    log = auditring.open(root / "audit", sinks=(ParquetSink(), JsonlSink()), ring_dir=root / "ring", balance=None)
    held, go_on = threading.Event(), threading.Event()

    def hold(_: Pump) -> None:
        held.set()
        go_on.wait(60)

    # The pump's thread calls it between two runs: as long as it does not come back nothing is taken out of the ring.
    monkeypatch.setattr(Pump, "_keep_up", hold)
    assert held.wait(30)
    for name in ("before", "poison-poison", "after"):
        log.emit("com.example.Thing", context={"name": name})
    (ring,) = (root / "ring").iterdir()
    with ring.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        found = mapped.find(b"poison-poison") + at
        assert found > 0
        mapped[found : found + len(data)] = data
    monkeypatch.undo()
    go_on.set()
    # A sink that cannot write a row tries again, each in its own time, which a flush may tell of.
    until(lambda: flushed(log))
    log.close(30)
    stats = log.stats()
    assert stats.balanced
    assert (stats.lost, stats.journaled) == ({}, stats.accepted + stats.born)
    for rows in (rows_of(root / "audit"), lines_of(root / "audit")):
        assert sum(row["action"] == "com.example.Thing" for row in rows) == 2
        assert rows[-1]["action"] == "ProxyCleanShutdown"
    report = check(root / "audit")
    assert report.complete, report.findings
    return log


def test_a_record_that_cannot_be_decoded_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One `auditring.Unreadable` with length and digest; what is around it comes as it was."""
    # The lengths of context and body, the last of its head (rust/event/src/record.rs), before `{"name":"`.
    log = scribbled(tmp_path, monkeypatch, -len('xx{"name":"') - 8, b"\xff" * 8)
    (row,) = rows_of(tmp_path / "audit", "auditring.Unreadable")
    said = json.loads(row["context"])
    assert int(said["length"]) > 0
    assert len(said["digest"]) == 32
    assert {name: dict(sink.lost) for name, sink in log.stats().sinks.items()} == {"jsonl": {}, "parquet": {}}
    seqs = [row["seq"] for row in rows_of(tmp_path / "audit")]
    assert seqs == list(range(len(seqs)))


def test_a_record_of_which_a_text_is_none_is_lost_to_each_sink_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decodes and can be written by nobody: counted as corrupt, told, and everything behind it comes."""
    log = scribbled(tmp_path, monkeypatch, 0, b"\xff\xfe\xff\xfe")
    assert {name: dict(sink.lost) for name, sink in log.stats().sinks.items()} == {
        "jsonl": {"corrupt": 1},
        "parquet": {"corrupt": 1},
    }


class Picky(JsonlSink):
    """Cannot take rows of a topic, ever; says so, or just raises."""

    def __init__(self, *, at_commit: bool = False) -> None:
        super().__init__()
        self.bad: list[int] = []
        self.at_commit = at_commit
        self.tries = 0

    def fresh(self) -> "Picky":
        """Itself, to be asked."""
        return self

    def write(self, batch: RowBatch) -> int:
        """Refuses the first row that it will not take."""
        for line in batch.json_lines().splitlines():
            row = json.loads(line)
            if row.get("objectRef", {}).get("topicName") == "poison":
                self.tries += 1
                self.bad = [row["seq"]]
                if not self.at_commit:
                    raise SinkRejected("a topic that nobody has", self.bad)
        return super().write(batch)

    def commit(self) -> bytes:
        """Refuses it as late as it can."""
        if self.at_commit and self.bad:
            bad, self.bad = self.bad, []
            raise SinkRejected("a topic that nobody has", bad)
        return super().commit()


@pytest.mark.parametrize("at_commit", [False, True])
def test_a_row_that_a_sink_refuses_is_left_out_counted_and_told(tmp_path: Path, at_commit: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Every other row is there once; the sink is in no trouble; totals, a row and health say what it lacks."""
    log = auditring.open(tmp_path, sinks=(ParquetSink(), Picky(at_commit=at_commit)), balance=None)
    with log.session(id="s") as session:
        for i in range(300):
            session.read("poison" if i % 100 == 50 else "orders", 0, i, i)
    log.flush(30)
    stats = log.stats().sinks["jsonl"]
    assert (dict(stats.lost), stats.failures) == ({"rejected": 3}, 0)
    until(lambda: any(one.component == "lost:jsonl" for one in log.health().problems))
    until(lambda: bool([line for line in lines_of(tmp_path) if line["action"] == "auditring.EventsLost"]))
    log.close(30)
    assert log.stats().balanced
    lines = lines_of(tmp_path)
    assert len({line["seq"] for line in lines}) == len(lines) == log.stats().journaled - 3
    told = [line for line in lines if line["action"] == "auditring.EventsLost"]
    assert sum(line["lost"] for line in told) == 3
    assert {(line["context"]["sink"], line["context"]["cause"]) for line in told} == {("jsonl", "rejected")}
    assert sum(row["action"] == "Read" for row in rows_of(tmp_path)) == 300
    report = check(tmp_path)
    assert report.complete, report.findings


def test_the_events_of_a_merged_row_that_is_refused_are_all_counted(tmp_path: Path) -> None:
    """A row that stands for many takes all of them with it."""
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(window=1.0))])
    with auditring.open(tmp_path, sinks=(ParquetSink(), Picky()), policy=policy, balance=None) as log:
        with log.session(id="s") as session:
            for i in range(100):
                session.read("poison", 0, i, i)
            session.read("orders", 0, 0, 0)
        log.flush(30)
    stats = log.stats()
    jsonl, parquet = stats.sinks["jsonl"], stats.sinks["parquet"]
    assert stats.balanced
    assert jsonl.lost["rejected"] == 100
    assert jsonl.delivered + jsonl.merged + 100 == parquet.delivered + parquet.merged == stats.journaled
    assert check(tmp_path).complete


class PickyTable(ParquetSink):
    """A table sink that refuses its first row but one."""

    batching = Batching(rows=64, partial=True, tables=True)

    def write(self, batch: RowBatch) -> int:
        """Refuses it."""
        if batch.first_seq <= 1 <= batch.last_seq and batch.lost == 0:
            raise SinkRejected("not that one", [1])
        return super().write(batch)


def test_a_table_says_that_it_lacks_a_refused_row(tmp_path: Path) -> None:
    """`lost` of its file makes the equation hold."""
    with auditring.open(tmp_path, sinks=(PickyTable(),), balance=None) as log:
        for _ in range(100):
            log.emit("com.example.Thing")
    rows = rows_of(tmp_path)
    assert 1 not in {row["seq"] for row in rows}
    assert (log.stats().sinks["parquet"].lost["rejected"], log.stats().balanced) == (1, True)
    report = check(tmp_path)
    assert report.complete, report.findings
    assert [process.lost for process in report.processes] == [1]


class Confused(JsonlSink):
    """Refuses a row that it was never given, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 3

    def fresh(self) -> "Confused":
        """Itself, to be counted down."""
        return self

    def write(self, batch: RowBatch) -> int:
        """Refuses something else."""
        if self.times:
            self.times -= 1
            raise SinkRejected("what?", [10**9])
        return super().write(batch)


def test_a_refusal_of_what_was_not_given_is_the_sinks_own_trouble(tmp_path: Path) -> None:
    """It is a failure as any other, tried again ever more slowly, and loses nothing."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), Confused()), balance=None) as log:
        log.emit("com.example.Thing")
        until(lambda: log.stats().sinks["jsonl"].pending == 0)
        assert log.stats().sinks["jsonl"].failures == 3
    assert log.stats().sinks["jsonl"].lost == {}
    assert check(tmp_path).complete

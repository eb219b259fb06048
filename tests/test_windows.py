"""Rows that wait in windows: what a host says, what sinks and readers have, and that it all adds up."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import ConfigError, Keep, Policy, Rotation, Rule, query, verify
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink, RowBatch
from auditring.tail import Tail
from sealed_rows import lines_of, rows_of

PATIENCE = 60.0
COALESCED = Policy(rules=[Rule(action=("Read", "Write"), keep=Keep.COALESCE(1))], seed=7)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What table and line say of a row alike."""
    offsets = row.get("offsets") or {}
    first, last = row.get("first_offset", offsets.get("first")), row.get("last_offset", offsets.get("last"))
    return row["seq"], row["action"], row["count"], first, last, row.get("records")


def test_windows_read_the_same_from_toml_and_from_code() -> None:
    """Seconds as a number, as a `timedelta`, or with a unit; the journaled form is the third."""
    policy = Policy(
        rules=(
            Rule(action="Read", keep=Keep.COALESCE(timedelta(seconds=1))),
            Rule(action="Write", keep=Keep.COALESCE(0.5)),
            Rule(action="com.example.*", keep=Keep.FIRST(60, by=("resource", "tap"))),
            Rule(action="OperationAllowed", keep=Keep.FIRST(60.0, by="action")),
        ),
        seed=7,
    )
    toml = """
        seed = 7
        [[rule]]
        action = "Read"
        keep = "coalesce"
        window = 1.0
        [[rule]]
        action = "Write"
        keep = "coalesce"
        window = "500ms"
        [[rule]]
        action = "com.example.*"
        keep = "first"
        window = "1m"
        by = ["tap", "resource"]
        [[rule]]
        action = "OperationAllowed"
        keep = "first"
        window = 60
        by = "action"
    """
    assert Policy.from_toml(toml) == policy
    journaled = json.loads(policy.journaled(seed=1))
    assert journaled["version"] == 3
    assert [rule["keep"] for rule in journaled["rules"]] == ["coalesce", "coalesce", "first", "first"]
    assert [rule["window_ns"] for rule in journaled["rules"]] == [10**9, 5 * 10**8, 60 * 10**9, 60 * 10**9]
    assert [rule.get("by") for rule in journaled["rules"]] == [None, None, ["resource", "tap"], []]
    assert [repr(rule.keep) for rule in policy.rules] == [
        "Keep.COALESCE(1)",
        "Keep.COALESCE(0.5)",
        "Keep.FIRST(60, by=('resource', 'tap'))",
        "Keep.FIRST(60, by=None)",
    ]
    assert json.loads(Policy(rules=[Rule(keep=Keep.OFF)]).journaled(seed=1))["version"] == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Rule(keep=Keep.COALESCE(61)), "a window is 0.001 to 60 seconds, not 61"),
        (lambda: Rule(keep=Keep.FIRST(301)), "a window is 0.001 to 300 seconds, not 301"),
        (lambda: Rule(keep=Keep.COALESCE(0)), "a window is 0.001 to 60 seconds, not 0"),
        (lambda: Keep.COALESCE("1s"), "a window is seconds"),  # type: ignore[arg-type]
        (lambda: Keep.COALESCE(float("nan")), "a window is seconds"),
        (lambda: Keep.FIRST(1, by="sesion"), "session"),
        (lambda: Policy(rules=[Rule(action="Delete", keep=Keep.COALESCE(1))]), "only Read and Write"),
        (lambda: Policy(rules=[Rule(category="connection", keep=Keep.COALESCE(1))]), "only Read and Write"),
        (
            lambda: Policy(rules=[Rule(action="Read", outcome="denied", keep=Keep.COALESCE(1))]),
            "rules that merge it need allow_blind_spots=True",
        ),
        (
            lambda: Policy(
                rules=[Rule(action="Read", keep=Keep.COALESCE(60)), Rule(action="Write", keep=Keep.COALESCE(7))]
            ),
            "does not divide the longest in force, 60 seconds, so they cannot end together; 7.5 would do",
        ),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'coalesce'\n"), "needs window"),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'coalesce'\nwindow = 'soon'\n"), "500ms"),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'off'\nwindow = 1\n"), "has no window"),
    ],
)
def test_what_cannot_be_is_a_mistake_with_advice(make: Any, says: str) -> None:  # noqa: ANN401 - any call that fails
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=says):
        make()


def test_windows_of_log_and_sink_end_together(tmp_path: Path) -> None:
    """Each alone would do; beside each other they would not, and nothing is written."""
    own = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(0.4))])
    with pytest.raises(ConfigError, match=r"the policy of 'jsonl': with the log's policy: rule 1.*0.5 would do"):
        auditring.open(tmp_path / "audit", policy=COALESCED, sinks=[JsonlSink(policy=own)])
    assert not (tmp_path / "audit").exists()


def test_a_wide_rule_says_nothing_of_what_cannot_be_coalesced(tmp_path: Path) -> None:
    """It passes them on to the next rule."""
    policy = Policy(rules=[Rule(keep=Keep.COALESCE(1)), Rule(action="OperationAllowed", keep=Keep.OFF)])
    with auditring.open(tmp_path, policy=policy) as log, log.session(id="s", authority="decision") as session:
        session.operation_allowed("READ", "Topic", "orders")
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
    actions = [row["action"] for row in rows_of(tmp_path)]
    assert "OperationAllowed" not in actions
    assert "ClientSaslAuthSuccess" in actions


def read_on(log: auditring.AuditLog, seconds: float, partitions: int = 4) -> int:
    """A consumer that reads each partition on, about a hundred times a second; how many Reads, 200 at least."""
    end, each = time.monotonic() + seconds, 0
    with log.session(id="consumer", peer=("10.0.0.7", 40_000), authority="decision") as session:
        pause = threading.Event()
        while time.monotonic() < end or each < 200:
            for partition in range(partitions):
                session.read("orders", partition, each * 5, each * 5 + 4, each, records=5, bytes=500)
            each += 1
            pause.wait(0.01)
    return each


def test_a_consumer_takes_few_rows_and_no_offset_is_missing(tmp_path: Path) -> None:
    """Both sinks have the same rows under the same ids; DuckDB and `verify` find every offset and every event."""
    with auditring.open(tmp_path, policy=COALESCED, sinks=[ParquetSink(), JsonlSink()]) as log:
        began = time.monotonic()
        each = read_on(log, 3.0)
        windows = time.monotonic() - began + 1
        log.flush(PATIENCE)
        fresh = log.stats().sinks["parquet"]
    reads = [row for row in rows_of(tmp_path, "Read") if row["count"] > 1]
    # Of each partition so many windows at most, beside the first touch.
    assert len(reads) <= 4 * (windows + 1)
    con = query.connect(tmp_path)
    covered = """
        SELECT partition, min(first_offset), max(last_offset) + 1, sum(last_offset + 1 - first_offset), sum(records),
            sum(bytes), sum("count"), sum(events_total)
        FROM events WHERE action = 'Read' GROUP BY ALL ORDER BY partition
    """
    expected = [(p, 0, each * 5, each * 5, each * 5, each * 500, each, each) for p in range(4)]
    assert con.sql(covered).fetchall() == expected
    assert fresh.merged > 0
    assert [key(row) for row in lines_of(tmp_path)] == [key(row) for row in rows_of(tmp_path)]
    report = verify.check(tmp_path)
    assert report.complete, report
    stats = log.stats()
    for sink in stats.sinks.values():
        assert sink.delivered + sink.merged == stats.journaled


def test_rows_that_wait_are_seen_by_readers_and_a_flush_waits_a_window(tmp_path: Path) -> None:
    """A snapshot shows the window as it stands; a flush ends with it; a close does not wait at all."""
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(10))])
    with auditring.open(tmp_path, policy=policy) as log:
        session = log.session(id="s", authority="decision")
        for n in range(50):
            session.read("orders", 0, n, n, n)
        log._current().journaled(PATIENCE)  # noqa: SLF001 - into the journal, and no further
        asked = "SELECT sum(\"count\"), max(last_offset), count(*) FROM events WHERE action = 'Read'"
        events, last, rows = query.connect(tmp_path).sql(asked).fetchall()[0]
        assert (events, last) == (50, 49)
        assert rows < 10
        told = b"".join(Tail(tmp_path, json=True).history()).splitlines()
        assert sum(json.loads(line)["count"] for line in told if b'"Read"' in line) == 50
        log.flush(PATIENCE)
        assert log.stats().sinks["parquet"].merged >= 40
        began = time.monotonic()
    assert time.monotonic() - began < 8
    assert query.connect(tmp_path).sql(asked).fetchall()[0][:2] == (50, 49)


def test_a_tail_tells_of_a_row_when_its_window_is_over(tmp_path: Path) -> None:
    """Nothing else comes: the pump says that time has passed."""
    with auditring.open(tmp_path, policy=COALESCED) as log:
        tail = Tail(tmp_path, json=True, last=0)
        session = log.session(id="s", authority="decision")
        for n in range(20):
            session.read("orders", 0, n, n, n)
        counts: list[int] = []
        end = time.monotonic() + PATIENCE
        while sum(counts) < 20 and time.monotonic() < end:
            counts += [json.loads(line)["count"] for line in tail.fresh().splitlines() if b'"Read"' in line]
        assert sum(counts) == 20
        assert max(counts) > 1


def test_files_end_at_cuts_whatever_their_rotation(tmp_path: Path) -> None:
    """Limits of rows and bytes are reached in the middle of windows; every file adds up all the same."""
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(0.05))])
    sinks = [
        ParquetSink(rotation=Rotation(rows=20, bytes=None, age=0.2)),
        JsonlSink(rotation=Rotation(rows=30), checkpoint=Checkpoint(rows=7), compress=False),
    ]
    with auditring.open(tmp_path, policy=policy, sinks=sinks) as log:
        each = read_on(log, 2.0)
    assert len(list(tmp_path.glob("events/*/*.parquet"))) > 3
    assert len(list(tmp_path.glob("jsonl/*.jsonl"))) > 3
    report = verify.check(tmp_path)
    assert report.complete, report
    reads = rows_of(tmp_path, "Read")
    assert sum(row["records"] for row in reads) == each * 4 * 5
    assert [key(row) for row in lines_of(tmp_path)] == [key(row) for row in rows_of(tmp_path)]


CHILD = """
import os, sys, threading
import auditring
from auditring import Keep, Policy, Rotation, Rule
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink, RowBatch

policy = Policy(rules=[Rule(action=("Read", "Write"), keep=Keep.COALESCE(0.1)),
                       Rule(action="OperationAllowed", keep=Keep.FIRST(0.2))], seed=7)
log = auditring.open(sys.argv[1], policy=policy,
                     sinks=[ParquetSink(rotation=Rotation(age=0.3)), JsonlSink(checkpoint=Checkpoint(age=0.1))])
session = log.session(id="s", authority="decision")
print("ready", flush=True)
n, pause = 0, threading.Event()
while True:
    for partition in range(4):
        session.read("orders", partition, n, n, n, records=1)
    session.operation_allowed("READ", "Topic", "orders")
    n += 1
    pause.wait(0.002)
"""


@pytest.mark.parametrize("seconds", [0.35, 0.8, 1.3])
def test_killed_in_the_middle_of_a_window_nothing_is_missing_or_double(tmp_path: Path, seconds: float) -> None:
    """The next opener recovers the journal and seals the rest: both sinks have the same rows, and all events."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        threading.Event().wait(seconds)
        child.send_signal(signal.SIGKILL)
    with auditring.open(tmp_path, sinks=[ParquetSink(), JsonlSink()]) as log:
        end = time.monotonic() + PATIENCE
        while len(list((tmp_path / "journal").iterdir())) > 1 and time.monotonic() < end:
            log.flush(PATIENCE)
    report = verify.check(tmp_path)
    assert report.complete, report
    parquet = [(row["process"], *key(row)) for row in rows_of(tmp_path)]
    jsonl = [(row["process"], *key(row)) for row in lines_of(tmp_path)]
    assert sorted(parquet, key=repr) == sorted(jsonl, key=repr)


def test_the_first_of_each_key_is_a_row_and_the_others_are_counted(tmp_path: Path) -> None:
    """It can be told which keys were used at all."""
    policy = Policy(rules=[Rule(action="com.example.kms.*", keep=Keep.FIRST(300, by="resource"))])
    with auditring.open(tmp_path, policy=policy) as log, log.session(id="s", authority="decision") as session:
        for n in range(300):
            session.emit("com.example.kms.KeyUsed", resource=f"key-{n % 3}")
    rows = rows_of(tmp_path, "com.example.kms.KeyUsed")
    assert [(row["resource"], row["count"]) for row in rows] == [(f"key-{n}", 1) for n in range(3)] + [
        (f"key-{n}", 99) for n in range(3)
    ]
    assert all(row["end_time"] is not None for row in rows[3:])
    assert verify.check(tmp_path).complete


def test_a_million_mixed_events_add_up(tmp_path: Path) -> None:
    """Merged, sampled and kept: `sum(count * weight)` of what is not sampled is exact, and the balance holds."""
    policy = Policy(
        rules=(
            Rule(action="Read", keep=Keep.COALESCE(1)),
            Rule(action="OperationAllowed", keep=Keep.FIRST(10)),
            Rule(action="Write", keep=Keep.SAMPLE(one_in=10, by=None)),
        ),
        seed=7,
    )
    reads = writes = allowed = 0
    with auditring.open(tmp_path, policy=policy, when_full=auditring.WhenFull(wait=None)) as log:
        for number in range(20):
            with log.session(id=f"s-{number}", authority="decision") as session:
                for n in range(10_000):
                    for partition in range(3):
                        session.read("orders", partition, n, n, n)
                    session.write("orders", 3, n, n)
                    session.operation_allowed("READ", "Topic", "orders")
                reads, writes, allowed = reads + 30_000, writes + 10_000, allowed + 10_000
    totals = query.connect(tmp_path).sql("SELECT action, sum(events_total), count(*) FROM events GROUP BY ALL")
    by_action = {action: (events, rows) for action, events, rows in totals.fetchall()}
    assert by_action["Read"][0] == reads == 600_000
    assert by_action["OperationAllowed"][0] == allowed
    assert abs(by_action["Write"][0] - writes) < 0.05 * writes
    assert by_action["Read"][1] < reads / 50
    stats = log.stats()
    sink = stats.sinks["parquet"]
    assert sink.delivered + sink.merged + sink.sampled_out + sink.filtered == stats.journaled > 1_000_000
    assert verify.check(tmp_path).complete


class _Noting(JsonlSink):
    """Says when it has written."""

    def fresh(self) -> "_Noting":
        """The object itself: one process, one log."""
        self.wrote = threading.Event()
        return self

    def write(self, batch: RowBatch) -> int:
        """Writes, and says so."""
        size = super().write(batch)
        self.wrote.set()
        return size


def test_a_flush_goes_on_behind_a_window_that_ended_with_nothing_in_it(tmp_path: Path) -> None:
    """What came before its end was handed out already, so the cut is where the sink stands; there is more behind it."""
    sink = _Noting(checkpoint=Checkpoint(age=None))
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(0.01))])
    log = auditring.open(tmp_path, policy=policy, sinks=[sink], balance=None)
    session = log.session()
    try:
        for _ in range(10):
            sink.wrote.clear()
            session.operation_denied("READ", "Topic", "orders")
            assert sink.wrote.wait(PATIENCE)
            # The window ends, and nothing comes.
            threading.Event().wait(0.02)
            session.operation_denied("READ", "Topic", "orders")
            log.flush(10)
    finally:
        log.close(10)
    assert len(lines_of(tmp_path)) == log.stats().journaled

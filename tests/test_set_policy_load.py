"""Another policy while all else goes on too: threads, a disk that is full, a kill, sinks that begin again."""

import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
import deadlines
from auditring import Keep, Policy, Rotation, Rule, _core, query
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from policy_changes import NO_READS, NO_WRITES, PATIENCE, kinds
from sealed_rows import lines_of, rows_of

until = partial(deadlines.until, seconds=PATIENCE)
"""Waits for a condition, as long as these tests may."""


def test_threads_that_change_and_threads_that_emit_agree(  # noqa: C901 - two kinds of threads, and what they come to
    tmp_path: Path,
) -> None:
    """Each change is whole and told once, each event is judged by one policy, and the balance holds."""
    policies = [Policy(), NO_READS, NO_WRITES, Policy(rules=[Rule(keep=Keep.SAMPLE(one_in=3, by=None))])]
    sinks = (ParquetSink(rotation=Rotation(rows=501)), JsonlSink(checkpoint=Checkpoint(rows=97)))
    changed = threading.Lock()
    changes = 0
    with auditring.open(tmp_path, sinks=sinks, segment_bytes=1 << 16) as log:
        stop = threading.Event()

        def emit(number: int) -> None:
            with log.session(id=f"s{number}") as session:
                offset = 0
                while not stop.is_set() or offset < 100:
                    session.read("orders", number, offset, offset)
                    session.write("orders", number, offset, offset)
                    session.operation_denied("READ", "Topic", f"{number}-{offset}")
                    offset += 1
                    if offset % 20 == 0:
                        time.sleep(0.005)
                denied[number] = offset

        def change(number: int) -> None:
            nonlocal changes
            for at in range(40):
                told = log.set_policy(policies[(number + at) % len(policies)], timeout=PATIENCE)
                with changed:
                    changes += bool(told)

        denied = [0] * 3
        emitters = [threading.Thread(target=emit, args=(number,)) for number in range(3)]
        changers = [threading.Thread(target=change, args=(number,)) for number in range(3)]
        for thread in emitters + changers:
            thread.start()
        for thread in changers:
            thread.join(PATIENCE)
        stop.set()
        for thread in emitters:
            thread.join(PATIENCE)
        log.flush(PATIENCE)
        stats = log.stats()
    assert stats.balanced
    table, lines = rows_of(tmp_path), lines_of(tmp_path)
    assert [(row["seq"], row["weight"]) for row in table] == [(line["seq"], line.get("weight", 1)) for line in lines]
    told = [json.loads(row["context"]) for row in table if row["action"] == "auditring.PolicyChanged"]
    assert len(told) == changes
    assert [one["previousDigest"] for one in told[1:]] == [one["digest"] for one in told[:-1]]
    assert sum(row["action"] == "OperationDenied" for row in table) == sum(denied)
    # Judged by nothing but the rows: no Read between a change to NO_READS and the next one.
    rules: Any = ()
    for row in table:
        if row["action"] == "auditring.PolicyChanged":
            rules = Policy.from_journaled(json.loads(row["context"])["policy"]).rules
        assert not (row["action"] == "Read" and rules == NO_READS.rules)
        assert not (row["action"] == "Write" and rules == NO_WRITES.rules)
        assert not (row["weight"] == 3 and len(rules) == 1 and rules[0].keep == Keep.OFF)


def test_a_pump_that_cannot_write_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    """The call gives up, nothing is half changed, and one that waits succeeds once the disk takes something again."""
    with auditring.open(tmp_path, segment_age=0.001, policy=NO_WRITES) as log, log.session() as session:
        log._live().journaled(PATIENCE)  # noqa: SLF001 - the birth is over
        with _Limit():
            session.read("while the disk is full", 0, 1, 1)
            until(lambda: log._live().troubled)  # noqa: SLF001 - the pump has met it
            with pytest.raises(auditring.JournalError, match="as it was, and stays so"):
                log.set_policy(NO_READS, timeout=0.2)
            assert log.policy.rules == NO_WRITES.rules
            session.read("still kept", 0, 1, 1)
            session.write("still off", 0, 1, 1)
            assert log.stats().off == 1
            waits = threading.Thread(target=log.set_policy, args=(NO_READS,), kwargs={"timeout": PATIENCE})
            waits.start()
            # What the change turns on is taken as soon as it is on its way.
            until(lambda: _taken(log, session))
            assert log.policy.rules == NO_WRITES.rules
        waits.join(PATIENCE)
        assert log.policy.rules == NO_READS.rules
        before = log.stats().off
        session.read("off", 0, 1, 1)
        assert log.stats().off == before + 1
        log.flush(PATIENCE)
        assert log.stats().balanced
    rows = rows_of(tmp_path)
    assert kinds(rows, "Read") == [("Read", "while the disk is full"), ("Read", "still kept")]
    assert [row["action"] for row in rows].count("auditring.PolicyChanged") == 1


def _taken(log: auditring.AuditLog, session: auditring.Session) -> bool:
    """Whether a write is not refused at the call."""
    before = log.stats().off
    session.write("on its way", 0, 1, 1)
    return log.stats().off == before


class _Limit:
    """A disk that takes nothing more: the process may write no file beyond a byte."""

    def __enter__(self) -> None:
        """From here on."""
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, self._before[1]))

    def __exit__(self, *_: object) -> None:
        """Up to here."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)
        signal.signal(signal.SIGXFSZ, self._handler)


def turn(root: Path) -> None:
    """In a child that will be killed: changes all the time, and emits all the time."""
    with auditring.open(root, sinks=(ParquetSink(), JsonlSink())) as log, log.session(id="s") as session:
        offset = 0

        def emit() -> None:
            nonlocal offset
            while True:
                session.read("orders", 0, offset, offset)
                session.operation_denied("READ", "Topic", "orders")
                offset += 1
                if offset % 20 == 0:
                    # All that is written is read back.
                    time.sleep(0.001)

        threading.Thread(target=emit, daemon=True).start()
        while True:
            log.set_policy(NO_READS)
            log.set_policy(Policy())


@pytest.mark.parametrize("after", [0.3, 0.6, 0.9])
def test_a_kill_at_any_moment_leaves_each_row_to_one_policy(tmp_path: Path, after: float) -> None:
    """What a reader of the dead process's journal shows is what the rows themselves say; and its counters balance."""
    child = multiprocessing.get_context("spawn").Process(target=turn, args=(tmp_path,))
    child.start()
    # By now there was a Read, and a change behind it.
    until(lambda: any(one["journaled"] > 50 for one in _core.outside(str(tmp_path))))
    assert child.pid is not None
    deadline = time.monotonic() + after
    until(lambda: time.monotonic() > deadline)
    os.kill(child.pid, signal.SIGKILL)
    child.join(PATIENCE)
    (counted,) = _core.outside(str(tmp_path))
    assert counted["accepted"] + counted["born"] == counted["journaled"]
    rows = query.connect(tmp_path).execute("SELECT seq, action, context->>'policy' FROM events ORDER BY seq").fetchall()
    off, changes, reads = False, 0, 0
    for _, action, policy in rows:
        if action == "auditring.PolicyChanged":
            off, changes = Policy.from_journaled(policy).rules == NO_READS.rules, changes + 1
        assert not (off and action == "Read")
        reads += action == "Read"
    assert changes > 0
    assert reads > 0


rules = st.builds(
    lambda action, resource, keep: Rule(action=action, resource=resource, keep=keep),
    st.sampled_from(["Read", "Write", "*", "OperationAllowed"]),
    st.sampled_from([None, "orders", "m*"]),
    st.sampled_from([Keep.ALL, Keep.OFF, Keep.SAMPLE(one_in=2), Keep.SAMPLE(one_in=3, by=None)]),
)
policies = st.builds(lambda rules: Policy(rules=rules), st.lists(rules, max_size=3))
steps = st.lists(st.one_of(policies, st.integers(1, 20), st.just("flush"), st.just("stumble")), max_size=12)


class _Stumbles(JsonlSink):
    """A sink that fails when it is told to, after rows were written."""

    stumbling = threading.Event()

    def commit(self) -> bytes:
        """Fails once as a disk would."""
        if self.stumbling.is_set():
            self.stumbling.clear()
            raise OSError("no luck")
        return super().commit()


@given(policies, steps)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_when_two_sinks_agree_and_nothing_protected_is_missing(
    tmp_path_factory: pytest.TempPathFactory, first: Policy, then: list[Any]
) -> None:
    """Changes, events, flushes and sinks that begin again, in any order: the same rows everywhere, and the balance."""
    root = tmp_path_factory.mktemp("audit")
    sinks = (
        ParquetSink(rotation=Rotation(rows=13)),
        _Stumbles(checkpoint=Checkpoint(rows=7)),
        JsonlSink(root / "plain", name="plain"),
    )
    denied = 0
    with auditring.open(root, policy=first, sinks=sinks, ring_bytes=1 << 20, segment_bytes=1 << 14) as log:
        with log.session(id="s") as session:
            for step in then:
                if isinstance(step, Policy):
                    log.set_policy(step)
                    assert log.policy.rules == step.rules
                elif isinstance(step, int):
                    for number in range(step):
                        topic = ("orders", "metrics", "other")[number % 3]
                        session.read(topic, 0, number, number)
                        session.write(topic, 0, number, number)
                        session.operation_allowed("READ", "Topic", topic)
                        session.operation_denied("READ", "Topic", topic)
                    denied += step
                elif step == "flush":
                    until(partial(deadlines.flushed, log))
                else:
                    _Stumbles.stumbling.set()
        _Stumbles.stumbling.clear()
        until(partial(deadlines.flushed, log))
        assert log.stats().balanced
    (counted,) = _core.outside(str(root))
    for sink in counted["sinks"].values():
        passed = sink["delivered"] + sink["sampled_out"] + sink["filtered_out"] + sum(sink["lost"].values())
        assert (passed, sink["pending"]) == (counted["journaled"], 0)
    table = [(row["seq"], row["weight"]) for row in rows_of(root)]
    for folder in ("jsonl", "plain"):
        lines = lines_of(root, folder)
        assert sorted((line["seq"], line.get("weight", 1)) for line in lines) == table
        assert sum(line["action"] == "OperationDenied" for line in lines) == denied

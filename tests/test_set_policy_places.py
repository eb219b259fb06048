"""Another policy where there is more than one of something: sinks, rings, processes, logs of one directory."""

import multiprocessing
from collections import Counter
from functools import partial
from pathlib import Path

import auditring
import deadlines
from auditring import Keep, Policy, Rule
from auditring.sinks import JsonlSink, ParquetSink
from policy_changes import NO_READS, PATIENCE, kinds
from sealed_rows import lines_of, rows_of

until = partial(deadlines.until, seconds=PATIENCE)
"""Waits for a condition, as long as these tests may."""


def test_sinks_keep_their_own_policies_and_fall_back_on_the_one_in_force(tmp_path: Path) -> None:
    """The first match in the sink's rules, else what the log says at that seq."""
    own = Policy(rules=[Rule(resource="own", keep=Keep.ALL)])
    sinks = (ParquetSink(), JsonlSink(policy=own))
    sampled = Policy(rules=[Rule(action="Read", keep=Keep.SAMPLE(one_in=1_000_000))])
    with auditring.open(tmp_path, sinks=sinks) as log, log.session() as session:
        for policy in (Policy(), sampled, Policy()):
            log.set_policy(policy)
            for topic in ("own", "other"):
                # The first after a change is kept whatever a sample says.
                session.read(topic, 0, 0, 0)
                session.read(topic, 0, 1, 1)
    of = Counter(topic for _, topic in kinds(rows_of(tmp_path), "Read"))
    lines = Counter(line["objectRef"]["topicName"] for line in lines_of(tmp_path) if line["action"] == "Read")
    assert of == {"own": 5, "other": 5}
    assert lines == {"own": 6, "other": 5}


def test_a_replaced_ring_goes_by_the_policy_in_force(tmp_path: Path) -> None:
    """Bits, rows and segment heads are those of the last change."""
    with auditring.open(tmp_path / "audit", ring_dir=tmp_path) as log, log.session() as session:
        log.set_policy(NO_READS)
        ring = Path(log._live().core.ring_path or "")  # noqa: SLF001 - where it lies
        ring.unlink()
        until(ring.exists)
        session.read("off", 0, 1, 1)
        assert log.stats().off == 1
        log.set_policy(Policy())
        session.read("kept", 0, 1, 1)
        log.flush(PATIENCE)
        assert log.stats().balanced
    assert kinds(rows_of(tmp_path / "audit"), "Read") == [("Read", "kept")]


def child_of(log: auditring.AuditLog) -> None:
    """In a forked child: by the policy in force, and another of its own."""
    assert log.policy.rules == NO_READS.rules
    with log.session() as session:
        session.read("off", 0, 1, 1)
        log.set_policy(Policy())
        session.read("of the child", 0, 1, 1)
    log.close(PATIENCE)


def test_a_forked_child_goes_by_the_policy_in_force(tmp_path: Path) -> None:
    """It opens its own log with it; what it changes is its own."""
    with auditring.open(tmp_path) as log, log.session() as session:
        log.set_policy(NO_READS)
        child = multiprocessing.get_context("fork").Process(target=child_of, args=(log,))
        child.start()
        child.join(PATIENCE)
        assert child.exitcode == 0
        session.read("off", 0, 1, 1)
        assert log.policy.rules == NO_READS.rules
        assert log.stats().off == 1
    assert kinds(rows_of(tmp_path), "Read") == [("Read", "of the child")]


def test_two_logs_of_one_directory_change_each_for_itself(tmp_path: Path) -> None:
    """A second `open` is a further writer, with its own policy."""
    with auditring.open(tmp_path) as one, auditring.open(tmp_path) as other:
        one.set_policy(NO_READS)
        assert other.policy.rules == ()
        for log in (one, other):
            with log.session(id=log.process) as session:
                session.read(log.process, 0, 1, 1)
        second = other.process
    assert kinds(rows_of(tmp_path), "Read") == [("Read", second)]

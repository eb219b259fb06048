"""Another policy while the log runs: one seq for everybody, bits in order, locked where it is locked, and the diff."""

import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
import deadlines
from auditring import ConfigError, Keep, LogClosed, Policy, PolicyLocked, Rotation, Rule, _core, query
from auditring.policy import diff
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from auditring.tail import Tail, Wanted
from sealed_rows import lines_of, rows_of

PATIENCE = 60.0
until = partial(deadlines.until, seconds=PATIENCE)
"""Waits for a condition, as long as these tests may."""
NO_READS = Policy(rules=[Rule(action="Read", keep=Keep.OFF)])
NO_WRITES = Policy(rules=[Rule(action="Write", keep=Keep.OFF)])


def kinds(rows: list[dict[str, Any]], *actions: str) -> list[tuple[str, Any]]:
    """Which of these actions, and on what, in order."""
    return [(row["action"], row["resource"]) for row in rows if row["action"] in actions]


def test_what_is_recorded_after_the_call_is_judged_by_the_new_policy(tmp_path: Path) -> None:
    """In the table, in lines, in fresh rows and in a tail; at the call what is off is refused, what is on is not."""
    with auditring.open(tmp_path, policy=Policy(seed=7), sinks=(ParquetSink(), JsonlSink())) as log:
        with log.session(id="s") as session:
            session.read("before", 0, 1, 1)
            log._live().journaled(PATIENCE)  # noqa: SLF001 - so that it is judged by the policy that was in force
            what = log.set_policy(NO_READS)
            assert str(what) == "rule 1 added: Rule(action='Read', keep=Keep.OFF)"
            session.read("off", 0, 1, 1)
            assert log.stats().off == 1
            log.set_policy(NO_WRITES)
            session.read("again", 0, 1, 1)
            session.write("off", 0, 1, 1)
            assert log.stats().off == 2
            log._live().journaled(PATIENCE)  # noqa: SLF001 - before any sink has sealed
            fresh = query.connect(tmp_path).execute("SELECT resource FROM events WHERE category = 'data'").fetchall()
            tailed = b"".join(Tail(tmp_path, Wanted(actions=["Read"]), json=True).history())
        assert log.policy == Policy(rules=NO_WRITES.rules, seed=7)
    shown = [("Read", "before"), ("Read", "again")]
    assert kinds(rows_of(tmp_path), "Read", "Write") == shown
    assert [
        (line["action"], line["objectRef"]["topicName"]) for line in lines_of(tmp_path) if line["category"] == "data"
    ] == shown
    assert fresh == [("before",), ("again",)]
    assert [json.loads(line)["objectRef"]["topicName"] for line in tailed.splitlines()] == ["before", "again"]


def test_the_row_carries_the_whole_policy_and_says_what_is_different(tmp_path: Path) -> None:
    """The policy reads back, its digests chain, and the same policy again is no row."""
    first = Policy(rules=[Rule(resource="a", keep=Keep.SAMPLE(one_in=3))], seed=5)
    second = Policy(rules=[Rule(resource="a", keep=Keep.OFF), *NO_READS.rules])
    with auditring.open(tmp_path, policy=first, balance=None) as log:
        assert log.set_policy(second)
        assert not log.set_policy(second)
        assert not log.set_policy(log.policy)
        log.set_policy(first)
    startup, *rows, _ = rows_of(tmp_path)
    told = [json.loads(row["context"]) for row in rows]
    assert [row["action"] for row in rows] == ["auditring.PolicyChanged"] * 2
    assert Policy.from_journaled(told[0]["policy"]) == Policy(rules=second.rules, seed=5)
    assert Policy.from_journaled(told[1]["policy"]) == first
    digests = [json.loads(startup["context"])["policyDigest"], told[0]["digest"], told[1]["digest"]]
    assert [one["previousDigest"] for one in told] == digests[:2]
    assert digests[0] == digests[2]
    assert told[0]["diff"].splitlines() == [
        "rule 1 changed: Rule(resource='a', keep=Keep.OFF), was Keep.SAMPLE(one_in=3)",
        "rule 2 added: Rule(action='Read', keep=Keep.OFF)",
    ]


def test_a_diff_says_what_was_added_removed_moved_and_changed() -> None:
    """By number, in the order of the rules, and whatever else is different."""
    a, b, c, d = (Rule(resource=name, keep=Keep.OFF) for name in "abcd")
    kept = Rule(resource="b", keep=Keep.ALL)
    what = diff(Policy(rules=[a, b, c], seed=1), Policy(rules=[c, a, kept, d], seed=2, allow_blind_spots=True))
    assert str(what).splitlines() == [
        "rule 1 moved, it was rule 3: Rule(resource='c', keep=Keep.OFF)",
        "rule 3 changed, rule 2 before: Rule(resource='b', keep=Keep.ALL), was Keep.OFF",
        "rule 4 added: Rule(resource='d', keep=Keep.OFF)",
        "seed: 2, was 1",
        "allow_blind_spots: True, was False",
    ]
    assert what.removed == ()
    assert diff(Policy(rules=[a, b]), Policy(rules=[a])).removed == ((2, b),)
    same = diff(Policy(rules=[a, a]), Policy(rules=[a, a]))
    assert not same
    assert str(same) == "nothing is different"


@given(*[st.lists(st.sampled_from("abcd"), max_size=5)] * 2)
def test_a_diff_accounts_for_every_rule_once(before: list[str], after: list[str]) -> None:
    """What stays, moves, changes and is removed are the old rules; what stays, moves, changes and is added the new."""
    old, new = ([Rule(resource=name, keep=Keep.OFF) for name in names] for names in (before, after))
    what = diff(Policy(rules=old), Policy(rules=new))
    both = len(what.moved) + len(what.changed)
    assert len(old) - both - len(what.removed) == len(new) - both - len(what.added) >= 0
    assert not what.changed, "rules of the same conditions are the same here"
    assert all(new[number - 1] == rule for number, rule in what.added)
    assert all(old[was - 1] == new[now - 1] == rule for was, now, rule in what.moved)
    assert bool(what) == (old != new)


def test_a_sample_stays_the_same_where_nobody_names_another_seed(tmp_path: Path) -> None:
    """A change that has nothing to do with it keeps the stories that were kept."""
    sampled = Rule(action="Read", keep=Keep.SAMPLE(one_in=4))
    log = auditring.open(tmp_path, policy=Policy(rules=[sampled]), sinks=(JsonlSink(),))
    with log, log.session(id="s") as session:
        for number in range(40):
            session.read(f"t{number}", 0, 0, 0)
        for rules in ([sampled], [*NO_WRITES.rules, sampled]):
            log.set_policy(Policy(rules=rules))
            for number in range(40):
                # The first after a change is kept whatever the sample says.
                session.read(f"t{number}", 0, 1, 1)
                session.read(f"t{number}", 0, 2, 2)
    rows = [line for line in lines_of(tmp_path) if line["action"] == "Read" and line.get("weight", 1) == 4]
    change = max(line["seq"] for line in lines_of(tmp_path) if line["action"] == "auditring.PolicyChanged")
    before, after = (
        {row["objectRef"]["topicName"] for row in rows if (row["seq"] > change) is later} for later in (False, True)
    )
    assert before == after
    assert before


def test_what_is_turned_off_is_off_for_events_that_are_declared_before_and_after(tmp_path: Path) -> None:
    """Declared and catalog's alike, and on again."""
    off = Policy(rules=[Rule(action="com.example.*", keep=Keep.OFF)])
    with auditring.open(tmp_path) as log, log.session() as session:
        before = log.declare("com.example.Before")
        log.set_policy(off)
        after = log.declare("com.example.After")
        before(session)
        after(session)
        assert log.stats().off == 2
        log.set_policy(Policy())
        before(session)
        after(session)
        assert log.stats().off == 2
    told = [row["action"] for row in rows_of(tmp_path) if row["category"] == "plugin"]
    assert told == ["com.example.Before", "com.example.After"]


def test_a_locked_policy_stays_and_the_attempt_is_an_event(tmp_path: Path) -> None:
    """An error that says so, a row that says what was wanted, and nothing else."""
    with auditring.open(tmp_path, policy=NO_WRITES, lock_policy=True) as log, log.session() as session:
        before = log.policy
        with pytest.raises(PolicyLocked, match="lock_policy=True"):
            log.set_policy(NO_READS)
        session.read("kept", 0, 1, 1)
        assert not log.set_policy(NO_WRITES), "the same again is no change, so there is nothing to refuse"
        assert log.policy == before
    rows = rows_of(tmp_path)
    (refused,) = [row for row in rows if row["action"] == "auditring.PolicyRefused"]
    assert (refused["outcome"], refused["status"]) == ("denied", "PolicyLocked")
    assert "rule 1 added: Rule(action='Read', keep=Keep.OFF)" in json.loads(refused["context"])["diff"]
    assert "auditring.PolicyChanged" not in {row["action"] for row in rows}
    assert kinds(rows, "Read") == [("Read", "kept")]
    with pytest.raises(ConfigError, match="lock_policy: True or False"):
        auditring.open(None, lock_policy="yes")  # type: ignore[arg-type]  # a mistake


def test_mistakes_are_told_before_anything_is_changed(tmp_path: Path) -> None:
    """What is no policy, what a row has no room for, and a log that is closed."""
    large = Policy(rules=[Rule(resource=f"topic-{number:040}", keep=Keep.OFF) for number in range(1000)])
    with auditring.open(tmp_path) as log:
        with pytest.raises(ConfigError, match="a Policy, not 'all'"):
            log.set_policy("all")  # type: ignore[arg-type]  # a mistake
        with pytest.raises(ConfigError, match="has room for 49152: some 400 rules"):
            log.set_policy(large)
        with pytest.raises(ConfigError, match="timeout"):
            log.set_policy(NO_READS, timeout=-1)
        with pytest.raises(ValueError, match="is set_policy"):
            log._live().core.post("auditring.PolicyChanged", policy="{}")  # noqa: SLF001 - no public way either
        many = Policy(rules=large.rules[:400])
        log.set_policy(many)
        assert log.policy.rules == many.rules
    with pytest.raises(LogClosed):
        log.set_policy(NO_READS)
    assert [row["action"] for row in rows_of(tmp_path)].count("auditring.PolicyChanged") == 1


def test_a_log_that_keeps_nothing_takes_a_policy(tmp_path: Path) -> None:
    """It judges nothing, and says which it has."""
    with auditring.open(None, policy=Policy(seed=3)) as log:
        assert log.set_policy(NO_READS)
        assert not log.set_policy(NO_READS)
        assert log.policy == Policy(rules=NO_READS.rules, seed=3)
    assert list(tmp_path.iterdir()) == []


def blind(log: auditring.AuditLog) -> list[str]:
    """What health notes of blind spots."""
    return [note for note in log.health().notes if "allow_blind_spots" in note]


def test_blind_spots_that_come_while_the_log_runs_are_told_and_go_again(tmp_path: Path) -> None:
    """A row that the policy itself cannot leave out, and a note for as long as it is in force."""
    nothing = Policy(rules=[Rule(keep=Keep.OFF)], allow_blind_spots=True, seed=1)
    with auditring.open(tmp_path, policy=Policy(seed=1), balance=None) as log:
        assert blind(log) == []
        log.set_policy(nothing)
        assert blind(log) == ["the log's policy may leave out protected events (allow_blind_spots)"]
        with log.session() as session:
            session.operation_denied("READ", "Topic", "orders")
        log.set_policy(Policy())
        assert blind(log) == []
        with log.session() as session:
            session.operation_denied("READ", "Topic", "seen")
    rows = rows_of(tmp_path)
    told = [row for row in rows if row["action"].startswith("auditring.")]
    assert [row["action"] for row in told] == [
        "auditring.PolicyChanged",
        "auditring.BlindSpots",
        "auditring.PolicyChanged",
    ]
    assert json.loads(told[1]["context"])["policy"].encode() == nothing.journaled(seed=0)
    assert kinds(rows, "OperationDenied") == [("OperationDenied", "seen")]


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
    until(lambda: any(tmp_path.glob("journal/*/*.journal")))
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


def flushed(log: auditring.AuditLog) -> None:
    """Flushes, whatever a sink that stumbles meanwhile makes of it: it comes back by itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return log.flush(PATIENCE)
        except auditring.SinkError:
            assert time.monotonic() < deadline


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
                    flushed(log)
                else:
                    _Stumbles.stumbling.set()
        _Stumbles.stumbling.clear()
        flushed(log)
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

"""Another policy while the log runs: one seq for everybody, bits in order, locked where it is locked."""

import json
from pathlib import Path

import pytest

import auditring
from auditring import ConfigError, Keep, LogClosed, Policy, PolicyLocked, Rule, query
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail, Wanted
from policy_changes import NO_READS, NO_WRITES, PATIENCE, kinds
from sealed_rows import lines_of, rows_of


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

"""Whatever policies, events, changes, failures and kills come together: balances hold, and sinks have the same rows.

More examples, and others each time: `AUDITRING_EXAMPLES=1000 pytest tests/test_policy_whole.py`.
"""

import json
import mmap
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import ConfigError, Keep, Policy, Rotation, Rule, WhenFull, _core, verify
from auditring.recovery import recover
from auditring.redaction import Drop, Hash, Redact, Truncate
from auditring.sinks import Checkpoint
from policy_stories import KINDS, PATIENCE, RING, TOPICS, Change, Close, Event, Events, Flush, Step, Teller, judge
from sealed_rows import lines_of, rows_of
from stumbling import MemorySink, StumblingJsonl, StumblingParquet

EXAMPLES = int(os.environ.get("AUDITRING_EXAMPLES", "0"))
MANY = settings(
    max_examples=EXAMPLES or 22, derandomize=not EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)
FEW = settings(
    max_examples=EXAMPLES // 5 or 3, derandomize=not EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)

# Windows divide each other, and are short beside the time that a story takes.
WINDOWS = (0.005, 0.01, 0.03)
BY = ("session", "resource", "partition", "principal", "virtual_cluster", "client_id", "peer", "tap")
CONDITIONS: dict[str, list[Any]] = {
    "action": [
        "Read", "Write", ("Read", "Write"), "Delete", "Operation*", "com.example.*", "Client*", "*",
        "Request*", "OperationDenied", "ClientSaslAuthFailure", "com.example.kms.KeyUsed",
    ],
    "category": ["data", "connection", "request", "plugin", ("data", "authorization")],
    "outcome": ["success", "allowed", "denied", "failure"],
    "resource": ["orders", "orders*", "metrics.*", ("orders", "orders.dlq")],
    "principal": ["svc-0", "svc-*"],
    "virtual_cluster": ["payments", "a*"],
    "peer": ["10.0.0.0/16", "10.1.0.7", "2001:db8::/32"],
}  # fmt: skip
NAMED = {"peer": "peer", "principal": "principal", "resource": "resource"}
SUMMED = ("records", "bytes", "duration_ns")

some_keys = st.none() | st.lists(st.sampled_from(BY), min_size=1, max_size=2, unique=True)
keeps = st.one_of(
    st.sampled_from([Keep.ALL, Keep.OFF]),
    st.builds(lambda n, by: Keep.SAMPLE(one_in=n, by=by), st.integers(1, 4), some_keys),
    st.builds(Keep.COALESCE, st.sampled_from(WINDOWS[:2])),
    st.builds(Keep.COALESCE, st.just(0.01)),
    st.builds(lambda window, by: Keep.FIRST(window, by=by), st.sampled_from(WINDOWS), some_keys),
)
redactions = st.sampled_from(
    [
        (),
        (),
        (Redact("client_id", Hash("env:AUDIT_KEY")), Redact("principal", Drop())),
        (Redact("peer", Truncate()), Redact("context.note", Drop())),
        (Redact("resource", Truncate(length=5)),),
    ]
)


@st.composite
def policies(draw: st.DrawFn, redact: Sequence[Redact] = ()) -> Policy:
    """Rules wide and narrow; those that cannot be, beside the others, are left away."""
    hidden = {one.field for one in redact}
    blind = draw(st.integers(0, 4)) == 0
    conditions = {name: st.sampled_from(values) for name, values in CONDITIONS.items() if name not in hidden}
    policy = Policy(seed=7, allow_blind_spots=blind, redact=redact)
    for _ in range(draw(st.integers(0, 4))):
        names = draw(st.lists(st.sampled_from(sorted(conditions)), max_size=2, unique=True))
        try:
            rule = Rule(keep=draw(keeps), **{name: draw(conditions[name]) for name in names})
            policy = Policy(rules=(*policy.rules, rule), seed=7, allow_blind_spots=blind, redact=redact)
        except ConfigError:
            continue
    return policy


@st.composite
def stories(draw: st.DrawFn, redact: Sequence[Redact] = ()) -> list[Step]:
    """Mostly events, of which most are Reads and Writes; now and then all else."""
    kinds = st.sampled_from([*KINDS, *["read", "write", "read"] * 3])
    of_events = st.builds(
        Events, st.integers(0, 2), kinds, st.integers(0, len(TOPICS) - 1), st.integers(1, 12), st.booleans()
    )
    steps = st.one_of(
        of_events,
        of_events,
        of_events,
        st.builds(Close, st.integers(0, 2)),
        st.builds(Change, policies(redact), st.booleans()),
        st.just(Flush()),
    )
    told: list[Step] = draw(st.lists(steps, min_size=4, max_size=24))
    return told


fails = st.frozensets(st.integers(1, 12), max_size=3)


@st.composite
def wholes(draw: st.DrawFn, *, killed: bool = False) -> dict[str, Any]:
    """A log's policy, a sink's own, the story, and when which sink fails."""
    # Who recovers has no key, and what a hash is asked for would be another event's.
    redact = draw(redactions.filter(lambda some: not killed or all(not isinstance(one.how, Hash) for one in some)))
    if RING is None or not _core.in_memory(RING):
        redact = ()
    own = draw(policies(redact))
    return {
        "policy": draw(policies(redact)),
        "own": Policy(rules=own.rules, seed=own.seed, allow_blind_spots=own.allow_blind_spots),
        "steps": draw(stories(redact)),
        "fails": [draw(fails) for _ in range(4)],
        "rows": draw(st.sampled_from([10, 40, 1000])),
        "segment": draw(st.sampled_from([1 << 13, 64 << 20])),
    }


def stumbling(sink: Any, at: frozenset[int]) -> Any:  # noqa: ANN401 - one of ours
    """A sink that fails at some of its calls."""
    sink.fails = at
    return sink


def file_sinks(whole: dict[str, Any]) -> list[Any]:
    """Tables and lines."""
    of_table, of_lines, *_ = whole["fails"]
    return [
        stumbling(StumblingParquet(rotation=Rotation(rows=whole["rows"])), of_table),
        stumbling(StumblingJsonl(checkpoint=Checkpoint(rows=7)), of_lines),
    ]


def opened(root: Path, whole: dict[str, Any], sinks: Sequence[Any]) -> auditring.AuditLog:
    """The log that is told the story."""
    return auditring.open(
        root,
        policy=whole["policy"],
        sinks=sinks,
        ring_bytes=1 << 20,
        ring_dir=RING,
        when_full=WhenFull(wait=None),
        segment_bytes=whole["segment"],
        balance=0.01,
    )


# What rows must say


def line_key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What a line says of a row."""
    offsets = line.get("offsets") or {}
    said = (line["eventId"], line["action"], line["outcome"], line.get("count", 1), line.get("weight", 1))
    return *said, offsets.get("first"), offsets.get("last"), line.get("records"), line.get("bytes")


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """The same of a row of a table."""
    said = (f"{row['process']}:{row['seq']}", row["action"], row["outcome"], row["count"], row["weight"])
    return *said, row["first_offset"], row["last_offset"], row["records"], row["bytes"]


def balanced_files(root: Path) -> int:
    """Each sealed file accounts for its range, ranges join; returns where they end."""
    after = 0
    for path in sorted(root.glob("events/*/*.parquet"), key=lambda path: path.name):
        metadata = pq.read_metadata(path).metadata
        said = {key.decode().removeprefix("auditring."): value for key, value in metadata.items()}
        first, last = int(said["first_seq"]), int(said["last_seq"])
        counts = pq.read_table(path, columns=["count"])["count"].to_pylist()
        left_out = sum(int(said[term]) for term in ("sampled_out", "filtered_out", "lost"))
        assert (first, sum(counts) + left_out) == (after, last - first + 1), path.name
        after = last + 1
    return after


def balances_are_true(rows: list[dict[str, Any]]) -> None:
    """The equations of docs/policy.md, by the rows alone."""
    for row in rows:
        if row["action"] not in {"auditring.Balance", "auditring.SinkBalance"} or row["count"] > 1:
            continue
        terms = Counter({key: value for key, value in json.loads(row["context"]).items() if isinstance(value, int)})
        n = terms.__getitem__
        assert n("journaled") == row["seq"] + 1
        if row["action"] == "auditring.Balance":
            assert n("offered") == n("claimed") + n("off") + n("dropped") + n("refused")
            assert n("claimed") == n("accepted") + n("torn")
            lost = n("lostUnreadable") + n("lostJournalGone") + n("lostRingGone")
            assert n("accepted") + n("born") == n("journaled") + lost + n("inRing")
        else:
            gone = n("lostBudget") + n("lostCorrupt") + n("lostRejected")
            passed = n("delivered") + n("merged") + n("sampledOut") + n("filteredOut")
            assert n("journaled") == passed + gone + n("pending")


def are_what_was_told(rows: list[dict[str, Any]], events: list[Event], own: Policy | None = None) -> None:
    """Nothing that is kept is missing or doubled, nothing that is off is there, and offsets are all covered."""
    ours = [row for row in rows if not row["action"].startswith(("auditring.", "Proxy"))]
    judged = [(event, judge(event, own)) for event in events]
    by_reason = Counter(row["reason"] for row in ours if row["count"] == row["weight"] == 1)
    for event, keep in judged:
        if event.protected and keep == {"all"}:
            assert by_reason[event.reason] == 1, event
    kinds = {(event.action, event.outcome) for event in events}
    assert {(row["action"], row["outcome"]) for row in ours} <= kinds
    for kind in kinds:
        found = [row for row in ours if (row["action"], row["outcome"]) == kind]
        keeps = [keep for event, keep in judged if (event.action, event.outcome) == kind]
        least, most = (
            sum(is_all({one not in {"off", "sample"} for one in keep}) for keep in keeps) for is_all in (all, any)
        )
        if any("sample" in keep for keep in keeps):
            assert sum(row["count"] for row in found) <= sum(keep != {"off"} for keep in keeps)
            assert sum(row["count"] for row in found if row["weight"] == 1) >= least
        else:
            assert all(row["weight"] == 1 for row in found), kind
            assert least <= sum(row["count"] for row in found) <= most, kind
        if all(len(keep) == 1 and keep <= {"all", "coalesce", "off"} for keep in keeps):
            covers(
                found, [event for event, keep in judged if (event.action, event.outcome) == kind and keep != {"off"}]
            )


def covers(rows: list[dict[str, Any]], events: list[Event]) -> None:
    """Of each session and partition every offset, as often as it was told."""
    found: Counter[Any] = Counter()
    for row in rows:
        if row["first_offset"] is not None:
            offsets = range(row["first_offset"], row["last_offset"] + 1)
            assert row["records"] == len(offsets), row
            found.update((row["session"], row["partition"], offset) for offset in offsets)
    told = Counter(
        (event.session, event.partition, offset)
        for event in events
        if event.offsets
        for offset in range(event.offsets[0], event.offsets[1] + 1)
    )
    assert found == told


# A process that comes to its end


def is_complete(root: Path, every: Path) -> None:
    """By `verify`; which starts a process each time, so that by default all are looked at together, at the end."""
    if EXAMPLES:
        report = verify.check(root)
        assert report.complete, report
    shutil.copytree(root, every, dirs_exist_ok=True)
    shutil.rmtree(root)


def one_to_its_end(root: Path, whole: dict[str, Any]) -> None:
    """Tables, lines, and rows in memory by the log's policy; two further sinks by one of their own."""
    *_, first, second = whole["fails"]
    memory = stumbling(MemorySink("memory", rows=5, checkpoint=11), first)
    own = [
        stumbling(MemorySink("own-a", rows=1000, checkpoint=9, policy=whole["own"]), second),
        MemorySink("own-b", rows=3, checkpoint=100, policy=whole["own"]),
    ]
    teller = Teller(whole["policy"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIT_KEY", "0123456789abcdef0123456789abcdef")
        patch.setattr("auditring.follower._FIRST_DELAY", 0.002)
        log = opened(root, whole, [*file_sinks(whole), memory, *own])
        for operation in teller.operations(log, whole["steps"]):
            operation()
        log.close(PATIENCE)
    stats = log.stats()
    assert stats.balanced, stats
    assert (stats.offered, stats.dropped, stats.refused) == (len(teller.events), 0, 0)
    assert all(sink.pending == 0 for sink in stats.sinks.values())
    tables, in_memory = rows_of(root), memory.rows()
    assert [row["seq"] for row in tables] == [row["seq"] for row in in_memory]
    assert tables == in_memory
    assert own[0].rows() == own[1].rows()
    assert [line_key(line) for line in lines_of(root)] == [row_key(row) for row in tables]
    assert balanced_files(root) == stats.journaled
    for sink in (memory, *own):
        for rows, covered, left_out in sink.safe:
            assert sum(row["count"] for row in rows) + left_out == covered
        assert stats.sinks[sink.name].delivered == len(sink.rows())
    are_what_was_told(tables, teller.events)
    are_what_was_told(own[0].rows(), teller.events, whole["own"])
    balances_are_true(tables)
    off = [event for event in teller.events if judge(event) == {"off"}]
    if all(len(judge(event)) == 1 for event in teller.events) and not blind(whole):
        assert stats.off + stats.sinks["parquet"].filtered == len(off)


def test_whatever_comes_together_balances_hold_and_sinks_agree(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each by its rows and files; then `verify` finds all of them complete."""
    every = tmp_path_factory.mktemp("every")

    @given(wholes())
    @MANY
    def holds(whole: dict[str, Any]) -> None:
        root = tmp_path_factory.mktemp("whole")
        one_to_its_end(root, whole)
        is_complete(root, every)

    holds()
    assert verify.check(every).complete


def blind(whole: dict[str, Any]) -> bool:
    """Whether any policy may leave out what the log says of itself."""
    changes = [step.policy for step in whole["steps"] if isinstance(step, Change)]
    return any(policy.allow_blind_spots for policy in (whole["policy"], *changes))


# A process that is killed


def child() -> None:
    """Tells a story, notes in a file how many operations returned, and is killed in the middle of it."""
    root, whole, after = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the test beside it
    with Path(root, "returned").open("r+b") as file:
        returned = mmap.mmap(file.fileno(), 8)
    log = opened(Path(root, "audit"), whole, file_sinks(whole))
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    # Over and over, until it is killed.
    for number, operation in enumerate(Teller(whole["policy"]).operations(log, whole["steps"] * 1000), 1):
        operation()
        returned[:] = number.to_bytes(8, "little")


def told(whole: dict[str, Any], operations: int) -> list[Event]:
    """What was offered by so many operations."""
    teller = Teller(whole["policy"])
    story = teller.operations(None, whole["steps"] * 1000)
    for _ in range(operations):
        next(story)
    return teller.events


def one_killed(root: Path, whole: dict[str, Any], after: float) -> None:
    """The story as far as it went is in tables and lines, the same in both, whoever brings it to its end."""
    (root / "returned").write_bytes(bytes(8))
    program = "import sys; sys.path[:0] = sys.argv[1:]; import test_policy_whole; test_policy_whole.child()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent), *sys.path],
        stdin=subprocess.PIPE,
    ) as process:
        process.communicate(pickle.dumps((str(root), whole, after)), PATIENCE)
    assert process.returncode == -signal.SIGKILL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditring.follower._FIRST_DELAY", 0.002)
        (recovered,) = recover(root / "audit", sinks=file_sinks(whole))
    assert (recovered.failed, recovered.behind) == (None, ())
    tables = rows_of(root / "audit")
    assert [line_key(line) for line in lines_of(root / "audit")] == [row_key(row) for row in tables]
    balanced_files(root / "audit")
    balances_are_true(tables)
    returned = int.from_bytes((root / "returned").read_bytes(), "little")
    try:
        are_what_was_told(tables, told(whole, returned))
    except AssertionError:
        # One was under way: it may have been accepted before it returned.
        are_what_was_told(tables, told(whole, returned + 1))


def test_whatever_is_killed_nothing_that_was_kept_is_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each by what had returned when it was killed; then `verify` finds all of them complete."""
    every = tmp_path_factory.mktemp("every")

    @given(whole=wholes(killed=True), after=st.floats(0.01, 0.4))
    @FEW
    def holds(whole: dict[str, Any], after: float) -> None:
        root = tmp_path_factory.mktemp("killed")
        one_killed(root, whole, after)
        is_complete(root / "audit", every)

    holds()
    assert verify.check(every).complete

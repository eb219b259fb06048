"""Declared events: as good as the catalog's, in every log, also a forked child's, and named wherever they are read."""

import inspect
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import EventConflict, EventTableFull, _core
from auditring.sinks import JsonlSink, ParquetSink

NAME = "com.example.kms.KeyUsed"


def rows_of(root: Path, *actions: str) -> list[dict[str, Any]]:
    """The rows of these actions, or all, by process and seq."""
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    chosen = (row for row in rows if not actions or row["action"] in actions)
    return sorted(chosen, key=lambda row: (row["process"], row["seq"]))


def declared(log: auditring.AuditLog) -> auditring.DeclaredEvent:
    """The event that most tests declare."""
    return log.declare(NAME, object_ref=("com.example.kek",), context=("alg", "bits"))


def test_fields_go_by_position_or_by_name_with_all_that_every_event_takes(tmp_path: Path) -> None:
    """Text in the order of the declaration; None is nothing; outcome, status and the rest by keyword."""
    with auditring.open(tmp_path) as log, log.session(id="c-1") as session:
        key_used = declared(log)
        by_name: dict[str, Any] = {"com.example.kek": "kek-7", "alg": None}
        key_used(session, "kek-7", "AES", "256")
        key_used(session, "kek-7", bits="256")
        key_used(session, **by_name)
        key_used(session, None, b"AES")
        key_used(session, "kek-8", status="KEY_DISABLED", reason="by hand", tap="inner", authority="decision")
        key_used(session, "kek-8", outcome="denied", context={"why": "policy"}, object_ref={"other": "x"})
    rows = rows_of(tmp_path, NAME)
    found = [(json.loads(row["object_ref"] or "{}"), json.loads(row["context"] or "{}")) for row in rows]
    kek = {"com.example.kek": "kek-7"}
    assert found == [
        (kek, {"alg": "AES", "bits": "256"}),
        (kek, {"bits": "256"}),
        (kek, {}),
        ({}, {"alg": "AES"}),
        ({"com.example.kek": "kek-8"}, {}),
        ({"com.example.kek": "kek-8", "other": "x"}, {"why": "policy"}),
    ]
    last = [(row["outcome"], row["status"], row["reason"], row["tap"], row["authority"]) for row in rows[-2:]]
    assert last == [
        ("failure", "KEY_DISABLED", "by hand", "inner", "decision"),
        ("denied", "Denied", None, None, None),
    ]


def test_an_event_that_is_declared_as_a_denial_has_its_status(tmp_path: Path) -> None:
    """The outcome of the declaration holds where a call says none, and is protected."""
    with auditring.open(tmp_path) as log, log.session() as session:
        log.declare("com.example.kms.KeyRefused", context=("why",), outcome="denied")(session, "policy")
    (row,) = rows_of(tmp_path, "com.example.kms.KeyRefused")
    assert (row["outcome"], row["status"]) == ("denied", "Denied")


def test_it_is_emitted_for_sessions_brokers_plugins_and_the_log(tmp_path: Path) -> None:
    """Each with all that the handle carries."""
    with auditring.open(tmp_path) as log, log.session(id="c-1") as session:
        key_used = declared(log)
        key_used(session, "kek-7")
        key_used(session.broker("10.0.0.5:9092", node_id=5), "kek-7")
        key_used(session.plugin(filter="com.example.kms.Encryption", namespace="com.example.kms"), "kek-7")
        key_used(log.plugin(filter="com.example.kms.Encryption", namespace="com.example.kms"), "kek-7")
        key_used(log, "kek-7")
        for foreign in (session, log):
            with pytest.raises(ValueError, match="namespace"):
                key_used(foreign.plugin(filter="org.example.Other", namespace="org.example"), "kek-7")
    told = [(row["session"], row["node_id"], row["origin"], row["filter"]) for row in rows_of(tmp_path, NAME)]
    assert told == [
        ("c-1", None, "client", None),
        ("c-1", 5, "client", None),
        ("c-1", None, "filter", "com.example.kms.Encryption"),
        (None, None, "filter", "com.example.kms.Encryption"),
        (None, None, "proxy", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        (("kek-7",), {}),
        ((None,), {}),
        ((..., 7), {}),
        ((..., "a", "b", "c", "d"), {}),
        ((..., "a"), {"com.example.kek": "b"}),
        ((..., "a"), {"unknown": "b"}),
        ((..., "a"), {"outcome": "maybe"}),
        ((..., "a"), {"context": {"auditring.cut": True}}),
        ((..., "a"), {"context": {"causeSession": "other"}}),
    ],
)
def test_a_mistake_raises_before_anything_is_recorded(
    tmp_path: Path, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """A missing session, a wrong type, too many, twice, unknown: nothing was offered."""
    with auditring.open(tmp_path, sinks=()) as log, log.session() as session:
        key_used: Any = declared(log)
        before = log.stats().offered
        with pytest.raises((TypeError, ValueError)):
            key_used(*[session if value is ... else value for value in arguments], **keywords)
        assert log.stats().offered == before


@pytest.mark.parametrize("value", ["", "a\x00b", "\ud800", "x" * 5000, b"\xff", "é" * 1000])
def test_values_off_the_wire_never_raise(tmp_path: Path, value: Any) -> None:  # noqa: ANN401 - whatever comes
    """They are made safe and marked."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log, log.session() as session:
        declared(log)(session, value, value)
    (row,) = rows_of(tmp_path, NAME)
    kept = json.loads(row["object_ref"])["com.example.kek"]
    assert len(kept.encode()) <= 1024
    assert "\x00" not in kept
    assert ("auditring." in row["context"]) == (kept != value)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("KeyUsed", {}),
        ("auditring.KeyUsed", {}),
        ("com.example.keyUsed", {}),
        (NAME, {"context": ("",)}),
        (NAME, {"context": ("a", "a")}),
        (NAME, {"context": ("a",), "object_ref": ("a",)}),
        (NAME, {"context": ("status",)}),
        (NAME, {"context": ("auditring.cut",)}),
        (NAME, {"context": ("causeSession",)}),
        (NAME, {"context": tuple(f"f{number}" for number in range(21))}),
        (NAME, {"context": "alg"}),
        (NAME, {"outcome": "maybe"}),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(name: str, fields: dict[str, Any]) -> None:
    """Names that are not one's own, fields that every event has or that are given twice, too many of them."""
    with auditring.open(None) as log, pytest.raises((TypeError, ValueError)):
        log.declare(name, **fields)


def test_a_full_table_refuses_and_what_is_declared_goes_on(tmp_path: Path) -> None:
    """256 events, or 64 KiB of definitions; the same again is none more; free-form events need no place."""
    with auditring.open(tmp_path) as log, log.session() as session:
        events = [log.declare(f"com.example.Event{number}", context=("a",)) for number in range(256)]
        with pytest.raises(EventTableFull):
            log.declare("com.example.TooMany")
        log.declare("com.example.Event7", context=("a",))
        for event in events:
            event(session, "x")
        session.emit("com.example.TooMany")
    assert {row["action"] for row in rows_of(tmp_path) if row["category"] == "plugin"} == {
        "com.example.TooMany",
        *(f"com.example.Event{number}" for number in range(256)),
    }
    with auditring.open(tmp_path / "wide") as log:
        wide = [f"{number}-{'x' * 250}" for number in range(20)]
        for number in range(12):
            log.declare(f"com.example.Wide{number}", context=wide)
        with pytest.raises(EventTableFull):
            log.declare("com.example.Wide12", context=wide)


def test_a_callable_is_of_every_log(tmp_path: Path) -> None:
    """A log that does not know the event is told of it by its first use; where it knows another, that is a conflict."""
    with auditring.open(tmp_path / "one") as one:
        key_used = declared(one)
        with auditring.open(tmp_path / "two") as two, two.session(id="two") as session:
            two.declare("com.example.kms.First")
            key_used(session, "kek-2")
            with one.session(id="one") as other:
                key_used(other, "kek-1")
        with auditring.open(None) as nothing, nothing.session() as session:
            key_used(session, "kek-3")
            assert nothing.stats().off == 2  # with ClientAccept
        with auditring.open(tmp_path / "three") as three, three.session() as session:
            three.declare(NAME)
            with pytest.raises(EventConflict):
                key_used(session, "kek-4")
    # Its log has gone; the next one takes it over.
    with auditring.open(tmp_path / "four") as four, four.session(id="four") as session:
        key_used(session, "kek-5")
    for name in ("one", "two", "four"):
        assert [row["session"] for row in rows_of(tmp_path / name, NAME)] == [name]
    with pytest.raises(auditring.LogClosed):
        key_used(session, "kek-6")


def test_a_callable_works_in_a_forked_child(tmp_path: Path) -> None:
    """The child's own log is told of the event by its first use; the parent's session raises there."""
    with auditring.open(tmp_path) as log, log.session(id="parent") as session:
        key_used = declared(log)
        key_used(session, "kek-7", "AES")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with pytest.raises(auditring.SessionClosed):
                    key_used(session, "kek-7")
                with log.session(id="child") as own:
                    key_used(own, "kek-7", "AES")
                    key_used(own, "kek-7", alg="AES")
                declared(log)(log, "kek-7", "AES")
                log.close(30)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        key_used(session, "kek-7", "AES")
    rows = rows_of(tmp_path, NAME)
    assert sorted(str(row["session"]) for row in rows) == ["None", "child", "child", "parent", "parent"]
    assert len({row["process"] for row in rows}) == 2
    assert all(json.loads(row["context"])["alg"] == "AES" for row in rows)


def test_names_are_known_in_fresh_rows_across_segments_and_in_one_batch_with_older_rows(tmp_path: Path) -> None:
    """A reader that began before the declaration, and one that begins in a later segment, both know the name."""
    with auditring.open(tmp_path, segment_bytes=4096, sinks=(ParquetSink(), JsonlSink())) as log:
        with log.session() as session:
            session.read("orders", 0, api="x" * 100)
            log._live().journaled(30)  # noqa: SLF001 - journaled before the declaration, and not yet in a file
            for number in range(5):
                event = log.declare(f"com.example.Event{number}", object_ref=("ref",), context=("detail",))
                for _ in range(40):
                    event(session, f"r{number}", f"d{number}", reason="x" * 100)
                log._live().journaled(30)  # noqa: SLF001 - in a segment of its own
        fresh = [
            row
            for batch in _core.Snapshot(str(tmp_path)).fresh([])
            for row in pa.record_batch(batch).to_pylist()
            if row["category"] == "plugin"
        ]
    expected = [
        (f"com.example.Event{number}", {"ref": f"r{number}"}, {"detail": f"d{number}"})
        for number in range(5)
        for _ in range(40)
    ]
    for rows in (fresh, [row for row in rows_of(tmp_path) if row["category"] == "plugin"]):
        found = [(row["action"], json.loads(row["object_ref"]), json.loads(row["context"])) for row in rows]
        assert found == expected
    lines = [json.loads(line) for path in tmp_path.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()]
    found = [(line["action"], line["objectRef"], line["context"]) for line in lines if line["category"] == "plugin"]
    assert found == expected


def test_a_ring_that_takes_the_place_of_a_deleted_one_knows_the_events(tmp_path: Path) -> None:
    """Definitions go along, so what is emitted into the new ring has its name."""
    with auditring.open(tmp_path) as log, log.session() as session:
        key_used = declared(log)
        core = log._live().core  # noqa: SLF001 - no public name for the ring's file
        assert core.ring_path is not None
        Path(core.ring_path).unlink()
        deadline = time.monotonic() + 30
        while not core.ring_linked:
            assert time.monotonic() < deadline
        key_used(session, "kek-7", "AES")
        log.declare("com.example.kms.Later")(session)
    assert [row["action"] for row in rows_of(tmp_path) if row["category"] == "plugin"] == [
        NAME,
        "com.example.kms.Later",
    ]


def test_losses_of_a_declared_event_are_told_by_its_name(tmp_path: Path) -> None:
    """What found no room is counted, and the row that tells says which event it was."""
    with auditring.open(tmp_path, ring_bytes=1 << 20, when_full=auditring.WhenFull(wait=0)) as log:
        key_used = log.declare(NAME, context=("padding",))
        with log.session() as session:
            while not log.stats().dropped:
                for _ in range(5000):
                    key_used(session, "x" * 1000)
    lost = [row for row in rows_of(tmp_path, "auditring.EventsLost") if NAME in row["context"]]
    assert lost
    assert {json.loads(row["context"])["class"] for row in lost} == {"droppable"}


def test_a_callable_tells_what_it_is() -> None:
    """Its name, its fields, and a signature where the names can stand in one."""
    with auditring.open(None) as log:
        event: Any = log.declare("com.example.kms.KeyUsed", object_ref=("kek",), context=("alg",))
        assert event.__name__ == "key_used"
        assert NAME in event.__doc__
        assert list(inspect.signature(event).parameters)[:3] == ["subject", "kek", "alg"]
        with pytest.raises(TypeError):
            type(event.__self__)()

"""Values that the hot call reads in place, and their neighbours that it does not: all are recorded as they are."""

import sys
from pathlib import Path

import auditring
from sealed_rows import rows_of

OFFSETS = sorted(
    {0, 1, 255, 256, 257, (1 << 63) - 1}
    | {(1 << bits) + by for bits in (15, 29, 30, 31, 45, 59, 60, 61, 62) for by in (-1, 0, 1)}
)
"""On both sides of every number of digits that an int can have."""
TOPICS = ["a", "orders", "o" * 7, "o" * 8, "o" * 16, "o" * 17, "o" * 249, "naïve", "Ω", "€ 5", "🦀", sys.intern("kept")]
"""Of every width that the characters of a str can have, and of the lengths at which the copy changes."""


def test_every_int_is_recorded_as_it_is(tmp_path: Path) -> None:
    """Offsets of no, one, two and three digits, small ones that the interpreter keeps, and new ones."""
    with auditring.open(tmp_path) as log, log.session(peer="10.0.0.1:4711") as session:
        for offset in OFFSETS:
            session.read("orders", 3, offset, (1 << 63) - 1, 42)
    rows = rows_of(tmp_path, "Read")
    assert [row["first_offset"] for row in rows] == OFFSETS
    assert {(row["partition"], row["last_offset"], row["client_correlation_id"]) for row in rows} == {
        (3, (1 << 63) - 1, 42)
    }


def test_every_str_is_recorded_as_it_is(tmp_path: Path) -> None:
    """Strings of every form, by the catalog's method and by a declared event's."""
    with auditring.open(tmp_path) as log, log.session(peer="10.0.0.1:4711") as session:
        used = log.declare("com.example.kms.KeyUsed", object_ref=("com.example.kek",))
        for topic in TOPICS:
            session.read(topic, 3, 1, 2, 42)
            used(session, topic)
    assert [row["resource"] for row in rows_of(tmp_path, "Read")] == TOPICS
    used_keys = [row["object_ref"] for row in rows_of(tmp_path, "com.example.kms.KeyUsed")]
    assert used_keys == [f'{{"com.example.kek":"{topic}"}}' for topic in TOPICS]


def test_the_references_to_none_are_counted_right(tmp_path: Path) -> None:
    """Ten thousand calls leave the references to None as they were (where it is counted at all)."""
    with auditring.open(tmp_path) as log, log.session(peer="10.0.0.1:4711") as session:
        session.read("orders", 3, 1, 2, 42)
        before = sys.getrefcount(None)
        for _ in range(10_000):
            session.read("orders", 3, 1, 2, 42)
        assert abs(sys.getrefcount(None) - before) < 1_000

"""Which files of a process count, and what their ranges leave open. Pure: nothing here reads a file.

What must always hold is what readers do: a file whose range lies inside another's does not count (compaction has merged
it). The same range twice is no compaction's work, and neither is a part of one.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditring.verify.tables import Table

__all__ = ["Gap", "Sorted", "gaps", "overlaps", "sort_out"]


@dataclasses.dataclass(frozen=True, slots=True)
class Sorted:
    """The files of a process by what they are."""

    counted: tuple[Table, ...]
    """In the order of their ranges."""
    covered: tuple[tuple[Table, Table], ...]
    """Each with the file that covers it."""
    doubled: tuple[tuple[Table, Table], ...]
    """Each with the file of the same range that counts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Seqs between two files that neither covers; `None` is before the first."""

    first_seq: int
    last_seq: int
    before: Table | None
    after: Table


def sort_out(tables: Iterable[Table]) -> Sorted:
    """Tell the files that count from those that another one covers or repeats."""
    counted: list[Table] = []
    covered: list[tuple[Table, Table]] = []
    doubled: list[tuple[Table, Table]] = []
    # The widest of those that begin at one seq comes first, and of two equal ones that with which nothing is wrong.
    for table in sorted(tables, key=lambda one: (one.first_seq, -one.last_seq, not one.sound, one.path)):
        last = counted[-1] if counted else None
        if last is None or table.last_seq > last.last_seq:
            counted.append(table)
        elif (table.first_seq, table.last_seq) == (last.first_seq, last.last_seq):
            doubled.append((table, last))
        else:
            covered.append((table, last))
    return Sorted(tuple(counted), tuple(covered), tuple(doubled))


def gaps(counted: Sequence[Table], since: int = 0) -> list[Gap]:
    """What no file covers, from `since` to the last file."""
    found: list[Gap] = []
    before: Table | None = None
    for table in counted:
        expected = since if before is None else before.last_seq + 1
        if table.first_seq > expected:
            found.append(Gap(expected, table.first_seq - 1, before, table))
        before = table
    return found


def overlaps(counted: Sequence[Table]) -> list[tuple[Table, Table]]:
    """Files that share a part of their ranges with the one before them."""
    pairs = itertools.pairwise(counted)
    return [(one, next_) for one, next_ in pairs if next_.first_seq <= one.last_seq]

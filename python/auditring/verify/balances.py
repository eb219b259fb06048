"""What the log says of its own balance, added up from its rows alone.

Each row `auditring.Balance` and `auditring.SinkBalance` is true at its own place, itself included: so its terms must
add up, go with its seq, and never go back.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["ACTIONS", "Balance", "backwards"]

PROCESS: Final = "auditring.Balance"
SINK: Final = "auditring.SinkBalance"
ACTIONS: Final = (PROCESS, SINK)

# Per row: what must be what. The terms are those of the protocol, by their names in `context`.
_EQUATIONS: Final = {
    PROCESS: (
        ("offered", ("claimed", "off", "dropped", "refused"), ()),
        ("claimed", ("accepted", "torn"), ()),
        (
            "journaled",
            ("accepted", "born"),
            ("lostUnreadable", "lostJournalGone", "lostRingGone", "inRing"),
        ),
    ),
    SINK: (
        (
            "journaled",
            (
                "delivered",
                "merged",
                "sampledOut",
                "filteredOut",
                "lostBudget",
                "lostCorrupt",
                "lostRejected",
                "pending",
            ),
            (),
        ),
    ),
}
_NEVER_LESS: Final = {
    PROCESS: ("offered", "claimed", "accepted", "off", "dropped", "refused", "born", "journaled"),
    SINK: ("cursor", "journaled", "delivered", "merged", "sampledOut", "filteredOut"),
}
_JUMP: Final = 1 << 32
"""Seqs that are left out where nobody knows how many rows a dead machine's ring held."""


@dataclasses.dataclass(frozen=True, slots=True)
class Balance:
    """One such row."""

    seq: int
    action: str
    sink: str | None
    terms: Mapping[str, Any]

    def of(self, term: str) -> int:
        """A term; one that is not there is none of anything."""
        value = self.terms.get(term)
        return value if isinstance(value, int) else 0

    def wrong(self) -> Iterator[str]:
        """What of it does not hold."""
        whose = self.action if self.sink is None else f"{self.action} of {self.sink}"
        for left, plus, minus in _EQUATIONS[self.action]:
            right = sum(map(self.of, plus)) - sum(map(self.of, minus))
            if self.of(left) != right:
                text = " + ".join(plus) + "".join(f" - {term}" for term in minus)
                yield f"{whose} at seq {self.seq} does not balance: {left} = {text}: {self.of(left)} ≠ {right}"
        left_out = self.seq + 1 - self.of("journaled")
        if left_out and left_out < _JUMP:
            yield f"{whose} at seq {self.seq} says that {self.of('journaled'):,} rows were journaled up to it"


def backwards(balances: Sequence[Balance]) -> Iterator[tuple[int, str]]:
    """Terms of a process's rows, in their order, that are less than before: the seq, and what is the matter."""
    last: dict[tuple[str, str | None], Balance] = {}
    for one in balances:
        before = last.get((one.action, one.sink))
        last[one.action, one.sink] = one
        for term in _NEVER_LESS[one.action] if before is not None else ():
            if before is not None and one.of(term) < before.of(term):
                text = f"{one.action}: {term} is {one.of(term):,} at seq {one.seq}, and was {before.of(term):,} before"
                yield one.seq, text

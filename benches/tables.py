"""Markdown tables as README and docs have them, and whether a target was met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that was promised; `least` tells whether it is a lower bound."""

    what: str
    measured: float
    bound: float
    least: bool = False
    unit: str = ""
    digits: int = 1

    @property
    def met(self) -> bool:
        """Whether the promise was kept."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def row(self) -> tuple[str, str, str, str]:
        """As a row of a table."""
        sign = "≥" if self.least else "≤"
        unit = f" {self.unit}" if self.unit else ""
        bound = f"{self.bound:,.{self.digits}f}".rstrip("0").rstrip(".") if self.digits else f"{self.bound:,.0f}"
        return (
            self.what,
            f"{self.measured:,.{self.digits}f}{unit}",
            f"{sign} {bound}{unit}",
            "yes" if self.met else "no",
        )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every column but the first is set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets(found: Iterable[Target]) -> str:
    """The promises, beside what was measured."""
    return table(("target", "measured", "wanted", "met"), [target.row() for target in found])


@dataclass(frozen=True, slots=True)
class Report:
    """What a section of `make bench` has to say."""

    title: str
    text: str
    promises: Sequence[Target] = ()

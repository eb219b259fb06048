"""What is different between two policies, in a form that a person can read: it stands in the log with every change.

What must always hold: a rule is in the order that decides, so one that only changed its place is told of as moved; and
whatever else a policy says is compared by its fields, so nothing that is new to a policy is left out here.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

__all__ = ["PolicyDiff", "diff"]


class _Policy(Protocol):
    """A policy: a dataclass with rules."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def rules(self) -> Sequence[Any]:
        """In order."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PolicyDiff:
    """What is different. Rules are counted from 1; `str()` says it all, a line each, and nothing is false."""

    added: tuple[tuple[int, object], ...] = ()
    """Each with its number in the new policy."""
    removed: tuple[tuple[int, object], ...] = ()
    """Each with its number in the old one."""
    moved: tuple[tuple[int, int, object], ...] = ()
    """Each with its number before and now: the order decides."""
    changed: tuple[tuple[int, int, object, object], ...] = ()
    """Rules of the same conditions that keep otherwise: numbers before and now, the rule before and now."""
    settings: tuple[tuple[str, object, object], ...] = ()
    """What a policy says beside its rules: name, before, now."""

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.added or self.removed or self.moved or self.changed or self.settings)

    def __str__(self) -> str:
        """A line for each difference, in the order of the rules."""
        lines = [(number, f"rule {number} added: {rule!r}") for number, rule in self.added]
        lines += [(number, f"rule {number} removed: {rule!r}") for number, rule in self.removed]
        lines += [(now, f"rule {now} moved, it was rule {before}: {rule!r}") for before, now, rule in self.moved]
        for before, now, old, new in self.changed:
            place = "" if before == now else f", rule {before} before"
            lines.append((now, f"rule {now} changed{place}: {new!r}, was {_keep(old)}"))
        said = [text for _, text in sorted(lines, key=lambda line: line[0])]
        said += [f"{name}: {now!r}, was {before!r}" for name, before, now in self.settings]
        return "\n".join(said) or "nothing is different"


def _keep(rule: object) -> str:
    return repr(getattr(rule, "keep", rule))


def diff(old: _Policy, new: _Policy) -> PolicyDiff:
    """What is different in `new`."""
    before, after = list(old.rules), list(new.rules)
    stays = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    gone = set(range(len(before))) - {block.a + at for block in stays for at in range(block.size)}
    come = set(range(len(after))) - {block.b + at for block in stays for at in range(block.size)}
    moved = _pairs(before, after, gone, come, lambda rule: rule)
    changed = _pairs(before, after, gone, come, _conditions)
    names = [field.name for field in dataclasses.fields(new) if field.name != "rules"]
    values = [(name, getattr(old, name, None), getattr(new, name)) for name in names]
    return PolicyDiff(
        added=tuple((at + 1, after[at]) for at in sorted(come)),
        removed=tuple((at + 1, before[at]) for at in sorted(gone)),
        moved=tuple((a + 1, b + 1, after[b]) for a, b in moved),
        changed=tuple((a + 1, b + 1, before[a], after[b]) for a, b in changed),
        settings=tuple(value for value in values if value[1] != value[2]),
    )


def _conditions(rule: Any) -> Any:  # noqa: ANN401 - a rule, whatever its conditions are
    return tuple((field.name, getattr(rule, field.name)) for field in dataclasses.fields(rule) if field.name != "keep")


def _pairs(
    before: Sequence[Any],
    after: Sequence[Any],
    gone: set[int],
    come: set[int],
    key: Any,  # noqa: ANN401 - of a rule
) -> list[tuple[int, int]]:
    """Rules that have gone and come with the same key; they are taken out of both."""
    waiting: dict[Any, list[int]] = {}
    for at in sorted(gone):
        waiting.setdefault(key(before[at]), []).append(at)
    found = []
    for at in sorted(come):
        places = waiting.get(key(after[at]))
        if places:
            found.append((places.pop(0), at))
    gone.difference_update(a for a, _ in found)
    come.difference_update(b for _, b in found)
    return found

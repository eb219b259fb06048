"""What is kept: for each kind of event and each sink, what the policies make of it.

What must always hold: nothing is decided here; each kind is given to the core, which says what it would say of the
event itself. What a rule asks for beside action, category and outcome is not known of a kind, and is told beside it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from auditring import _core
from auditring.policy import Policy

__all__ = ["Kind", "kinds", "said"]

_OUTCOMES: Final = ("failure", "denied")
_OWN: Final = "com.example.Own"
_FREE: Final = "FREEFORM"
_PLAIN: Final = {"action", "category", "outcome"}
_UNSAID: Final = ("category", "authority", "origin", "filter", "tap", "resource", "virtual_cluster", "peer")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What becomes of the events of one action and outcome in one sink."""

    action: str
    outcome: str
    keep: str
    """`all`, `off`, `sample`, `coalesce` or `first`."""
    one_in: int | None
    window: float | None
    """Seconds."""
    by: tuple[str, ...]
    decided_by: str
    """Whose rule, or why none is asked."""
    refused: bool
    """Whether the emit call itself refuses them, and counts them as off."""
    unless: tuple[str, ...]
    """Rules before it that ask for more, and so may decide about some of them."""


def kinds(log: Policy, own: Policy | None) -> Iterator[Kind]:
    """Every action of the catalog, and one of a plugin, with each outcome that it can have."""
    for action in _core.actions():
        name = _OWN if action["name"] == _FREE else action["name"]
        for outcome in dict.fromkeys([action["outcome"], *_OUTCOMES]):
            try:
                yield _kind(name, outcome, log, own)
            except ValueError:
                # The action's name says otherwise: there is no such event.
                continue


def _kind(action: str, outcome: str, log: Policy, own: Policy | None) -> Kind:
    event: dict[str, object] = {
        "action": action,
        "outcome": outcome,
        "principals": [],
        "status": False,
        **dict.fromkeys(_UNSAID),
    }
    of_log = _core.explain(log.journaled(seed=0), event)
    of_own = None if own is None else _core.explain(own.journaled(seed=0), event)
    asked = (
        [(log, of_log, "the log's policy")]
        if of_own is None or own is None
        else [
            (own, of_own, "its own policy"),
            (log, of_log, "the log's policy"),
        ]
    )
    # What the log turns off is in no sink; else the sink's rules are asked first.
    decisive, whose = (of_log, "the log's policy")
    if of_own is not None and of_log["keep"] != "off" and of_own["rule"] is not None:
        decisive, whose = of_own, "its own policy"
    return Kind(
        action=action,
        outcome=outcome,
        keep=decisive["keep"],
        one_in=decisive["one_in"],
        window=None if decisive["window_ns"] is None else decisive["window_ns"] / 1e9,
        by=tuple(decisive["by"] or ()),
        decided_by=_because(decisive, whose),
        refused=bool(of_log["refused"]),
        unless=tuple(_unless(asked)),
    )


def _because(answer: Mapping[str, Any], whose: str) -> str:
    if answer["rule"] is not None:
        return f"rule {answer['rule'] + 1} of {whose}"
    return str(answer["protected"] or "no rule")


def _unless(asked: Sequence[tuple[Policy, Mapping[str, Any], str]]) -> Iterator[str]:
    for policy, answer, whose in asked:
        if answer["protected"]:
            # Whatever else a rule asks for, it does not apply.
            continue
        for number, (kind, text) in enumerate(answer["rules"], start=1):
            if kind == "misses" and text not in _PLAIN:
                yield f"rule {number} of {whose}: {policy.rules[number - 1]!r}"


def said(kind: Kind) -> str:
    """What becomes of a kind, in a few words."""
    match kind.keep:
        case "all":
            return "kept"
        case "off":
            return "left out by the call itself, counted as off" if kind.refused else "left out, counted as filtered"
        case "sample":
            return f"1 in {kind.one_in:,}, with that weight"
        case "coalesce":
            return f"merged within {kind.window:g} s"
    return f"the first in {kind.window:g} s, the others merged"

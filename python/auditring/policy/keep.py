"""How much of some events is kept: a word with what it needs, in code, in TOML and in a rule's journaled form.

What must always hold: what is said the same in code and in TOML is the same value, with one form in the journal.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, Self

from auditring import _core, written
from auditring.config import Seconds, unknown_key
from auditring.exceptions import ConfigError

__all__ = ["SAID", "SHOWN", "Keep", "in_seconds"]

_MOST: Final = 2**32 - 1
_STORY: Final = ("session", "resource")
_EVENT: Final = "event"
_ACTION: Final = "action"
SHOWN: Final = "Keep.ALL, Keep.OFF, Keep.SAMPLE(one_in=n), Keep.COALESCE(window) or Keep.FIRST(window)"


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """How much of some events is kept: `ALL`, `OFF`, `SAMPLE(one_in=n)`, `COALESCE(window)` or `FIRST(window)`."""

    kind: str
    one_in: int = 1
    by: tuple[str, ...] = ()
    window_ns: int | None = None

    ALL: ClassVar["Keep"]
    """Every event is a row."""

    OFF: ClassVar["Keep"]
    """No event is a row. Lost: all but the number, which is `off` where the emit call itself refuses it, as it does
    with an action that the log's policy turns off whatever else the event says; else `filtered`."""

    @staticmethod
    def SAMPLE(*, one_in: int, by: str | Sequence[str] | None = _STORY) -> "Keep":  # noqa: N802 - stands beside ALL and OFF
        """One in `one_in` is kept, with that `weight`.

        `by` says one of what: events that agree in all of it (`session`, `resource`, `partition`, `principal`,
        `virtual_cluster`, `client_id`, `peer`, `tap`) are a story, which is kept whole or left out whole. `None`, or
        `"event"`, takes each event for itself.

        Which are kept is fixed by the policy's seed, so two sinks keep the same. The first Read and the first Write of
        a session on a resource are always rows, with weight 1. Lost: the other rows; `sum(count * weight)` stays an
        unbiased total.
        """
        if isinstance(one_in, bool) or not isinstance(one_in, int):
            raise ConfigError(f"Keep.SAMPLE: one_in is a whole number, not {type(one_in).__name__}")
        if not 1 <= one_in <= _MOST:
            raise ConfigError(f"Keep.SAMPLE: one_in is 1 to {_MOST}, not {one_in}")
        if by is None or by == _EVENT:
            return Keep("sample", one_in)
        names = _by("SAMPLE", by, _EVENT)
        if not names:
            raise ConfigError("Keep.SAMPLE: by names nothing; None takes each event for itself")
        return Keep("sample", one_in, names)

    @staticmethod
    def COALESCE(window: Seconds) -> "Keep":  # noqa: N802 - stands beside ALL and OFF
        """Reads, and Writes, whose offsets follow each other within `window` (at most 60 s) become one row.

        The row has `count`, first and last offset, summed `records`, `bytes` and `duration_ns`, `time` of the first and
        `end_time` of the last. Merged is what is alike in all else, of one session on one partition with nothing of
        the session on it in between. Lost: the single times, sizes and correlation ids; no event and no offset.
        A window tells when rows come, too: up to that much later, and a `flush` waits for it. What a merged row cannot
        say truly, stays a row by itself. Any other action is kept, or what a later rule says.
        """
        return Keep("coalesce", window_ns=_window("COALESCE", window))

    @staticmethod
    def FIRST(window: Seconds, *, by: str | Sequence[str] | None = _STORY) -> "Keep":  # noqa: N802 - stands beside ALL and OFF
        """The first event of its kind in each `window` (at most 300 s) as it is, all others of it as one row.

        A kind is what agrees in all of `by` (names as for `SAMPLE`; `None`: nothing more), and in action, outcome,
        authority and origin, which is always asked. The row of the others has their `count`, summed `records`, `bytes`
        and `duration_ns`, `time` of the first of them and `end_time` of the last. Lost: what is not the same in all
        of these, and offsets and correlation ids; no event is lost from the count.
        """
        return Keep("first", by=_by("FIRST", by, _ACTION), window_ns=_window("FIRST", window))

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], what: str = "Keep") -> Self:
        """As it stands in TOML: `keep` is a word, with `one_in`, `by` or `window` where it has them."""
        said = dict(values)
        keep = said.pop("keep", None)
        if not isinstance(keep, str) or keep not in _MADE:
            raise unknown_key(f"{what}.keep", keep, list(_MADE))
        make, needed, others = _MADE[keep]
        for name in said:
            if name not in SAID:
                raise unknown_key(what, name, {"keep", *SAID})
        if wrong := [name for name in said if name not in {needed, *others}]:
            raise ConfigError(f"{what}: keep = {keep!r} has no {' and no '.join(wrong)}")
        if needed is not None and needed not in said:
            raise ConfigError(f"{what}: keep = {keep!r} needs {needed}")
        if "window" in said:
            said["window"] = written.span(f"{what}.window", said["window"])
        made: Self = make(**said)
        return made

    def __repr__(self) -> str:
        """As it is written in code."""
        match self.kind:
            case "sample":
                said = [f"one_in={self.one_in}"]
            case "coalesce" | "first":
                said = [f"{in_seconds(self.window_ns)}"]
            case _:
                return f"Keep.{self.kind.upper()}"
        if self.kind != "coalesce" and self.by != _STORY:
            said.append(f"by={self.by or None!r}")
        return f"Keep.{self.kind.upper()}({', '.join(said)})"

    def form(self) -> dict[str, object]:
        """As it stands in a rule's journaled form."""
        form: dict[str, object] = {"keep": self.kind}
        if self.kind == "sample":
            form["one_in"] = self.one_in
        if self.kind in {"sample", "first"}:
            form["by"] = list(self.by)
        if self.window_ns is not None:
            form["window_ns"] = self.window_ns
        return form


def _by(what: str, by: str | Sequence[str] | None, nothing: str) -> tuple[str, ...]:
    """The names of what makes a story or a kind, in their order; `nothing` is the word for none of them."""
    known = _core.sample_by()
    names = () if by is None else (by,) if isinstance(by, str) else tuple(by)
    if names == (nothing,):
        return ()
    for name in names:
        if name not in known and not (what == "FIRST" and name == nothing):
            raise unknown_key(f"Keep.{what}: by", name, [*known, nothing])
    return tuple(name for name in known if name in names)


def _window(what: str, window: object) -> int:
    """A window in nanoseconds; that it can be one is said by the rule that it is in."""
    if isinstance(window, timedelta):
        return (window // timedelta(microseconds=1)) * 1000
    if isinstance(window, bool) or not isinstance(window, int | float) or not math.isfinite(window):
        raise ConfigError(f"Keep.{what}: a window is seconds, or a timedelta, not {window!r}")
    return round(window * 1e9)


def in_seconds(window_ns: int | None) -> float:
    """As it was most likely written."""
    seconds = (window_ns or 0) / 1e9
    return int(seconds) if seconds.is_integer() else seconds


Keep.ALL = Keep("all")
Keep.OFF = Keep("off")
SAID: Final = ("one_in", "by", "window")
_MADE: Final[Mapping[str, tuple[Callable[..., Any], str | None, tuple[str, ...]]]] = {
    "all": (lambda: Keep.ALL, None, ()),
    "off": (lambda: Keep.OFF, None, ()),
    "sample": (Keep.SAMPLE, "one_in", ("by",)),
    "coalesce": (Keep.COALESCE, "window", ()),
    "first": (Keep.FIRST, "window", ("by",)),
}
"""What each word in TOML makes, of what it needs and what it may have."""

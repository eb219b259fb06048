"""What a log keeps, said in Python or TOML and handed to Rust as canonical JSON, which is also what the journal holds.

Nothing is decided here: the decision is a pure function in Rust of the row and of these bytes, and Rust also says which
rules can be. What must always hold: a policy that exists is one that Rust takes, and the same policy is the same bytes.
"""

import dataclasses
import json
import math
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from auditring import _core, redaction, written
from auditring.config import Seconds, unknown_key
from auditring.exceptions import ConfigError
from auditring.policy_diff import PolicyDiff, diff
from auditring.redaction import Redact, RedactionKey, reference

__all__ = ["Keep", "Policy", "PolicyDiff", "Rule", "diff", "drawn_seed", "literal", "shorthand"]

_VERSION: Final = 2
_LATER: Final = 3
_RULES: Final = {2, 3}
"""Versions whose rules are read as they stand."""
_SEED_BITS: Final = 64
_MOST: Final = 2**32 - 1
_STORY: Final = ("session", "resource")
_EVENT: Final = "event"
_ACTION: Final = "action"
_SHOWN: Final = "Keep.ALL, Keep.OFF, Keep.SAMPLE(one_in=n), Keep.COALESCE(window) or Keep.FIRST(window)"

_Read = TypeVar("_Read")

Names = str | Sequence[str] | None
"""One name or several, each exact or a glob."""
Network = str | IPv4Network | IPv6Network | IPv4Address | IPv6Address
"""A network in CIDR notation, or one address."""


def literal(text: str) -> str:
    """The pattern of exactly this text, whatever stars, question marks and backslashes are in it."""
    return _core.literal(text)


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
            if name not in _SAID:
                raise unknown_key(what, name, {"keep", *_SAID})
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
                said = [f"{_seconds(self.window_ns)}"]
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


def _seconds(window_ns: int | None) -> float:
    """As it was most likely written."""
    seconds = (window_ns or 0) / 1e9
    return int(seconds) if seconds.is_integer() else seconds


Keep.ALL = Keep("all")
Keep.OFF = Keep("off")
_SAID: Final = ("one_in", "by", "window")
_MADE: Final[Mapping[str, tuple[Callable[..., Any], str | None, tuple[str, ...]]]] = {
    "all": (lambda: Keep.ALL, None, ()),
    "off": (lambda: Keep.OFF, None, ()),
    "sample": (Keep.SAMPLE, "one_in", ("by",)),
    "coalesce": (Keep.COALESCE, "window", ()),
    "first": (Keep.FIRST, "window", ("by",)),
}
"""What each word in TOML makes, of what it needs and what it may have."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Events that meet every condition are kept as `keep` says.

    A condition is a name or several, of which one must match. A text with `*` or `?` is a glob over the whole value,
    every other text is the value itself; see `literal`. An event that has no value meets no condition on it.
    """

    keep: Keep
    action: Names = None
    category: Names = None
    outcome: Names = None
    authority: Names = None
    origin: Names = None
    filter: Names = None
    tap: Names = None
    resource: Names = None
    principal: Names = None
    """By the name alone, or as `Type:name`."""
    virtual_cluster: Names = None
    peer: Network | Sequence[Network] | None = None
    """The client's address: networks like `10.0.0.0/8` or `2001:db8::/32`, or single addresses."""

    def __post_init__(self) -> None:
        """Checks every condition, and makes each a tuple."""
        if not isinstance(self.keep, Keep):
            raise ConfigError(f"Rule.keep: {_SHOWN}, not {self.keep!r}")
        for name in _CONDITIONS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _names(name, value))
        _check(_form([self], seed=0, allow_blind_spots=True), "Rule", "rule 1: ")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A rule as it stands in TOML: `keep` is a word, with `one_in`, `by` or `window` where it has them."""
        known = {"keep", *_SAID, *_CONDITIONS}
        for key in values:
            if key not in known:
                raise unknown_key("Rule", key, known)
        conditions = {name: value for name, value in values.items() if name in _CONDITIONS}
        said = {name: value for name, value in values.items() if name not in _CONDITIONS}
        return cls(keep=Keep.from_mapping(said, "Rule"), **conditions)  # type: ignore[arg-type]  # checked by the class

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form."""
        conditions = {name: list(getattr(self, name)) for name in _CONDITIONS if getattr(self, name) is not None}
        return {**conditions, **self.keep.form()}

    def __repr__(self) -> str:
        """As it is written in code: conditions, then what becomes of the events."""
        given = [(name, getattr(self, name)) for name in _CONDITIONS if getattr(self, name) is not None]
        shown = [f"{name}={value[0]!r}" if len(value) == 1 else f"{name}={value!r}" for name, value in given]
        return f"Rule({', '.join([*shown, f'keep={self.keep!r}'])})"


_CONDITIONS: Final = tuple(field.name for field in dataclasses.fields(Rule) if field.name != "keep")


def _names(name: str, value: object) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)
    plain = (str,) if name != "peer" else (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address)
    for one in several:
        if not isinstance(one, plain):
            raise ConfigError(f"Rule.{name}: a name or several, not {value!r}")
    if not several:
        raise ConfigError(f"Rule.{name}: no name at all, which nothing can match")
    return tuple(str(one) for one in several)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Rules: for each event the first that matches decides. What no rule matches is kept, but for category `request`.

    Denials, failures, authentication, administration, lifecycle and what the log says of itself are always kept: a wide
    rule does not apply to them, and one that names them is a mistake. Requests are matched only by rules that name
    `action` or `category`.
    """

    rules: Sequence[Rule] = ()
    seed: int | None = None
    """Of the samples: the same seed keeps the same. By default each log draws its own, and a sink's is its log's."""
    allow_blind_spots: bool = False
    """Rules apply to protected events, too. The log says so in a row, and its health in a note."""
    redact: Sequence[Redact] = ()
    """Values that never reach the disk; of a value that several are of, the first decides. The log's alone: a sink's
    policy has none, and sees what is left."""

    def __post_init__(self) -> None:
        """Checks the rules, each by itself and against what is protected."""
        rules = self.rules
        if isinstance(rules, Rule) or not isinstance(rules, Sequence):
            raise ConfigError(f"Policy.rules: a sequence of Rules, not {rules!r}")
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigError(f"Policy.rules: a sequence of Rules, and {rule!r} is none")
        object.__setattr__(self, "rules", tuple(rules))
        if self.seed is not None:
            _check_seed(self.seed)
        if not isinstance(self.allow_blind_spots, bool):
            raise ConfigError(f"Policy.allow_blind_spots: True or False, not {self.allow_blind_spots!r}")
        if isinstance(self.redact, Redact) or not isinstance(self.redact, Sequence):
            raise ConfigError(f"Policy.redact: a sequence of Redacts, not {self.redact!r}")
        for redact in self.redact:
            if not isinstance(redact, Redact):
                raise ConfigError(f"Policy.redact: a sequence of Redacts, and {type(redact).__name__} is none")
        object.__setattr__(self, "redact", tuple(self.redact))
        _check(self.journaled(seed=0), "Policy")
        reference(self.redact)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A policy as it stands in TOML: `seed`, `allow_blind_spots`, `rule` and `redact`, lists of tables."""
        known = {"rule", "redact", "seed", "allow_blind_spots"}
        for key in values:
            if key not in known:
                raise unknown_key("Policy", key, known)
        return cls._read(values, Redact.from_mapping)

    @classmethod
    def _read(cls, values: Mapping[str, object], of_redact: Callable[[Mapping[str, object]], Redact]) -> Self:
        said = dict(values)
        rules = _tables("rule", said.pop("rule", []), Rule.from_mapping)
        redact = _tables("redact", said.pop("redact", []), of_redact)
        return cls(rules=rules, redact=redact, **said)  # type: ignore[arg-type]  # checked by the class

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str]) -> Self:
        """A policy from a file, or from the text itself: a `str` of several lines is the text, any other a path.

        Raises `ConfigError`, also for a key that nobody knows, and `OSError`.
        """
        text = source if isinstance(source, str) and "\n" in source else Path(source).read_text(encoding="utf-8")
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"Policy: not TOML: {error}") from error
        return cls.from_mapping(values)

    @classmethod
    def from_journaled(cls, form: bytes | str) -> Self:
        """A policy as it stands in a log: in rows `auditring.PolicyChanged` and `auditring.BlindSpots`.

        Raises `ConfigError`, also for what only a later version knows.
        """
        try:
            said = json.loads(form)
        except ValueError as error:
            raise ConfigError(f"Policy: not JSON: {error}") from error
        version = said.pop("version", None) if isinstance(said, dict) else None
        if version == 1:
            said = {"seed": said["seed"], "rule": _rules_of_version_1(said)}
        elif version in _RULES and isinstance(said.get("rules"), list):
            said["rule"] = [_as_in_toml(rule) for rule in said.pop("rules")]
        else:
            raise ConfigError(f"Policy: version {version} is not known here")
        return cls._read(said, redaction.from_journaled)

    def journaled(self, *, seed: int) -> bytes:
        """The policy as canonical JSON: sorted keys, no spaces. `seed` stands where the policy has none of its own."""
        return _form(
            self.rules,
            seed=seed if self.seed is None else self.seed,
            allow_blind_spots=self.allow_blind_spots,
            redact=self.redact,
        )

    def kept(self, *, seed: int, redact: Sequence[Redact], key: RedactionKey | None) -> bytes:
        """The policy as a log that redacts keeps it: exact values of what is hashed are their hashes.

        `redact` is the log's, also for the policy of a sink. Raises `ConfigError` where a rule asks for a value that no
        event will have.
        """
        form = self.journaled(seed=seed)
        if not redact:
            return form
        try:
            compiled = _core.compile_policy(form, _canonical([one.form() for one in redact]), key)
        except ValueError as error:
            raise ConfigError(f"Policy: {error}") from None
        return _canonical(json.loads(compiled))


def _tables(name: str, given: object, read: Callable[[Mapping[str, object]], _Read]) -> list[_Read]:
    """What stands in TOML under `[[name]]`."""
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise ConfigError(f"Policy: each {name} is a table of its own, under [[{name}]]")
    made = []
    for number, one in enumerate(given, start=1):
        try:
            made.append(read(one))
        except ConfigError as error:
            raise ConfigError(f"{name} {number}: {error}") from error
    return made


def _form(rules: Sequence[Rule], *, seed: int, allow_blind_spots: bool, redact: Sequence[Redact] = ()) -> bytes:
    policy = {
        # What needs nothing of a later version is written as the earlier one, so that older readers go on.
        "version": _LATER if redact or any(rule.keep.window_ns is not None for rule in rules) else _VERSION,
        "seed": seed,
        "allow_blind_spots": allow_blind_spots,
        "rules": [rule.form() for rule in rules],
        **({"redact": [one.form() for one in redact]} if redact else {}),
    }
    return _canonical(policy)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _as_in_toml(rule: Mapping[str, object]) -> dict[str, object]:
    """A rule's journaled form as it stands in a file."""
    said = dict(rule)
    if "by" in said:
        said["by"] = said["by"] or None
    if "window_ns" in said:
        # To the nanosecond: a float has twelve digits more than a window has.
        said["window"] = _seconds(said.pop("window_ns"))  # type: ignore[arg-type]  # what it must be is checked by the rule
    return said


def _rules_of_version_1(said: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    every = {"keep": "all"}
    return [
        {"action": "Read", **said.get("read", every)},
        {"action": "Write", **said.get("write", every)},
        {"category": "request", **said.get("request", {"keep": "off"})},
    ]


def _check(policy: bytes, what: str, prefix: str = "") -> None:
    try:
        _core.check_policy(policy)
    except ValueError as error:
        raise ConfigError(f"{what}: {str(error).removeprefix(prefix)}") from None


def check_windows(log: bytes, own: bytes, what: str) -> None:
    """Raises `ConfigError` where the windows of a log's policy and of a sink's own do not end together."""
    try:
        _core.check_windows(log, own)
    except ValueError as error:
        raise ConfigError(f"{what}: with the log's policy: {error}") from None


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << _SEED_BITS:
        raise ConfigError(f"seed: a whole number from 0 to 2**{_SEED_BITS} - 1, not {seed!r}")


def drawn_seed() -> int:
    """A seed for a log that was given none."""
    return secrets.randbits(_SEED_BITS)


def shorthand(*, read: Keep | None, write: Keep | None, request: Keep | None, seed: int | None) -> Policy:
    """The policy that `read=`, `write=` and `request=` of `open` stand for; `None` says nothing."""
    for name, keep in (("read", read), ("write", write)):
        if keep is not None and not isinstance(keep, Keep):
            raise ConfigError(f"{name}: {_SHOWN}, not {keep!r}")
    if request not in {None, Keep.ALL, Keep.OFF}:
        raise ConfigError(f"request: Keep.ALL or Keep.OFF, not {request!r}")
    named = (("action", "Read", read), ("action", "Write", write), ("category", "request", request))
    rules = [Rule(keep=keep, **{field: name}) for field, name, keep in named if keep is not None]
    return Policy(rules=rules, seed=seed)

"""What a log keeps, said in Python or TOML and handed to Rust as canonical JSON, which is also what the journal holds.

Nothing is decided here: the decision is a pure function in Rust of the row and of these bytes, and Rust also says which
rules can be. What must always hold: a policy that exists is one that Rust takes, and the same policy is the same bytes.
"""

import dataclasses
import json
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import ClassVar, Final, Self, TypeVar

from auditring import _core, redaction
from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from auditring.policy_diff import PolicyDiff, diff
from auditring.redaction import Redact, RedactionKey, reference

__all__ = ["Keep", "Policy", "PolicyDiff", "Rule", "diff", "drawn_seed", "literal", "shorthand"]

_VERSION: Final = 2
_REDACTING: Final = 3
_RULES: Final = {2, 3}
"""Versions whose rules are read as they stand."""
_SEED_BITS: Final = 64
_MOST: Final = 2**32 - 1
_STORY: Final = ("session", "resource")
_EVENT: Final = "event"

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
    """How much of some events is kept: `Keep.ALL`, `Keep.OFF` or `Keep.SAMPLE(one_in=n)`."""

    kind: str
    one_in: int = 1
    by: tuple[str, ...] = ()

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
        known = _core.sample_by()
        names = (by,) if isinstance(by, str) else tuple(by)
        for name in names:
            if name not in known:
                raise unknown_key("Keep.SAMPLE: by", name, [*known, _EVENT])
        if not names:
            raise ConfigError("Keep.SAMPLE: by names nothing; None takes each event for itself")
        return Keep("sample", one_in, tuple(name for name in known if name in names))

    def __repr__(self) -> str:
        """As it is written in code."""
        if self.kind != "sample":
            return f"Keep.{self.kind.upper()}"
        by = "" if self.by == _STORY else f", by={self.by or None!r}"
        return f"Keep.SAMPLE(one_in={self.one_in}{by})"

    def form(self) -> dict[str, object]:
        """As it stands in a rule's journaled form."""
        sample = {"one_in": self.one_in, "by": list(self.by)} if self.kind == "sample" else {}
        return {"keep": self.kind, **sample}


Keep.ALL = Keep("all")
Keep.OFF = Keep("off")
_KEPT: Final = {"all": Keep.ALL, "off": Keep.OFF}


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
            raise ConfigError(f"Rule.keep: Keep.ALL, Keep.OFF or Keep.SAMPLE(one_in=n), not {self.keep!r}")
        for name in _CONDITIONS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _names(name, value))
        _check(_form([self], seed=0, allow_blind_spots=True), "Rule", "rule 1: ")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A rule as it stands in TOML: `keep` is a word, with `one_in` and `by` beside it for a sample."""
        known = {"keep", "one_in", "by", *_CONDITIONS}
        for key in values:
            if key not in known:
                raise unknown_key("Rule", key, known)
        conditions = {name: value for name, value in values.items() if name in _CONDITIONS}
        sample = {name: value for name, value in values.items() if name in {"one_in", "by"}}
        keep = values.get("keep")
        if isinstance(keep, str) and keep in _KEPT:
            if sample:
                raise ConfigError(f"Rule: keep = {keep!r} has no {' and no '.join(sample)}")
            return cls(keep=_KEPT[keep], **conditions)  # type: ignore[arg-type]  # checked by the class
        if keep != "sample":
            raise unknown_key("Rule.keep", keep, [*_KEPT, "sample"])
        if "one_in" not in sample:
            raise ConfigError("Rule: keep = 'sample' needs one_in")
        return cls(keep=Keep.SAMPLE(**sample), **conditions)  # type: ignore[arg-type]  # checked by both

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
            said["rule"] = [{**rule, "by": rule["by"] or None} if "by" in rule else rule for rule in said.pop("rules")]
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
        "version": _REDACTING if redact else _VERSION,
        "seed": seed,
        "allow_blind_spots": allow_blind_spots,
        "rules": [rule.form() for rule in rules],
        **({"redact": [one.form() for one in redact]} if redact else {}),
    }
    return _canonical(policy)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


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
            raise ConfigError(f"{name}: Keep.ALL, Keep.OFF or Keep.SAMPLE(one_in=n), not {keep!r}")
    if request not in {None, Keep.ALL, Keep.OFF}:
        raise ConfigError(f"request: Keep.ALL or Keep.OFF, not {request!r}")
    named = (("action", "Read", read), ("action", "Write", write), ("category", "request", request))
    rules = [Rule(keep=keep, **{field: name}) for field, name, keep in named if keep is not None]
    return Policy(rules=rules, seed=seed)

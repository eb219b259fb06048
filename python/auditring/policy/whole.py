"""A whole policy: rules in the order that decides, the seed of its samples, and what is redacted.

What must always hold: a policy that exists is one that Rust takes, its rules against what is protected included.
"""

import dataclasses
import json
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

from auditring import _core, redaction
from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from auditring.policy.form import READ, as_in_toml, canonical, check, form_of, rules_of_version_1
from auditring.policy.keep import SHOWN, Keep
from auditring.policy.rule import Rule
from auditring.redaction import Redact, RedactionKey, reference

__all__ = ["Policy", "drawn_seed", "shorthand"]

_SEED_BITS: Final = 64

_Read = TypeVar("_Read")


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
        check(self.journaled(seed=0), "Policy")
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
            said = {"seed": said["seed"], "rule": rules_of_version_1(said)}
        elif version in READ and isinstance(said.get("rules"), list):
            said["rule"] = [as_in_toml(rule) for rule in said.pop("rules")]
        else:
            raise ConfigError(f"Policy: version {version} is not known here")
        return cls._read(said, redaction.from_journaled)

    def journaled(self, *, seed: int) -> bytes:
        """The policy as canonical JSON: sorted keys, no spaces. `seed` stands where the policy has none of its own."""
        return form_of(
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
            compiled = _core.compile_policy(form, canonical([one.form() for one in redact]), key)
        except ValueError as error:
            raise ConfigError(f"Policy: {error}") from None
        return canonical(json.loads(compiled))


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
            raise ConfigError(f"{name}: {SHOWN}, not {keep!r}")
    if request not in {None, Keep.ALL, Keep.OFF}:
        raise ConfigError(f"request: Keep.ALL or Keep.OFF, not {request!r}")
    named = (("action", "Read", read), ("action", "Write", write), ("category", "request", request))
    rules = [Rule(keep=keep, **{field: name}) for field, name, keep in named if keep is not None]
    return Policy(rules=rules, seed=seed)

"""One rule of a policy: conditions on an event, and how much of those that meet all of them is kept.

What must always hold: a rule that exists is one that Rust takes, and each of its conditions is a tuple of names.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Self

from auditring import _core
from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from auditring.policy.form import check, form_of
from auditring.policy.keep import SAID, SHOWN, Keep

__all__ = ["Rule", "literal"]

Names = str | Sequence[str] | None
"""One name or several, each exact or a glob."""
Network = str | IPv4Network | IPv6Network | IPv4Address | IPv6Address
"""A network in CIDR notation, or one address."""


def literal(text: str) -> str:
    """The pattern of exactly this text, whatever stars, question marks and backslashes are in it."""
    return _core.literal(text)


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
            raise ConfigError(f"Rule.keep: {SHOWN}, not {self.keep!r}")
        for name in _CONDITIONS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _names(name, value))
        check(form_of([self], seed=0, allow_blind_spots=True), "Rule", "rule 1: ")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A rule as it stands in TOML: `keep` is a word, with `one_in`, `by` or `window` where it has them."""
        known = {"keep", *SAID, *_CONDITIONS}
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

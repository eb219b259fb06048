"""The journaled form of a policy: canonical JSON, the only one that Rust, the journal and a digest know.

What must always hold: the same policy is the same bytes; one that needs nothing of a later version is written as the
earlier one; and every version that ever was is read.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from auditring import _core
from auditring.exceptions import ConfigError
from auditring.policy.keep import Keep, in_seconds
from auditring.redaction import Redact

__all__ = ["READ", "as_in_toml", "canonical", "check", "check_windows", "form_of", "rules_of_version_1"]

_VERSION: Final = 2
_LATER: Final = 3
READ: Final = {2, 3}
"""Versions whose rules are read as they stand."""


class _Rule(Protocol):
    """A rule: what becomes of events, and how it stands here."""

    @property
    def keep(self) -> Keep:
        """How much is kept."""

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form."""


def form_of(rules: Sequence[_Rule], *, seed: int, allow_blind_spots: bool, redact: Sequence[Redact] = ()) -> bytes:
    """These rules and all else that a policy says, as canonical JSON."""
    policy = {
        # What needs nothing of a later version is written as the earlier one, so that older readers go on.
        "version": _LATER if redact or any(rule.keep.window_ns is not None for rule in rules) else _VERSION,
        "seed": seed,
        "allow_blind_spots": allow_blind_spots,
        "rules": [rule.form() for rule in rules],
        **({"redact": [one.form() for one in redact]} if redact else {}),
    }
    return canonical(policy)


def canonical(value: object) -> bytes:
    """Sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def as_in_toml(rule: Mapping[str, object]) -> dict[str, object]:
    """A rule's journaled form as it stands in a file."""
    said = dict(rule)
    if "by" in said:
        said["by"] = said["by"] or None
    if "window_ns" in said:
        # To the nanosecond: a float has twelve digits more than a window has.
        said["window"] = in_seconds(said.pop("window_ns"))  # type: ignore[arg-type]  # what it must be is checked by the rule
    return said


def rules_of_version_1(said: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    """The rules that stand for what the first version said of reads, writes and requests."""
    every = {"keep": "all"}
    return [
        {"action": "Read", **said.get("read", every)},
        {"action": "Write", **said.get("write", every)},
        {"category": "request", **said.get("request", {"keep": "off"})},
    ]


def check(policy: bytes, what: str, prefix: str = "") -> None:
    """Raises `ConfigError` where Rust does not take a policy; `prefix` is what its message need not repeat."""
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

"""Who may do what to which topic, from a TOML file of rules.

    [[allow]]
    principals = ["alice"]               # "*" is everybody
    operations = ["READ", "WRITE"]       # or "ALL"
    topics = ["orders", "logs-*"]

    [[deny]]
    ...

A denial wins over any permission, and what no rule allows is denied. As in Kafka, READ, WRITE, DELETE and ALTER allow
DESCRIBE as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from kafka_proxy.config import toml
from kafka_proxy.reading import read

if TYPE_CHECKING:
    from pathlib import Path

Operation = Literal["ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE"]

_DESCRIBES: Final = frozenset({"READ", "WRITE", "DELETE", "ALTER", "DESCRIBE"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; names may have `*`, `?` and `[…]` in them."""

    principals: tuple[str, ...]
    operations: tuple[Operation, ...]
    topics: tuple[str, ...]

    def about(self, principal: str, topic: str) -> bool:
        """Whether it is about this principal and this topic."""
        return ("*" in self.principals or principal in self.principals) and any(
            fnmatchcase(topic, pattern) for pattern in self.topics
        )


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The whole file."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


class Acl:
    """The rules of one virtual cluster."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError` and `OSError`."""
        self._rules = read(Rules, toml(path), str(path), path.parent)
        self.allows = lru_cache(maxsize=100_000)(self._allows)

    def _allows(self, principal: str, operation: Operation, topic: str) -> bool:
        """Whether `principal` may do that to `topic`."""
        exactly = {operation, "ALL"}
        enough = exactly | _DESCRIBES if operation == "DESCRIBE" else exactly
        for rule in self._rules.deny:
            if exactly & set(rule.operations) and rule.about(principal, topic):
                return False
        return any(enough & set(rule.operations) and rule.about(principal, topic) for rule in self._rules.allow)

"""At which level an event is logged: one level for all, but for what rules say of an action and an outcome."""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Self

from auditring import _core
from auditring.config import unknown_key
from auditring.exceptions import ConfigError

__all__ = ["LogAt", "level_of", "levels"]

OUTCOMES: Final = ("success", "failure", "denied", "allowed", "forwarded")
_OFF: Final = "OFF"
_NAMES: Final = re.compile(r"[A-Za-z0-9_.*?]+")

Names = str | Sequence[str] | None
"""A name, or several of which one must match; `*` and `?` make a glob over the whole name."""


def level_of(what: str, value: object) -> int | None:
    """A level's number; `None` for `"OFF"`. Raises `ConfigError`."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if not isinstance(value, str):
        raise ConfigError(f"{what}: a level's name, its number or {_OFF!r}, not {value!r}")
    if value.upper() == _OFF:
        return None
    known = logging.getLevelNamesMapping()
    level = known.get(value.upper())
    if not level:  # NOTSET is no level that a record could have
        raise unknown_key(what, value, [*(name for name, number in known.items() if number), _OFF])
    return level


@dataclasses.dataclass(frozen=True, slots=True)
class LogAt:
    """Events of these actions and outcomes are logged at another level, or not at all (`"OFF"`)."""

    log_at: str | int
    _: dataclasses.KW_ONLY
    action: Names = None
    outcome: Names = None
    level: int | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks all of it, and makes each condition a tuple."""
        object.__setattr__(self, "level", level_of("LogAt.log_at", self.log_at))
        if self.action is None and self.outcome is None:
            raise ConfigError("LogAt: an action or an outcome; the level of all others is the sink's log_at")
        actions = [action["name"] for action in _core.actions()]
        for name, known in (("action", actions), ("outcome", list(OUTCOMES))):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _names(f"LogAt.{name}", value, known))

    @classmethod
    def from_mapping(cls, values: object) -> Self:
        """A rule as it stands in TOML: `{ log_at = "OFF", action = ["Read", "Write"] }`."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"log.except: a table, not {values!r}")
        known = ("log_at", "action", "outcome")
        for key in values:
            if key not in known:
                raise unknown_key("log.except", key, known)
        if "log_at" not in values:
            raise ConfigError("log.except: log_at is missing")
        return cls(values["log_at"], action=values.get("action"), outcome=values.get("outcome"))

    def matches(self, action: str, outcome: str) -> bool:
        """Whether both conditions hold."""
        return _holds(self.action, action) and _holds(self.outcome, outcome)


def levels(log_at: int | None, rules: Sequence[LogAt], action: str, outcome: str) -> int | None:
    """The level of an event: of the first rule that matches, else `log_at`."""
    return next((rule.level for rule in rules if rule.matches(action, outcome)), log_at)


def _holds(names: Names, value: str) -> bool:
    return names is None or any(fnmatchcase(value, name) for name in names)


def _names(what: str, value: object, known: Sequence[str]) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)
    for name in several:
        if not isinstance(name, str) or _NAMES.fullmatch(name) is None:
            raise ConfigError(f"{what}: a name or several, not {value!r}")
        # A plugin's name may be any that has a package.
        ours = "." not in name or name.startswith("auditring.")
        if ours and not {"*", "?"} & set(name) and name not in known:
            raise unknown_key(what, name, known)
    if not several:
        raise ConfigError(f"{what}: no name at all, which nothing can match")
    return several

"""What was said, key by key, each with where it was said; the file's words and the environment's, one over the other.

What must always hold: the environment wins over the file, key by key; a key that nobody knows is a mistake with a
suggestion, wherever it stands.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Final

from auditring.config import unknown_key
from auditring.deployment.forms import shown
from auditring.deployment.keys import KEYS, SHORT
from auditring.deployment.lines import Place
from auditring.deployment.mistakes import Mistakes

__all__ = ["SINKS", "Setting", "Source", "flat", "siblings"]

SINKS: Final = "sink"
"""The list of tables that is read kind by kind."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One value, and who said it."""

    value: object
    """As it was said: TOML's value, or what the text of a variable stands for."""
    origin: str
    """The file and line, or the variable."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The file, as far as messages name it."""

    name: str
    lines: Mapping[Place, int]
    prefix: str = ""
    """What stands before a key, in messages: whose it is."""

    def at(self, *way: str | int) -> str:
        """Where something stands, by the nearest line that is known."""
        for end in range(len(way), 0, -1):
            if (line := self.lines.get(way[:end])) is not None:
                return f"{self.name}:{line}"
        return self.name

    def place(self, name: str, *way: str | int) -> str:
        """The same with what stands there, for a message."""
        line = self.at(*way).removeprefix(self.name).removeprefix(":")
        return f"line {line}, {self.prefix}{name}" if line else f"{self.prefix}{name}"


def flat(
    tree: Mapping[str, Any],
    source: Source,
    mistakes: Mistakes,
    keys: Collection[str] = KEYS.keys(),
    way: Place = (),
) -> dict[str, Setting]:
    """A tree of tables as settings by the names of their keys, as far as somebody knows them."""
    found: dict[str, Setting] = {}
    _flatten(tree, (), way, found, source, mistakes, keys)
    return found


def _flatten(
    tree: Mapping[str, Any],
    parts: tuple[str, ...],
    way: Place,
    found: dict[str, Setting],
    source: Source,
    mistakes: Mistakes,
    keys: Collection[str],
) -> None:
    for key, value in tree.items():
        here = ".".join((*parts, str(key)))
        at = (*way, key)
        if here in keys:
            found[here] = Setting(value, source.at(*at))
        elif here in SHORT and SHORT[here] in keys and isinstance(value, str):
            found[SHORT[here]] = Setting(value, source.at(*at))
        elif known := siblings(here, keys):
            if isinstance(value, Mapping):
                _flatten(value, (*parts, str(key)), at, found, source, mistakes, keys)
            else:
                mistakes.add(source.place(here, *at), f"a table with {', '.join(known)}, not {shown(value)}")
        else:
            above = ".".join(parts)
            around = siblings(above, keys) + ([SINKS] if not parts and not way else [])
            mistakes.add("", unknown_key(source.place(above or source.name, *at), key, around))


def siblings(table: str, keys: Collection[str]) -> list[str]:
    """What may stand in a table, in the order of the keys; `""` is the file itself."""
    prefix = f"{table}." if table else ""
    return list(dict.fromkeys(key[len(prefix) :].partition(".")[0] for key in keys if key.startswith(prefix)))

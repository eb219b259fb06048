"""The forms of values: what a key may be, in a file and as the text of a variable, and how it becomes what is meant.

What must always hold: a form takes any value whatever, and raises nothing but `ConfigError`, which says what is wanted
and leaves the place to whoever asked.
"""

import dataclasses
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from auditring import written
from auditring.config import Durability
from auditring.exceptions import ConfigError
from auditring.exposition import address

__all__ = [
    "COUNT",
    "DURABILITY",
    "LISTEN",
    "NAMES",
    "PATH",
    "PROBE",
    "SIZE",
    "SPAN",
    "SWITCH",
    "TABLE",
    "TABLES",
    "TEXT",
    "Form",
    "loose",
    "span_or",
    "words",
]

_SHOWN: Final = 60
_SWITCH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_POWER: Final = re.compile(r"power *\((.+)\)")


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """One kind of value."""

    what: str
    """As the documentation calls it."""
    read: Callable[[object, Path], object]
    """What is meant by a value of the file, in which relative paths start from the given directory."""
    text: Callable[[str], object] = str
    """The value of the file that the text of a variable stands for."""


def shown(value: object) -> str:
    """A value in a message: not longer than helps, and of what has parts none."""
    if isinstance(value, Mapping | list | tuple):
        return "a table" if isinstance(value, Mapping) else "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(value: object, _: Path) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"a text, not {shown(value)}")
    if not value:
        raise ConfigError("an empty text says nothing; leave the key out")
    return value


def _path(value: object, base: Path) -> Path:
    text = _text(value, base)
    if "\0" in text:
        raise ConfigError("a path has no NUL in it")
    return base / text


def _count(value: object, _: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"a whole number, not {shown(value)}")
    return value


def _size(value: object, _: Path) -> int:
    try:
        read = written.size("", value)
    except ConfigError:
        read = None
    if isinstance(read, bool) or not isinstance(read, int):
        raise ConfigError(f"{written.SIZE}, not {shown(value)}")
    return read


def _span(value: object, _: Path) -> float:
    try:
        read = written.span("", value)
    except ConfigError:
        read = None
    if isinstance(read, bool) or not isinstance(read, int | float) or not math.isfinite(read):
        raise ConfigError(f"{written.SPAN}, not {shown(value)}")
    return read


def _switch(value: object, _: Path) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"true or false, not {shown(value)}")
    return value


def _names(value: object, base: Path) -> tuple[str, ...]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        raise ConfigError(f"a list of names, not {shown(value)}")
    return tuple(_text(one, base) for one in several)


def _probe(value: object, base: Path) -> bool | tuple[str, ...]:
    return value if isinstance(value, bool) else _names(value, base)


def _table(value: object, _: Path) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"a table, not {shown(value)}")
    return value


def _tables(value: object, _: Path) -> Sequence[Mapping[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ConfigError(f"a list of tables, not {shown(value)}")
    return value


def _listen(value: object, base: Path) -> str:
    text = _text(value, base)
    address(text)
    return text


def _durability(value: object, base: Path) -> Durability:
    if value == Durability.PROCESS.name:
        return Durability.PROCESS
    match = _POWER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'"process", or "power(…)" with a span of time as in "power(100 ms)", not {shown(value)}')
    return Durability.POWER(_span(match[1], base))


def words(*known: str) -> Form:
    """One of several words."""

    def read(value: object, _: Path) -> str:
        if not isinstance(value, str) or value not in known:
            raise ConfigError(f"{' or '.join(known)}, not {shown(value)}")
        return value

    return Form(" or ".join(f'`"{word}"`' for word in known), read)


def span_or(word: str) -> Form:
    """A span of time, or the word for none, which becomes `None`."""

    def read(value: object, base: Path) -> float | None:
        return None if value == word else _span(value, base)

    return Form(f'a span of time, or `"{word}"`', read)


def loose(text: str) -> object:
    """A value of which nothing is known: what TOML takes it for, where it takes it for anything, else the text."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return read["value"] if read.keys() == {"value"} else text


def _whole(text: str) -> object:
    return int(text) if re.fullmatch(r"-?[0-9]{1,30}", text) else text


def _listed(text: str) -> object:
    read = loose(text)
    # A list without a name in it has to be written as one.
    return read if isinstance(read, list) else [one.strip() for one in text.split(",") if one.strip()] or [""]


def _switched(text: str) -> object:
    return _SWITCH.get(text.lower(), text)


def _probed(text: str) -> object:
    switched = _switched(text)
    return switched if isinstance(switched, bool) else _listed(text)


TEXT: Final = Form("a text", _text)
PATH: Final = Form("a path", _path)
COUNT: Final = Form("a whole number", _count, _whole)
SIZE: Final = Form("a size", _size)
SPAN: Final = Form("a span of time", _span)
SWITCH: Final = Form("true or false", _switch, _switched)
NAMES: Final = Form("a list of names", _names, _listed)
PROBE: Final = Form("true, false, or a list of names", _probe, _probed)
LISTEN: Final = Form("`HOST:PORT`", _listen)
TABLE: Final = Form("a table", _table, loose)
TABLES: Final = Form("tables", _tables, loose)
DURABILITY: Final = Form('`"process"` or `"power(…)"`', _durability)

"""The sinks of a deployment: `[[sink]]` tables, and what the environment says of them.

What must always hold: a sink is made of all that was said of it, or it is a mistake; and where a secret stands in plain
sight nobody is given the table, so that no message of any class can repeat it.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from auditring.deployment.environment import ForSink, matched, normal
from auditring.deployment.forms import SWITCH, loose
from auditring.deployment.keys import SINK
from auditring.deployment.literals import ADVICE, hidden, references, resolved, secrets_in
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.reading import Reader
from auditring.deployment.settings import SINKS, Setting, Source, flat
from auditring.exceptions import ConfigError
from auditring.policy import Policy
from auditring.sinks import Sink, registry
from auditring.sinks.mapping import configured, dotted, plain_types

__all__ = ["Configured", "sinks_of"]

_KIND: Final = "kind"
_POLICY: Final = "policy"
_TABLES: Final = "parquet"
_REFERENCE: Final = ("env", "file")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Configured:
    """One sink, as it was said."""

    kind: str
    sink: Sink
    settings: Mapping[str, Setting]
    """What was said of it, by key."""
    references: tuple[tuple[str, str], ...]
    """Where its secrets are."""


@dataclasses.dataclass(slots=True)
class _Table:
    """A sink's table while it is put together."""

    values: dict[str, Any]
    source: Source
    at: int | None
    """Which `[[sink]]` it is; `None`: the environment's own."""
    settings: dict[str, Setting]

    @property
    def name(self) -> str:
        """By which variables name it: its name, or its kind."""
        return str(self.values.get("name", self.values.get(_KIND, "")))


def sinks_of(
    tables: object, source: Source, said: Sequence[ForSink], base: Path, mistakes: Mistakes
) -> tuple[Configured, ...] | None:
    """All sinks; `None` where nobody has said anything of one, so that the default holds.

    What a file lists are all. Where none does, the environment adds to the default.
    """
    if tables is None and not said:
        return None
    if tables is not None and not (isinstance(tables, list) and all(isinstance(one, Mapping) for one in tables)):
        mistakes.add(source.place(SINKS, SINKS), "each sink is a table of its own, under [[sink]]")
        return None
    if tables is None:
        started = [_Table({_KIND: _TABLES}, source, None, {_KIND: Setting(_TABLES, "default")})]
    else:
        started = [_started(dict(copy.deepcopy(table)), source, number) for number, table in enumerate(tables)]
    _overlay(started, said, source, mistakes)
    made = [one for number, table in enumerate(started, start=1) if (one := _made(number, table, base, mistakes))]
    names = [one.sink.name for one in made]
    for name in sorted({name for name in names if names.count(name) > 1}):
        mistakes.add("", f"two sinks are named {name!r}: give one a name of its own, name = …")
    return tuple(made)


def _started(values: dict[str, Any], source: Source, number: int) -> _Table:
    settings = {str(key): Setting(value, source.at(SINKS, number, key)) for key, value in values.items()}
    return _Table(values, source, number, settings)


def _overlay(started: list[_Table], said: Sequence[ForSink], source: Source, mistakes: Mistakes) -> None:
    """Writes the variables' words over the tables', and begins those that only the environment has."""
    for one in said:
        if one.rest[-1] == _KIND and matched(one, [table.name for table in started]) is None:
            name = "__".join(one.rest[:-1])
            started.append(_Table({"name": name}, source, None, {"name": Setting(name, one.variable)}))
    # Its kind first: it says how the texts of the others are meant.
    for one in sorted(said, key=lambda one: one.rest[-1] != _KIND):
        found = matched(one, [table.name for table in started])
        if found is None:
            known = ", ".join(sorted(table.name for table in started)) or "none"
            mistakes.add(
                one.variable, f"there is no sink of that name (there are: {known}), and no variable says its kind"
            )
            continue
        name, way = found
        for table in started:
            if table.name == name:
                with mistakes.at(one.variable):
                    _say(table, way, one, mistakes)
                break


def _say(table: _Table, way: tuple[str, ...], said: ForSink, mistakes: Mistakes) -> None:
    """One variable's words, in its place; a key that is there under a name with other signs is that key."""
    at = table.values
    keys: list[str] = []
    way = _undotted(table, way)
    for part in way:
        keys.append(next((key for key in at if normal(str(key)) == normal(part)), part))
        if len(keys) == len(way):
            break
        inner = at.setdefault(keys[-1], {})
        if not isinstance(inner, dict):
            mistakes.add(said.variable, f"{'.'.join(keys)} is no table, so nothing is in it")
            return
        at = inner
    named = ".".join(keys)
    key = SINK.get(named)
    at[keys[-1]] = key.form.text(said.text) if key is not None else _text(table, keys, said.text)
    table.settings[named] = Setting(at[keys[-1]], said.variable)


def _class_of(table: _Table) -> type[Sink] | None:
    """The class of the table's kind; that there is none is said where the sink is made."""
    try:
        return registry.load(str(table.values.get(_KIND)))
    except ConfigError:
        return None


def _undotted(table: _Table, way: tuple[str, ...]) -> tuple[str, ...]:
    """The same way where what is left of it is one key with dots in it, or such a key and the word of a reference."""
    first, *rest = way
    if first not in getattr(_class_of(table), "dotted", ()) or not rest:
        return way
    table.values[first] = dotted(table.values.get(first, {}))
    last = rest.pop() if rest[-1] in _REFERENCE and len(rest) > 1 else None
    return (first, ".".join(rest)) if last is None else (first, ".".join(rest), last)


def _text(table: _Table, keys: Sequence[str], text: str) -> object:
    """The text of a variable as the kind's setting takes it."""
    if keys[-1] in _REFERENCE:
        return text
    if len(keys) > 1:
        return loose(text)
    made = _class_of(table)
    types = {str} if made is None else plain_types(made, keys[0])
    if {str, Path} & types:
        return text
    return SWITCH.text(text) if bool in types else loose(text)


def _made(number: int, table: _Table, base: Path, mistakes: Mistakes) -> Configured | None:
    kind = table.values.get(_KIND)
    label = f"sink {number}" + (f" ({kind})" if isinstance(kind, str) else "")
    way = () if table.at is None else (SINKS, table.at)
    place = table.source.place(label, *way) if way else label
    before = len(mistakes.found)
    for key in secrets_in({key: value for key, value in table.values.items() if key not in {_KIND, "name"}}):
        inner = table.source.place(f"{label}: {key}", *way, *key.split("."))
        mistakes.add(inner, f"is a secret in plain sight; {ADVICE}")
    source = dataclasses.replace(table.source, prefix=f"{label}: ")
    common: dict[str, Any] = {key: hidden(table.values[key]) for key in (_KIND, "name", _POLICY) if key in table.values}
    said = flat(common, source, mistakes, SINK.keys(), way)
    said = {name: Setting(one.value, table.settings.get(name, one).origin) for name, one in said.items()}
    reader = Reader(said, SINK, source, base, mistakes)
    policy = reader.policy()
    if _KIND not in table.values:
        mistakes.add(place, f"kind is missing; there are {', '.join(registry.kinds())}")
    if len(mistakes.found) > before:
        return None
    with mistakes.at(place):
        return _configured(str(kind), table, policy, base)
    return None


def _configured(kind: str, table: _Table, policy: Policy | None, base: Path) -> Configured:
    own = {key: value for key, value in table.values.items() if key not in {_KIND, _POLICY}}
    values = resolved(own, base)
    sink = configured(kind, values, policy, base)  # type: ignore[arg-type]  # a table stays one
    # Into the digest of the settings that `ProxyStartup` tells.
    canonical = json.dumps({_KIND: kind, **own}, sort_keys=True, default=str, separators=(",", ":"))
    sink.settings_digest = hashlib.sha256(canonical.encode()).hexdigest()  # type: ignore[attr-defined]  # see `digest_of`
    return Configured(kind=kind, sink=sink, settings=table.settings, references=tuple(references(values)))

"""Values made of settings: what `auditring.open` takes, from what was said.

What must always hold: a value that is wrong is told of at its place, and what stands beside it is read all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from auditring.config import Exempt, Retention, WhenFull
from auditring.deployment.keys import ELSEWHERE, KEYS, Key
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Setting, Source
from auditring.policy import Keep, Policy, Rule
from auditring.redaction import Redact
from auditring.scoping import check_scopes
from auditring.sinks.mapping import is_reference

__all__ = ["Reader", "arguments"]

_PLAIN: Final = tuple(name for name in KEYS if "." not in name)
_KEEPS: Final = ("read", "write", "request")
_WHEN_FULL: Final = "when_full"
_EXEMPT: Final = "exempt"
_SCOPES: Final = {name: key for name, key in ELSEWHERE.items() if key.startswith("metrics.")}


_Read = TypeVar("_Read")


class Reader:
    """Reads settings one by one, and remembers which could not be."""

    def __init__(
        self,
        settings: Mapping[str, Setting],
        keys: Mapping[str, Key],
        source: Source,
        base: Path,
        mistakes: Mistakes,
    ) -> None:
        self.settings = settings
        self.mistakes = mistakes
        self.source = source
        self.values: dict[str, object] = {}
        """What is meant, by key."""
        for name, setting in settings.items():
            with mistakes.at(self.place(name)):
                self.values[name] = keys[name].form.read(setting.value, base)

    def place(self, name: str) -> str:
        """Where a key was said, for a message."""
        origin = self.settings[name].origin if name in self.settings else ""
        line = origin.removeprefix(f"{self.source.name}:")
        shown = f"{self.source.prefix}{name}"
        if line.isdigit():
            return f"line {line}, {shown}"
        return f"{origin}, {shown}" if origin and origin != self.source.name else shown

    def group(self, table: str) -> dict[str, Any]:
        """The values of a table's keys, by their names in it; tables within are not among them."""
        prefix = f"{table}."
        found = {name.removeprefix(prefix): value for name, value in self.values.items() if name.startswith(prefix)}
        return {name: value for name, value in found.items() if "." not in name}

    def whole(self, table: str) -> bool:
        """Whether all that was said in a table could be read, so that it makes sense to go on with it."""
        return all(name in self.values for name in self.settings if name.startswith(f"{table}."))

    def place_of(self, table: str) -> str:
        """Where a table begins, for a message about all of it."""
        first = next((name for name in self.settings if name.startswith(f"{table}.")), table)
        return self.place(first).removesuffix(first.removeprefix(table))

    def policy(self, table: str = "policy") -> Policy | None:
        """The policy of a table, if it says one. Each rule that cannot be is a mistake of its own."""
        said = self.group(table)
        if not said or not self.whole(table):
            return None
        before = len(self.mistakes.found)
        for name, read in _TABLES:
            if name in said:
                said[name] = list(self.each(f"{table}.{name}", said[name], read))
        if len(self.mistakes.found) > before:
            return None
        with self.mistakes.at(self.place_of(table)):
            return Policy(
                rules=said.get("rule", ()),
                redact=said.get("redact", ()),
                seed=said.get("seed"),
                allow_blind_spots=said.get("allow_blind_spots", False),
            )
        return None

    def each(self, name: str, tables: Iterable[Mapping[str, object]], read: Callable[[Any], _Read]) -> Iterator[_Read]:
        """What a list of tables says, but for those that are mistakes."""
        for number, table in enumerate(tables, start=1):
            place = self.source.place(f"{name} {number}", *name.split("."), number - 1)
            with self.mistakes.at(
                place if self.settings[name].origin.startswith(self.source.name) else self.place(name)
            ):
                yield read(table)


def _redact(table: Mapping[str, object]) -> Redact:
    """A redaction, whose key may be named as every secret is."""
    key = table.get("key")
    if is_reference(key):
        ((scheme, where),) = key.items()
        return Redact.from_mapping({**table, "key": f"{scheme}:{where}"})
    return Redact.from_mapping(table)


_TABLES: Final[Sequence[tuple[str, Callable[[Any], object]]]] = (("rule", Rule.from_mapping), ("redact", _redact))


def arguments(reader: Reader) -> dict[str, Any]:
    """What `auditring.open` takes, but for the sinks, as far as anything was said of it."""
    mistakes = reader.mistakes
    made: dict[str, Any] = {name: reader.values[name] for name in _PLAIN if name in reader.values}
    for name in _KEEPS:
        if (said := reader.group(name)) and reader.whole(name):
            with mistakes.at(reader.place_of(name)):
                made[name] = Keep.from_mapping(said, name)
    if any(name.startswith(f"{_WHEN_FULL}.") for name in reader.settings) and reader.whole(_WHEN_FULL):
        with mistakes.at(reader.place_of(_WHEN_FULL)):
            made[_WHEN_FULL] = _when_full(reader)
    if (limits := reader.group("retention")) and reader.whole("retention"):
        with mistakes.at(reader.place_of("retention")):
            made["retention"] = Retention.from_mapping(limits)
    made |= (scopes := {name: reader.values[key] for name, key in _SCOPES.items() if key in reader.values})
    if scopes:
        with mistakes.at(reader.place_of("metrics")):
            check_scopes(scopes.get("label_scopes"), scopes.get("label_scope_limit", 1))
    if _EXEMPT in made:
        made[_EXEMPT] = list(reader.each(_EXEMPT, made[_EXEMPT], Exempt.from_mapping))
    if (policy := reader.policy()) is not None:
        made["policy"] = policy
        for name in (*_KEEPS, "seed"):
            if name in made:
                mistakes.add(reader.place_of(name), "not beside [policy], which says it all; put it into the policy")
    return made


def _when_full(reader: Reader) -> dict[str, WhenFull]:
    """For each class what is said of it, else what is said of both."""
    both = reader.group(_WHEN_FULL)
    return {one: WhenFull.from_mapping({**both, **reader.group(f"{_WHEN_FULL}.{one}")}) for one in WhenFull.CLASSES}

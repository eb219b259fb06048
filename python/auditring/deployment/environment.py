"""The environment's words: `AUDITRING_…`, a variable for every key, and the sinks' settings by the sinks' names.

What must always hold: a variable of ours that means nothing is a mistake with a suggestion, as a key in the file would
be; only what the table of keys says is ignored is passed over, and what a secret is named by.
"""

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from auditring.deployment.keys import CONFIG, IGNORED, KEYS, PREFIX, SHORT, variable
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import SINKS, Setting

__all__ = ["ForSink", "Variables", "by_name", "matched", "normal", "tell_unknown"]

_APART: Final = "__"
_NEAR: Final = 0.8
"""The same prefix makes all of them alike."""


@dataclasses.dataclass(frozen=True, slots=True)
class ForSink:
    """What a variable says of a sink."""

    variable: str
    rest: tuple[str, ...]
    """The sink's name, which may have the separator in it, and the way to the key."""
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Variables:
    """All that the environment says."""

    settings: Mapping[str, Setting]
    sinks: tuple[ForSink, ...]
    unknown: tuple[str, ...]
    """Variables that mean nothing, where they are not what a secret is named by."""


def by_name(environ: Mapping[str, str], mistakes: Mistakes) -> Variables:
    """The environment's settings."""
    settings: dict[str, Setting] = {}
    sinks, unknown = [], []
    ours = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    for name, text in sorted(ours.items()):
        if _ignored(name):
            continue
        if name == CONFIG:
            if not text:
                # Else whoever meant a file would get none of what it says.
                mistakes.add(name, "is empty; unset it, or name the file")
            continue
        if name != name.upper():
            unknown.append(name)
            continue
        parts = tuple(name.removeprefix(PREFIX).lower().split(_APART))
        dotted = ".".join(parts)
        key = KEYS.get(SHORT.get(dotted, dotted))
        if key is not None and "." not in "".join(parts):
            if not text:
                mistakes.add(name, "is empty; unset it, or say something")
            elif key.name in settings:
                mistakes.add(name, f"says the same as {settings[key.name].origin}; unset one of them")
            else:
                settings[key.name] = Setting(key.form.text(text), name)
        elif parts[0] == SINKS and len(parts) > 2 and all(parts):  # noqa: PLR2004 - the word, a name and a key
            sinks.append(ForSink(name, parts[1:], text))
        else:
            unknown.append(name)
    return Variables(settings, tuple(sinks), tuple(unknown))


def tell_unknown(variables: Variables, references: Collection[str], mistakes: Mistakes) -> None:
    """Tells of every variable of ours that means nothing. `references`: those that are the place of a secret."""
    for name in variables.unknown:
        if name not in references:
            mistakes.add(name, f"there is no such variable; {_meant(name)}")


def _ignored(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)


def _meant(name: str) -> str:
    if name != name.upper():
        return f"did you mean {name.upper()}?"
    known = [CONFIG, *map(variable, KEYS), *map(variable, SHORT)]
    if near := difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
        return f"did you mean {near[0]}?"
    return f"a key of a sink is {PREFIX}SINK__<name>__<KEY>; docs/configuration.md has all of them"


def normal(name: str) -> str:
    """A sink's name, or its key, as variables can have it."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def matched(said: ForSink, names: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
    """The sink that is meant, and the way to the key; the longest name that fits."""
    best: tuple[str, tuple[str, ...]] | None = None
    for name in names:
        parts = tuple(normal(name).split(_APART))
        if (
            said.rest[: len(parts)] == parts
            and len(said.rest) > len(parts)
            and (best is None or len(name) > len(best[0]))
        ):
            best = name, said.rest[len(parts) :]
    return best

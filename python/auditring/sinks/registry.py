"""Sinks by kind, as a configuration names them: ours, and those of packages with an entry point `auditring.sinks`.

What must always hold: nothing is imported but the kind that is asked for, so a package that is broken breaks nobody
who does not name it; and no package takes a kind from another, nor from us, without anybody being told.
"""

import difflib
import importlib
import inspect
import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from auditring.exceptions import ConfigError
from auditring.sinks.base import Sink

__all__ = ["GROUP", "OURS", "kinds", "load"]

GROUP: Final = "auditring.sinks"
OURS: Final[Mapping[str, str]] = {
    "jsonl": "auditring.sinks.jsonl:JsonlSink",
    "kafka": "auditring.sinks.kafka:KafkaSink",
    "log": "auditring.sinks.logging:LoggingSink",
    "parquet": "auditring.sinks.parquet:ParquetSink",
}
"""Our own, known here too: a source tree that is not installed has no entry points, or those of another version."""
_US: Final = "auditring"
_METHODS: Final = ("open", "start", "write", "commit", "close")


def kinds() -> list[str]:
    """Every kind that there is, ours and those of packages; none is imported for it."""
    return sorted({*OURS, *_theirs()})


def load(kind: str) -> type[Sink]:
    """The class of a kind. Raises `ConfigError`, which names the package whose fault it is, and the cause."""
    theirs = _theirs()
    claimed = theirs.get(kind, [])
    owners = [*([_US] if kind in OURS else []), *(_package(point) for point in claimed)]
    if len(owners) > 1:
        raise ConfigError(
            f"sink kind {kind!r} is claimed by {' and '.join(owners)}; which is meant is for nobody to guess: "
            "uninstall one, or have it renamed"
        )
    if kind in OURS:
        module, _, name = OURS[kind].partition(":")
        ours: type[Sink] = getattr(importlib.import_module(module), name)
        return ours
    if not claimed:
        near = difflib.get_close_matches(kind, known := kinds(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"there is no sink kind {kind!r}; {hint}")
    return _loaded(claimed[0])


def _theirs() -> dict[str, list[EntryPoint]]:
    """What packages claim, by kind; what our own metadata says is in the table above."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        if point.dist is None or _normal(point.dist.name) != _US:
            found.setdefault(point.name, []).append(point)
    return found


def _normal(name: str) -> str:
    """A package's name, as packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(point: EntryPoint) -> str:
    """Who says so, as a person knows it."""
    return point.value if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _loaded(point: EntryPoint) -> type[Sink]:
    where = f"sink kind {point.name!r} of {_package(point)} ({point.value})"
    try:
        loaded: object = point.load()
    except (Exception, SystemExit) as error:
        # Whatever a module does when it is imported is its own, also where it is a script that ends.
        raise ConfigError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not inspect.isclass(loaded):
        raise ConfigError(f"{where} is no class")
    if lacks := [name for name in _METHODS if not callable(getattr(loaded, name, None))]:
        raise ConfigError(f"{where} is no sink: {loaded.__qualname__} has no {' and no '.join(lacks)}")
    # The protocol has members that are no methods, so a class cannot be asked whether it is one.
    return cast("type[Sink]", loaded)

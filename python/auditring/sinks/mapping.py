"""A sink from its table: by its class' own `from_mapping`, else by the keyword arguments of its constructor.

What must always hold: a key that the class does not know is an error with a suggestion; a value is read as its
annotation says (paths from the file's folder, sizes and spans from texts); and a secret that is named by reference is
never read here, but handed on to a class that knows how to keep one.
"""

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from auditring import written
from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from auditring.policy import Policy
from auditring.sinks import registry
from auditring.sinks.base import Checkpoint, Sink

__all__ = ["STANDARD_OUTPUT", "arguments", "configured", "dotted", "is_reference", "plain_types"]

STANDARD_OUTPUT: Final = "-"
"""What is no path where a path is wanted."""
_REFERENCE: Final = ({"env"}, {"file"})
_BY_KEYWORD: Final = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def configured(kind: str, values: Mapping[str, object], policy: Policy | None, base: Path) -> Sink:
    """A sink of this kind; `values` is its table without `kind` and `policy`. Raises `ConfigError`."""
    made = registry.load(kind)
    try:
        sink = _made(made, values, base)
        if policy is not None:
            # Where it is asked for; see `policy_of`.
            sink.policy = policy  # type: ignore[attr-defined]  # no sink needs to have one
    except ConfigError:
        raise
    except Exception as error:
        # A class that somebody else wrote.
        raise ConfigError(f"{made.__qualname__}: {type(error).__name__}: {error}") from error
    if not isinstance(sink, Sink):
        raise ConfigError(f"{made.__qualname__} is no auditring.sinks.Sink; derive the class from that")
    return sink


def is_reference(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether this says where a secret is: `{ env = "NAME" }` or `{ file = "path" }`."""
    return isinstance(value, Mapping) and set(value) in _REFERENCE


def _made(made: type[Sink], values: Mapping[str, object], base: Path) -> Sink:
    hints = arguments(made)
    tables: Collection[str] = getattr(made, "dotted", ())
    values = {key: dotted(one) if key in tables else one for key, one in values.items()}
    own: Callable[[Mapping[str, object]], Sink] | None = getattr(made, "from_mapping", None)
    if own is not None:
        return own({key: _prepared(hints.get(key, object), key, value, base) for key, value in values.items()})
    said: dict[str, Any] = {}
    for key, value in values.items():
        if key == "name" and key not in hints:
            continue
        if key not in hints:
            raise unknown_key(made.__qualname__, key, [name for name in hints if name != "policy"])
        try:
            said[key] = _read(hints[key], key, value, base)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error
    sink = made(**said)
    if values.get("name", sink.name) != sink.name:
        raise ConfigError(f"name: a sink of this kind is named {sink.name!r}, and cannot be named otherwise")
    return sink


def dotted(value: object) -> object:
    """A table by whose keys somebody else's settings are named, which have dots: `sasl.username` is one key.

    Raises `ConfigError` where one key is said in two ways.
    """
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, object] = {}
    for key, one in value.items():
        inner = one if is_reference(one) else dotted(one)
        if isinstance(inner, Mapping) and not is_reference(one):
            found = {f"{key}.{name}": at for name, at in inner.items()}
        else:
            found = {str(key): inner}
        if twice := flat.keys() & found.keys():
            raise ConfigError(f"{min(twice)} is said twice, with its dots in quotes and without")
        flat |= found
    return flat


def _prepared(hint: object, key: str, value: object, base: Path) -> object:
    """A value for a class that reads its own table: texts with units, and values of ours, are read for it."""
    options = _options(hint)
    limits = [option for option in options if option is Checkpoint] if isinstance(value, Mapping) else []
    unit = isinstance(value, str) and not options & {str, object, Any}
    return _read(hint, key, value, base) if limits or unit else value


def arguments(made: type[Sink]) -> dict[str, object]:
    """What the constructor takes by keyword, each with its annotation."""
    constructor = made.__init__
    try:
        hints = typing.get_type_hints(constructor)
    except (NameError, AttributeError, TypeError):
        # Names that exist for type checkers alone.
        hints = {}
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return {one.name: hints.get(one.name, object) for one in parameters if one.kind in _BY_KEYWORD}


def plain_types(made: type[Sink], key: str) -> set[object]:
    """Of which types a setting may be, as far as the constructor says."""
    return _options(arguments(made).get(key, object))


def _options(hint: object) -> set[object]:
    """The types of which a value may be; of a generic one what it is generic in."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return {option for one in typing.get_args(hint) for option in _options(one)}
    if typing.get_origin(hint) is Literal:
        return {str}
    return {typing.get_origin(hint) or hint}


def _read(hint: object, key: str, value: object, base: Path) -> object:
    """A value as it is meant. What no rule speaks of goes to the class as it is."""
    options = _options(hint)
    if isinstance(value, Mapping):
        return _from_table(options, key, value, base)
    if not isinstance(value, str):
        _check(options, value)
        return tuple(value) if isinstance(value, list) else value
    if {os.PathLike, Path} & options:
        return value if value == STANDARD_OUTPUT else _path(value, base)
    if str in options or not options & {bool, int, float, timedelta}:
        return value
    if int in options and float not in options:
        return written.size(key, value)
    if float in options or timedelta in options:
        return written.span(key, value)
    raise ConfigError(f"true or false, not {value!r}")


def _path(value: str, base: Path) -> Path:
    if not value or "\0" in value:
        raise ConfigError(f"{value!r} is no path")
    return base / value


def _check(options: set[object], value: object) -> None:
    """Raises where a plain value is of a plain type that the annotation has not."""
    plain = options & {str, int, float, bool, os.PathLike, Path, timedelta}
    if object in options or Any in options or plain != options - {type(None)}:
        return
    fits = {float} & plain and isinstance(value, int) and not isinstance(value, bool)
    if not fits and type(value) not in plain:
        wanted = " or ".join(sorted(one.__name__ for one in plain if isinstance(one, type)))
        raise ConfigError(f"{wanted}, not {type(value).__name__}")


def _from_table(options: set[object], key: str, value: Mapping[str, object], base: Path) -> object:
    for option in options:
        if inspect.isclass(option) and (read := getattr(option, "from_mapping", None)) is not None:
            return read(value)
    for option in options:
        if inspect.isclass(option) and dataclasses.is_dataclass(option):
            return _dataclass(option, value, base)
    if is_reference(value):
        raise ConfigError(
            "the class takes this as plain text, and a secret is handed on by reference alone; its parameter has to be "
            "an auditring.secrets.Secret"
        )
    if options & {object, Any, dict, Mapping}:
        return value
    raise ConfigError(f"no table belongs under {key!r}")


def _dataclass(made: Any, value: Mapping[str, object], base: Path) -> object:  # noqa: ANN401 - any dataclass
    hints = typing.get_type_hints(made)
    known: Collection[str] = [field.name for field in dataclasses.fields(made)]
    said = {}
    for key, one in value.items():
        if key not in known:
            raise unknown_key(made.__qualname__, key, known)
        said[key] = _read(hints[key], key, one, base)
    return made(**said)

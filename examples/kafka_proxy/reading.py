"""Makes frozen dataclasses from what TOML gives, by their annotations; an unknown key is an error with a suggestion."""

from __future__ import annotations

import dataclasses
import difflib
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from auditring.config import unknown_key
from auditring.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def read(kind: type[T], values: Mapping[str, object], where: str, base: Path) -> T:
    """`kind` made of `values`; `where` is how errors name the place, paths are relative to `base`."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise unknown_key(where, key, fields)
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: {name} is missing")
    made = {key: _value(hints[key], value, f"{where}: {key}", base) for key, value in values.items()}
    try:
        return kind(**made)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _value(hint: Any, value: object, where: str, base: Path) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _value(arguments[0], value, where, base)  # X | None: TOML has no null
    if origin is Literal:
        if value not in arguments:
            raise _none_of(where, value, arguments) if isinstance(value, str) else _wrong(where, "a string", value)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_value(arguments[0], one, f"{where}[{index}]", base) for index, one in enumerate(value))
    if origin is dict:
        return {key: _value(arguments[1], one, f"{where}.{key}", base) for key, one in _table(where, value).items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read(hint, _table(where, value), where, base)
    wanted = (int, float) if hint is float else str if hint is Path else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(where, _NAMES[hint], value)
    return base / str(value) if hint is Path else value


def _table(where: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "a table", value)
    return value


def _none_of(where: str, value: str, choices: tuple[str, ...]) -> ConfigError:
    """Not the value: what stands in the wrong place may be a password."""
    near = difflib.get_close_matches(value, choices, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{where}: one of {', '.join(map(repr, choices))}{hint}")


def _wrong(where: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(f"{where}: {wanted}, not {type(value).__name__}")

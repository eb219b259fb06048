"""Sizes and spans of time as people write them, in files, variables and on the command line: `"256 MiB"`, `"5 min"`.

What must always hold: a text means one thing wherever it stands, and what is no text is handed on as it is, for the
setting itself to judge. K, M, G and T are powers of 1024, by whichever of their names.
"""

import re
from typing import Final

from auditring.exceptions import ConfigError

__all__ = ["SIZE", "SPAN", "size", "span"]

SIZE: Final = 'bytes as a number, or with a unit as "512 KiB", "256 MiB" or "10 GiB"'
SPAN: Final = 'seconds as a number, or with a unit as "500ms", "10 s", "5 min", "12h" or "30 d"'

_SIZE: Final = re.compile(r"([0-9]{1,19}) *([KMGT]?)(?:i?B)?")
_SIZES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SPAN: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) *([a-z]*)")
_SPANS: Final = {
    "ms": 1e-3,
    "": 1.0,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}


def size(what: str, value: object) -> object:
    """Bytes, where `value` is a text that says so; anything else stays. Raises `ConfigError`."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ConfigError(f"{what}: {SIZE}, not {value!r}")
    return int(match[1]) * _SIZES[match[2]]


def span(what: str, value: object) -> object:
    """Seconds, where `value` is a text that says so; anything else stays. Raises `ConfigError`."""
    if not isinstance(value, str):
        return value
    match = _SPAN.fullmatch(value.strip())
    if match is None or match[2] not in _SPANS:
        raise ConfigError(f"{what}: {SPAN}, not {value!r}")
    return float(match[1]) * _SPANS[match[2]]

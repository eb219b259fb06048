"""Secrets stand in no configuration: where one is wanted, it says where the secret is.

What must always hold: a literal that looks like a secret, by the name of its key or as the password in an address, is
refused before anybody else reads it, and no message repeats it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from auditring.sinks.mapping import is_reference

__all__ = ["ADVICE", "hidden", "references", "resolved", "secrets_in"]

ADVICE: Final = (
    'a secret is named by where it is: { env = "NAME" }, or { file = "path" } of a file that is its owner\'s alone'
)
_NAMES: Final = re.compile(
    r"(^|\.)(passwords?|passwd|passphrase|pass|pwd|secret|tokens?|bearer|credentials?|authorization|hmac"
    r"|(api|private|secret|access|account)\.?key|key\.pem|jaas\.config)$"
)
_HIDDEN: Final = "[secret]"
# A password may have signs in it that would have to be escaped; a port with a path behind it is none.
_ADDRESS: Final = re.compile(r"://[^/?#@\s]*:(?!\d+[/?#])[^@\s]+@")
_IN_WORDS: Final = re.compile(r"(?i)(^|[\s;&?])[a-z_ ]*(password|passwd|pwd|secret|accesskey|accountkey)\s*=\s*[^\s;&]")
"""A text of settings, as drivers of databases and clouds take them."""


def secrets_in(table: Mapping[str, object], way: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys, with dots, of what is a secret in plain sight."""
    for key, value in table.items():
        here = (*way, str(key))
        if isinstance(value, Mapping):
            if not is_reference(value):
                yield from secrets_in(value, here)
        elif _is_secret(here) or _in_address(value):
            yield ".".join(here)
        elif isinstance(value, list):
            for number, one in enumerate(value, start=1):
                if isinstance(one, Mapping):
                    yield from secrets_in(one, (*here, str(number)))


def hidden(value: object, way: tuple[str, ...] = ()) -> object:
    """The same without what is a secret in plain sight, for whoever may repeat what it does not understand."""
    if isinstance(value, Mapping) and not is_reference(value):
        return {key: hidden(one, (*way, str(key))) for key, one in value.items()}
    if isinstance(value, list):
        return [hidden(one, way) for one in value]
    literal = not isinstance(value, Mapping) and (_is_secret(way) or _in_address(value))
    return _HIDDEN if literal else value


def _is_secret(way: tuple[str, ...]) -> bool:
    return _NAMES.search(re.sub(r"[-_\s]", ".", ".".join(way).lower())) is not None


def _in_address(value: object) -> bool:
    several = value if isinstance(value, list) else [value]
    if any(isinstance(one, list) and _in_address(one) for one in several):
        return True
    return any(isinstance(one, str) and (_ADDRESS.search(one) or _IN_WORDS.search(one)) for one in several)


def resolved(value: object, base: Path) -> object:
    """The same, with each file that a reference names found from the configuration's folder."""
    if is_reference(value):
        return {
            key: str(base / one) if key == "file" and isinstance(one, str) and one else one
            for key, one in value.items()
        }
    if isinstance(value, Mapping):
        return {key: resolved(one, base) for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, base) for one in value]
    return value


def references(value: object) -> Iterator[tuple[str, str]]:
    """Every reference in here: `env` or `file`, and the name or the path; also in the form that redaction has."""
    if is_reference(value):
        ((scheme, where),) = value.items()
        if isinstance(where, str):
            yield scheme, where
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key == "key" and isinstance(one, str) and one.startswith(("env:", "file:")):
                scheme, _, where = one.partition(":")
                yield scheme, where
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)

"""Secrets by reference: where one is, never what it is.

What must always hold: no repr, no error and no text of any kind says anything of a secret; it is read when it is needed
and not kept, so one that was changed, or taken back and given again, counts from the next time on; and a file is read
only where nobody but its owner can.
"""

import dataclasses
import os
import stat
from collections.abc import Mapping
from typing import Final, Self

from auditring.config import unknown_key
from auditring.exceptions import ConfigError

__all__ = ["Secret", "contents", "scrubbed"]

_MOST: Final = 64 << 10
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_HIDDEN: Final = "[secret]"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """Where a secret is: in a variable of the environment, or in a file that its owner alone can read."""

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        """Checks that there is one place, and that it can be one."""
        places: list[object] = [place for place in (self.env, self.file) if place is not None]
        if len(places) != 1:
            raise ConfigError("a secret: one of env='NAME' and file='path'")
        (place,) = places
        if isinstance(place, os.PathLike) and self.file is not None:
            place = os.fspath(place)
            object.__setattr__(self, "file", place)
        if not isinstance(place, str) or not place or "\0" in place:
            raise ConfigError("a secret: env and file are names, and not empty")
        if self.env is not None and "=" in self.env:
            raise ConfigError("a secret: env is the name of a variable, not what it is set to")

    @classmethod
    def from_mapping(cls, values: object) -> Self:
        """A reference as it stands in TOML: `{env = "NAME"}` or `{file = "path"}`."""
        if not isinstance(values, Mapping):
            # Whatever stands there may be the secret itself: nothing of it is said.
            raise ConfigError(
                "a secret: {env = 'NAME'} or {file = 'path'}, and never the secret itself: that is for nobody to read"
            )
        for key in values:
            if key not in {"env", "file"}:
                raise unknown_key("a secret", key, {"env", "file"})
        return cls(**values)

    def __str__(self) -> str:
        """The reference, as errors name it."""
        return f"env:{self.env}" if self.env is not None else f"file:{self.file}"

    def read(self) -> str:
        """What is there now, without a newline at its end. Raises `ConfigError`, which says nothing of it."""
        if self.env is not None:
            value = _of_variable(self.env)
        else:
            value = contents(self.file or "", of="secret", most=_MOST, closed_to=_OTHERS)
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{self}: not UTF-8") from None
        if not text or "\0" in text:
            raise ConfigError(f"{self}: it is empty, or has a NUL in it")
        return text


def scrubbed(text: str, secrets: Mapping[str, str]) -> str:
    """A text of somebody else's without these secrets; `secrets` maps what each is for to what it is."""
    for value in sorted(secrets.values(), key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text


def _of_variable(name: str) -> bytes:
    value = os.environb.get(os.fsencode(name))
    if value is None:
        raise ConfigError(f"env:{name}: there is no such variable")
    return value.removesuffix(b"\n")


def contents(path: str, *, of: str, most: int, closed_to: int) -> bytes:
    """A small file that only those can get at who may, without a newline at its end: what it holds is `of` this kind.

    No bit of `closed_to` may be set in its mode. Raises `ConfigError`, which says nothing of what is in it.
    """
    try:
        # Not to wait for somebody to write into a pipe. Links are followed: that is how secrets are mounted.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"file:{path}: {error.strerror}") from None
    try:
        told = os.fstat(file)
        if not stat.S_ISREG(told.st_mode):
            raise ConfigError(f"file:{path}: not a file")
        if told.st_mode & closed_to:
            mode = f"{stat.S_IMODE(told.st_mode):04o}"
            raise ConfigError(f"file:{path}: mode {mode} lets others at the {of}; chmod 600 {path}")
        if told.st_size > most:
            raise ConfigError(f"file:{path}: {told.st_size} bytes are no {of}; at most {most}")
        value = b""
        while part := os.read(file, most + 1 - len(value)):
            value += part
        return value.removesuffix(b"\n").removesuffix(b"\r")
    finally:
        os.close(file)

"""What of an event never reaches the disk: which fields, what becomes of their values, and where the key is.

Nothing is redacted here: the pump does it, in Rust, before a byte is written. What must always hold: a key is named by
reference, read once when a log is opened, and stands in no representation, no error and no file.
"""

import dataclasses
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from auditring import _core
from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from auditring.secrets import contents

__all__ = ["Drop", "Hash", "How", "Redact", "RedactionKey", "Truncate", "check_ring", "read_key", "reference", "same"]

RedactionKey = _core.RedactionKey
"""A key in memory: what goes in never comes out."""

_LEAST_KEY: Final = 16
_MOST_KEY: Final = 4096
# A group may share a key: its processes hash alike.
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
_TMPFS: Final = Path("/dev/shm")  # noqa: S108 - where rings lie, for their owner alone
_ID: Final = "id"
_KEY_ID: Final = re.compile("[0-9a-f]{8}")
_IPV4: Final = 24
_IPV6: Final = 48


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """The value is left out. Lost: all of it, but that there was one."""

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form."""
        return {"how": "drop"}


@dataclasses.dataclass(frozen=True, slots=True)
class Truncate:
    """Of a text its first `length` characters stay, with `…` behind them; of a peer its network.

    A text that is no longer than `length` stays whole, so choose one that most are longer than. `ipv4` and `ipv6` are
    the bits of a peer's network, by default 24 and 48. Lost: the rest, and which of those that are alike it was.
    """

    length: int | None = None
    ipv4: int | None = None
    ipv6: int | None = None

    def __post_init__(self) -> None:
        """Checks that each is a whole number; how many can be is said where the field is known."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31
            ):
                raise ConfigError(f"Truncate.{field.name}: a whole number, not {value!r}")
            if field.name != "length" and value is not None and value >= 1 << 8:
                raise ConfigError(f"Truncate.{field.name}: bits of an address, not {value}")

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"how": "truncate", **{name: value for name, value in given.items() if value is not None}}


@dataclasses.dataclass(frozen=True, slots=True)
class Hash:
    """A keyed hash takes the value's place: equal values stay equal, and who has the key can find one again.

    `key` says where the key is, never what it is: `env:NAME`, a variable of the environment, or `file:/path`, a file
    that others cannot read. It is at least 16 random bytes; the end of a file's last line is not part of it. In the
    policy of an open log it is `id:` and the key's id, as rows have it. Lost: the value, to whoever has not the key.
    Who has it can try every value that might be.
    """

    key: str

    def __post_init__(self) -> None:
        """Checks the reference; the key itself is read when a log is opened."""
        given: object = self.key
        scheme, _, rest = given.partition(":") if isinstance(given, str) else ("", "", "")
        # Whatever this is, it may be the key itself: it is not repeated.
        if scheme == _ID and _KEY_ID.fullmatch(rest):
            return
        if scheme not in {"env", "file"} or not rest or "\0" in rest or "=" in rest * (scheme == "env"):
            raise ConfigError(
                "Hash.key: where the key is, as 'env:NAME' or 'file:/path'; the key itself belongs into neither code "
                "nor configuration"
            )
        if scheme == "file" and not Path(rest).is_absolute():
            raise ConfigError("Hash.key: 'file:' wants an absolute path, as 'file:/run/secrets/audit.key'")

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form, without the key's id, which nobody knows before the key is read."""
        return {"how": "hash"}


How = Drop | Truncate | Hash
"""What becomes of a value."""
_HOWS: Final = {"drop": Drop, "truncate": Truncate, "hash": Hash}


@dataclasses.dataclass(frozen=True, slots=True)
class Redact:
    """The values of `field` become what `how` says, before anything of them is on a disk.

    `field`: `peer`, `principal`, `client_id`, `resource`, `reason`, `context.<key>` or `object_ref.<key>`. A row's
    `context` says what was done to it: under `auditring.redacted` which fields, under `auditring.key_id` by which key.
    """

    field: str
    how: How

    def __post_init__(self) -> None:
        """Checks field and treatment together."""
        if not isinstance(self.field, str):
            raise ConfigError(f"Redact.field: a name, not {self.field!r}")
        if isinstance(self.how, type) or not isinstance(self.how, How):
            raise ConfigError("Redact.how: Drop(), Truncate(…) or Hash(key='env:NAME')")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A redaction as it stands in TOML: `field`, the word `how`, and what that needs beside it."""
        how = values.get("how")
        if not isinstance(how, str) or how not in _HOWS:
            raise unknown_key("Redact.how", how, _HOWS)
        made = _HOWS[how]
        wanted = {field.name for field in dataclasses.fields(made)}
        for key in values:
            if key not in {"field", "how", *wanted}:
                raise unknown_key(f"Redact with how = {how!r}", key, {"field", "how", *wanted})
        if "field" not in values:
            raise ConfigError("Redact: which field?")
        if made is Hash and "key" not in values:
            raise ConfigError("Redact: how = 'hash' needs key, as 'env:NAME' or 'file:/path'")
        said = {name: value for name, value in values.items() if name in wanted}
        return cls(values["field"], made(**said))  # type: ignore[arg-type]  # checked by both

    def form(self) -> dict[str, object]:
        """As it stands in the journaled form."""
        form = {"field": self.field, **self.how.form()}
        if isinstance(self.how, Truncate) and self.field == "peer":
            return {"ipv4": _IPV4, "ipv6": _IPV6, **form}
        return form


def reference(redact: Sequence[Redact]) -> str | None:
    """Where the key of all these is; `None` where nothing is hashed. Two keys in one log are a mistake."""
    keys = {one.how.key: one.field for one in redact if isinstance(one.how, Hash)}
    if len(keys) > 1:
        (first, of_first), (second, of_second), *_ = keys.items()
        raise ConfigError(
            f"Policy.redact: {of_first} is hashed by {first} and {of_second} by {second}; a log hashes with one key"
        )
    return next(iter(keys), None)


def read_key(reference: str) -> RedactionKey:
    """The key behind a reference. Raises `ConfigError`, which never says anything of what is in it."""
    scheme, _, rest = Hash(reference).key.partition(":")
    if scheme == _ID:
        raise ConfigError(f"{reference}: that is what a key is called, not where it is; say 'env:NAME' or 'file:/path'")
    key = _from_environment(rest) if scheme == "env" else contents(rest, of="key", most=_MOST_KEY, closed_to=_OTHERS)
    if len(key) < _LEAST_KEY:
        raise ConfigError(f"{reference}: the key has fewer than {_LEAST_KEY} bytes; make one: openssl rand -hex 32")
    return RedactionKey(key)


def _from_environment(name: str) -> bytes:
    value = os.environb.get(os.fsencode(name))
    if value is None:
        raise ConfigError(f"env:{name}: there is no such variable; export {name}=$(openssl rand -hex 32), and keep it")
    return value


def check_ring(redact: Sequence[Redact], ring: str | os.PathLike[str] | None) -> None:
    """Raises `ConfigError` where a log redacts and its ring, in directory `ring` or by default, is not on tmpfs."""
    where = _TMPFS if ring is None else Path(ring)
    if redact and not _core.in_memory(str(where)):
        raise ConfigError(
            f"ring_dir: {where} is not on tmpfs. What is redacted stands in the ring as it is, so a log that redacts "
            f"needs its ring in memory alone: ring_dir={str(_TMPFS)!r}, or mount a tmpfs"
        )


def from_journaled(form: Mapping[str, object]) -> Redact:
    """A redaction as it stands in a journaled policy, which knows of a key what it is called."""
    said = dict(form)
    if "key_id" in said:
        said["key"] = f"{_ID}:{said.pop('key_id')}"
    return Redact.from_mapping(said)


def same(given: Sequence[Redact], in_force: Sequence[Redact], other: Sequence[Redact]) -> None:
    """Raises `ConfigError` where a policy that is to follow another redacts otherwise.

    `given`: as the log was opened with; `in_force`: the same as the log shows it.
    """
    if tuple(other) not in {tuple(given), tuple(in_force)}:
        raise ConfigError(
            "Policy.redact: redaction is fixed while the log is open; give the new policy the redact of the one in "
            "force, or open a new log"
        )

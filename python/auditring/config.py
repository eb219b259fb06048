"""What a host may configure: small frozen values that are checked when they are made.

A value that exists is a value that can be used: every constraint is checked in `__post_init__`, and a mapping with
a key that nobody knows is an error that names the nearest known one.
"""

import dataclasses
import difflib
import enum
import math
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from types import NoneType
from typing import ClassVar, Final, Self

from auditring import written
from auditring.exceptions import ConfigError

__all__ = ["Durability", "Exempt", "Retention", "Rotation", "Seconds", "Then", "WhenFull", "unknown_key"]

Seconds = timedelta | float
"""A span of time: a `timedelta`, or seconds."""

_LEAST_EXEMPT: Final = 3
"""Letters that say whose messages are let pass."""
_LONGEST: Final = timedelta.max.total_seconds()
_GREATEST: Final = 2**63 - 1


def unknown_key(what: str, key: object, known: Collection[str]) -> ConfigError:
    """The error for a key that nobody knows, with the nearest one that somebody does."""
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
    return ConfigError(f"{what}: unknown key {key!r}; {hint}")


def seconds(what: str, value: Seconds | None) -> float | None:
    """`value` in seconds, checked to be finite and not negative; `None` stays."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{what}: seconds or a timedelta, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"{what}: {value!r} is no span of time")
    if value > _LONGEST:
        raise ConfigError(f"{what}: {value!r} seconds are more than a timedelta can be")
    return float(value)


def positive(what: str, value: int | None) -> None:
    """Raises unless `value` is `None` or a whole number of at least one."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{what}: a whole number, not {type(value).__name__}")
    if value < 1:
        raise ConfigError(f"{what}: {value} is less than 1")
    if value > _GREATEST:
        raise ConfigError(f"{what}: {value} is more than 2**63 - 1")


class _FromMapping:
    """Makes a frozen dataclass from a mapping, as it comes from TOML or the environment."""

    __slots__ = ()

    _TEXTS: ClassVar[Mapping[str, Callable[[str, object], object]]] = {}
    """What may be a text with a unit, and how that is read."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """The class called with these keywords; an unknown key is a `ConfigError` with a suggestion.

        Sizes and spans may be texts: `"256 MiB"`, `"5 min"`.
        """
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # every subclass is a dataclass
        known = {field.name: field.default is dataclasses.MISSING for field in fields}
        said = {}
        for key, value in values.items():
            if key not in known:
                raise unknown_key(cls.__name__, key, known)
            read = cls._TEXTS.get(key)
            said[key] = value if read is None else read(f"{cls.__name__}.{key}", value)
        if missing := [name for name, needed in known.items() if needed and name not in said]:
            raise ConfigError(f"{cls.__name__}: {' and '.join(missing)} must be given")
        return cls(**said)


class Then(enum.Enum):
    """What happens to an event for which the ring has no room when the wait is over."""

    DROP = "drop"
    """The call returns as if nothing had happened. The event is lost: counted exactly as `dropped`, named by a row
    (`auditring.EventsLost`), and `health()` goes bad. The proxy goes on."""

    RAISE = "raise"
    """The call raises `AuditUnavailable` and the event is counted as `refused`. Nothing is lost that the host has
    not been told of, so a fail-closed proxy can refuse the request."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WhenFull(_FromMapping):
    """What an emit call does when the ring is full: wait without the GIL, then drop or raise."""

    wait: Seconds | None = 0.05
    """How long to wait for room; `None`: for ever, for a full disk too, but not for a dead pump or a closing log."""

    then: Then = Then.DROP
    """What to do when the wait is over. The wait is paid once per outage, not once per call."""

    CLASSES: ClassVar[tuple[str, ...]] = ("droppable", "protected")
    _TEXTS: ClassVar = {"wait": written.span}

    def __post_init__(self) -> None:
        """Checks the span, and reads `then` from its name where it came from a file."""
        object.__setattr__(self, "wait", seconds("WhenFull.wait", self.wait))
        if not isinstance(self.then, Then):
            names = [then.value for then in Then]
            if self.then not in names:
                raise unknown_key("WhenFull.then", self.then, names)
            object.__setattr__(self, "then", Then(self.then))

    @classmethod
    def by_class(cls, value: "WhenFull | Mapping[str, WhenFull] | None") -> "dict[str, WhenFull]":
        """One value for each class of event, from one for both, some, or none."""
        if value is None:
            value = {}
        if isinstance(value, WhenFull):
            return dict.fromkeys(cls.CLASSES, value)
        if not isinstance(value, Mapping):
            raise ConfigError(f"when_full: a WhenFull or a mapping of them, not {type(value).__name__}")
        chosen = dict.fromkeys(cls.CLASSES, cls())
        for key, one in value.items():
            if key not in chosen:
                raise unknown_key("when_full", key, cls.CLASSES)
            if not isinstance(one, WhenFull):
                raise ConfigError(f"when_full[{key!r}]: a WhenFull, not {type(one).__name__}")
            chosen[key] = one
        return chosen

    @property
    def boundary(self) -> tuple[float | None, bool]:
        """The form in which the core takes it: seconds to wait, and whether to raise."""
        return seconds("WhenFull.wait", self.wait), self.then is Then.RAISE


@dataclasses.dataclass(frozen=True, slots=True)
class Durability:
    """What an accepted event survives: `Durability.PROCESS`, or `Durability.POWER(interval)`."""

    name: str
    interval: float | None = None
    """After how many seconds at most what was journaled is on the disk itself; `None`: nobody promises."""

    PROCESS: ClassVar["Durability"]
    """Any death of the process, `kill -9` too: ring and page cache outlive it. A power loss or a crash of the kernel
    may take what the kernel had not yet written, typically the last seconds; sealed files are safe."""

    @staticmethod
    def POWER(interval: Seconds) -> "Durability":  # noqa: N802 - reads as the promise that it is
        """A power loss too, but for the last `interval`: what is journaled is synced in groups, so often at least.

        0 is as often as the disk can. No emit waits for the disk; `AuditLog.sync()` does, and what was accepted before
        it survives when it has returned. Sinks are given what is on the disk and nothing else: none of them is ever
        ahead of the journal, whatever a power loss takes.
        """
        span = seconds("Durability.POWER", interval)
        if span is None:
            raise ConfigError("Durability.POWER: None is no span of time")
        return Durability("power", span)

    def __str__(self) -> str:
        return self.name if self.interval is None else f"{self.name}({self.interval:g})"


Durability.PROCESS = Durability("process")


def check_durability(value: object) -> None:
    """Raises unless `value` is one of the two promises that there are."""
    known = {("process", NoneType), ("power", float)}
    if isinstance(value, Durability) and (value.name, type(value.interval)) in known:
        seconds("durability", value.interval)
        return
    raise ConfigError(f"durability: Durability.PROCESS or Durability.POWER(interval), not {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Exempt(_FromMapping):
    """What an auditor writes to a Kafka cluster, which a tap before that cluster does not audit: counted, not recorded.

    Both must be true of a Produce: it goes to `topic`, and it comes under `client_id`. Anything else is audited, from
    that client too.
    """

    topic: str
    """A topic's name; `*` stands for any text."""
    client_id: str
    """The auditor's client id, or what it begins with and `*`."""

    def __post_init__(self) -> None:
        """Checks that it does not let everything pass."""
        given: tuple[tuple[str, object], ...] = (("topic", self.topic), ("client_id", self.client_id))
        for name, value in given:
            if not isinstance(value, str) or not value.isascii():
                raise ConfigError(f"Exempt.{name}: ASCII text, not {value!r}")
            # What is said whole lets nothing else pass, however short it is.
            if len(value.replace("*", "")) < (_LEAST_EXEMPT if "*" in value else 1):
                raise ConfigError(
                    f"Exempt.{name}: {value!r} would let too much pass; give at least {_LEAST_EXEMPT} letters"
                )
        if "*" in self.client_id[:-1]:
            raise ConfigError(f"Exempt.client_id: {self.client_id!r}: '*' stands at the end alone")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rotation(_FromMapping):
    """When a sink ends a file and begins the next: at the first limit that is reached; `None` is no limit."""

    rows: int | None = None
    bytes: int | None = None
    age: Seconds | None = None
    utc_date: bool = True
    """Also when the UTC date changes, so that a file belongs to one day. Parquet files always do."""

    _TEXTS: ClassVar = {"bytes": written.size, "age": written.span}

    def __post_init__(self) -> None:
        """Checks every limit."""
        positive("Rotation.rows", self.rows)
        positive("Rotation.bytes", self.bytes)
        object.__setattr__(self, "age", seconds("Rotation.age", self.age))
        if self.age == 0:
            raise ConfigError("Rotation.age: 0 would end a file before its first row")

    @property
    def age_seconds(self) -> float | None:
        """`age` in seconds."""
        return seconds("Rotation.age", self.age)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Retention(_FromMapping):
    """When sealed files are deleted, the oldest first; `None` is no limit, and one limit must be given.

    A file goes only when its sink's cursor is past all of it, never while it is open, and each has a row
    `auditring.FileDeleted`.
    """

    max_bytes: int | None = None
    """The most that the audit directory may take: the lengths of all its files, the journal's too."""
    max_age: Seconds | None = None
    """A file goes when its newest event is older."""
    min_free: int | None = None
    """The least that is to be free on the directory's disk."""

    _TEXTS: ClassVar = {"max_bytes": written.size, "max_age": written.span, "min_free": written.size}

    def __post_init__(self) -> None:
        """Checks every limit."""
        positive("Retention.max_bytes", self.max_bytes)
        positive("Retention.min_free", self.min_free)
        object.__setattr__(self, "max_age", seconds("Retention.max_age", self.max_age))
        if self.max_age == 0:
            raise ConfigError("Retention.max_age: 0 would delete every file as soon as it is sealed")
        if self.max_bytes is None and self.max_age is None and self.min_free is None:
            raise ConfigError("Retention: no limit; give max_bytes, max_age or min_free")

    @property
    def age_seconds(self) -> float | None:
        """`max_age` in seconds."""
        return seconds("Retention.max_age", self.max_age)

"""What was found: each thing that was looked at, whether it is as it should be, and what to do where it is not."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

__all__ = ["Finding", "Level", "note", "ok", "wrong"]

Level = Literal["ok", "note", "wrong"]
"""`note` is for a person to judge; `wrong` would keep the log from doing what it is configured to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    """The thing: a sink, the disk, a secret."""
    text: str


Findings = Iterator[Finding]
"""As they are found."""


def ok(what: str, text: str) -> Finding:
    """As it should be."""
    return Finding("ok", what, text)


def note(what: str, text: str) -> Finding:
    """For a person to judge."""
    return Finding("note", what, text)


def wrong(what: str, text: str) -> Finding:
    """Not as it should be."""
    return Finding("wrong", what, text)

"""A logger for each action, of which there may be any number, while loggers are for ever.

What must always hold: as many names as `MOST` are made for plugins' actions, and no more, whoever asks in this process;
a logger that somebody else has made, because a configuration names it, is always found.
"""

import logging
from typing import Final

__all__ = ["MOST", "ROOT", "logger_of", "made"]

ROOT: Final = "auditring.audit"
MOST: Final = 1000
"""Names, those of the packages above an action included: `logging` keeps a place for each of them."""

_NAMED: Final[set[str]] = set()
_FOUND: Final[dict[str, logging.Logger]] = {}


def logger_of(action: str) -> logging.Logger:
    """The logger of an action; where there are too many, the nearest above it that there is."""
    found = _FOUND.get(action)
    if found is not None:
        return found
    parts = action.split(".")
    new = {".".join(parts[: length + 1]) for length in range(len(parts))} - _NAMED
    if len(_NAMED) + len(new) <= MOST:
        _NAMED.update(new)
        _FOUND[action] = logging.getLogger(f"{ROOT}.{action}")
        return _FOUND[action]
    for length in range(len(parts), 0, -1):
        there = logging.root.manager.loggerDict.get(".".join((ROOT, *parts[:length])))
        if isinstance(there, logging.Logger):
            return there
    return logging.getLogger(ROOT)


def made() -> list[logging.Logger]:
    """`ROOT`, and every logger below it that there is."""
    below = [
        one
        for name, one in list(logging.root.manager.loggerDict.items())
        if name.startswith(f"{ROOT}.") and isinstance(one, logging.Logger)
    ]
    return [logging.getLogger(ROOT), *below]

"""On which line of a TOML file a key stands, for messages: `tomllib` reads values and forgets where they were.

It is found by eye: headers in brackets, and keys at the begin of a line. What stands within a value (an inline table, a
list over several lines) has the line that its value begins on, or none.
"""

import re
from typing import Final

__all__ = ["Place", "lines_of"]

Place = tuple[str | int, ...]
"""The way to a key: tables by name, those of a list by number, from 0."""

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*'))*)\s*="""
)
_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*'""")
_FENCES: Final = ('"""', "'''")


def lines_of(text: str) -> dict[Place, int]:
    """The line of each key and each table, as far as they are to be seen."""
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _HEADER.match(line):
            table = _entered(_parts(header[2]), header[1] == "[[", counts)
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
        # A text over several lines is passed over, whatever in it looks like a key.
        fence = next((one for one in _FENCES if line.count(one) % 2), "")
    return found


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(name))


def _entered(parts: tuple[str, ...], listed: bool, counts: dict[Place, int]) -> Place:  # noqa: FBT001 - of one header
    """The table that a header begins, in the last table of every list on the way to it."""
    way: Place = ()
    for at, part in enumerate(parts):
        way = (*way, part)
        if listed and at == len(parts) - 1:
            counts[way] = counts.get(way, -1) + 1
        if way in counts:
            way = (*way, counts[way])
    return way

"""A row that a topic has no room for: the same object with its longest texts cut, and a mark that says so.

What must always hold: what comes out is canonical JSON of the same schema; what identifies the event stays whole.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["CUT", "cut"]

CUT: Final = "auditring.cut"
_WHOLE: Final = frozenset(
    {"time", "action", "status", "eventId", "process", "seq", "category", "outcome", "origin", "authority", "endTime"}
)
"""Members that stay as they are."""
_LEAST: Final = 24
"""Characters that are left of a text as long as others can still give way."""
_OPEN: Final = ("context", "objectRef", "objectRefGiven", "principals", "actor")
"""Members that go whole, the first first, where that is not enough."""


def cut(line: bytes, room: int) -> bytes | None:
    """The row in at most `room` bytes; `None` where that cannot be."""
    row: dict[str, Any] = json.loads(line)
    row["context"] = {**row.get("context", {}), CUT: True}
    for least in (_LEAST, 0):
        # Each text gives way at most once for each `least`, the longest first.
        for holder, key, text in sorted(_texts(row), key=lambda one: -len(one[2])):
            excess = len(_encoded(row)) - room
            if excess <= 0:
                break
            holder[key] = _shortened(text, excess, least)
    for member in _OPEN:
        if len(_encoded(row)) <= room:
            break
        # The schema wants an actor; its type says that somebody acted.
        kept = {"context": {CUT: True}, "actor": {"type": row["actor"]["type"]}}.get(member)
        row.pop(member, None)
        if kept is not None:
            row[member] = kept
    fitted = _encoded(row)
    return fitted if len(fitted) <= room else None


def _encoded(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def _texts(row: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """Texts that may be cut, with where they stand."""
    stack: list[Any] = [row]
    while stack:
        holder = stack.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if (holder is row and key in _WHOLE) or (holder is row.get("actor") and key != "principals"):
                continue
            if isinstance(value, dict | list):
                stack.append(value)
            elif isinstance(value, str) and value:
                yield holder, key, value


def _shortened(text: str, excess: int, least: int) -> str:
    """Without its end: by `excess` bytes as JSON has them, or down to `least` characters."""
    low, high = min(least, len(text)), len(text)
    whole = len(json.dumps(text, ensure_ascii=False).encode())
    if whole - len(json.dumps(text[:low], ensure_ascii=False).encode()) <= excess:
        return text[:low]
    while low < high:
        middle = (low + high + 1) // 2
        if whole - len(json.dumps(text[:middle], ensure_ascii=False).encode()) >= excess:
            low = middle
        else:
            high = middle - 1
    return text[:low]

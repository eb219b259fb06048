"""Values made safe to look at. What is in an audit log was written by whoever was audited.

What must always hold: nothing that a value contains moves the cursor, changes a colour, reverses the text around it or
hides in it; and nothing that a spreadsheet opens as a formula comes out of here as one.
"""

import json
import re
import unicodedata
from datetime import UTC, datetime

__all__ = ["csv_cell", "json_text", "plain", "visible"]

# Everything of these kinds acts on its surroundings instead of standing for itself: controls, format marks
# (bidirectional overrides, zero-width joiners, tags), line and paragraph separators, lone surrogates, private use.
_ACTING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_SUSPECT = re.compile(r"[^ -~]")
_FORMULA = re.compile(r"[=+\-@\t\r\n]")


def visible(text: str) -> str:
    """Show every character that would act instead of being seen as its escape."""
    return _SUSPECT.sub(lambda match: _escaped(match[0]) if _acts(match[0]) else match[0], text)


def _acts(char: str) -> bool:
    return unicodedata.category(char) in _ACTING


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:  # noqa: PLR2004 - where Python's own escapes grow from two digits to four
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"  # noqa: PLR2004 - and from four to eight


def plain(value: object) -> object:
    """A DuckDB value as something that JSON has: times in UTC, and text for what has no form of its own."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def json_text(value: object) -> str:
    """JSON in which acting characters are escaped, so that it is as safe on a terminal as in a file."""
    text = json.dumps(plain(value), ensure_ascii=False)
    return _SUSPECT.sub(lambda match: _json_escaped(match[0]), text)


def _json_escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if _acts(char) else char


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets a quote before it."""
    if isinstance(value, str):
        return "'" + value if _FORMULA.match(value) else value
    value = plain(value)
    return json_text(value) if isinstance(value, list | dict) else value

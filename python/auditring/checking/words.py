"""Numbers as people read them."""

from typing import Final

__all__ = ["count", "size", "span"]

_SIZES: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_SPANS: Final = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0))
_WORTH: Final = 2


def size(n: int) -> str:
    """Bytes."""
    for unit, one in _SIZES:
        if n >= one:
            return f"{n / one:.3g} {unit}" if n < 1000 * one else f"{n // one:,} {unit}"
    return f"{n} bytes"


def span(seconds: float) -> str:
    """A span of time."""
    for unit, one in _SPANS:
        if seconds >= _WORTH * one:
            return f"{seconds / one:.0f} {unit}"
    return f"{seconds:.3g} seconds"


def count(n: float) -> str:
    """How many, to two digits."""
    for word, one in (("million", 1e6), ("thousand", 1e3)):
        if n >= one:
            return f"{float(f'{n / one:.2g}'):g} {word}"
    return f"{n:.0f}"

"""Which interpreter this is: the core works in the main one alone, and is not loaded to be asked."""

import importlib
from typing import Any

__all__ = ["is_main"]

# By version, newest first; none of them is public, and there is no other way to ask.
_MODULES = ("_interpreters", "_xxsubinterpreters")


def is_main() -> bool:
    """Whether this is the main interpreter; `True` where there can be no other."""
    for name in _MODULES:
        try:
            interpreters: Any = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True

"""Which interpreter this is: the core works in the main one alone.

What must always hold: it is asked before the core is loaded, whose import in another interpreter waits for ever.
"""

import importlib
from typing import Any

__all__ = ["refuse_others"]

# By version: 3.14's is public, 3.13's and 3.12's or older ones' are not, and there is no other way to ask.
_MODULES = ("_interpreters", "_xxsubinterpreters")


def refuse_others() -> None:
    """Raises `ImportError` in a sub-interpreter."""
    for name in _MODULES:
        try:
            interpreters: Any = importlib.import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise ImportError("auditring works in the main interpreter alone; in a sub-interpreter it is not available")
        return

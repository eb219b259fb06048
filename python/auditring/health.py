"""What is wrong now, gathered from the threads that notice it."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from auditring.stats import Health, Problem

__all__ = ["STAYS", "HealthBoard"]

STAYS: Final = 60.0
"""Seconds for which something that has happened, and is over, is still a problem: long enough to be seen."""


class HealthBoard:
    """One entry a component; safe from any thread."""

    def __init__(self) -> None:
        """All is well."""
        self._lock = threading.Lock()
        self._problems: dict[str, Problem] = {}

    def bad(self, component: str, cause: str, advice: str) -> None:
        """A component has a problem; the first time of an unbroken run is kept."""
        with self._lock:
            known = self._problems.get(component)
            since = known.since if known is not None else datetime.now(UTC)
            self._problems[component] = Problem(component=component, cause=cause, since=since, advice=advice)

    def good(self, component: str) -> None:
        """A component works again."""
        with self._lock:
            self._problems.pop(component, None)

    def forget(self, component: str) -> None:
        """A component is no more, nor is anything of it (`component:…`)."""
        with self._lock:
            for name in [name for name in self._problems if f"{name}:".startswith(f"{component}:")]:
                del self._problems[name]

    @contextlib.contextmanager
    def told(self, component: str, advice: str) -> Iterator[None]:
        """Around work that comes again: what fails in it goes no further, and is a problem until it works again."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be seen, and is no reason to give up
            self.bad(component, f"{type(error).__name__}: {error}", advice)
        else:
            self.good(component)

    def health(self, notes: tuple[str, ...] = ()) -> Health:
        """All that is known at this moment."""
        with self._lock:
            return Health(problems=tuple(self._problems.values()), notes=notes)

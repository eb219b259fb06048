"""All that is wrong with a configuration, gathered and told at once: whoever mends a file wants to mend it once."""

import contextlib
from collections.abc import Iterator

from auditring.exceptions import ConfigError, DeploymentError

__all__ = ["Mistakes"]


class Mistakes:
    """What was found, in the order in which it was found."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, what: object) -> None:
        """One more, at a place that a person finds again."""
        self.found.append(f"{place}: {what}" if place else str(what))

    @contextlib.contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Whatever is wrong in here is wrong at this place, and what comes behind it is looked at all the same."""
        try:
            yield
        except DeploymentError as error:
            self.found.extend(error.mistakes)
        except ConfigError as error:
            self.add(place, error)

    def told(self, where: str) -> None:
        """Raises `DeploymentError` where anything was found."""
        if self.found:
            raise DeploymentError(where, self.found)

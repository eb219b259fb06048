"""Log lines before the kit of all sinks, with a handler that appends to a file."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditring.sinks import LoggingSink, Sink
from auditring.testing import SinkConformance
from log_lines import ROOT, as_before


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a test does to the loggers of ours, and `dictConfig` to all others, is undone."""
    with as_before():
        yield


class Appending(logging.Handler):
    """Appends lines to a file that it opens for each."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """As the handlers of the standard library."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{record.getMessage()}\n")
        except OSError:
            self.handleError(record)


class TestLoggingSink(SinkConformance):
    """The kit, over a file that a handler writes."""

    def make_sink(self, folder: Path) -> Sink:
        """With a handler of this process's own."""
        logger = logging.getLogger(ROOT)
        (folder / "lines").mkdir(exist_ok=True)
        logger.handlers = [Appending(folder / "lines" / "audit.log")]
        logger.setLevel(logging.INFO)
        logger.propagate = False
        return LoggingSink()

    def delivered(self, folder: Path) -> list[str]:
        """The lines' own ids."""
        return [json.loads(line)["eventId"] for line in _lines(folder)]

    @contextlib.contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """Its folder has gone. It goes and comes in one step each: what is tried between two would make a new file."""
        (folder / "lines").rename(folder / "aside")
        yield
        (folder / "aside").rename(folder / "lines")


def _lines(folder: Path) -> list[str]:
    return (folder / "lines" / "audit.log").read_text("utf-8").splitlines()

"""A handler that keeps what it is given, and what tests of log lines log."""

import contextlib
import logging
from collections.abc import Iterator

import auditring
from auditring.sinks import _loggers

__all__ = ["ROOT", "Keeping", "as_before", "keeping", "play"]

ROOT = "auditring.audit"


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """What a test does to the loggers of ours, and `dictConfig` to all others, is undone."""
    others = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.disabled) for one in others]
    yield
    for other, disabled in before:
        other.disabled = disabled
    for logger in _loggers.made():
        for handler in logger.handlers:
            handler.close()
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.disabled, logger.propagate = False, True


class Keeping(logging.Handler):
    """Keeps its records; fails as long as it is told to, as handlers do."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """As the handlers of the standard library: what is raised goes to `handleError`."""
        try:
            self.keep(record)
        except OSError:
            self.handleError(record)

    def keep(self, record: logging.LogRecord) -> None:
        """Keeps one, or fails."""
        if self.failing:
            raise OSError(28, "No space left on device")
        self.records.append(record)

    def actions(self) -> list[str]:
        """Of its records."""
        return [record.action for record in self.records]  # type: ignore[attr-defined]  # ours


def keeping() -> Keeping:
    """A handler on the root of ours, which takes INFO and above."""
    handler = Keeping()
    logging.getLogger(ROOT).addHandler(handler)
    logging.getLogger(ROOT).setLevel(logging.INFO)
    logging.getLogger(ROOT).propagate = False
    return handler


def play(log: auditring.AuditLog) -> None:
    """A login, a read, a denial, and a plugin's event."""
    with log.session(id="s-1", virtual_cluster="payments", authority="decision") as session:
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        session.read("orders", 0, 0, 9)
        session.operation_denied("WRITE", "Topic", "salaries")
        session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": "kek-7"})
        session.emit("com.example.kms.KeyUsed", status="REVOKED")

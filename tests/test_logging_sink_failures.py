"""Log lines that nobody takes: a handler that fails, is taken away or disabled is no silence, and nothing is lost."""

import contextlib
import logging
import logging.config
import logging.handlers
import os
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditring
from auditring import SinkError
from auditring.sinks import LogAt, LoggingSink, _handlers, _loggers
from auditring.testing import capture
from deadlines import until
from log_lines import ROOT, Keeping, as_before, keeping, play


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a test does to the loggers of ours, and `dictConfig` to all others, is undone."""
    with as_before():
        yield


@pytest.fixture
def kept() -> Keeping:
    """A handler on the root of ours, which takes INFO and above."""
    return keeping()


def test_a_handler_that_fails_is_the_sinks_failure_and_nothing_is_lost(
    kept: Keeping, capsys: pytest.CaptureFixture[str]
) -> None:
    """Health is bad meanwhile, nothing is printed; then all comes, and what had gone well is not repeated."""
    beside = Keeping()
    logging.getLogger(ROOT).addHandler(beside)
    with capture(sinks=(LoggingSink(),)) as audit:
        log = audit.log
        log.flush(30)
        kept.failing = True
        play(log)
        until(lambda: log.stats().sinks["log"].failures >= 3)
        assert any(one.component == "sink:log" and "No space left" in one.cause for one in log.health().problems)
        kept.failing = False
        with contextlib.suppress(SinkError):
            log.flush(30)
        log.flush(30)
        told = ["auditring.SinkFailed", "auditring.SinkRecovered"]
        rows = [row["action"] for row in audit.rows()]
    assert capsys.readouterr().err == ""
    assert [action for action in kept.actions() if action not in told] == [
        *(action for action in rows if action not in told),
        "ProxyCleanShutdown",
    ]
    # The other handler had the row that failed as often as it was tried, and each other once.
    repeated = {action for action in set(rows) if beside.actions().count(action) > rows.count(action)}
    assert repeated == {"ClientAccept"}


def test_a_handler_that_fails_says_so_to_others_as_ever(kept: Keeping, capsys: pytest.CaptureFixture[str]) -> None:
    """Records of the host's own are treated as they were: what it prints for them it prints."""
    with capture(sinks=(LoggingSink(),)) as audit:
        play(audit.log)
    kept.failing = True
    kept.handle(logging.LogRecord("host", logging.ERROR, "", 0, "of the host", (), None))
    assert "handleError" not in vars(kept)
    assert "of the host" in capsys.readouterr().err


def test_a_memory_handler_and_its_target_are_seen_to(kept: Keeping) -> None:
    """What it keeps back is flushed before the cursor moves, and what its target refuses comes again."""
    logging.getLogger(ROOT).handlers.clear()
    memory = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL, target=kept)
    logging.getLogger(ROOT).addHandler(memory)
    with capture(sinks=(LoggingSink(),)) as audit:
        log = audit.log
        log.flush(30)
        assert kept.actions() == ["ProxyStartup"]
        kept.failing = True
        play(log)
        with pytest.raises(SinkError, match="No space left"):
            log.flush(30)
        kept.failing = False
        until(lambda: log.stats().sinks["log"].pending == 0)
    assert {"OperationDenied", "com.example.kms.KeyUsed", "ClientClose"} <= set(kept.actions())


def test_a_full_queue_is_noticed(kept: Keeping) -> None:
    """A `QueueHandler` hands on what can be pickled; when its queue is full the rows wait."""
    logging.getLogger(ROOT).handlers.clear()
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(maxsize=3)
    logging.getLogger(ROOT).addHandler(logging.handlers.QueueHandler(waiting))
    with capture(sinks=(LoggingSink(structured=True),)) as audit:
        play(audit.log)
        until(lambda: audit.log.stats().sinks["log"].failures > 0)
        listener = logging.handlers.QueueListener(waiting, kept)
        listener.start()
        until(lambda: audit.log.stats().sinks["log"].pending == 0)
    until(waiting.empty)
    listener.stop()
    actions = kept.actions()
    assert {"ProxyStartup", "OperationDenied", "ClientClose"} <= set(actions)
    assert actions.count("OperationDenied") == 1


def test_a_configuration_that_disables_our_loggers_is_a_failure(kept: Keeping) -> None:
    """Else a library's call of dictConfig would end the audit trail without a word."""
    with capture(sinks=(LoggingSink(),)) as audit:
        play(audit.log)
        audit.log.flush(30)
        logging.config.dictConfig({"version": 1, "loggers": {"some.library": {"level": "INFO"}}})
        before = len(kept.records)
        play(audit.log)
        with pytest.raises(SinkError, match=r"name auditring\.audit in it"):
            audit.log.flush(30)
        assert len(kept.records) == before
        for logger in _loggers.made():
            logger.disabled = False
        # dictConfig has closed the handlers, too, which ours does not mind.
        logging.getLogger(ROOT).addHandler(kept)
        until(lambda: audit.log.stats().sinks["log"].pending == 0)
    assert kept.actions().count("OperationDenied") == 2


def test_nobody_who_listens_is_an_error_before_anything_is_begun(tmp_path: Path) -> None:
    """No handler, or a level above all; with a NullHandler one says that nobody shall."""
    logging.getLogger(ROOT).propagate = False
    logging.getLogger(ROOT).setLevel(logging.INFO)
    with pytest.raises(SinkError, match="configure logging first"):
        auditring.open(tmp_path / "audit", sinks=(LoggingSink(),))
    logging.getLogger(ROOT).addHandler(logging.NullHandler())
    logging.getLogger(ROOT).setLevel(logging.ERROR)
    with pytest.raises(SinkError, match="at level ERROR"):
        auditring.open(tmp_path / "audit", sinks=(LoggingSink(except_=[LogAt("WARNING", outcome="denied")]),))
    assert not (tmp_path / "audit").exists()
    logging.getLogger(ROOT).setLevel(logging.INFO)
    auditring.open(tmp_path / "audit", sinks=(LoggingSink(),)).close(30)


def test_a_row_that_no_handler_takes_is_a_failure(kept: Keeping) -> None:
    """Where they were taken away meanwhile."""
    with capture(sinks=(LoggingSink(),)) as audit:
        audit.log.flush(30)
        # Also the one that pytest has put there.
        logging.getLogger(ROOT).handlers.clear()
        play(audit.log)
        with pytest.raises(SinkError, match="no handler takes"):
            audit.log.flush(30)
        logging.getLogger(ROOT).addHandler(kept)
    assert kept.actions()[-1] == "ProxyCleanShutdown"


def test_a_child_forked_while_a_record_is_with_a_handler_has_the_handlers_own_ways(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in for `handleError` is its parent's; there it steps aside."""
    seen: list[logging.LogRecord] = []
    monkeypatch.setattr(Keeping, "handleError", lambda _self, record: seen.append(record))
    record = logging.LogRecord("host", logging.ERROR, "", 0, "", (), None)
    with _handlers._Noticing(kept) as noticed:  # noqa: SLF001 - as a fork in the middle would leave it
        monkeypatch.setattr(os, "getpid", lambda: -1)
        kept.handleError(record)
        monkeypatch.undo()
    assert (seen, noticed.errors) == ([record], [])

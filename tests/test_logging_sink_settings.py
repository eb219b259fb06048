"""Log lines as they are configured: what cannot be is an error that says so, and a deployment's file says it all."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import auditring
from auditring import ConfigError
from auditring.sinks import LogAt, LoggingSink, registry
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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LoggingSink(log_at="INFOO"), "did you mean 'INFO'"),
        (lambda: LoggingSink(log_at=True), "log_at"),
        (lambda: LoggingSink(log_at="NOTSET"), "log_at"),
        (lambda: LoggingSink(except_=cast("Any", LogAt("OFF", action="Read"))), "a sequence of LogAt"),
        (lambda: LoggingSink(structured=cast("Any", 1)), "structured"),
        (lambda: LoggingSink(dialect=cast("Any", "other")), "dialect"),
        (lambda: LogAt("OFF"), "an action or an outcome"),
        (lambda: LogAt("OFF", action="Raed"), "did you mean 'Read'"),
        (lambda: LogAt("OFF", action="auditring.Balanse"), "did you mean 'auditring.Balance'"),
        (lambda: LogAt("OFF", outcome="deny"), "did you mean 'denied'"),
        (lambda: LogAt("OFF", action=()), "no name at all"),
        (lambda: LogAt("OFF", action="[ab]*"), "a name or several"),
        (lambda: LoggingSink.from_mapping({"logat": "INFO"}), "did you mean 'log_at'"),
        (lambda: LoggingSink.from_mapping({"except": "Read"}), "a list of tables"),
        (lambda: LoggingSink.from_mapping({"except": ["Read"]}), "a table"),
        (lambda: LoggingSink.from_mapping({"except": [{"action": "Read"}]}), "log_at is missing"),
        (lambda: LoggingSink.from_mapping({"except": [{"acton": "Read"}]}), "did you mean 'action'"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_with_a_suggestion(make: Any, said: str) -> None:  # noqa: ANN401 - a call
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=said):
        make()


def test_a_deployments_file_says_it_all(tmp_path: Path, kept: Keeping) -> None:
    """Its levels as tables, its checkpoint and its policy, as those of every sink."""
    (tmp_path / "auditring.toml").write_text("""
path = "audit"

[[sink]]
kind = "log"
name = "siem"
log_at = "debug"
structured = true
checkpoint = { age = "500ms" }
except = [
    { log_at = "OFF", action = "Read" },
    { log_at = "ERROR", outcome = ["denied", "failure"] },
]
""")
    (tmp_path / "auditring.toml").chmod(0o600)
    logging.getLogger(ROOT).setLevel(logging.DEBUG)
    with auditring.open_from(tmp_path / "auditring.toml") as log:
        play(log)
        log.flush(30)
        assert log.stats().sinks["siem"].filtered == 1
    levels = {(record.action, record.levelname) for record in kept.records}  # type: ignore[attr-defined]  # ours
    assert {("OperationDenied", "ERROR"), ("ClientAccept", "DEBUG")} <= levels
    assert "Read" not in kept.actions()


def test_it_can_be_had_by_its_kind_and_from_a_table() -> None:
    """As a deployment's file names it."""
    kind = registry.load("log")
    assert kind is LoggingSink
    sink = LoggingSink.from_mapping({"log_at": "debug", "except": [{"log_at": "OFF", "action": ["Read", "Write"]}]})
    assert (sink.interested("Read", "success"), sink.interested("OperationDenied", "denied")) == (False, True)

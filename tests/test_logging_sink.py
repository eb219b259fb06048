"""Log lines: which logger, which level, whose time, and what a line can hold."""

import io
import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from auditring import _core
from auditring.sinks import LogAt, LoggingSink, _loggers
from auditring.testing import capture
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


def test_a_record_is_the_events_json_under_its_action_at_its_time(kept: Keeping) -> None:
    """A logger an action; the message is the canonical line; created, msecs and relativeCreated are the event's."""
    with capture(sinks=(LoggingSink(),)) as audit:
        play(audit.log)
        rows = audit.rows()
        process = audit.log.process
    assert len(kept.records) >= len(rows) == 9 - 1
    for record, row in zip(kept.records, rows, strict=False):
        line = json.loads(record.getMessage())
        assert record.name == f"{ROOT}.{row['action']}"
        assert (record.levelname, record.args, record.exc_info) == ("INFO", (), None)
        assert line["eventId"] == record.event_id == f"{process}:{row['seq']}"  # type: ignore[attr-defined]  # ours
        assert (record.action, record.outcome) == (row["action"], row["outcome"])  # type: ignore[attr-defined]  # ours
        assert record.virtual_cluster == row.get("virtual_cluster")  # type: ignore[attr-defined]  # ours
        assert abs(record.created - row["time_ns"] / 1e9) < 1e-6
        assert int(record.created * 1000) % 1000 == pytest.approx(record.msecs, abs=1)
        started = logging.LogRecord("x", 10, "", 0, "", (), None)
        offset = (record.created - started.created) * 1000
        assert record.relativeCreated == pytest.approx(started.relativeCreated + offset, abs=1)
        assert not hasattr(record, "auditring")
    assert kept.actions().count("com.example.kms.KeyUsed") == 2
    assert not {name for name in vars(kept.records[0]) if "secret" in name}


def test_a_structured_record_has_the_whole_event(kept: Keeping) -> None:
    """As a dictionary, for formatters that make fields of it."""
    with capture(sinks=(LoggingSink(structured=True),)) as audit:
        play(audit.log)
    for record in kept.records:
        assert record.auditring == json.loads(record.getMessage())  # type: ignore[attr-defined]  # ours


def test_the_level_is_that_of_the_first_rule_that_matches(kept: Keeping) -> None:
    """By action and outcome, by names and globs; OFF is off, in the catalog as filtered, of a plugin's not logged."""
    logging.getLogger(ROOT).setLevel(logging.DEBUG)
    rules = [
        LogAt("OFF", action=("Read", "Write"), outcome="success"),
        LogAt("OFF", action="com.example.*", outcome="success"),
        LogAt("WARNING", outcome=("denied", "failure")),
        LogAt(15, action="Client*"),
        LogAt("CRITICAL", action="OperationDenied"),
    ]
    with capture(sinks=(LoggingSink(except_=rules),)) as audit:
        play(audit.log)
        audit.log.flush(30)
        stats = audit.log.stats().sinks["log"]
        assert stats.filtered == 1
        assert audit.log.stats().balanced
    levels = [(record.action, record.levelno) for record in kept.records]  # type: ignore[attr-defined]  # ours
    assert levels == [
        ("ProxyStartup", logging.INFO),
        ("ClientAccept", 15),
        ("ClientSaslAuthSuccess", 15),
        ("OperationDenied", logging.WARNING),
        ("com.example.kms.KeyUsed", logging.WARNING),
        ("ClientClose", 15),
        ("ProxyCleanShutdown", logging.INFO),
    ]


class _Asked(LoggingSink):
    """Counts."""

    asked: list[tuple[str, str]]

    def interested(self, action: str, outcome: str) -> bool:
        """The same answer."""
        self.asked.append((action, outcome))
        return super().interested(action, outcome)

    def fresh(self) -> "_Asked":
        """With the same list."""
        other = super().fresh()
        other.asked = self.asked
        return other


def test_interested_is_asked_once_of_each_kind(kept: Keeping) -> None:
    """However many events there are."""
    del kept
    sink = _Asked()
    sink.asked = []
    with capture(sinks=(sink,)) as audit:
        for _ in range(100):
            play(audit.log)
    assert len(sink.asked) == len(set(sink.asked)) == 5 * len(_core.actions())


def test_what_logging_turns_off_is_not_made(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record of a logger that is not enabled for it; a child's own level counts."""
    logging.getLogger(ROOT).setLevel(logging.ERROR)
    logging.getLogger(f"{ROOT}.Read").setLevel(logging.INFO)
    made: list[str] = []
    make = logging.Logger.makeRecord

    def counted(self: logging.Logger, *given: Any) -> logging.LogRecord:  # noqa: ANN401 - as it is called
        made.append(self.name)
        return make(self, *given)

    monkeypatch.setattr(logging.Logger, "makeRecord", counted)
    with capture(sinks=(LoggingSink(),)) as audit:
        play(audit.log)
    assert kept.actions() == ["Read"]
    assert [name for name in made if name.startswith(ROOT)] == [f"{ROOT}.Read"]


def test_text_that_a_stream_cannot_take_is_escaped_as_json_does(tmp_path: Path) -> None:
    """One name in another script blocks nobody for ever."""
    logging.getLogger(ROOT).setLevel(logging.INFO)
    handler = logging.FileHandler(tmp_path / "audit.log", encoding="ascii")
    logging.getLogger(ROOT).addHandler(handler)
    with capture(sinks=(LoggingSink(),)) as audit, audit.log.session(authority="decision") as session:
        session.client_sasl_auth_success("zo\u00eb \U0001f510", mechanism="PLAIN")
        audit.log.flush(30)
        assert audit.log.stats().sinks["log"].failures == 0
    handler.close()
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text("ascii").splitlines()]
    (login,) = [line for line in lines if line["action"] == "ClientSaslAuthSuccess"]
    assert "zo\u00eb \U0001f510" in json.dumps(login, ensure_ascii=False)


CONFIG: dict[str, Any] = {
    "version": 1,
    "formatters": {"audit": {"format": "%(asctime)s %(levelname)s %(event_id)s %(message)s"}},
    "handlers": {"audit": {"class": "logging.FileHandler", "formatter": "audit", "filename": "audit.log"}},
    "loggers": {"auditring.audit": {"level": "INFO", "handlers": ["audit"], "propagate": False}},
}


def test_what_a_client_says_ends_no_line_and_drives_no_terminal(kept: Keeping) -> None:
    """C1 controls, other ends of lines and marks of direction are escaped; the object is the same."""
    hostile = "a\x1b[2J\x7f\x9b2J\x85{}\u2028\u2029\u202e\u2066\ufeff\r\n\u00e4\U0001f510"
    with capture(sinks=(LoggingSink(),)) as audit:
        with audit.log.session(id=hostile, authority="decision") as session:
            session.operation_denied("WRITE", "Topic", hostile)
        audit.log.flush(30)
        (row,) = audit.rows("OperationDenied")
    (record,) = [one for one in kept.records if one.name.endswith(".OperationDenied")]
    text = record.getMessage()
    assert text.splitlines() == [text]
    assert not set(text) & set("\x1b\x7f\x9b\x85\u2028\u2029\u202e\u2066\ufeff")
    assert "\u00e4\U0001f510" in text
    assert json.loads(text)["session"] == row["session"]


def test_it_works_under_dict_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when that is applied again while the log runs, with its default of disabling what it does not name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    logging.config.dictConfig(CONFIG)
    with capture(sinks=(LoggingSink(),)) as audit:
        play(audit.log)
        audit.log.flush(30)
        logging.config.dictConfig(CONFIG)
        play(audit.log)
        rows = audit.rows()
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines, rows, strict=False):
        assert line.split(" ", 4)[2:4] == ["INFO", f"{row['process']}:{row['seq']}"]
        assert line.split(" ")[1][:8] == row["time"].strftime("%H:%M:%S")


def test_structlog_renders_our_records_as_its_own(kept: Keeping) -> None:
    """`ProcessorFormatter` on foreign records, with the whole event as fields."""
    del kept
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(allow={"event_id", "auditring"}),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.getLogger(ROOT).addHandler(handler)
    with capture(sinks=(LoggingSink(structured=True),)) as audit:
        play(audit.log)
        rows = audit.rows()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event_id"] for line in lines][: len(rows)] == [f"{row['process']}:{row['seq']}" for row in rows]
    assert {line["logger"] for line in lines} >= {f"{ROOT}.Read", f"{ROOT}.com.example.kms.KeyUsed"}
    assert all(line["auditring"] == json.loads(line["event"]) and line["level"] == "info" for line in lines)


def test_names_without_end_make_no_loggers_without_end(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a row comes through the nearest logger above it; one that is configured is always found."""
    monkeypatch.setattr(_loggers, "MOST", 10)
    monkeypatch.setattr(_loggers, "_NAMED", set())
    monkeypatch.setattr(_loggers, "_FOUND", {})
    logging.getLogger(f"{ROOT}.com.hostile.N7").setLevel(logging.INFO)
    logging.getLogger(f"{ROOT}.com.hostile").setLevel(logging.INFO)
    before = len(logging.root.manager.loggerDict)
    with capture(sinks=(LoggingSink(),)) as audit:
        for number in range(50):
            audit.log.emit(f"com.hostile.N{number}")
            audit.log.emit(f"org.other.P{number}")
    assert len(logging.root.manager.loggerDict) - before <= 10
    named = {record.action: record.name for record in kept.records}  # type: ignore[attr-defined]  # ours
    assert len(kept.records) == 102
    assert named["com.hostile.N7"] == f"{ROOT}.com.hostile.N7"
    assert named["com.hostile.N49"] == f"{ROOT}.com.hostile"
    assert named["org.other.P49"] == ROOT


SCRIPT = """
import logging, os, sys
import auditring
from auditring.sinks import LoggingSink

logging.basicConfig(filename=sys.argv[2], level="INFO", format="%(message)s")
log = auditring.open(sys.argv[1], sinks=(LoggingSink(),), balance=None)
log.emit("com.example.Parent")
if (child := os.fork()) == 0:
    log.emit("com.example.Child")
    sys.exit()
os.waitpid(child, 0)
log.emit("com.example.Parent")
"""


def test_what_nobody_closed_is_there_at_exit_in_a_forked_child_too(tmp_path: Path) -> None:
    """The log ends before `logging` shuts its handlers."""
    out = tmp_path / "audit.log"
    done = subprocess.run(
        # Later interpreters warn of a fork beside threads.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(tmp_path / "audit"), str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    by: dict[str, list[str]] = {}
    for line in lines:
        by.setdefault(line["process"], []).append(line["action"])
    assert sorted(by.values()) == [
        ["ProxyStartup", "com.example.Child", "ProxyCleanShutdown"],
        ["ProxyStartup", "com.example.Parent", "com.example.Parent", "ProxyCleanShutdown"],
    ]

"""Log lines: which logger, which level, whose time; and a handler that fails is no silence."""

import contextlib
import io
import json
import logging
import logging.config
import logging.handlers
import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

import auditring
from auditring import ConfigError, SinkError, _core
from auditring.sinks import LogAt, LoggingSink, Sink, _handlers, _loggers, registry
from auditring.testing import SinkConformance, capture
from deadlines import until

ROOT = "auditring.audit"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
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


@pytest.fixture
def kept() -> Keeping:
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
        logger.handlers = [Appending(folder / "audit.log")]
        logger.setLevel(logging.INFO)
        logger.propagate = False
        return LoggingSink()

    def delivered(self, folder: Path) -> list[str]:
        """The lines' own ids."""
        return [json.loads(line)["eventId"] for line in (folder / "audit.log").read_text("utf-8").splitlines()]

    @contextlib.contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """A folder lies where the file was."""
        file = folder / "audit.log"
        file.rename(folder / "aside")
        file.mkdir()
        yield
        file.rmdir()
        (folder / "aside").rename(file)

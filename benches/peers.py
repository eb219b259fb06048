"""The usual ways to write an event down, each with the same fields, in the same rounds as a Read.

What must always hold: every peer is checked to have written what it should before anything is timed, and to have
written all of it afterwards; each gets its cheapest sensible form (buffered files, cached loggers, no caller look-up).
"""

from __future__ import annotations

import importlib
import json
import logging
import logging.handlers
import queue
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timing import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SESSION = "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60"
WHO = {
    "session": SESSION,
    "principal": "alice",
    "virtual_cluster": "payments",
    "client_id": "service-07",
    "peer": "10.1.2.3:40000",
}
"""What a Read has from its session."""
WHAT = {"topic": "orders", "partition": 3, "first_offset": 1000, "last_offset": 1099, "correlation_id": 42}
"""What the call says."""
_ARGUMENTS = "topic='orders', partition=3, first_offset=1000, last_offset=1099, correlation_id=42"
_DICTIONARY = (
    "{'time': time_ns(), 'age': monotonic_ns(), 'action': 'Read', 'session': session, 'principal': 'alice', "
    "'virtual_cluster': 'payments', 'client_id': 'service-07', 'peer': '10.1.2.3:40000', "
    "'topic': 'orders', 'partition': 3, 'first_offset': 1000, 'last_offset': 1099, 'correlation_id': 42}"
)
_CLOCKS = {"time_ns": time.time_ns, "monotonic_ns": time.monotonic_ns, "session": SESSION}
_LINE = (
    "Read session=%s principal=%s virtual_cluster=%s client_id=%s peer=%s "
    "topic=%s partition=%d first_offset=%d last_offset=%d correlation_id=%d"
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to log, with what it takes to believe it."""

    subject: Subject
    written: Callable[[], int]
    """Ends what is pending, checks the last record, and says how many there are."""
    close: Callable[[], object] = lambda: None


def _same(found: dict[str, Any]) -> None:
    expected = {**WHO, **WHAT}
    assert {name: found[name] for name in expected} == expected, found


def _json_lines(path: Path) -> int:
    lines = path.read_bytes().splitlines()
    _same(json.loads(lines[-1]))
    return len(lines)


def _text_lines(path: Path) -> int:
    lines = path.read_text().splitlines()
    for name, value in {**WHO, **WHAT}.items():
        assert f"{name}={value}" in lines[-1], lines[-1]
    return len(lines)


def two_clocks(folder: Path) -> Peer:  # noqa: ARG001 - it writes nothing
    """A deque of tuples, which somebody else would have to write down."""
    kept: deque[tuple[Any, ...]] = deque()
    total = [0]

    def clear() -> None:
        total[0] += len(kept)
        last = kept[-1] if kept else None
        assert last is None or last[3:] == tuple(WHAT.values())
        kept.clear()

    statement = "append((time_ns(), monotonic_ns(), session, 'orders', 3, 1000, 1099, 42))"
    subject = Subject("`deque.append`, two clocks", statement, {**_CLOCKS, "append": kept.append}, after=clear)
    return Peer(subject, lambda: total[0])


def with_orjson(folder: Path) -> Peer:
    """A dictionary as JSON into a buffered file."""
    orjson = importlib.import_module("orjson")
    path = folder / "orjson.jsonl"
    file = path.open("wb")
    values = {**_CLOCKS, "dumps": orjson.dumps, "write": file.write, "newline": orjson.OPT_APPEND_NEWLINE}
    subject = Subject("orjson, file", f"write(dumps({_DICTIONARY}, option=newline))", values, 4_000, after=file.flush)
    return Peer(subject, lambda: _json_lines(path), file.close)


def with_msgspec(folder: Path) -> Peer:
    """A struct as JSON into a buffered file."""
    msgspec = importlib.import_module("msgspec")
    names = ["time", "age", "action", *WHO, *WHAT]
    event = msgspec.defstruct("Event", names, gc=False)
    path = folder / "msgspec.jsonl"
    file = path.open("wb")
    values = {**_CLOCKS, "Event": event, "encode": msgspec.json.Encoder().encode, "write": file.write}
    made = (
        "Event(time_ns(), monotonic_ns(), 'Read', session, 'alice', 'payments', 'service-07', '10.1.2.3:40000', "
        "'orders', 3, 1000, 1099, 42)"
    )
    subject = Subject("msgspec, file", f"write(encode({made}) + b'\\n')", values, 4_000, after=file.flush)
    return Peer(subject, lambda: _json_lines(path), file.close)


def _logger(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"bench.{name}")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def _file_handler(path: Path) -> logging.FileHandler:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


_LOG = f"info({_LINE!r}, session, 'alice', 'payments', 'service-07', '10.1.2.3:40000', 'orders', 3, 1000, 1099, 42)"


def with_logging(folder: Path) -> Peer:
    """The standard library's logger with a file handler."""
    path = folder / "logging.log"
    handler = _file_handler(path)
    values = {"info": _logger("file", handler).info, "session": SESSION}
    return Peer(Subject("`logging`, file", _LOG, values, 400), lambda: _text_lines(path), handler.close)


def with_queue_handler(folder: Path) -> Peer:
    """The same through a queue; the listener's thread, which writes, wants the GIL meanwhile."""
    path = folder / "queue.log"
    handler = _file_handler(path)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    values = {"info": _logger("queue", logging.handlers.QueueHandler(waiting)).info, "session": SESSION}

    def drain() -> None:
        listener.stop()
        listener.start()

    def close() -> None:
        listener.stop()
        handler.close()

    subject = Subject("`logging`, QueueHandler, file", _LOG, values, 400, after=drain)
    return Peer(subject, lambda: _text_lines(path), close)


def with_structlog(folder: Path) -> Peer:
    """A bound logger, rendered by orjson."""
    structlog, orjson = importlib.import_module("structlog"), importlib.import_module("orjson")
    path = folder / "structlog.jsonl"
    file = path.open("wb")
    logger = structlog.wrap_logger(
        structlog.BytesLogger(file),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind(**WHO)
    subject = Subject("structlog, orjson, file", f"info('Read', {_ARGUMENTS})", {"info": logger.info}, 400)
    return Peer(subject, lambda: _json_lines(path), file.close)


def with_loguru(folder: Path) -> Peer:
    """A bound logger with a file sink."""
    logger = importlib.import_module("loguru").logger
    path = folder / "loguru.log"
    logger.remove()
    fields = " ".join(f"{name}={{extra[{name}]}}" for name in {**WHO, **WHAT})
    number = logger.add(path, format=f"{{time}} {{level}} {{message}} {fields}", colorize=False)
    bound = logger.bind(**WHO)
    subject = Subject("loguru, file", f"bind({_ARGUMENTS}).info('Read')", {"bind": bound.bind}, 200)
    return Peer(subject, lambda: _text_lines(path), lambda: logger.remove(number))


def with_opentelemetry(folder: Path) -> Peer:  # noqa: ARG001 - its exporter keeps what it gets in memory
    """The SDK's logger, its batch processor, and the cheapest exporter there is."""
    api = importlib.import_module("opentelemetry._logs")
    sdk = importlib.import_module("opentelemetry.sdk._logs")
    export = importlib.import_module("opentelemetry.sdk._logs.export")
    exporter, provider = export.InMemoryLogRecordExporter(), sdk.LoggerProvider(shutdown_on_exit=False)
    processor = export.BatchLogRecordProcessor(exporter, max_queue_size=65_536)
    provider.add_log_record_processor(processor)
    total = [0]

    def clear() -> None:
        assert processor.force_flush()
        finished = exporter.get_finished_logs()
        if finished:
            _same(dict(finished[-1].log_record.attributes))
        total[0] += len(finished)
        exporter.clear()

    values = {
        "emit": provider.get_logger("bench").emit,
        "LogRecord": api.LogRecord,
        "level": api.SeverityNumber.INFO,
        "time_ns": time.time_ns,
        "who": WHO,
    }
    made = (
        "LogRecord(timestamp=time_ns(), severity_number=level, body='Read', attributes={**who, "
        "'topic': 'orders', 'partition': 3, 'first_offset': 1000, 'last_offset': 1099, 'correlation_id': 42})"
    )
    subject = Subject("OpenTelemetry, batch processor", f"emit({made})", values, 200, after=clear)
    return Peer(subject, lambda: total[0], provider.shutdown)


PEERS = (
    two_clocks,
    with_orjson,
    with_msgspec,
    with_logging,
    with_queue_handler,
    with_structlog,
    with_loguru,
    with_opentelemetry,
)

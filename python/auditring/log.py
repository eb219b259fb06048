"""The log as a host holds it: `open`, sessions, events, and the questions that one may ask of it.

What must always hold: an `AuditLog` works in the process that uses it. After a fork the child's copy lets go of all
that is the parent's, and opens a ring, a journal and sinks of its own on first use. A log that nobody closed is
closed when the interpreter exits.
"""

import asyncio
import atexit
import logging
import multiprocessing
import multiprocessing.util
import os
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from auditring._core import Session
from auditring.config import Durability, Seconds, WhenFull, positive, seconds
from auditring.exceptions import AuditError, ConfigError, LogClosed
from auditring.metrics import LogCollector
from auditring.policy import Keep, policy_json
from auditring.running import Running
from auditring.sinks import ParquetSink, Sink
from auditring.stats import Health, Stats
from auditring.types import Authority, ContextMap, Outcome, Text

__all__ = ["AuditLog", "open"]

_EXIT_TIMEOUT: Final = 30.0
_ROOM: Final = 0.5
_FIRST_POLL: Final = 0.001
_LONGEST_POLL: Final = 0.05
_SINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LOGGER: Final = logging.getLogger("auditring")


def open(  # noqa: A001, PLR0913 - the public name: auditring.open; every setting has its own
    path: str | os.PathLike[str] | None,
    *,
    instance: str | None = None,
    primary_tap: str | None = None,
    sinks: Sequence[Sink] | None = None,
    read: Keep = Keep.ALL,
    write: Keep = Keep.ALL,
    seed: int | None = None,
    when_full: WhenFull | Mapping[str, WhenFull] | None = None,
    durability: Durability = Durability.PROCESS,
    ring_bytes: int = 16 << 20,
    ring_dir: str | os.PathLike[str] | None = None,
    journal_bytes: int = 4 << 30,
    segment_bytes: int = 64 << 20,
    segment_age: Seconds = 10.0,
) -> "AuditLog":
    """Opens a log in directory `path` and records `ProxyStartup`; `None` makes a log that keeps nothing.

    A second `open` of one directory, in this process or another, is a further writer with its own ring.

    `instance`: which proxy this is, by default the host's name. `primary_tap`: the one tap that metrics count.
    `sinks`: by default one `ParquetSink`. `read`, `write`: how much of the data events to keep. `seed`: of the
    sample, by default drawn. `when_full`: for both classes of events, or by class (`droppable`, `protected`).
    `ring_bytes`: a power of two. `ring_dir`: by default tmpfs where that outlives the process. `journal_bytes`: the
    most that the journal may take on disk. `segment_bytes`, `segment_age`: when the journal begins a new file.

    Raises `ConfigError` before anything is touched, and `OSError`.
    """
    full = WhenFull.by_class(when_full)
    for name, value in (("ring_bytes", ring_bytes), ("journal_bytes", journal_bytes), ("segment_bytes", segment_bytes)):
        positive(name, value)
    if ring_bytes & (ring_bytes - 1):
        raise ConfigError(f"ring_bytes: a power of two, not {ring_bytes}")
    if durability is not Durability.PROCESS:
        raise ConfigError(f"durability: only Durability.PROCESS is implemented, not {durability!r}")
    host = socket.gethostname()
    settings = {
        "instance": host if instance is None else instance,
        "host": host,
        "policy": policy_json(read=read, write=write, seed=seed),
        "primary_tap": primary_tap,
        "ring_dir": None if ring_dir is None else os.fspath(ring_dir),
        "ring_bytes": ring_bytes,
        **{name: one.boundary for name, one in full.items()},
        "journal_bytes": journal_bytes,
        "segment_bytes": segment_bytes,
        "segment_seconds": seconds("segment_age", segment_age),
    }
    return AuditLog(None if path is None else Path(path).absolute(), _checked(sinks), settings)


def _checked(sinks: Sequence[Sink] | None) -> tuple[Sink, ...]:
    chosen = (ParquetSink(),) if sinks is None else tuple(sinks)
    names = set()
    for sink in chosen:
        if not isinstance(sink, Sink):
            raise ConfigError(f"sinks: {sink!r} is no auditring.sinks.Sink")
        if _SINK_NAME.fullmatch(sink.name) is None:
            raise ConfigError(f"sinks: the name {sink.name!r} cannot name a file; letters, digits, '-' and '_'")
        if sink.name in names:
            raise ConfigError(f"sinks: two are named {sink.name!r}")
        names.add(sink.name)
    return chosen


class AuditLog:
    """An open log. Safe from any thread and any event loop; made by `auditring.open`."""

    def __init__(self, root: Path | None, sinks: Sequence[Sink], settings: Mapping[str, Any]) -> None:
        self._root = root
        self._sinks = sinks if root is not None else ()
        self._settings = settings
        self._lock = threading.RLock()
        self._closed = False
        self._running: Running | None = Running(root, self._sinks, settings)
        _remember(self)

    # What is recorded

    def session(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the name of the column that it becomes
        peer: str | tuple[Any, ...] | None = None,
        local: str | tuple[Any, ...] | None = None,
        virtual_cluster: Text | None = None,
        client_id: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        context: ContextMap | None = None,
    ) -> Session:
        """Begins the session of one client connection and records `ClientAccept`.

        `peer` and `local` are addresses as `get_extra_info` gives them. `authority` says whether this proxy decides
        authentication or witnesses it. `context` is in every row of the session.
        """
        return self._live().core.session(
            id=id,
            peer=peer,
            local=local,
            virtual_cluster=virtual_cluster,
            client_id=client_id,
            authority=authority,
            tap=tap,
            context=context,
        )

    def emit(  # noqa: PLR0913 - one argument a column
        self,
        action: str,
        /,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        operation: Text | None = None,
        resource_type: Text | None = None,
        resource: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, str] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records an event that belongs to no session; `action` is package-qualified (`com.example.kms.KeyUsed`)."""
        self._live().core.emit(
            action,
            outcome=outcome,
            status=status,
            reason=reason,
            operation=operation,
            resource_type=resource_type,
            resource=resource,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    # What can be asked

    @property
    def path(self) -> Path | None:
        """The audit directory; `None` where nothing is kept."""
        return self._root

    @property
    def process(self) -> str:
        """The UUID under which this log's rows stand; another one in a forked child; empty where nothing is kept."""
        return self._current().core.process

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def pressure(self) -> float:
        """Share of the ring in use, 0.0 to 1.0."""
        return self._current().core.pressure

    async def ready(self, *, below: float = _ROOM, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - a wait that gives up is no error
        """Waits until `pressure` is below `below`, for an asyncio host that stops reading from its clients meanwhile.

        Returns whether it is; `False` after `timeout` seconds, and at once while the journal cannot be written.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        delay = _FIRST_POLL
        while (running := self._live()).core.pressure >= below:
            if running.troubled or (deadline is not None and loop.time() >= deadline):
                return False
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_POLL)
        return True

    def stats(self) -> Stats:
        """The balance of every event ever offered to this log; also after `close`."""
        return self._current().stats()

    def health(self) -> Health:
        """Whether the log keeps its promises at this moment, and if not, why, since when, and what to do."""
        return self._current().health()

    def collector(self) -> LogCollector:
        """The balance for Prometheus: `prometheus_client.REGISTRY.register(log.collector())`."""
        return LogCollector(self.stats, self.health, lambda: self.pressure)

    # What can be waited for

    def flush(self, timeout: Seconds | None = None) -> None:
        """Waits until all sinks have, safe, what was accepted before the call.

        Raises `TimeoutError`; `SinkError` when a sink fails meanwhile; `JournalError` while the journal cannot be
        written.
        """
        self._live().flush(seconds("timeout", timeout))

    async def aflush(self, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - the same signature as flush
        """`flush`, without blocking the event loop."""
        await asyncio.to_thread(self.flush, timeout)

    def sync(self, timeout: Seconds | None = None) -> None:
        """Waits until what was accepted before the call is journaled and on the disk itself (`fdatasync`).

        Raises `TimeoutError`, `JournalError` and `OSError`.
        """
        running = self._live()
        if self._root is not None:
            running.journaled(seconds("timeout", timeout))
            running.core.sync()

    def close(self, timeout: Seconds | None = None) -> None:
        """Ends open sessions (status `ProxyShutdown`), records `ProxyCleanShutdown`, and seals everything.

        Closing twice is no error. Raises `CloseIncomplete` when a sink lags longer than `timeout`, or a sink or the
        journal keeps failing: what was accepted is then kept on disk, and closing again tries again.
        """
        limit = seconds("timeout", timeout)
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None:
            running.close(limit)
        _forget(self)

    async def aclose(self, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - the same signature as close
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = "nothing kept" if self._root is None else str(self._root)
        return f"<AuditLog {self._settings['instance']!r} {where}{' closed' if self._closed else ''}>"

    # What belongs to this process

    def _live(self) -> Running:
        """What takes events. Raises `LogClosed`."""
        if self._closed:
            raise LogClosed("the log is closed")
        return self._running or self._reopen()

    def _current(self) -> Running:
        """What answers questions, also after `close`."""
        running = self._running
        if running is None:
            if self._closed:
                raise LogClosed("the log was closed before this process used it")
            running = self._reopen()
        return running

    def _reopen(self) -> Running:
        """In a forked child, on first use: the same settings, a new process in the data."""
        with self._lock:
            if self._running is None:
                self._running = Running(self._root, self._sinks, self._settings)
                _remember(self)
            return self._running

    def _forked(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()
        running, self._running = self._running, None
        if running is not None:
            _INHERITED.append(running)
            running.forked()


_OPEN: Final[set[AuditLog]] = set()
_INHERITED: Final[list[Running]] = []
"""What a forked child must never finalise: it is the parent's."""


def _remember(log: AuditLog) -> None:
    """Closes the log at exit, if nobody does before; a child of `multiprocessing` has an exit of its own kind."""
    _OPEN.add(log)
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    if multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, _close_all, exitpriority=100)


def _forget(log: AuditLog) -> None:
    _OPEN.discard(log)


def _close_all() -> None:
    """At exit, while the daemon threads still run."""
    for log in list(_OPEN):
        try:
            log.close(_EXIT_TIMEOUT)
        except (AuditError, OSError) as error:
            _LOGGER.error("%r was not sealed at exit: %s", log, error)  # noqa: TRY400 - the cause is in the message, the stack is this loop


def _after_fork() -> None:
    for log in list(_OPEN):
        log._forked()  # noqa: SLF001 - the module's own class


os.register_at_fork(after_in_child=_after_fork)

"""The log as a host holds it: sessions, events, and the questions that one may ask of it.

What must always hold: an `AuditLog` works in the process that uses it. After a fork the child's copy lets go of all
that is the parent's, and opens a ring, a journal and sinks of its own on first use. A log that nobody closed is
closed when the interpreter exits.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Protocol, Self, overload

from auditring import open_logs, redaction
from auditring._core import Authorizer, Broker, Plugin, Session
from auditring.config import Retention, Seconds, seconds, unknown_key
from auditring.exceptions import AuditError, ConfigError, LogClosed, PolicyLocked
from auditring.log_events import LogEvents
from auditring.metrics import LogCollector
from auditring.metrics.of_log import Source
from auditring.policy import Policy, PolicyDiff, diff
from auditring.policy.form import check_windows
from auditring.redaction import Redact
from auditring.running import Running
from auditring.sinks import Sink
from auditring.sinks.base import policy_of
from auditring.stats import Health, Stats
from auditring.types import Authority, ContextMap, Outcome, Text

__all__ = ["AuditLog", "DeclaredEvent"]

_EXIT_TIMEOUT: Final = 30.0
_CHANGE_TIMEOUT: Final = 10.0
_ROOM: Final = 0.5
_FIRST_POLL: Final = 0.001
_LONGEST_POLL: Final = 0.05
_LOGGER: Final = logging.getLogger("auditring")


class DeclaredEvent(Protocol):
    """What `AuditLog.declare` returns: call it to record the event. It works with every log, of a forked child too."""

    def __call__(
        self,
        subject: "Session | Broker | Plugin | Authorizer | AuditLog",
        /,
        *fields: Text | None,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        **named: Text | None,
    ) -> None:
        """Records the event of `subject`; its fields by position, in the order of the declaration, or by name."""


class AuditLog(LogEvents):
    """An open log. Safe from any thread and any event loop; made by `auditring.open`."""

    def __init__(
        self,
        root: Path | None,
        sinks: Sequence[Sink],
        settings: Mapping[str, Any],
        *,
        lock_policy: bool,
        redact: Sequence[Redact],
        retention: Retention | None = None,
    ) -> None:
        self._root = root
        self._redact = redact
        self._policy_is_locked = lock_policy
        self._changing = threading.Lock()
        self._sinks = sinks if root is not None else ()
        self._settings = settings
        self._retention = retention
        self._lock = threading.RLock()
        self._closed = False
        self._running: Running | None = Running(root, self._sinks, settings, retention)
        open_logs.remember(self, self._at_exit, self._forked)

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
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Records an event that belongs to no session; `action` is package-qualified (`com.example.kms.KeyUsed`).

        Its origin is `proxy`, or `filter` where one is named; `cause` is the session whose request was the cause.
        """
        self._record(
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
            filter=filter,
            cause=cause,
        )

    def _record(self, action: str, /, **fields: Any) -> None:  # noqa: ANN401 - the fields are the catalog's
        self._live().core.record(action, **fields)

    def declare(
        self,
        name: str,
        *,
        object_ref: Sequence[str] = (),
        context: Sequence[str] = (),
        outcome: Outcome = "success",
    ) -> DeclaredEvent:
        """Declares an event of your own, once, so that it costs no more than one of the catalog's.

        `object_ref` and `context` name its fields: where their values, all text, are found. Declaring the same twice is
        the same event. Raises `EventConflict` where it is declared otherwise, `EventTableFull` past 256 events.

        ```python
        key_used = log.declare("com.example.kms.KeyUsed", object_ref=("com.example.kek",), context=("alg",))
        key_used(session, "kek-7", "AES")
        ```
        """
        event: DeclaredEvent = self._live().core.declare(name, object_ref=object_ref, context=context, outcome=outcome)
        return event

    @overload
    def plugin(
        self,
        *,
        filter: Text,
        namespace: str,
        tap: Text | None = None,
        authorizer: Literal[False] = False,
        authority: Authority | None = None,
    ) -> Plugin: ...
    @overload
    def plugin(
        self,
        *,
        filter: Text,
        namespace: str,
        tap: Text | None = None,
        authorizer: Literal[True],
        authority: Authority | None = None,
    ) -> Authorizer: ...
    def plugin(
        self,
        *,
        filter: Text,
        namespace: str,
        tap: Text | None = None,
        authorizer: bool = False,
        authority: Authority | None = None,
    ) -> Plugin | Authorizer:
        """A handle for a plugin that acts on its own account; `Session.plugin` makes one for a client's request.

        It can emit events of its `namespace` alone, with origin `filter` and the name of the `filter`; an authorizer's
        has `operation_allowed` and `operation_denied` too.
        """
        return self._live().core.plugin(
            filter=filter, namespace=namespace, tap=tap, authorizer=authorizer, authority=authority
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
        return LogCollector(
            Source(
                stats=self.stats,
                health=self.health,
                pressure=lambda: self.pressure,
                root=self._root,
                name=lambda: (self.process, self._settings["instance"], self._settings["host"]),
            )
        )

    # What can be changed

    @property
    def policy(self) -> Policy:
        """The policy in force, its seed included."""
        return self._current().policy

    @property
    def configuration_digest(self) -> str:
        """SHA-256 of the settings that the log was opened with, as its row `ProxyStartup` has it."""
        told: dict[str, str] = dict(self._settings["startup"])
        return told["configuration_digest"]

    def set_policy(self, policy: Policy, *, timeout: Seconds | None = _CHANGE_TIMEOUT) -> PolicyDiff:
        """Brings another policy into force and returns what is different.

        A row `auditring.PolicyChanged` carries the whole policy: rows up to it were judged by the old one, in every
        sink, reader and replay, and rows after it by this one. It is in the journal when the call returns, so every
        event after the call is judged by this policy; what was recorded before the call by the old one. A policy
        without a seed keeps the one in force, so that samples stay the same. The same policy again is no change. Sinks'
        own policies stay as they are.

        Raises `ConfigError` for a policy that a row has no room for; `PolicyLocked`; and, when the change could not be
        journaled within `timeout` seconds, `JournalError` while the journal cannot be written, else `TimeoutError`:
        then the old policy is in force, and stays so unless the message says otherwise.
        """
        if not isinstance(policy, Policy):
            raise ConfigError(f"policy: a Policy, not {policy!r}")
        limit = seconds("timeout", timeout)
        running = self._live()
        began = time.monotonic()
        if not self._changing.acquire(timeout=-1 if limit is None else limit):
            raise TimeoutError("the policy is as it was, and stays so: another change is not done yet")
        try:
            before = running.policy
            # What a log holds of a policy, and may show: its journaled form.
            redaction.same(self._redact, before.redact, policy.redact)
            form = policy.kept(seed=before.seed or 0, redact=policy.redact, key=self._settings["key"])
            for name, own in self._settings["sinks"]:
                if own:
                    check_windows(form, own, f"policy: beside that of sink {name!r}")
            what = diff(before, Policy.from_journaled(form))
            if self._policy_is_locked and what:
                running.refuse_policy(form, what)
                raise PolicyLocked("the log was opened with lock_policy=True: its policy stays as it is")
            left = None if limit is None else max(0.0, limit - (time.monotonic() - began))
            running.set_policy(form, what, left)
        finally:
            self._changing.release()
        return what

    # Who drives the sinks

    def attach_sink(self, sink: Sink) -> bool:
        """Drives a sink from now on, beside the others: one that this log has not had, or that an agent drives.

        One that has a cursor goes on from there; a new one is owed all that the journal still has, and counts what has
        gone. While somebody else has the sink's lock it is waited for in the background: an agent that is not killed
        before lets go within a second or two. Returns whether this log drives it already; `health()` tells, too.

        Raises `ConfigError` for a sink of a name that this log has, `LogClosed`, and `OSError`.
        """
        running = self._live()
        with self._lock:
            given: object = sink
            if not isinstance(given, Sink):
                raise ConfigError(f"sink: {sink!r} is no auditring.sinks.Sink; derive its class from that")
            if any(one.name == sink.name for one in self._sinks):
                raise ConfigError(f"sink: this log has one that is named {sink.name!r}")
            own, form = policy_of(sink), b""
            if own is not None:
                policy = running.policy
                form = own.kept(seed=policy.seed or 0, redact=self._redact, key=self._settings["key"])
                check_windows(policy.journaled(seed=0), form, f"sink: the policy of {sink.name!r}")
            driven = running.attach_sink(sink, form)
            listed = [one for one in self._settings["sinks"] if one[0] != sink.name]
            left = [name for name in self._settings["by_agent"] if name != sink.name]
            # Also what a forked child begins with.
            self._settings = {**self._settings, "sinks": [*listed, (sink.name, form)], "by_agent": left}
            self._sinks = (*self._sinks, sink)
        return driven

    def release_sink(self, name: str, *, timeout: Seconds | None = None) -> None:
        """Leaves a sink to an agent: makes safe what it has taken, and lets go of its lock.

        The journal is kept for it as before; without an agent its rows wait there. `attach_sink` takes it back.

        Raises `ConfigError` where this log has no such sink, `TimeoutError` where the sink is in a call that does not
        come back (it is let go of when it does), `LogClosed`, and `OSError`.
        """
        limit = seconds("timeout", timeout)
        running = self._live()
        with self._lock:
            known = [one.name for one in self._sinks]
            if name not in known:
                raise unknown_key("sink", name, known)
            running.leave_to_agent(name)
            self._sinks = tuple(one for one in self._sinks if one.name != name)
            self._settings = {**self._settings, "by_agent": [*self._settings["by_agent"], name]}
        running.release_sink(name, limit)

    # What can be waited for

    def flush(self, timeout: Seconds | None = None) -> None:
        """Waits until all sinks that this process drives have, safe, what was accepted before the call.

        An agent's are not waited for: what they lack is in the journal. Raises `TimeoutError`; `SinkError` when a sink
        fails meanwhile; `JournalError` while the journal cannot be written.
        """
        self._live().flush(seconds("timeout", timeout))

    async def aflush(self, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - the same signature as flush
        """`flush`, without blocking the event loop."""
        await asyncio.to_thread(self.flush, timeout)

    def sync(self, timeout: Seconds | None = None) -> None:
        """Waits until what was accepted before the call is journaled and on the disk itself (`fdatasync`).

        However many callers wait, they share one. Raises `TimeoutError`, `JournalError` and `OSError`.
        """
        self._live().sync(seconds("timeout", timeout))

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
        open_logs.forget(self)

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

    def __reduce__(self) -> NoReturn:
        """Nothing that a process holds can be had by another, but by `fork`, which copies it."""
        raise TypeError("a log belongs to its process: open one in the worker")

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
                self._running = Running(self._root, self._sinks, self._settings, self._retention)
                open_logs.remember(self, self._at_exit, self._forked)
            return self._running

    def _at_exit(self) -> None:
        """While the daemon threads still run."""
        try:
            self.close(_EXIT_TIMEOUT)
        except (AuditError, OSError) as error:
            _LOGGER.error("%r was not sealed at exit: %s", self, error)  # noqa: TRY400 - the cause is in the message, and the stack is the exit's

    def _forked(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()
        self._changing = threading.Lock()
        running, self._running = self._running, None
        if running is not None:
            _INHERITED.append(running)
            self._settings = {**self._settings, "policy": running.forked()}


_INHERITED: Final[list[Running]] = []
"""What a forked child must never finalise: it is the parent's."""

# Behind the handlers of all that a log is made of.
os.register_at_fork(after_in_child=open_logs.after_fork)

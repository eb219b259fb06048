"""A caller that waits for room: what signals, interrupts and cancellation do to it.

In every case nothing was claimed, the event is counted as refused, and nothing hangs.
"""

import asyncio
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

import auditring
from auditring import Then, WhenFull
from auditring.sinks import JsonlSink, RowBatch
from deadlines import until

if TYPE_CHECKING:
    from types import FrameType

DEADLINE = 30.0


class Dead(JsonlSink):
    """A sink that never works."""

    def write(self, batch: RowBatch) -> int:
        """Fails."""
        raise OSError(5, f"dead at {batch.first_seq}")


class Woken(Exception):  # noqa: N818 - no error: what a signal's handler raises
    """Raised by a handler."""


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[auditring.AuditLog, auditring.Session]]:
    """A log whose ring is full and stays so, and a session whose Reads wait for ever."""
    when_full = {"droppable": WhenFull(wait=None), "protected": WhenFull(wait=0, then=Then.RAISE)}
    log = auditring.open(
        tmp_path / "audit",
        sinks=[Dead()],
        ring_dir=tmp_path,
        ring_bytes=1 << 20,
        journal_bytes=1 << 20,
        when_full=when_full,
    )
    session = log.session(id="caller", authority="decision")
    # A refusal while nothing is written any more: there will be no room.
    stopped = refused = False
    while not (stopped and refused):
        stopped = log._live().core.stats()["over_budget"]  # noqa: SLF001 - no public name for it
        try:
            session.operation_denied("WRITE", "Topic", "salaries")
        except auditring.AuditUnavailable:
            refused = True
        else:
            refused = False
    yield log, session
    with pytest.raises(auditring.CloseIncomplete):
        log.close(0.1)


@contextmanager
def refused_once(log: auditring.AuditLog) -> Iterator[None]:
    """What happens here is one call that is counted as refused and claims nothing."""
    before = log.stats()
    yield
    after = log.stats()
    assert (after.refused, after.claimed, after.dropped) == (before.refused + 1, before.claimed, before.dropped)
    assert after.offered == before.offered + 1
    assert after.balanced


def waits_in(call: str) -> None:
    """Waits until the main thread has stood in a line with that call for twenty looks."""
    main = threading.main_thread().ident
    assert main is not None
    looks = 0

    def stands() -> bool:
        nonlocal looks
        frame: FrameType | None = sys._current_frames()[main]  # noqa: SLF001 - the way to see another thread
        while frame is not None and frame.f_code.co_filename != __file__:
            frame = frame.f_back
        looks = looks + 1 if frame is not None and call in linecache.getline(__file__, frame.f_lineno) else 0
        return looks > 20

    until(stands)


def _reached(seen: Callable[[], int], count: int) -> bool:
    return seen() >= count


@contextmanager
def signalled(
    number: signal.Signals, call: str = "session.read(", times: int = 1, seen: Callable[[], int] = lambda: 0
) -> Iterator[None]:
    """Sends signals to this process when its main thread waits in that call, each when the one before was `seen`."""

    def send() -> None:
        for sent in range(times):
            # Two that come at once would be one.
            until(partial(_reached, seen, sent))
            waits_in(call)
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.fixture
def handler() -> Iterator[Callable[[signal.Signals, Callable[[], None]], None]]:
    """Installs handlers, and the former ones again."""
    before: dict[signal.Signals, object] = {}

    def install(number: signal.Signals, what: Callable[[], None]) -> None:
        before[number] = signal.signal(number, lambda *_: what())

    yield install
    for number, former in before.items():
        signal.signal(number, former)  # type: ignore[arg-type]  # what `signal` returned


Install = Callable[[signal.Signals, Callable[[], None]], None]


def wake() -> NoReturn:
    """A handler that raises."""
    raise Woken


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGUSR1])
def test_what_a_signal_handler_raises_ends_the_wait(
    full: tuple[auditring.AuditLog, auditring.Session], handler: Install, number: signal.Signals
) -> None:
    """The handler's exception comes out of the call; the next call works as before."""
    log, session = full
    handler(number, wake)
    for _ in range(2):
        with refused_once(log), signalled(number), pytest.raises(Woken):
            session.read("orders", 0, 1, 1)


def test_a_handler_that_returns_ends_no_wait(
    full: tuple[auditring.AuditLog, auditring.Session], handler: Install
) -> None:
    """Handlers run while the call waits; two of them return, and only what the third raises ends it."""
    log, session = full
    calls = 0

    def third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Woken

    handler(signal.SIGUSR1, third)
    with refused_once(log), signalled(signal.SIGUSR1, times=3, seen=lambda: calls), pytest.raises(Woken):
        session.read("orders", 0, 1, 1)
    assert calls == 3


def test_an_interrupt_ends_the_wait(full: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """Ctrl-C is a KeyboardInterrupt out of the call."""
    log, session = full
    with refused_once(log), signalled(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        session.read("orders", 0, 1, 1)


def test_a_wait_for_the_journal_and_a_close_can_be_interrupted(
    full: tuple[auditring.AuditLog, auditring.Session], handler: Install
) -> None:
    """`sync` and `close` let the handler's exception out, and can be called again."""
    log, _ = full
    handler(signal.SIGUSR1, wake)
    with signalled(signal.SIGUSR1, "log.sync("), pytest.raises(Woken):
        log.sync()
    with signalled(signal.SIGUSR1, "log.close("), pytest.raises(Woken):
        log.close()


def test_a_session_whose_end_finds_no_room_has_ended(full: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """A session that ends finds no room: the error comes out of `with`, its row is refused, and it takes no more."""
    log, session = full
    with refused_once(log), pytest.raises(auditring.AuditUnavailable, match="budget is used up"):
        session.close()
    with pytest.raises(auditring.SessionClosed):
        session.read("orders", 0, 1, 1)


def test_a_cancelled_wait_for_room_is_no_event(full: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """`ready` can be cancelled, and given a time; nothing is counted by it, and pressure can be asked for meanwhile."""
    log, _ = full

    async def host() -> None:
        before = log.stats()
        task = asyncio.create_task(log.ready())
        await asyncio.sleep(0)
        assert log.pressure > 0.9
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await log.ready()
        assert not await log.ready(timeout=0.05)
        assert log.stats().offered == before.offered

    asyncio.run(host())


def test_the_second_interrupt_ends_a_wait_in_a_task(full: tuple[auditring.AuditLog, auditring.Session]) -> None:
    """`asyncio.run` cancels the task at the first Ctrl-C, which a task in a call cannot see, and then raises."""
    log, session = full
    cancelled = []
    tasks: list[asyncio.Task[None]] = []

    async def host() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            session.read("orders", 0, 1, 1)
        finally:
            cancelled.append(task.cancelling())

    sent_twice = signalled(signal.SIGINT, times=2, seen=lambda: sum(task.cancelling() for task in tasks))
    with refused_once(log), sent_twice, pytest.raises(KeyboardInterrupt):
        asyncio.run(host())
    assert cancelled == [1]


def test_a_task_is_cancelled_once_its_event_is_in(tmp_path: Path) -> None:
    """A cancellation that comes while a call waits is seen at the next `await`: the event is a row, all go on."""
    rows = 20_000
    when_full = WhenFull(wait=None)
    with auditring.open(tmp_path, sinks=[JsonlSink()], ring_bytes=1 << 20, when_full=when_full) as log:

        async def client(number: int) -> int:
            done = 0
            with log.session(id=f"s-{number}") as session:
                try:
                    for at in range(rows):
                        session.read("orders", number, at, at)
                        done += 1
                        if at % 100 == 0:
                            await asyncio.sleep(0)
                except asyncio.CancelledError:
                    return done
            return done

        async def host() -> list[int]:
            tasks = [asyncio.create_task(client(number)) for number in range(8)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks)

        done = asyncio.run(host())
        log.flush(DEADLINE)
        stats = log.stats()
    assert done[1::2] == [rows] * 4
    assert all(0 < one < rows for one in done[::2])
    assert stats.actions["Read", "success"] == sum(done)
    assert (stats.dropped, stats.refused, stats.balanced) == (0, 0, True)

"""One thread a sink: takes rows from the journal, hands them to the sink, and moves the cursor when they are safe.

What must always hold: the cursor moves only after the sink's `commit` returned; after any failure both go back to
it. A failure ends nothing: it is counted, seen in `health()`, told to the log as an event, and tried again, ever more
slowly, and told again as long as it lasts. Rows that a sink refuses for good are left out, counted. A thread that dies
all the same, and a sink that hangs, are noticed by whoever looks (the pump, once a second): the one is begun anew, the
other told of. Only while the log is being closed does the follower give up, because then nobody may wait for ever; what
it leaves is in the journal for the next opener.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from auditring import _core
from auditring.exceptions import FileGone, SinkAhead, SinkError, SinkRejected
from auditring.forking import calling
from auditring.health import HealthBoard
from auditring.outage import Outage
from auditring.sinks.base import Sink, hurry, missing_of, unhurry
from auditring.tally import Losses, Tally
from auditring.threads import started
from auditring.timing import Timings

__all__ = ["SinkFollower", "declined"]

T = TypeVar("T")

OUTCOMES: Final = ("success", "failure", "denied", "allowed", "forwarded")
_IDLE: Final = 1.0
_LOOK: Final = 0.05
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 10.0
_LAST_DELAY: Final = 0.5
_LAST_TRIES: Final = 5
_HANG: Final = 30.0
"""Seconds that a sink may take for one call before it is said to hang."""
_HANGS: Final = "look at what the sink writes to; nothing is lost as long as the journal has room"
_ADVICE: Final = "look at the cause; rows wait as long as the journal has room, and the sink is tried again by itself"


def declined(sink: Sink) -> list[tuple[str, str]]:
    """The kinds of rows that a sink is not interested in."""
    actions = [action["name"] for action in _core.actions()]
    return [(action, outcome) for action in actions for outcome in OUTCOMES if not sink.interested(action, outcome)]


class SinkFollower:
    """Drives one sink. Its thread is a daemon, so that the interpreter can exit; the log's exit handler ends it."""

    def __init__(
        self,
        rows: _core.Follower,
        sink: Sink,
        health: HealthBoard,
        tell: Callable[..., None],
        *,
        watch: Callable[[], None] = lambda: None,
        of: str | None = None,
        role: str = "recovery",
    ) -> None:
        """`tell` records one of the library's own events; `watch` is called between batches, at least once a second.

        `of`: the other process whose rows these are, dead or living elsewhere; `role`: what that is to us.
        """
        self.sink = sink
        self.failures = 0
        self.failed: BaseException | None = None
        """Why the sink could not be written to last; `None` while it works."""
        self._cause: BaseException | None = None
        """The same, also when it works again: for who has waited, and hears of it late."""
        self.finished = False
        """Everything was delivered and committed."""
        self.vanished: tuple[float, str] | None = None
        """When a file that the sink had open was taken away last, and which."""
        self.commits = Timings()
        """How long it took each time to make rows safe."""
        self.last_success_ns: int | None = None
        """When rows were last made safe, in nanoseconds since the epoch."""
        self._rows = rows
        self._tell = tell
        self._watch = watch
        self._safe = self._rows.cursor
        self._totals = self._rows.totals
        self._health = health
        self._component = f"sink:{sink.name}" if of is None else f"{role}:{of}:{sink.name}"
        self._thread = threading.Thread()
        self._changed = threading.Condition()
        self._outage: Outage | None = None
        self._calling: tuple[str, float] | None = None
        self._hangs: Outage | None = None
        self._ended = True
        self._abandoned = False
        # Those of the dead are in their totals alone.
        self._losses = Losses(sink.name, self._totals, tell) if of is None else None
        self._target = 0
        self._closing = False
        self._gone: FileGone | None = None
        self._lost_at: int | None = None
        """Where a file was taken away last."""

    @property
    def cursor(self) -> int:
        """Next seq after what is safe in the sink."""
        return self._safe

    @property
    def totals(self) -> dict[str, int]:
        """What became of the rows up to the cursor."""
        return self._totals

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def known(self) -> dict[str, Any]:
        """What only who drives a sink knows of it, as `SinkStats` has it."""
        return {
            "failures": self.failures,
            "failing": self.failed is not None,
            "last_success_ns": self.last_success_ns,
            "commits": self.commits.histogram(),
            "counters": dict(getattr(self.sink, "counters", {})),
        }

    def start(self) -> None:
        """Starts the thread; again, after it has given up on the sink while the log was closed. Raises `OSError`."""
        if self._closing:
            unhurry(self.sink)
        with self._changed:
            self._ended = False
            self._thread = started(self._run, f"auditring-{self.sink.name}")

    def join(self, timeout: float | None) -> None:
        """Waits for the end of the thread; one that was never started has ended."""
        if self.alive:
            self._thread.join(timeout)

    def ask(self, target: int) -> int:
        """Wants everything below seq `target` made safe as soon as possible; how often the sink has failed by now."""
        with self._changed:
            self._target = max(self._target, target)
            failures = self.failures
            self._changed.notify_all()
        self._rows.wake()
        return failures

    def wait(self, target: int, timeout: float | None, failures: int) -> None:
        """Waits until everything below `target` is safe.

        Raises `TimeoutError`, and `SinkError` when the sink has failed more often than `failures`.
        """
        with self._changed:
            deadline = None if timeout is None else time.monotonic() + timeout
            while self.cursor < target and self.failures == failures and self.alive:
                left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
                if left <= 0:
                    raise TimeoutError(f"sink {self.sink.name!r} is at seq {self.cursor} of {target}")
                # Once more each time: a wake that came just before the wait it was meant for is lost.
                self._rows.wake()
                self._changed.wait(left)
            if self.cursor < target:
                raise SinkError(
                    f"sink {self.sink.name!r} failed at seq {self.cursor} of {target}: {self._cause!r}"
                ) from self._cause

    def look(self) -> bool:
        """Whether a file that the sink has open was taken away; then its thread begins another. From another thread."""
        found = missing_of(self.sink)
        if found is None or self._gone is not None:
            return False
        self._gone = found
        self._rows.wake()
        return True

    def stop(self) -> None:
        """The log is being closed: deliver what is there, do not wait for more, do not try for ever."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._rows.wake()
        # One that runs may be waiting for another machine; one that is yet to run has all the time it needs.
        if self.alive:
            hurry(self.sink)

    def abandon(self) -> None:
        """Nothing more will come, for the pump is dead: what was taken is made safe, and the rest left."""
        self._abandoned = True
        self.stop()

    def leave(self, timeout: float | None) -> bool:
        """Somebody else shall drive the sink: what was taken is made safe, and the cursor's lock let go of.

        Whether it is by now: a call of the sink that does not come back is waited for, and the lock goes with it.
        """
        self.abandon()
        self.join(timeout)
        return not self.alive

    def press(self, *, urgent: bool) -> None:
        """Wants what there is made safe, if the journal of a process that lives elsewhere has no room for more."""
        if urgent or self._rows.presses:
            self.ask(self._rows.seen)

    @property
    def lag(self) -> int:
        """Rows that are known to be in the journal, and not yet safe in the sink."""
        return max(0, self._rows.seen - self.cursor)

    def look_after(self, now: float) -> None:
        """Sees to what the thread cannot tell of itself: that it has died, that its sink hangs, and what was lost.

        From another thread, about once a second; `now` is of `time.monotonic`.
        """
        with self._changed:
            died = not (self._ended or self._closing or self.alive)
            if died:
                self._trouble(RuntimeError("the sink's thread has died; it is begun anew"))
                self.start()
            calling = self._calling
            if calling is not None and now - calling[1] >= _HANG:
                self._hangs = self._hangs or Outage(calling[1])
                said = f"{calling[0]} has not come back for {now - calling[1]:.0f} s"
                self._health.bad(self._component, said, _HANGS)
                if self._hangs.is_due(now):
                    self._tell("auditring.SinkFailed", reason=said, sink=self.sink.name, attempts=0, at_seq=self.cursor)
            self._tell_losses(now)

    def last_words(self) -> None:
        """The log is about to take no more rows: what was lost until now is told."""
        with self._changed:
            self._tell_losses(math.inf)

    def _run(self) -> None:
        """Follows until the final row, through any number of failures; a sink may raise whatever it likes."""
        delay, tries = _FIRST_DELAY, 0
        self._lost_at = None
        while True:
            before = self.cursor
            try:
                self._follow()
            except BaseException as error:  # noqa: BLE001 - a panic, too
                failure = self._failure_of(error)
                if failure is None:
                    continue
                if self.cursor > before:
                    delay, tries = _FIRST_DELAY, 0
                tries = tries + 1 if self._closing else 0
                self._trouble(failure)
                if tries >= _LAST_TRIES:
                    if self._abandoned:
                        self._let_go()
                    break
                self._pause(delay)
                delay = min(delay * 2, _LAST_DELAY if self._closing else _LONGEST_DELAY)
            else:
                self.finished = not self._abandoned
                self._rows.close()
                break
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _failure_of(self, error: BaseException) -> BaseException | None:
        """What of an error is a failure of the sink; none where it was another thing, which is seen to here."""
        # Each time at least one row fewer comes, so this ends.
        if isinstance(error, SinkRejected) and self._rows.reject(error.seqs):
            return None
        if isinstance(error, SinkAhead):
            return self._moved_on(error)
        # It begins another file at once, unless that goes, too.
        if isinstance(error, FileGone) and (self._lost_at is None or self._lost_at < self.cursor):
            self._lost_at = self.cursor
            self._vanished(error)
            return None
        return error

    def _let_go(self) -> None:
        """Whoever drives the sink next finds neither file nor lock in our hands, also where the sink has failed."""
        try:
            self._call(self.sink.close)
        except Exception as error:  # noqa: BLE001 - a third party's sink may raise whatever it likes
            self._health.bad(self._component, f"{type(error).__name__}: {error}", _ADVICE)
        self._rows.close()

    def _moved_on(self, ahead: SinkAhead) -> BaseException | None:
        """Moves the cursor to where the sink is; why it could not be moved."""
        try:
            self._rows.advance(ahead.next_seq, ahead.totals)
        except Exception as error:  # noqa: BLE001 - it is told, and tried again, as any other failure
            return error
        with self._changed:
            self._safe, self._totals = self._rows.cursor, self._rows.totals
            self._changed.notify_all()
        return None

    def forked(self) -> None:
        """In a forked child: the file and the lock are the parent's."""
        self._rows.forked()
        self.sink.forked()

    def release(self) -> None:
        """Lets go of the cursor's lock; for a thread that was never started."""
        self._rows.close()

    def _follow(self) -> None:
        """From the cursor to the final row. Returns when the sink has everything and is closed."""
        rows, sink = self._rows, self.sink
        self._gone = None
        rows.rewind()
        self._call(sink.start, rows.state)
        tally = Tally(sink.checkpoint, time.monotonic())
        due = False
        while not (rows.ended or self._abandoned):
            self._watch()
            if self._gone is not None:
                found, self._gone = self._gone, None
                # Unless another was begun since.
                if missing_of(sink) is not None:
                    raise found
            # After a failure a checkpoint of whatever is there, so that it is soon known whether the sink works again.
            urgent = self._closing or self._target > rows.cursor or self.failed is not None
            left = tally.left(time.monotonic())
            # By age a checkpoint ends only after a partial batch: what was waiting for a full one belongs to it.
            aged = left == 0
            partial = sink.batching.partial
            most = sink.batching.rows
            # One that is due goes on to the next cut: rows may wait in a window, which no cursor knows of.
            asked = most if due else tally.room(most)
            wait = _IDLE if left is None or due else min(left, _IDLE)
            # Rows can be counted ahead only where each checkpoint may take as many; tables, which are worth it, do.
            ahead = tally.room_after(asked, most) if sink.batching.tables or sink.checkpoint.rows is None else 0
            batch = rows.next(asked, wait, partial=partial, to_cut=urgent or aged or due, ahead=0 if due else ahead)
            if batch is not None:
                tally.add(batch.rows, self._call(sink.write, batch))
            due = due or aged or self._is_due(tally)
            if due and rows.at_cut:
                self._commit()
                tally, due = Tally(sink.checkpoint, time.monotonic()), False
            elif partial and sink.batching.linger and (batch is None or batch.rows < asked):
                self._linger(sink.batching.linger)
        if rows.at_cut or not self._abandoned:
            self._commit()
        self._call(sink.close)

    def _call(self, call: Callable[..., T], *args: object) -> T:
        """Calls the sink, so that others see for how long it has been at it."""
        try:
            with calling():
                self._calling = call.__name__, time.monotonic()
                return call(*args)
        finally:
            with self._changed:
                self._calling, hangs, self._hangs = None, self._hangs, None
            if hangs is not None and self.failed is None:
                self._well(hangs, 0)

    def _is_due(self, tally: Tally) -> bool:
        """Whether a checkpoint ends here: somebody waits for it, the core says that one must, or it is full."""
        cursor, position = self._rows.cursor, self._rows.position
        if cursor < self._target <= position or (self.failed is not None and cursor < position):
            return True
        return self._rows.boundary or tally.full()

    def _commit(self) -> None:
        """Makes what was written safe, then moves the cursor; where nothing was written there is nothing to do."""
        if self._rows.position > self._rows.cursor:
            began = time.perf_counter()
            self._rows.commit(self._call(self.sink.commit))
            self.commits.add(time.perf_counter() - began)
            self.last_success_ns = time.time_ns()
        # Before anybody sees that it is safe: a sink that has what was wanted of it is well.
        self._recovered(self._rows.totals)
        with self._changed:
            self._safe = self._rows.cursor
            self._changed.notify_all()

    def _linger(self, seconds: float) -> None:
        """Lets rows gather, unless somebody waits for them."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._target > self._rows.cursor, seconds)

    def _pause(self, seconds: float) -> None:
        """Waits before the next try; a close that begins meanwhile does not wait it out."""
        with self._changed:
            closing = self._closing
            self._changed.wait_for(lambda: self._closing and not closing, seconds)

    def _vanished(self, error: FileGone) -> None:
        """Tells of a file that was taken away: rows that were safe in it are in no file of the sink any more."""
        self.vanished = time.monotonic(), str(error)
        known = {} if error.first_seq is None else {"first_seq": error.first_seq, "last_seq": self.cursor - 1}
        self._tell(
            "auditring.FileVanished",
            reason=str(error),
            file=str(error.path),
            kind="open",
            what=error.what,
            sink=self.sink.name,
            rows=error.rows,
            **(known if error.rows else {}),
        )

    def _trouble(self, error: BaseException) -> None:
        cause = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        # Before anybody hears of the failure: who has waited for it finds what health says of it.
        self._health.bad(self._component, cause, _ADVICE)
        with self._changed:
            self.failed = self._cause = error
            self.failures += 1
            self._outage = self._outage or Outage(now)
            self._outage.attempts += 1
            attempts, due = self._outage.attempts, self._outage.is_due(now)
            self._changed.notify_all()
        if due:
            self._tell("auditring.SinkFailed", reason=cause, sink=self.sink.name, attempts=attempts, at_seq=self.cursor)

    def _recovered(self, totals: dict[str, int]) -> None:
        with self._changed:
            outage, self._outage, self.failed = self._outage, None, None
            # With them: whoever tells of losses next goes by what was told by now.
            self._totals = totals
            self._tell_losses(time.monotonic())
        if outage is not None:
            self._well(outage, outage.attempts)

    def _well(self, outage: Outage, attempts: int) -> None:
        lasted = outage.lasted_ns(time.monotonic())
        self._tell("auditring.SinkRecovered", sink=self.sink.name, attempts=attempts, duration_ns=lasted)
        # Then only: who closes a log that is well again has the row of it.
        self._health.good(self._component)

    def _tell_losses(self, now: float) -> None:
        if self._losses is not None:
            self._losses.tell(self._totals, now)

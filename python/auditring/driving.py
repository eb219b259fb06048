"""The sinks of one log that this process drives: each by a follower, from when it is taken to when it is let go of.

What must always hold: a sink is driven by whoever has its cursor's lock, so one that somebody else drives is waited for
and never driven beside it; what a sink's own connections write is told to the taps before its first message; and one
that is let go of in a call that does not come back is let go of when the call does.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from auditring import _core
from auditring.config import Exempt
from auditring.follower import SinkFollower, declined
from auditring.handover import Waiting
from auditring.health import HealthBoard
from auditring.sinks.base import Sink, SinkContext, traffic_of
from auditring.stats import SinkStats

__all__ = ["Driven"]

Totals = dict[str, int]
"""What became of a sink's rows, by its name."""
Known = dict[str, Any]
"""What only who drives a sink knows of it."""


class Driven:
    """The followers of a log, and those that are waited for or parted with."""

    def __init__(
        self, core: _core.Log, board: HealthBoard, tell: Callable[..., None], watch: Callable[[], None]
    ) -> None:
        """`tell` records one of the library's own events; `watch` is called between the batches of each sink."""
        self.followers: list[SinkFollower] = []
        self.parting: list[SinkFollower] = []
        """Released, and in a call that has not come back: they let go when it does, and nobody waits for them."""
        self.waiting = Waiting(self._take, board)
        self._core = core
        self._board = board
        self._tell = tell
        self._watch = watch
        self._context: SinkContext | None = None
        self._exempt: set[Exempt] = set()
        self._oldest: dict[str, tuple[int, int]] = {}

    def open(self, sinks: Iterable[Sink], context: SinkContext) -> None:
        """Makes a follower for each, yet to be started. Raises `BlockingIOError` where one is driven elsewhere."""
        self._context = context
        self.followers += [self._opened(sink, context) for sink in sinks]

    def drop_unstarted(self) -> None:
        """Lets go of what never began; those that run end with the log."""
        for follower in self.followers:
            if not follower.alive:
                follower.release()
        self.followers[:] = [follower for follower in self.followers if follower.alive]

    def _opened(self, sink: Sink, context: SinkContext) -> SinkFollower:
        """A follower that was not started. Raises `BlockingIOError` where somebody else drives the sink."""
        mine = sink.fresh()
        mine.open(context)
        rows = _core.Follower(self._core, mine.name, declined(mine), tables=mine.batching.tables)
        return SinkFollower(rows, mine, self._board, self._tell, watch=self._watch)

    def _take(self, sink: Sink) -> bool:
        """Drives a sink that was not driven here; `False` where somebody else still does."""
        if self._context is None:
            return True
        try:
            follower = self._opened(sink, self._context)
        except BlockingIOError:
            return False
        try:
            follower.start()
        except OSError:
            # Or nobody could ever drive it.
            follower.release()
            raise
        self.followers.append(follower)
        return True

    def attach(self, sink: Sink, form: bytes) -> tuple[bool, bool]:
        """Drives a sink beside the others, now or as soon as nobody else does.

        Returns whether it is now, and whether the journal has had no other policy for it. Raises `OSError`.
        """
        # Before its first message: taps of connections that begin from now on know it.
        self.let_pass(traffic_of(sink))
        agents = {name for name, by_agent, *_ in self._core.sinks() if by_agent}
        fits = self._core.assign(sink.name, by_agent=False, policy=form)
        try:
            if not (driven := self._take(sink)):
                self.waiting.add(sink)
        except BaseException:
            if sink.name in agents:
                self._core.assign(sink.name, by_agent=True)
            raise
        return driven, fits

    def leave_to_agent(self, name: str) -> None:
        """Says that it is an agent's turn at a sink, as soon as its lock is free. Raises `OSError`."""
        self._core.assign(name, by_agent=True)

    def let_pass(self, traffic: Iterable[Exempt]) -> None:
        """Has taps not audit what auditors write; each is told to the core but once."""
        for one in traffic:
            if one not in self._exempt:
                self._exempt.add(one)
                self._core.exempt(one.topic, one.client_id)

    def release(self, name: str, timeout: float | None) -> None:
        """Lets go of a sink that is left to an agent. Raises `TimeoutError`."""
        if self.waiting.drop(name):
            return
        for follower in [one for one in self.followers if one.sink.name == name]:
            self.followers.remove(follower)
            if not follower.leave(timeout):
                self.parting.append(follower)
                raise TimeoutError(f"sink {name!r} is in a call that does not come back; it is let go of when it does")
            self._board.good(f"sink:{name}")

    def look_at_parting(self) -> None:
        """Forgets those that have let go by now."""
        for follower in [one for one in self.parting if not one.alive]:
            with contextlib.suppress(ValueError):  # another thread has seen to it
                self.parting.remove(follower)
                self._board.good(f"sink:{follower.sink.name}")

    def passed(self) -> list[tuple[str, int, Totals, Known]]:
        """How far each sink of the journal is: its name, its cursor, what became of the rows, what we know of it."""
        own = list(self.followers)
        passed = [(one.sink.name, one.cursor, one.totals, one.known()) for one in own]
        for name in self._elsewhere():
            cursor, totals = self._core.cursor_of(name)
            passed.append((name, cursor, totals, {}))
        return passed

    def stats(self, passed: Iterable[tuple[str, int, Totals, Known]], core: Mapping[str, Any]) -> dict[str, SinkStats]:
        """What that comes to against the journal's own counters, which are of a later moment."""
        return {
            name: SinkStats.from_totals(
                totals, journaled=core["journaled"], **self._lag(name, cursor, core["next_seq"]), **more
            )
            for name, cursor, totals, more in passed
        }

    def _lag(self, sink: str, cursor: int, next_seq: int) -> dict[str, int | None]:
        """Since when the sink is behind. The journal is asked once for each place of its cursor."""
        if cursor >= next_seq:
            return {"oldest_ns": None, "lag_ns": 0}
        known = self._oldest.get(sink)
        if known is None or known[0] != cursor:
            try:
                oldest_ns = self._core.time_of(cursor)
            except OSError:
                return {"oldest_ns": None, "lag_ns": None}
            if oldest_ns is None:
                return {"oldest_ns": None, "lag_ns": 0}
            known = self._oldest[sink] = cursor, oldest_ns
        return {"oldest_ns": known[1], "lag_ns": max(0, time.time_ns() - known[1])}

    def _elsewhere(self) -> list[str]:
        """The sinks that the journal is kept for and this process does not drive. Raises `OSError`."""
        own = {follower.sink.name for follower in list(self.followers)}
        return [name for name, *_ in self._core.sinks() if name not in own]

    def forked(self) -> None:
        """In a forked child: files and locks are the parent's."""
        for follower in (*self.followers, *self.parting):
            follower.forked()

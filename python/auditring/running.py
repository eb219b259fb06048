"""One open log in one OS process: the core, its pump and its followers, started and ended as a whole.

What must always hold: a start that fails leaves no thread and no lock behind; the end goes the way the events go (no
more emits, then the pump to its final batch, then every follower to the final row, then the journal is removed); and
nothing here waits for ever for a disk or a sink that does not come back.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from auditring import _core, directory
from auditring.config import Exempt, Retention
from auditring.exceptions import CloseIncomplete, ConfigError, JournalError
from auditring.follower import SinkFollower, declined
from auditring.handover import Waiting
from auditring.health import STAYS, HealthBoard
from auditring.policy import Policy, PolicyDiff
from auditring.pump import Pump
from auditring.recovery import Orphans
from auditring.redaction import RedactionKey
from auditring.retention import Keeper
from auditring.sinks.base import Sink, SinkContext, traffic_of
from auditring.stats import Health, SinkStats, Stats
from auditring.watch import Watch

__all__ = ["Running"]

_LOOK: Final = 0.25
_SESSIONS: Final = 2.0
_UNOPENED: Final = 10.0
_DROPS_STAY: Final = 60.0
_PATIENCE: Final = 5.0
_SINK_LOST: Final = ("budget", "corrupt", "rejected")
_LOST_ADVICE: Final = (
    "look at the sink (see stats); other sinks have these rows. Give the journal more room (journal_bytes), or name "
    "the sink in required= if the log shall rather stop than go on without it"
)
_RING_ADVICE: Final = (
    "give the ring more room (ring_bytes), keep less (see policy), or stop reading from clients while pressure is high"
)
_BUDGET_ADVICE: Final = "look at the sink that lags (see stats), or give the journal more room (journal_bytes)"
_SEGMENT_ADVICE: Final = (
    "look at the cause; the journal goes on in the segment that it has, and nothing goes from it until another is begun"
)
_RING_GONE_ADVICE: Final = (
    "a new one is made by itself; until then events go on, but what is in the ring is lost if the process is killed; "
    "give the ring a place with ring_dir"
)
_RING_DAMAGED_ADVICE: Final = (
    "look who else writes to the ring's file, or at the memory of the machine; what cannot be read any more is told of "
    "by a row auditring.EventsLost"
)
_RECOVERY_ADVICE: Final = "look at the cause, then run `auditring recover` on the directory; nothing there is lost"
_DISK_PATIENCE: Final = 2.0
_DISK_ADVICE: Final = (
    "look at the disk of the journal: it is too slow for Durability.POWER, or refuses; sinks wait for it, emits do not"
)
_EVENTS_ADVICE: Final = "look at the other problems: the library itself had more to tell than could be kept"
_BLIND: Final = "{} may leave out protected events (allow_blind_spots)"
_DRIVEN: Final = "the sink {} is driven by an agent"
_WAITING: Final = "the sink {} is driven by somebody else, and taken over when that lets go of it"
_OTHER_POLICY: Final = (
    "the sink {} goes by the policy that the journal has had for it, not by the one that it was given"
)
_UNDRIVEN: Final = 5.0
"""Seconds for which nobody need drive a sink that is left to an agent: it may be starting anew."""
_AGENT_ADVICE: Final = (
    "start `auditring agent` on the directory, or forget the sink (`auditring sink forget`, once this log is closed); "
    "its rows wait as long as the journal has room"
)
_FOLLOWERS_ADVICE: Final = "look at the journal's directory: who follows it cannot be read"
_OFF_TMPFS: Final = (
    "the ring does not lie on tmpfs: it survives the container, but an emit may wait for a page; see ring_dir"
)


class Running:
    """What an `AuditLog` holds in one process."""

    def __init__(
        self,
        root: Path | None,
        sinks: Sequence[Sink],
        settings: Mapping[str, Any],
        retention: Retention | None = None,
    ) -> None:
        """Opens the ring and the journal and starts the threads. Raises `OSError`."""
        exempt, settings = settings["exempt"], {key: one for key, one in settings.items() if key != "exempt"}
        self.core = _core.Log(None if root is None else str(root), **settings)
        self._exempt: set[Exempt] = set()
        self._let_pass(exempt)
        for sink in sinks:
            self._let_pass(traffic_of(sink))
        self._board = HealthBoard()
        self._pump: Pump | None = None
        self._followers: list[SinkFollower] = []
        self._parting: list[SinkFollower] = []
        """Released, and in a call that has not come back: they let go when it does, and nobody waits for them."""
        self._drops = 0
        self._dropped_at = 0.0
        self._damaged = "", -STAYS
        self._sink_losses: dict[str, tuple[int, float]] = {}
        self._oldest: dict[str, tuple[int, int]] = {}
        self._finished = root is None
        self._closing = False
        self._notes: tuple[str, ...] = ()
        self._power = settings["power_seconds"]
        self._policy = settings["policy"], Policy.from_journaled(settings["policy"])
        self._orphans: Orphans | None = None
        self._keeper: Keeper | None = None
        self._watch: Watch | None = None
        self._waiting = Waiting(self._take, self._board)
        self._apart: dict[str, tuple[bool, float]] = {}
        self._context: SinkContext | None = None
        self._root = root
        if root is None:
            return
        self._pump = Pump(self.core, self._board, self._tell, self._look)
        try:
            self._pump.start()
            self._start(root, sinks, settings)
            self._adopt(root, sinks, settings["key"])
            if retention is not None:
                self._keeper = Keeper(root, retention, self.core, self._board, self._tell, self._unwritable)
                self._keeper.start()
        except BaseException:
            # Those that run end with the log, the others never began.
            for follower in self._followers:
                if not follower.alive:
                    follower.release()
            self._followers = [follower for follower in self._followers if follower.alive]
            with contextlib.suppress(CloseIncomplete, OSError):  # why the log could not be opened says more
                self.close(_UNOPENED)
            raise

    def _adopt(self, root: Path, sinks: Sequence[Sink], key: RedactionKey | None) -> None:
        """Takes over processes of this directory that have died. What they left must not keep this one from working."""
        self._orphans = Orphans(root, sinks, self._board, self._tell)
        try:
            self._orphans.adopt(self.core.process, () if key is None else (key,))
        except OSError as error:
            self._board.bad("recovery", f"{type(error).__name__}: {error}", _RECOVERY_ADVICE)
        try:
            self._orphans.start()
        except OSError as error:
            self._board.bad("recovery", f"{type(error).__name__}: {error}", _RECOVERY_ADVICE)

    def _start(self, root: Path, sinks: Sequence[Sink], settings: Mapping[str, Any]) -> None:
        self._context = SinkContext(
            root=root,
            process=self.core.process,
            instance=settings["instance"],
            host=settings["host"],
            primary_tap=settings["primary_tap"],
            schema_version=_core.SCHEMA_VERSION,
        )
        self._followers += [self._opened(sink, self._context) for sink in sinks]
        self._watch = Watch(root, Path(self.core.directory or root), self._followers, self._board, self._tell)
        for follower in self._followers:
            follower.start()
        self._watch.start()
        ring = self.core.ring_path
        if ring is not None and Path(ring).is_relative_to(root.resolve()):
            self._notes = (*self._notes, _OFF_TMPFS)
        if (why := directory.exposed(root)) is not None:
            self._notes = (*self._notes, f"{why}; make it 0700 and your own")
        # A policy that may leave out what is protected is told of in the log, and for as long as it is in force.
        if self.policy.allow_blind_spots:
            self._tell("auditring.BlindSpots", policy=settings["policy"].decode())
        for sink, policy in settings["sinks"]:
            self._tell_of_blind_spots(sink, policy)

    def _tell_of_blind_spots(self, sink: str, policy: bytes) -> None:
        if policy and Policy.from_journaled(policy).allow_blind_spots:
            self._notes = (*self._notes, _BLIND.format(f"the policy of sink {sink}"))
            self._tell("auditring.BlindSpots", policy=policy.decode(), sink=sink)

    def _opened(self, sink: Sink, context: SinkContext) -> SinkFollower:
        """A follower that was not started. Raises `BlockingIOError` where somebody else drives the sink."""
        mine = sink.fresh()
        mine.open(context)
        rows = _core.Follower(self.core, mine.name, declined(mine), tables=mine.batching.tables)
        return SinkFollower(rows, mine, self._board, self._tell, watch=self._pump_lives)

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
        self._followers.append(follower)
        return True

    def attach_sink(self, sink: Sink, form: bytes) -> bool:
        """Drives a sink beside the others, now or as soon as nobody else does; whether it is now. Raises `OSError`."""
        # Before its first message: taps of connections that begin from now on know it.
        self._let_pass(traffic_of(sink))
        agents = {name for name, by_agent, *_ in self.core.sinks() if by_agent}
        fits = self.core.assign(sink.name, by_agent=False, policy=form)
        try:
            if not (driven := self._take(sink)):
                self._waiting.add(sink)
        except BaseException:
            if sink.name in agents:
                self.core.assign(sink.name, by_agent=True)
            raise
        if fits:
            self._tell_of_blind_spots(sink.name, form)
        else:
            self._notes = (*self._notes, _OTHER_POLICY.format(sink.name))
        return driven

    def leave_to_agent(self, name: str) -> None:
        """Says that it is an agent's turn at a sink, as soon as its lock is free. Raises `OSError`."""
        self.core.assign(name, by_agent=True)

    def _let_pass(self, traffic: Iterable[Exempt]) -> None:
        """Has taps not audit what auditors write; each is told to the core but once."""
        for one in traffic:
            if one not in self._exempt:
                self._exempt.add(one)
                self.core.exempt(one.topic, one.client_id)

    def release_sink(self, name: str, timeout: float | None) -> None:
        """Lets go of a sink that is left to an agent. Raises `TimeoutError`."""
        if self._waiting.drop(name):
            return
        for follower in [one for one in self._followers if one.sink.name == name]:
            self._followers.remove(follower)
            if not follower.leave(timeout):
                self._parting.append(follower)
                raise TimeoutError(f"sink {name!r} is in a call that does not come back; it is let go of when it does")
            self._board.good(f"sink:{name}")

    def _look_at_parting(self) -> None:
        for follower in [one for one in self._parting if not one.alive]:
            with contextlib.suppress(ValueError):  # another thread has seen to it
                self._parting.remove(follower)
                self._board.good(f"sink:{follower.sink.name}")

    @property
    def policy(self) -> Policy:
        """The log's policy in force."""
        form = self.core.policy or self._policy[0]
        if form != self._policy[0]:
            self._policy = form, Policy.from_journaled(form)
        return self._policy[1]

    def set_policy(self, form: bytes, what: PolicyDiff, timeout: float | None) -> None:
        """Brings a policy, in its journaled form, into force.

        Raises `ConfigError`, `LogClosed`, `JournalError` or `TimeoutError`.
        """
        try:
            self.core.set_policy(form, str(what), timeout)
        except ValueError as error:
            raise ConfigError(f"policy: {error}") from None
        except TimeoutError as error:
            if self._pump is not None and self._pump.failed is not None:
                raise JournalError(str(error)) from self._pump.failed
            raise
        if self._pump is None:
            # Nothing is kept, so nothing is judged.
            self._policy = form, Policy.from_journaled(form)

    def refuse_policy(self, form: bytes, what: PolicyDiff) -> None:
        """Records that a policy was wanted and refused."""
        digest = hashlib.sha256(form).hexdigest()
        self._tell("auditring.PolicyRefused", digest=digest, diff=str(what))

    def stats(self) -> Stats:
        """The balance now; what the sinks have is read first, so that a sink is never ahead of the journal."""
        own = list(self._followers)
        passed = [(one.sink.name, one.cursor, one.totals, one.known()) for one in own]
        for name in self._elsewhere():
            cursor, totals = self.core.cursor_of(name)
            passed.append((name, cursor, totals, {}))
        core = self.core.stats()
        core["alive"] = core["alive"] and not self._closing
        sinks = {
            name: SinkStats.from_totals(
                totals, journaled=core["journaled"], **self._lag(name, cursor, core["next_seq"]), **more
            )
            for name, cursor, totals, more in passed
        }
        return Stats.from_core(core, sinks)

    def _lag(self, sink: str, cursor: int, next_seq: int) -> dict[str, int | None]:
        """Since when the sink is behind. The journal is asked once for each place of its cursor."""
        if cursor >= next_seq:
            return {"oldest_ns": None, "lag_ns": 0}
        known = self._oldest.get(sink)
        if known is None or known[0] != cursor:
            try:
                oldest_ns = self.core.time_of(cursor)
            except OSError:
                return {"oldest_ns": None, "lag_ns": None}
            if oldest_ns is None:
                return {"oldest_ns": None, "lag_ns": 0}
            known = self._oldest[sink] = cursor, oldest_ns
        return {"oldest_ns": known[1], "lag_ns": max(0, time.time_ns() - known[1])}

    def health(self) -> Health:
        """What is wrong now."""
        self._pump_lives()
        self._look()
        driven = tuple(
            _WAITING.format(name) if name in self._waiting.names else _DRIVEN.format(name)
            for name, (held, _) in list(self._apart.items())
            if held
        )
        blind = (_BLIND.format("the log's policy"),) if self.policy.allow_blind_spots else ()
        return self._board.health((*self._notes, *driven, *blind))

    def _elsewhere(self) -> list[str]:
        """The sinks that the journal is kept for and this process does not drive. Raises `OSError`."""
        own = {follower.sink.name for follower in list(self._followers)}
        return [name for name, *_ in self.core.sinks() if name not in own]

    def _unwritable(self) -> bool:
        """Whether the journal takes no rows now: it cannot be written, or its budget or its disk has no room."""
        return self.troubled or bool(self.core.stats()["over_budget"])

    @property
    def troubled(self) -> bool:
        """Whether the journal cannot be written, so that waiting for room is in vain."""
        return self._pump is not None and self._pump.failed is not None

    def journaled(self, timeout: float | None) -> int:
        """Waits until what was accepted before the call is journaled. Raises `TimeoutError` or `JournalError`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _left(deadline)
            try:
                return self.core.wait_journaled(_LOOK if left is None else min(left, _LOOK))
            except TimeoutError:
                if self._pump is not None and self._pump.failed is not None:
                    raise JournalError(f"the journal cannot be written: {self._pump.failed!r}") from self._pump.failed
                if left is not None and left <= _LOOK:
                    raise

    def flush(self, timeout: float | None) -> None:
        """Waits until every sink has what was accepted before the call.

        Raises `TimeoutError`, `JournalError` or `SinkError`.
        """
        if self._pump is None:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        target = self.journaled(timeout)
        self.core.sync_soon()
        followers = list(self._followers)
        for follower in followers:
            follower.ask(target)
        for follower in followers:
            follower.wait(target, _left(deadline))

    def sync(self, timeout: float | None) -> None:
        """Waits until what was accepted before the call is on the disk. Raises what `journaled` does, and `OSError`."""
        if self._pump is not None:
            deadline = None if timeout is None else time.monotonic() + timeout
            self.core.sync(self.journaled(timeout), _left(deadline))

    def close(self, timeout: float | None) -> None:
        """Ends everything. Raises `CloseIncomplete` when something lags or fails; calling again tries again."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._closing = True
        self._stop_looking(_left(deadline))
        if self._pump is not None:
            # First: with a full ring and a full disk the last event of a session must not wait for room.
            self._pump.stop()
        self._leave_orphans(0)
        try:
            for follower in self._followers:
                follower.last_words()
            left = _left(deadline)
            self.core.close_sessions(_SESSIONS if left is None else min(left, _SESSIONS))
        finally:
            self.core.close()
        if self._finished or self._pump is None:
            return
        self._end_pump(self._pump, deadline)
        for follower in self._followers:
            follower.stop()
            if not (follower.finished or follower.alive):
                follower.start()
        for follower in self._followers:
            self._see_out(self._pump, follower, deadline)
        for follower in list(self._parting):
            left = _left(deadline)
            follower.join(_PATIENCE if left is None else min(left, _PATIENCE))
        self._look_at_parting()
        behind = [follower for follower in self._followers if not follower.finished]
        if not behind:
            self._end_on_disk(deadline)
            self._finish()
            self._leave_orphans(_left(deadline))
            return
        with contextlib.suppress(OSError):  # only the ring goes now; what lags says more
            self.core.finish(behind=True)
        names = ", ".join(
            f"{one.sink.name} at seq {one.cursor}" + (f" ({one.failed!r})" if one.failed else "") for one in behind
        )
        raise CloseIncomplete(
            f"not everything has reached its sink: {names}; the rest is kept in {self.core.directory}"
        )

    def _end_pump(self, pump: Pump, deadline: float | None) -> None:
        """Waits for the final batch. Raises `CloseIncomplete`."""
        if not (pump.finished or pump.alive or pump.dead):
            pump.start()
        pump.join(_left(deadline))
        if pump.dead:
            self._abandon(deadline)
        if not pump.finished:
            why = "has not finished" if pump.alive else f"ended by {pump.failed!r}"
            kept = f"what was accepted is kept in the ring {self.core.ring_path} for the next opener"
            raise CloseIncomplete(f"the pump {why}; {kept}")

    def _end_on_disk(self, deadline: float | None) -> None:
        """Waits until what is promised to survive a loss of power does, also where no sink of ours has waited for it.

        Without that the directory would be held on, for the syncer to go on in, as long as this process lives. Raises
        `CloseIncomplete`.
        """
        if self._power is None:
            return
        try:
            self.core.sync(self.core.stats()["next_seq"], _left(deadline))
        except OSError as error:  # a time-out, too
            raise CloseIncomplete(
                f"not everything is on the disk itself: {error}; it is kept in {self.core.directory}"
            ) from error

    @staticmethod
    def _see_out(pump: Pump, follower: SinkFollower, deadline: float | None) -> None:
        """Waits for the end of a follower; what is taken away of the journal meanwhile is put back."""
        while follower.alive and (left := _left(deadline)) != 0:
            follower.join(_LOOK if left is None else min(left, _LOOK))
            if follower.alive:
                pump.keep_journal()

    def _abandon(self, deadline: float | None) -> None:
        """The pump cannot go on in this process: all is let go of as it is, so that the next opener recovers it."""
        for follower in self._followers:
            follower.abandon()
        for follower in self._followers:
            left = _left(deadline)
            follower.join(_PATIENCE if left is None else min(left, _PATIENCE))
        self.core.abandon()

    def _pump_lives(self) -> None:
        """Sees to it that the pump does; from the sinks' threads, as the pump looks after those."""
        if self._pump is not None and not self._closing:
            self._pump.revive()

    def _stop_looking(self, timeout: float | None) -> None:
        """Nothing is deleted or taken over any more, and what is taken away is found by the next opener."""
        self._waiting.stop()
        if self._keeper is not None:
            self._keeper.stop(timeout)
        if self._watch is not None:
            self._watch.stop()

    def _leave_orphans(self, timeout: float | None) -> None:
        """What is not brought to their sinks in time is left for the next opener."""
        if self._orphans is not None:
            self._orphans.stop(timeout)

    def _finish(self) -> None:
        try:
            self.core.finish(leave=True)
        except OSError as error:
            raise CloseIncomplete(
                f"everything is in its sink, but {self.core.directory} is not removed: {error}"
            ) from error
        self._finished = True

    def forked(self) -> bytes:
        """In a forked child: the threads are the parent's, and so is everything that they hold.

        Returns the policy that the child goes by, in its journaled form.
        """
        form = self.core.forked()
        for follower in (*self._followers, *self._parting):
            follower.forked()
        if self._orphans is not None:
            self._orphans.forked()
        if self._keeper is not None:
            self._keeper.forked()
        if self._watch is not None:
            self._watch.forked()
        return form or self._policy[0]

    def _tell(self, action: str, **fields: Any) -> None:  # noqa: ANN401 - the fields are the catalog's
        """Records one of the library's own events. Too many at once cannot be, and would be a problem of their own."""
        if action == "auditring.FileVanished" and self._root is not None:
            path = Path(fields["file"])
            fields["file"] = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)
        try:
            self.core.post(action, **fields)
        except RuntimeError as error:
            self._board.bad("events", f"{action} was not recorded: {error}", _EVENTS_ADVICE)

    def _look(self) -> None:
        """Turns what the counters say into problems, and back: drops that go on, and a journal at its budget."""
        counted = self.core.stats()
        if counted["over_budget"]:
            self._board.bad("journal", f"its budget is used up: {counted['journal_bytes']} bytes", _BUDGET_ADVICE)
            # Whatever the sinks can make safe makes room.
            for follower in list(self._followers):
                follower.ask(counted["next_seq"])
        else:
            self._board.good("journal")
        if counted["unrolled"] is None:
            self._board.good("segment")
        else:
            self._board.bad("segment", f"the next one: {counted['unrolled']}", _SEGMENT_ADVICE)
        self._look_after_sinks(counted)
        if self._orphans is not None:
            self._orphans.look_after()
        self._look_at_ring(counted)
        lag, promised = counted["durable_lag_ns"] / 1e9, self._power
        if promised is not None and lag > promised + _DISK_PATIENCE:
            behind = counted["next_seq"] - counted["durable_seq"]
            cause = f"{behind} rows have been waiting for the disk for up to {lag:.1f} s, not {promised:g}"
            self._board.bad("durability", cause, _DISK_ADVICE)
        else:
            self._board.good("durability")

    def _look_at_ring(self, counted: Mapping[str, Any]) -> None:
        """Whether it is there, is whole, and has room."""
        if not self._closing and not self.core.ring_linked:
            refused = None if self._pump is None else self._pump.ring_refused
            no_other = "" if refused is None else f", and no new one can be made: {refused}"
            self._board.bad("ring-file", f"{self.core.ring_path} was deleted{no_other}", _RING_GONE_ADVICE)
        else:
            self._board.good("ring-file")
        if counted["damaged"] is not None:
            self._damaged = f"{counted['damaged']}; another one takes its place", time.monotonic()
        if time.monotonic() - self._damaged[1] <= STAYS:
            self._board.bad("ring-damaged", self._damaged[0], _RING_DAMAGED_ADVICE)
        else:
            self._board.good("ring-damaged")
        drops, now = counted["dropped"] + counted["refused"], time.monotonic()
        if drops > self._drops:
            self._drops, self._dropped_at = drops, now
            self._board.bad(
                "ring", f"full: {counted['dropped']} events dropped, {counted['refused']} refused so far", _RING_ADVICE
            )
        elif self._drops and now - self._dropped_at > _DROPS_STAY:
            self._board.good("ring")

    def _look_elsewhere(self, now: float) -> None:
        """Who drives the sinks that this process does not: one that nobody drives is a problem, after a moment."""
        own = {follower.sink.name for follower in list(self._followers)}
        listed = {name: held for name, _, _, held in self.core.sinks() if name not in own}
        for name in self._apart.keys() - listed.keys():
            self._board.good(f"agent:{name}")
        known, self._apart = self._apart, {}
        for name, held in listed.items():
            was_held, since = known.get(name, (held, now))
            self._apart[name] = held, now if held != was_held else since
            if held or now - self._apart[name][1] < _UNDRIVEN:
                self._board.good(f"agent:{name}")
            else:
                self._board.bad(f"agent:{name}", f"nobody drives the sink {name}", _AGENT_ADVICE)

    def _look_after_sinks(self, counted: Mapping[str, Any]) -> None:
        """Threads that have died, sinks that hang, and rows that a sink will not get."""
        now = time.monotonic()
        self._look_at_parting()
        if not self._closing:
            with self._board.told("followers", _FOLLOWERS_ADVICE):
                self._look_elsewhere(now)
        for follower in list(self._followers):
            if not self._closing:
                follower.look_after(now)
            if follower.finished:
                continue
            if self.core.presses(follower.cursor):
                follower.ask(counted["next_seq"])
            lost = {cause: n for cause in _SINK_LOST if (n := follower.totals.get(f"lost_{cause}", 0))}
            gone = max(0, counted["let_go"] - follower.cursor)
            seen, _ = self._sink_losses.get(follower.sink.name, (0, 0.0))
            if gone or sum(lost.values()) > seen:
                self._sink_losses[follower.sink.name] = max(seen, sum(lost.values())), now
            component, said = f"lost:{follower.sink.name}", [f"{n} {cause}" for cause, n in lost.items()]
            if gone:
                said.append(
                    f"up to {gone} more let go at the journal's budget, as will be counted when the sink goes on"
                )
            if said and now - self._sink_losses[follower.sink.name][1] <= _DROPS_STAY:
                self._board.bad(component, f"rows that the sink has not: {', '.join(said)}", _LOST_ADVICE)
            else:
                self._board.good(component)


def _left(deadline: float | None) -> float | None:
    """Seconds until the deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())

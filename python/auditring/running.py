"""One open log in one OS process: the core, its pump and its followers, started and ended as a whole.

What must always hold: a start that fails leaves no thread and no lock behind; the end goes the way the events go (no
more emits, then the pump to its final batch, then every follower to the final row, then the journal is removed); and
nothing here waits for ever for a disk or a sink that does not come back.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from auditring import _core, directory
from auditring.config import Retention
from auditring.driving import Driven
from auditring.exceptions import CloseIncomplete, ConfigError, JournalError
from auditring.follower import SinkFollower
from auditring.health import HealthBoard
from auditring.looking import Lookout
from auditring.policy import Policy, PolicyDiff
from auditring.pump import Pump
from auditring.recovery import Orphans
from auditring.redaction import RedactionKey
from auditring.retention import Keeper
from auditring.sinks.base import Sink, SinkContext, traffic_of
from auditring.stats import Health, Stats
from auditring.watch import Watch

__all__ = ["Running"]

_LOOK: Final = 0.25
_SESSIONS: Final = 2.0
_UNOPENED: Final = 10.0
_PATIENCE: Final = 5.0
_RECOVERY_ADVICE: Final = "look at the cause, then run `auditring recover` on the directory; nothing there is lost"
_EVENTS_ADVICE: Final = "look at the other problems: the library itself had more to tell than could be kept"
_BLIND: Final = "{} may leave out protected events (allow_blind_spots)"
_DRIVEN: Final = "the sink {} is driven by an agent"
_WAITING: Final = "the sink {} is driven by somebody else, and taken over when that lets go of it"
_OTHER_POLICY: Final = (
    "the sink {} goes by the policy that the journal has had for it, not by the one that it was given"
)
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
        self._board = HealthBoard()
        self._driven = Driven(self.core, self._board, self._tell, self._pump_lives)
        self._driven.let_pass(exempt)
        for sink in sinks:
            self._driven.let_pass(traffic_of(sink))
        self._pump: Pump | None = None
        self._finished = root is None
        self._closing = False
        self._notes: tuple[str, ...] = ()
        self._power = settings["power_seconds"]
        self._policy = settings["policy"], Policy.from_journaled(settings["policy"])
        self._orphans: Orphans | None = None
        self._keeper: Keeper | None = None
        self._watch: Watch | None = None
        self._lookout = Lookout(self.core, self._board, self._driven, self._power)
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
            self._driven.drop_unstarted()
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
        context = SinkContext(
            root=root,
            process=self.core.process,
            instance=settings["instance"],
            host=settings["host"],
            primary_tap=settings["primary_tap"],
            schema_version=_core.SCHEMA_VERSION,
        )
        self._driven.open(sinks, context)
        self._watch = Watch(root, Path(self.core.directory or root), self._driven.followers, self._board, self._tell)
        for follower in self._driven.followers:
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

    def attach_sink(self, sink: Sink, form: bytes) -> bool:
        """Drives a sink beside the others, now or as soon as nobody else does; whether it is now. Raises `OSError`."""
        driven, fits = self._driven.attach(sink, form)
        if fits:
            self._tell_of_blind_spots(sink.name, form)
        else:
            self._notes = (*self._notes, _OTHER_POLICY.format(sink.name))
        return driven

    def leave_to_agent(self, name: str) -> None:
        """Says that it is an agent's turn at a sink, as soon as its lock is free. Raises `OSError`."""
        self._driven.leave_to_agent(name)

    def release_sink(self, name: str, timeout: float | None) -> None:
        """Lets go of a sink that is left to an agent. Raises `TimeoutError`."""
        self._driven.release(name, timeout)

    def _tell_of_blind_spots(self, sink: str, policy: bytes) -> None:
        if policy and Policy.from_journaled(policy).allow_blind_spots:
            self._notes = (*self._notes, _BLIND.format(f"the policy of sink {sink}"))
            self._tell("auditring.BlindSpots", policy=policy.decode(), sink=sink)

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
        passed = self._driven.passed()
        core = self.core.stats()
        core["alive"] = core["alive"] and not self._closing
        return Stats.from_core(core, self._driven.stats(passed, core))

    def health(self) -> Health:
        """What is wrong now."""
        self._pump_lives()
        self._look()
        driven = tuple(
            _WAITING.format(name) if name in self._driven.waiting.names else _DRIVEN.format(name)
            for name in self._lookout.apart()
        )
        blind = (_BLIND.format("the log's policy"),) if self.policy.allow_blind_spots else ()
        return self._board.health((*self._notes, *driven, *blind))

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
        followers = list(self._driven.followers)
        failures = [follower.ask(target) for follower in followers]
        for follower, before in zip(followers, failures, strict=True):
            follower.wait(target, _left(deadline), before)

    def sync(self, timeout: float | None) -> None:
        """Waits until what was accepted before the call is on the disk. Raises what `journaled` does, and `OSError`."""
        if self._pump is not None:
            deadline = None if timeout is None else time.monotonic() + timeout
            self.core.sync(self.journaled(timeout), _left(deadline))

    def close(self, timeout: float | None) -> None:
        """Ends everything. Raises `CloseIncomplete` when something lags or fails; calling again tries again."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._closing = self._lookout.closing = True
        self._stop_looking(_left(deadline))
        if self._pump is not None:
            # First: with a full ring and a full disk the last event of a session must not wait for room.
            self._pump.stop()
        self._leave_orphans(0)
        try:
            for follower in self._driven.followers:
                follower.last_words()
            left = _left(deadline)
            self.core.close_sessions(_SESSIONS if left is None else min(left, _SESSIONS))
        finally:
            self.core.close()
        if self._finished or self._pump is None:
            return
        self._end_pump(self._pump, deadline)
        for follower in self._driven.followers:
            follower.stop()
            if not (follower.finished or follower.alive):
                follower.start()
        for follower in self._driven.followers:
            self._see_out(self._pump, follower, deadline)
        for follower in list(self._driven.parting):
            left = _left(deadline)
            follower.join(_PATIENCE if left is None else min(left, _PATIENCE))
        self._driven.look_at_parting()
        behind = [follower for follower in self._driven.followers if not follower.finished]
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
        for follower in self._driven.followers:
            follower.abandon()
        for follower in self._driven.followers:
            left = _left(deadline)
            follower.join(_PATIENCE if left is None else min(left, _PATIENCE))
        self.core.abandon()

    def _pump_lives(self) -> None:
        """Sees to it that the pump does; from the sinks' threads, as the pump looks after those."""
        if self._pump is not None and not self._closing:
            self._pump.revive()

    def _stop_looking(self, timeout: float | None) -> None:
        """Nothing is deleted or taken over any more, and what is taken away is found by the next opener."""
        self._driven.waiting.stop()
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
        self._driven.forked()
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
        """Turns what the counters say into problems, and back."""
        counted = self.core.stats()
        self._lookout.at_journal(counted)
        self._lookout.at_sinks(counted)
        if self._orphans is not None:
            self._orphans.look_after()
        refused = None if self._pump is None else self._pump.ring_refused
        self._lookout.at_ring(counted, refused)
        self._lookout.at_disk(counted)


def _left(deadline: float | None) -> float | None:
    """Seconds until the deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())

"""One process of the directory, and the sinks that the agent drives over its journal.

```
unborn ── its first segment is there ──▶ living ── its lock is free ──▶ dying ── all have let go ──▶ adopting
   adopting ── recovered ──▶ dead ── every sink is through ──▶ ending ── removed, or others are behind ──▶ gone, left
```

Of a living process a sink is driven whose turn is an agent's and whose lock is free; where it is the log's own turn
again, it is let go of. Sinks that the process does not list are entered, and the journal is kept for them from then on.
What must always hold: nothing here waits: each look does what can be done at once, and the rest is done at a later one.
"""

import enum
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from auditring import _core
from auditring.agent.adopter import Adopted, Adopter
from auditring.exceptions import ConfigError
from auditring.follower import SinkFollower, declined
from auditring.health import HealthBoard
from auditring.policy import Policy
from auditring.policy.form import check_windows
from auditring.sinks.base import Sink, SinkContext, policy_of

__all__ = ["Process", "State"]

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
_ADVICE: Final = "look at the cause; nothing is lost as long as the journal has room, and it is tried again by itself"
_LOCKLESS: Final = (
    "its lock file is gone or cannot be asked, so nobody can tell whether it lives: `auditring recover` says what to do"
)
_UNSHOWN: Final = (
    "it does not show how far it may be read: its auditring is older than the agent's, or its file .shown is gone"
)
_OTHER_POLICY: Final = (
    "the policy of sink {!r} here is not the one that the process's journal has for it: its rows go by the journal's"
)
_POLICY_ADVICE: Final = (
    "give the proxies the sink with the same policy (agent_sinks=), not its name alone; a sink's policy stays what it "
    "was when the sink was entered, until the process ends"
)
_PATIENCE: Final = 3.0
_PARTING: Final = 5.0
_GIVEN_UP: Final = 5
"""Failures in a row after which a sink is not waited for by who wants to be done once."""


class State(enum.Enum):
    """How a process is followed."""

    UNBORN = "unborn"
    LIVING = "living"
    DYING = "dying"
    ADOPTING = "adopting"
    DEAD = "dead"
    ENDING = "ending"
    LEFT = "left"
    """Its journal is kept for sinks that this agent has not, or could not be ended; it is tried again later."""
    GONE = "gone"


class Process:
    """What the agent knows of one process."""

    def __init__(
        self,
        root: Path,
        name: str,
        directory: Path,
        sinks: Sequence[Sink],
        board: HealthBoard,
        tell: Callable[..., None],
    ) -> None:
        """`sinks`: templates; `tell` is told of what a sink meets with."""
        self.name = name
        self.instance = ""
        self.state = State.UNBORN
        self.problem: str | None = None
        self.told = State.UNBORN
        """The state that was last spoken of."""
        self.recovered = False
        """It had died, and its ring was taken over."""
        self.followers: dict[str, SinkFollower] = {}
        """By the sink's name; those that are through are among them."""
        self.target: int | None = None
        """For who wants to be done once: what has to be safe."""
        self._root = root
        self._directory = directory
        self._sinks = sinks
        self._board = board
        self._tell = tell
        self._living: _core.Living | None = None
        self._orphan: _core.Orphan | None = None
        self._entered = False
        self._unfit: set[str] = set()
        self._unopened: dict[str, tuple[float, float]] = {}
        """Sinks that could not be opened: when each is tried again, and how long is waited after that."""
        self._since = 0.0
        self._leaving: list[SinkFollower] = []
        self._not_before = 0.0
        self._delay = _FIRST_DELAY

    # What others want to know

    @property
    def working(self) -> bool:
        """Whether it is a dead process that a sink is being brought on with."""
        alive = (one for one in self.followers.values() if one.alive and one.failed is None)
        return self.state in {State.ADOPTING, State.ENDING} or (self.state is State.DEAD and any(alive))

    @property
    def lag(self) -> int:
        """Rows that are known to be in the journal and not yet safe in a sink, over all sinks."""
        return sum(one.lag for one in self.followers.values())

    @property
    def settled(self) -> bool:
        """Whether what there was at the beginning is done, as far as it can be."""
        if self.state is State.LIVING:
            target = self.target or 0
            # Before the first look at its list nobody knows which sinks are ours to drive.
            return self._entered and all(one.cursor >= target or _hopeless(one) for one in self.followers.values())
        if self.state is State.DEAD:
            hopeless = bool(self._unopened) or any(map(_hopeless, self.followers.values()))
            return hopeless and all(one.finished or _hopeless(one) for one in self.followers.values())
        return self.state in {State.LEFT, State.GONE} or (self.state is State.UNBORN and self.problem is None)

    @property
    def done(self) -> bool:
        """Whether nothing of it is left that this agent should have brought to a sink."""
        if self.problem is not None or self._unopened or any(map(_hopeless, self.followers.values())):
            return False
        return self.state in {State.LIVING, State.GONE, State.UNBORN, State.LEFT}

    # What is done with it

    def look(self, adopter: Adopter, *, held: bool, lockless: bool, room: bool) -> None:
        """Once more; `held`: somebody holds its directory. `room`: one more of the dead may be begun with."""
        if time.monotonic() < self._not_before:
            return
        try:
            self._look(adopter, held=held, lockless=lockless, room=room)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are not kept waiting for it
            # One that was removed meanwhile has nothing wrong with it.
            if self._directory.exists():
                self._bad(f"{type(error).__name__}: {error}")
        else:
            if self.problem is not None and self.state in {State.LIVING, State.DEAD}:
                self._good()

    def _look(self, adopter: Adopter, *, held: bool, lockless: bool, room: bool) -> None:
        match self.state:
            case State.UNBORN | State.LEFT if held:
                self._begin()
            case State.UNBORN | State.LEFT if lockless:
                self._bad(_LOCKLESS)
            case State.UNBORN | State.LEFT if room:
                self._adopt(adopter)
            case State.LIVING if held or lockless:
                self._look_at_living()
            case State.LIVING:
                self._leave_all()
                self._since = time.monotonic()
                self.state = State.DYING
            case State.DYING if self._has_let_go() or time.monotonic() - self._since > _PARTING:
                # A sink in a call that does not come back keeps its lock, and none of the others waiting.
                self.state = State.UNBORN
            case State.DEAD:
                self._look_at_dead(adopter)
            case _:
                return
        if self.target is not None:
            for one in self.followers.values():
                one.ask(self.target)

    def look_after(self, now: float) -> None:
        """Sees to its sinks' threads; about once a second."""
        urgent = self._living is not None and self._living.urgent
        for one in self.followers.values():
            if one.finished:
                continue
            one.look_after(now)
            one.look()
            one.press(urgent=urgent)

    def stop(self) -> None:
        """The agent is being stopped: its sinks are to let go."""
        self._leave_all()

    def forget(self) -> None:
        """It is not there any more: nothing that was wrong with it is."""
        self._board.forget(f"process:{self.name}")

    def join(self, timeout: float) -> list[SinkFollower]:
        """Waits for its sinks; those that have not let go, or not with everything safe."""
        deadline = time.monotonic() + timeout
        for one in self._leaving:
            one.join(max(0.0, deadline - time.monotonic()))
        if self._orphan is not None:
            self._orphan.close()
        return [one for one in self._leaving if one.alive or one.failed is not None]

    def _begin(self) -> None:
        self._living = _core.Living.open(self._directory)
        if self._living is None:
            return
        self.instance = self._living.instance
        self._entered = False
        self._since = time.monotonic()
        self.state = State.LIVING

    def _look_at_living(self) -> None:
        living = self._living
        if living is None:
            return
        self._forget_left()
        if not self._entered:
            self._enter_all(living)
        listed = {name: (by_agent, held) for name, by_agent, _, held in living.sinks()}
        for sink in self._sinks:
            # Where the list was taken away it is put back as it was known last, which may be without us.
            self._entered &= sink.name in listed or sink.name in self._unfit
            by_agent, driven = listed.get(sink.name, (False, True))
            mine = self.followers.get(sink.name)
            if mine is not None and not by_agent:
                self._leave(mine)
            elif mine is None and by_agent and not driven:
                self._try(sink, living)
        component = f"process:{self.name}:shown"
        if living.shown or not self.followers or time.monotonic() - self._since < _PATIENCE:
            self._board.good(component)
        else:
            self._board.bad(component, _UNSHOWN, _ADVICE)

    def _adopt(self, adopter: Adopter) -> None:
        self.state = State.ADOPTING

        def done(adopted: Adopted) -> None:
            orphan, refused = adopted
            if orphan is not None:
                self._orphan, self.instance = orphan, orphan.instance
                self.recovered = orphan.salvage is not None
                self._entered = False
                self.state = State.DEAD
            elif refused is not None:
                self._bad(refused)
                self.state = State.LEFT
            else:
                # Somebody else has it, or nothing is left of it: the next look says.
                self.state = State.UNBORN

        adopter.adopt(self.name, done)

    def _look_at_dead(self, adopter: Adopter) -> None:
        orphan = self._orphan
        if orphan is None:
            return
        self._forget_left()
        if not self._entered:
            self._enter_all(orphan)
        waiting = False
        for sink in self._sinks:
            if sink.name not in self.followers and sink.name not in self._unfit:
                waiting |= not self._try(sink, orphan)
        if waiting or not all(one.finished for one in self.followers.values()):
            return
        self.followers = {}
        self._orphan = None
        self.state = State.ENDING

        def done(refused: str | None) -> None:
            if refused is not None:
                self._bad(refused)
            elif self._directory.exists():
                self._not_before = time.monotonic() + _LONGEST_DELAY
                self.state = State.LEFT
                return
            else:
                self._good()
            self.state = State.LEFT if refused is not None else State.GONE

        adopter.finish(orphan, done)

    def _enter_all(self, of: "_core.Living | _core.Orphan") -> None:
        """The journal is kept for all our sinks from now on, but for one whose policy does not go with the log's.

        One that it is kept for already goes by the policy that stands there, whatever ours says.
        """
        self._unfit = set()
        listed = set(of.sinks if isinstance(of, _core.Orphan) else (name for name, *_ in of.sinks()))
        for sink in self._sinks:
            component = f"process:{self.name}:{sink.name}:policy"
            try:
                fits = of.enter(sink.name, self._form(sink, of.policy))
            except ConfigError as error:
                # Where its own process has entered it nothing depends on what we could have entered it with.
                if sink.name in listed:
                    continue
                self._unfit.add(sink.name)
                self._board.bad(component, str(error), _ADVICE)
            else:
                if fits:
                    self._board.good(component)
                else:
                    self._board.bad(component, _OTHER_POLICY.format(sink.name), _POLICY_ADVICE)
        self._entered = True

    def _try(self, sink: Sink, of: "_core.Living | _core.Orphan") -> bool:
        """Begins to drive a sink; whether it is driven. What it cannot be opened for keeps no other one waiting."""
        again, delay = self._unopened.get(sink.name, (0.0, _FIRST_DELAY))
        if time.monotonic() < again:
            return False
        component = f"process:{self.name}:{sink.name}:open"
        try:
            driven = self._drive(sink, of)
        except Exception as error:  # noqa: BLE001 - a third party's sink may raise whatever it likes
            self._board.bad(component, f"{type(error).__name__}: {error}", _ADVICE)
            self._unopened[sink.name] = time.monotonic() + delay, min(delay * 2, _LONGEST_DELAY)
            return False
        self._unopened.pop(sink.name, None)
        self._board.good(component)
        return driven

    def _drive(self, sink: Sink, of: "_core.Living | _core.Orphan") -> bool:
        """Begins to drive a sink; `False` where somebody else does."""
        mine = sink.fresh()
        mine.open(
            SinkContext(
                root=self._root,
                process=of.process,
                instance=of.instance,
                host=of.host,
                primary_tap=of.primary_tap,
                schema_version=_core.SCHEMA_VERSION,
            )
        )
        try:
            if isinstance(of, _core.Living):
                rows = _core.Follower.of_living(of, mine.name, declined(mine), tables=mine.batching.tables)
            else:
                rows = _core.Follower.of_orphan(of, mine.name, declined(mine), tables=mine.batching.tables)
        except BlockingIOError:
            return False
        follower = SinkFollower(rows, mine, self._board, self._tell, of=self.name, role="process")
        try:
            follower.start()
        except OSError:
            follower.release()
            raise
        self.followers[sink.name] = follower
        return True

    @staticmethod
    def _form(sink: Sink, policy: bytes) -> bytes:
        """A sink's own policy as the journal keeps it, held against the log's. Raises `ConfigError`."""
        own = policy_of(sink)
        if own is None:
            return b""
        log = Policy.from_journaled(policy)
        try:
            form = own.kept(seed=log.seed or 0, redact=log.redact, key=None)
        except ConfigError as error:
            raise ConfigError(f"the policy of sink {sink.name!r}: {error}") from error
        check_windows(policy, form, f"the policy of sink {sink.name!r}")
        return form

    # Letting go

    def _leave(self, follower: SinkFollower) -> None:
        follower.leave(0)
        self._leaving.append(follower)
        self.followers.pop(follower.sink.name, None)

    def _leave_all(self) -> None:
        for follower in list(self.followers.values()):
            self._leave(follower)

    def _forget_left(self) -> None:
        """Those that have let go."""
        for one in self._leaving:
            if not one.alive:
                self._board.good(f"process:{self.name}:{one.sink.name}")
        self._leaving = [one for one in self._leaving if one.alive]

    def _has_let_go(self) -> bool:
        self._forget_left()
        return not self._leaving

    def _bad(self, why: str) -> None:
        self._board.bad(f"process:{self.name}", why, _ADVICE)
        self.problem = why
        self._not_before = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _good(self) -> None:
        self._board.good(f"process:{self.name}")
        self.problem = None
        self._delay = _FIRST_DELAY


def _hopeless(follower: SinkFollower) -> bool:
    """Whether a sink fails again and again."""
    return follower.failed is not None and follower.failures >= _GIVEN_UP

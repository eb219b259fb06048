"""What the counters of one open log say of its health: each look turns them into problems, and back.

What must always hold: a problem goes when what it tells of is over, or a minute after something that has happened and
is over; a look decides nothing of the events, it only asks sinks for what would make room; and it is cheap, for it is
the pump's, between its batches.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from auditring import _core
from auditring.driving import Driven
from auditring.health import STAYS, HealthBoard

__all__ = ["Lookout"]

_DROPS_STAY: Final = 60.0
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
_DISK_PATIENCE: Final = 2.0
_DISK_ADVICE: Final = (
    "look at the disk of the journal: it is too slow for Durability.POWER, or refuses; sinks wait for it, emits do not"
)
_UNDRIVEN: Final = 5.0
"""Seconds for which nobody need drive a sink that is left to an agent: it may be starting anew."""
_AGENT_ADVICE: Final = (
    "start `auditring agent` on the directory, or forget the sink (`auditring sink forget`, once this log is closed); "
    "its rows wait as long as the journal has room"
)
_FOLLOWERS_ADVICE: Final = "look at the journal's directory: who follows it cannot be read"


class Lookout:
    """Looks at journal, sinks, ring and disk of one log; safe from the pump's thread and from whoever asks."""

    def __init__(self, core: _core.Log, board: HealthBoard, driven: Driven, power: float | None) -> None:
        """`power`: within how many seconds a row is promised to be on the disk itself."""
        self.closing = False
        """The log is: what goes now is no problem, and nothing is begun anew."""
        self._core = core
        self._board = board
        self._driven = driven
        self._power = power
        self._drops = 0
        self._dropped_at = 0.0
        self._damaged = "", -STAYS
        self._sink_losses: dict[str, tuple[int, float]] = {}
        self._apart: dict[str, tuple[bool, float]] = {}

    def apart(self) -> list[str]:
        """The sinks that somebody else drives now."""
        return [name for name, (held, _) in list(self._apart.items()) if held]

    def at_journal(self, counted: Mapping[str, Any]) -> None:
        """Whether it is at its budget, and whether its next segment can be begun."""
        if counted["over_budget"]:
            self._board.bad("journal", f"its budget is used up: {counted['journal_bytes']} bytes", _BUDGET_ADVICE)
            # Whatever the sinks can make safe makes room.
            for follower in list(self._driven.followers):
                follower.ask(counted["next_seq"])
        else:
            self._board.good("journal")
        if counted["unrolled"] is None:
            self._board.good("segment")
        else:
            self._board.bad("segment", f"the next one: {counted['unrolled']}", _SEGMENT_ADVICE)

    def at_sinks(self, counted: Mapping[str, Any]) -> None:
        """Threads that have died, sinks that hang, and rows that a sink will not get."""
        now = time.monotonic()
        self._driven.look_at_parting()
        if not self.closing:
            with self._board.told("followers", _FOLLOWERS_ADVICE):
                self._look_elsewhere(now)
        for follower in list(self._driven.followers):
            if not self.closing:
                follower.look_after(now)
            if follower.finished:
                continue
            if self._core.presses(follower.cursor):
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

    def _look_elsewhere(self, now: float) -> None:
        """Who drives the sinks that this process does not: one that nobody drives is a problem, after a moment."""
        own = {follower.sink.name for follower in list(self._driven.followers)}
        listed = {name: held for name, _, _, held in self._core.sinks() if name not in own}
        for name in self._apart.keys() - listed.keys():
            self._board.good(f"agent:{name}")
        apart: dict[str, tuple[bool, float]] = {}
        for name, held in listed.items():
            was_held, since = self._apart.get(name, (held, now))
            apart[name] = held, now if held != was_held else since
            if held or now - apart[name][1] < _UNDRIVEN:
                self._board.good(f"agent:{name}")
            else:
                self._board.bad(f"agent:{name}", f"nobody drives the sink {name}", _AGENT_ADVICE)
        # As a whole, for another thread may be looking, too.
        self._apart = apart

    def at_ring(self, counted: Mapping[str, Any], refused: str | None) -> None:
        """Whether it is there, is whole, and has room."""
        if not self.closing and not self._core.ring_linked:
            no_other = "" if refused is None else f", and no new one can be made: {refused}"
            self._board.bad("ring-file", f"{self._core.ring_path} was deleted{no_other}", _RING_GONE_ADVICE)
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

    def at_disk(self, counted: Mapping[str, Any]) -> None:
        """Whether it is as quick as was promised."""
        lag, promised = counted["durable_lag_ns"] / 1e9, self._power
        if promised is not None and lag > promised + _DISK_PATIENCE:
            behind = counted["next_seq"] - counted["durable_seq"]
            cause = f"{behind} rows have been waiting for the disk for up to {lag:.1f} s, not {promised:g}"
            self._board.bad("durability", cause, _DISK_ADVICE)
        else:
            self._board.good("durability")

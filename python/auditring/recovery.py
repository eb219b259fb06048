"""Processes that died: their rings are emptied into their journals at once, their journals into the sinks in time.

Nothing is decided here: Rust ends the journal, and a follower as any other brings it to its sinks. What must always
hold: only who holds a dead process's directory touches it; whatever is left half done is gone on with by the next that
comes; and a dead process that cannot be recovered keeps nobody from opening a log, nor the other dead from their sinks:
it, as a sink that fails, is left after a few tries, and tried again when all have had their turn.
"""

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from auditring import _core, directory
from auditring.follower import SinkFollower, declined
from auditring.health import HealthBoard
from auditring.redaction import RedactionKey
from auditring.sinks import JsonlSink, ParquetSink
from auditring.sinks.base import Sink, SinkContext
from auditring.threads import started

__all__ = ["Orphans", "Recovered", "Salvage", "recover"]

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
_PATIENCE: Final = 5.0
_ADVICE: Final = (
    "look at the cause, then run `auditring recover` on the directory; nothing is lost, and every open tries it"
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Salvage:
    """What was found of a dead process beside its journal."""

    rows: int
    """Events that it had accepted, taken out of its ring."""
    torn: int
    """Calls that had not returned: they were never accepted."""
    unreadable: int
    """Claims behind something that no producer can have left; lost, told by a row."""
    journal_gone: int
    """Accepted events whose part of the journal is gone; lost, told by a row."""
    dropped: int
    """Calls that were dropped for want of room and of which no row had told yet."""
    unhashed: int
    """Rows out of its ring that lack values for want of the key by which those are hashed; they say so themselves."""
    ring_gone: bool
    """No ring can be trusted (a reboot, or it was deleted): how many events it held is unknown; a row says so."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """What became of one dead process."""

    process: str
    """Its UUID."""
    instance: str
    host: str
    salvage: Salvage | None
    """`None` where its journal had ended before: only its sinks were behind."""
    behind: tuple[str, ...]
    """Sinks that still lack rows of it; they wait in its journal."""
    followed: bool = True
    """Whether it had sinks at all; without any its journal stays, and all its rows are in there alone."""
    failed: str | None = None
    """Why a sink is behind, or why the process could not be recovered at all."""


class Orphans:
    """The dead that this process has adopted in a directory, and the thread that brings their rows to the sinks."""

    def __init__(
        self, root: Path, sinks: Sequence[Sink], board: HealthBoard, tell: Callable[..., None] = lambda *_, **__: None
    ) -> None:
        """`sinks`: templates; a dead process's rows go to those of the names that it had.

        `tell` records one of the library's own events; a command has no log for them.
        """
        self._root = root
        self._sinks = sinks
        self._board = board
        self._tell = tell
        self._again: Callable[[], None] | None = None
        """Tries to adopt once more; `None` where there is nobody left who could not be."""
        self._refused: set[str] = set()
        self._orphans: list[_core.Orphan] = []
        self._following: list[SinkFollower] = []
        self._leaving: list[SinkFollower] = []
        """Abandoned in a call of their sink, which has not come back: each lets go of its lock when it does."""
        self._changed = threading.Condition()
        self._stopping = False
        self._starting = threading.Lock()
        self._owed = False
        self._thread: threading.Thread | None = None
        self.results: list[Recovered] = []
        """One for each process, as it is done with."""

    def adopt(self, by: str = "", keys: Sequence[RedactionKey] = ()) -> None:
        """Takes over every process that has died, and ends its journal.

        Of what it hashed by one of `keys` the hashes are made; without its key such values are left out.
        Raises `OSError` if the directory cannot be read.
        """
        self._again = lambda: self.adopt(by, keys)
        self._orphans, refused = _core.adopt_orphans(self._root, by=by, keys=keys)
        if not refused:
            self._again = None
        # One that is not refused any more may be a living process's: then there is nothing to bring to any sink.
        for name in self._refused - {path.name for path, _ in refused}:
            self._board.good(f"recovery:{name}")
        self._refused = {path.name for path, _ in refused}
        told = {result.process for result in self.results}
        for path, why in refused:
            self._board.bad(f"recovery:{path.name}", why, _ADVICE)
            if path.name in told:
                continue
            self.results.append(Recovered(process=path.name, instance="", host="", salvage=None, behind=(), failed=why))

    def start(self) -> None:
        """Brings their rows to the sinks, in a thread of its own, until all are there or the log is being closed.

        Raises `OSError` where there is no thread to be had; `look_after` tries again.
        """
        with self._starting:
            self._owed = bool(self._orphans) or self._again is not None
            self._begin()

    def look_after(self) -> None:
        """Sees to it that the thread is begun that could not be. From any thread, now and then."""
        with self._starting:
            if not self._owed or self._stopping:
                return
            try:
                self._begin()
            except OSError as error:
                self._board.bad("recovery", f"{type(error).__name__}: {error}", _ADVICE)
            else:
                self._board.good("recovery")

    def _begin(self) -> None:
        if self._owed:
            self._thread = started(self._keep_draining, "auditring-recovery")
            self._owed = False

    def _keep_draining(self) -> None:
        delay = _FIRST_DELAY
        waiting = self._drained(self._orphans)
        while waiting or self._again is not None:
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, delay):
                    # Who waits still is let go of.
                    self.drain(orphans=waiting)
                    return
            delay = min(delay * 2, _LONGEST_DELAY)
            waiting = self._drained([*waiting, *self._adopt_again()])

    def _drained(self, orphans: Sequence[_core.Orphan]) -> Sequence[_core.Orphan]:
        """Who of them still waits. Whatever strikes this thread, it does not end it unseen."""
        try:
            return self.drain(orphans=orphans, again=True)
        except BaseException as error:  # noqa: BLE001 - also what another thread sets in this one
            # Those that it had come to were let go of, and are the next opener's; the others are gone on with.
            self._board.bad("recovery", f"{type(error).__name__}: {error}", _ADVICE)
            return [orphan for orphan in orphans if orphan.held]

    def _adopt_again(self) -> list[_core.Orphan]:
        """Those who could not be adopted before, and can now; by now also others that have died."""
        if self._again is None:
            return []
        known = self._orphans
        try:
            self._again()
        except OSError as error:
            self._board.bad("recovery", f"{type(error).__name__}: {error}", _ADVICE)
            return []
        self._board.good("recovery")
        adopted, self._orphans = self._orphans, [*known, *self._orphans]
        return adopted

    def drain(
        self,
        done: Callable[[Recovered], None] | None = None,
        *,
        orphans: Sequence[_core.Orphan] | None = None,
        again: bool = False,
    ) -> list[_core.Orphan]:
        """Brings their rows to the sinks, one process after the other, and removes what every sink is past.

        Returns those to try `again`, still held: a sink of theirs failed. Without it they are done with.
        """
        left = []
        for orphan in self._orphans if orphans is None else orphans:
            keep = False
            # Each is let go of, come what may; what is left of it is there for the next.
            try:
                result = self._follow(orphan)
                keep = again and result.failed is not None and not self._stopping
            finally:
                if not keep:
                    orphan.close()
            if keep:
                left.append(orphan)
                continue
            self.results.append(result)
            if done is not None:
                done(result)
        return left

    def _follow(self, orphan: _core.Orphan) -> Recovered:
        component = f"recovery:{orphan.process}"
        failed: str | None = None
        followed = True
        try:
            # Without a hold there is nothing but what could not be removed when its sinks had all of it.
            followed = not orphan.held or bool(orphan.sinks)
            with self._changed:
                if orphan.held and not self._stopping:
                    failed = self._open_followers(orphan)
                for follower in self._following:
                    # Its journal has ended, so there is nothing to wait for; and a sink that fails may do so for ever.
                    follower.stop()
                    follower.start()
            self._wait()
            failed = next((repr(one.failed) for one in self._following if one.failed is not None), failed)
            orphan.finish()
        except Exception as error:  # noqa: BLE001 - a third party's sink may raise whatever it likes
            failed = f"{type(error).__name__}: {error}"
        finally:
            with self._changed:
                following, self._following = self._following, []
            for follower in following:
                # One that runs was not waited for to its end: its lock goes when it does, or two could drive the sink.
                if follower.alive and not follower.leave(_PATIENCE):
                    self._leaving.append(follower)
                else:
                    follower.release()
                # What is wrong with it is said of the process.
                self._board.good(f"{component}:{follower.sink.name}")
        if failed is None:
            self._board.good(component)
        else:
            self._board.bad(component, failed, _ADVICE)
        salvage = orphan.salvage
        return Recovered(
            process=orphan.process,
            instance=orphan.instance,
            host=orphan.host,
            salvage=None if salvage is None else Salvage(**salvage),
            behind=tuple(orphan.behind()),
            followed=followed,
            failed=failed,
        )

    def _open_followers(self, orphan: _core.Orphan) -> str | None:
        """Makes its followers; why the last sink could not be opened that could not: the others go on without it."""
        self._following = []
        failed: str | None = None
        context = SinkContext(
            root=self._root,
            process=orphan.process,
            instance=orphan.instance,
            host=orphan.host,
            primary_tap=orphan.primary_tap,
            schema_version=_core.SCHEMA_VERSION,
        )
        # Also one that has all rows: what its sink left half done (a file that it was compressing) is ended by it.
        followed = set(orphan.sinks)
        for sink in self._sinks:
            if sink.name not in followed:
                continue
            try:
                mine = sink.fresh()
                mine.open(context)
                rows = _core.Follower.of_orphan(orphan, mine.name, declined(mine), tables=mine.batching.tables)
            except BlockingIOError:
                if any(one.alive and one.sink.name == sink.name for one in self._leaving):
                    failed = f"sink {sink.name!r} is in a call that does not come back"
                # Else somebody else drives this sink over it, and will come to the end.
                continue
            except Exception as error:  # noqa: BLE001 - a third party's sink may raise whatever it likes
                failed = f"{type(error).__name__}: {error}"
                continue
            self._following.append(SinkFollower(rows, mine, self._board, self._tell, of=orphan.process))
        return failed

    def _wait(self) -> None:
        """Until every follower is through, or has given up."""
        for follower in self._following:
            follower.join(None)

    def stop(self, timeout: float | None) -> None:
        """The log is being closed: what is not there in time is left for the next opener."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            for follower in self._following:
                follower.stop()
        if self._thread is not None:
            self._thread.join(timeout)
        elif self._owed:
            for orphan in self._orphans:
                orphan.close()

    def forked(self) -> None:
        """In a forked child: all of it is the parent's."""
        for orphan in self._orphans:
            orphan.forked()
        for follower in (*self._following, *self._leaving):
            follower.forked()


def recover(
    path: str | os.PathLike[str],
    *,
    sinks: Sequence[Sink] | None = None,
    keys: Sequence[RedactionKey] = (),
    done: Callable[[Recovered], None] | None = None,
) -> list[Recovered]:
    """Recovers every process of an audit directory that has died, and brings its rows to `sinks`.

    That is what `open` does, too. A process that lives is left alone. `sinks`: by default a `ParquetSink` and a
    `JsonlSink` with their own defaults; only those that a dead process had are given its rows, and go by the policy
    that it had for them. `keys`: what a dead process would have hashed by one of them is hashed by it; where its key is
    not among them such values are left out and marked, for good (see `auditring.redaction.read_key`). `done` is told of
    each process.

    Raises `NotAnAuditDirectory`, `OSError`.
    """
    root = Path(path).absolute()
    directory.require(root)
    chosen = (ParquetSink(), JsonlSink()) if sinks is None else tuple(sinks)
    orphans = Orphans(root, chosen, HealthBoard())
    orphans.adopt(keys=keys)
    for result in orphans.results:
        if done is not None:
            done(result)
    orphans.drain(done)
    return orphans.results

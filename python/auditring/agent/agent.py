"""The loop: who is there, who has come, who has died; and one look at everybody, twice a second.

What must always hold: the loop itself waits for nobody, so that who comes is noticed within a second and systemd hears
from it; what a sink or a recovery takes its time for is another thread's. When it ends, every sink has committed what
it had taken, or is said to have not.
"""

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from auditring import _core
from auditring.agent.adopter import Adopter
from auditring.agent.notify import Notifier
from auditring.agent.process import Process, State
from auditring.agent.single import Single
from auditring.exposition import address, serve
from auditring.health import HealthBoard
from auditring.metrics import DirectoryCollector
from auditring.redaction import RedactionKey
from auditring.sinks.base import Sink, shared
from auditring.stats import Health, SinkStats

__all__ = ["Agent", "Status"]

_LOOK: Final = 0.5
_CARE: Final = 1.0
_PARTING: Final = 20.0
"""Seconds that sinks have to commit when the agent is stopped: less than systemd waits before it kills."""
_MOST_DEAD: Final = 32
"""The dead that are brought to their sinks at a time; those of whom every sink fails are not among them."""
_ADVICE: Final = "look at the audit directory; it is tried again by itself"
_LOGGER: Final = logging.getLogger("auditring.agent")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How things are."""

    living: int
    """Processes that live and are followed."""
    dead: int
    """Processes that have died and whose rows are being brought to the sinks."""
    sinks: int
    """Sinks that are driven, over all processes."""
    behind: int
    """Rows that are known to be in the journals and not yet safe, over all sinks."""
    problems: int

    def __str__(self) -> str:
        """In a line, as systemd shows it."""
        wrong = f"; {self.problems} problems" if self.problems else ""
        return f"{self.living} processes, {self.dead} dead, {self.sinks} sinks, {self.behind} rows behind{wrong}"


class Agent:
    """Drives the sinks of every process of a directory that are left to an agent, until it is stopped."""

    def __init__(
        self, root: Path, sinks: Sequence[Sink], *, keys: Sequence[RedactionKey] = (), listen: str | None = None
    ) -> None:
        """`sinks`: templates, as `auditring.open` takes them; `keys`: by which the dead hashed what they redacted.

        `listen`: where the metrics of the directory are served. Raises `ConfigError`.
        """
        if listen is not None:
            address(listen)
        self._listen = listen
        self.board = HealthBoard()
        self._root = root
        self._templates = sinks
        self._sinks: Sequence[Sink] = ()
        self._adopter = Adopter(root, keys)
        self._single = Single(root)
        self._notifier = Notifier()
        self._stopping = threading.Event()
        self._processes: dict[str, Process] = {}
        self._cared_at = 0.0
        self._known: frozenset[tuple[str, str]] = frozenset()

    def stop(self) -> None:
        """Ends `run`, from another thread or a signal's handler."""
        self._stopping.set()

    def health(self) -> Health:
        """What is wrong now."""
        return self.board.health()

    def status(self) -> Status:
        """How things are now."""
        processes = list(self._processes.values())
        return Status(
            living=sum(one.state is State.LIVING for one in processes),
            dead=sum(one.state in {State.DYING, State.ADOPTING, State.DEAD, State.ENDING} for one in processes),
            sinks=sum(follower.alive for one in processes for follower in list(one.followers.values())),
            behind=sum(one.lag for one in processes),
            problems=len(self.health().problems),
        )

    def _stats(self) -> list[tuple[str, SinkStats]]:
        """What the directory's files do not tell of the sinks that are driven here."""
        followers = [one for process in list(self._processes.values()) for one in list(process.followers.values())]
        return [(one.sink.name, SinkStats.from_totals(one.totals, journaled=0, **one.known())) for one in followers]

    def run(self, *, once: bool = False) -> bool:
        """Works until it is stopped; `once`: until all that there was at the beginning is where it belongs.

        Whether it is. Raises `OSError` where the directory can never be worked on.
        """
        if not self._begin(wait=not once):
            return not once
        with contextlib.ExitStack() as stack:
            stack.callback(self._single.release)
            self._sinks = [stack.enter_context(shared(sink)) for sink in self._templates]
            self._adopter.start()
            if self._listen is not None:
                served = stack.enter_context(serve(DirectoryCollector(self._root, sinks=self._stats), self._listen))
                _LOGGER.info("serving metrics on %s, port %d", served.host, served.port)
            self._notifier.ready()
            _LOGGER.info("following %s for %s", self._root, ", ".join(sink.name for sink in self._sinks))
            targets = self._targets() if once else {}
            while not self._stopping.is_set():
                self._turn(targets if once else None)
                if once and all(one.settled for one in self._processes.values()):
                    break
                self._stopping.wait(_LOOK / 5 if once else _LOOK)
            done = not once or all(one.done for one in self._processes.values())
            self._tell_of_problems()
            return self._end() and done

    def _begin(self, *, wait: bool) -> bool:
        """Waits for the directory and for another agent; whether the work can begin."""
        said = ""
        while not self._stopping.is_set():
            if self._root.exists() and not self._root.is_dir():
                raise NotADirectoryError(f"{self._root} is no directory")
            text = f"waiting for {self._root}: no log has been opened there yet"
            if (self._root / "journal").is_dir():
                self._require_own()
                if self._single.take():
                    return True
                text = f"waiting: agent {self._single.holder()} has {self._root}"
            if not wait:
                raise OSError(text)
            if text != said:
                _LOGGER.info("%s", text)
                # Systemd is told that all is well: to wait for another is what the second is for.
                self._notifier.ready()
                said = text
            self._notifier.status(text)
            self._notifier.alive()
            self._stopping.wait(_LOOK)
        return False

    def _require_own(self) -> None:
        """Raises `PermissionError` before anything is made in a directory whose processes could not touch it then."""
        owner = (self._root / "journal").stat().st_uid
        if owner != os.geteuid():
            raise PermissionError(
                f"{self._root} belongs to user {owner}, and this agent runs as {os.geteuid()}: "
                "run it as the user that the proxies run as"
            )

    def _targets(self) -> dict[str, int]:
        """How far each journal is at the beginning."""
        unreadable: list[tuple[Path, str]] = []
        return {one["process"]: one["next_seq"] for one in _core.outside(str(self._root), unreadable=unreadable)}

    def _turn(self, targets: dict[str, int] | None) -> None:
        """Who is there by now, and a look at each."""
        with self.board.told("directory", _ADVICE):
            found = _core.processes(self._root)
            for name, directory, _, _ in found:
                if name not in self._processes:
                    self._processes[name] = Process(self._root, name, directory, self._sinks, self.board, self._tell)
                    if targets is not None:
                        self._processes[name].target = targets.get(name, 0)
            here = {name: (held, lockless) for name, _, held, lockless in found}
            room = _MOST_DEAD - sum(one.working for one in self._processes.values())
            for name, process in list(self._processes.items()):
                adopting = process.state is State.ADOPTING
                # One that is not there any more has been removed by whoever ended it, or is being put back.
                held, lockless = here.get(name, (False, False))
                if name in here or process.state is not State.UNBORN:
                    process.look(self._adopter, held=held, lockless=lockless, room=room > 0)
                room -= process.state is State.ADOPTING and not adopting
                self._tell_of_state(process)
                if name not in here and process.state in {State.UNBORN, State.LEFT, State.GONE}:
                    process.forget()
                    del self._processes[name]
        now = time.monotonic()
        if now - self._cared_at >= _CARE:
            self._cared_at = now
            for process in list(self._processes.values()):
                process.look_after(now)
        self._tell_of_problems()
        self._notifier.status(str(self.status()))
        self._notifier.alive()

    def _end(self) -> bool:
        """Lets go of everything; whether all that was taken is safe."""
        self._notifier.stopping()
        for process in self._processes.values():
            process.stop()
        deadline = time.monotonic() + _PARTING
        left = [
            (process, follower)
            for process in self._processes.values()
            for follower in process.join(max(0.0, deadline - time.monotonic()))
        ]
        self._adopter.stop(max(0.0, deadline - time.monotonic()))
        for process, follower in left:
            why = "has not come back" if follower.failed is None else f"{follower.failed!r}"
            _LOGGER.error("sink %s of %s: %s; its rows wait in the journal", follower.sink.name, process.name, why)
        _LOGGER.info("stopped")
        return not left

    # What is said

    def _tell(self, action: str, **fields: Any) -> None:  # noqa: ANN401 - the fields are the catalog's
        if action not in {"auditring.SinkFailed", "auditring.SinkRecovered"}:  # told as problems that come and go
            _LOGGER.warning("%s %s", action, ", ".join(f"{name}={value}" for name, value in fields.items()))

    @staticmethod
    def _tell_of_state(process: Process) -> None:
        if process.state is process.told:
            return
        process.told = process.state
        who = f"{process.name} ({process.instance})" if process.instance else process.name
        said: dict[State, str] = {
            State.LIVING: "followed",
            State.DYING: "has ended or died",
            State.DEAD: "recovered" if process.recovered else "has closed its log",
            State.GONE: "all of it is in its sinks",
            State.LEFT: "left for now",
        }
        if process.state in said:
            _LOGGER.info("%s: %s", who, said[process.state])

    def _tell_of_problems(self) -> None:
        """Those that are new, and those that are over."""
        now = {problem.component: problem.cause for problem in self.health().problems}
        fresh = frozenset(now.items())
        gone = {component for component, _ in self._known} - now.keys()
        for component, cause in sorted(fresh - self._known):
            _LOGGER.warning("%s: %s", component, cause)
        for component in sorted(gone):
            _LOGGER.info("%s: well again", component)
        self._known = fresh

"""The thread that sits in the Rust pump: ring to journal, with the GIL released as long as there is work.

What must always hold: an error of the disk is never the end of it (it is told, and tried again for ever, ever more
slowly), nor is what strikes its thread from outside, as long as the core's state is whole; what a panic has left
half-changed is never run again: it is declared to the core first, so that no caller waits for room that nobody will
make, and its ring is left to recovery.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from auditring import _core
from auditring.health import STAYS, HealthBoard
from auditring.threads import started

__all__ = ["Pump"]

_SLICE: Final = 0.5
"""How long the core has the thread: what is taken away of the journal is noticed twice a second."""
_TRIAL: Final = 0.02
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0
_LAST_PATIENCE: Final = 5.0
_HOPELESS: Final = 3
"""Attempts that were no good before callers are told not to wait; it goes on trying."""
_ADVICE: Final = (
    "free space on, or repair, the disk of the journal; accepted events wait in the ring, "
    "and the pump tries again by itself"
)
_BEGUN: Final = "tell whoever looks after auditring; the pump is begun anew by itself, and nothing is lost"
_FILES: Final = (
    "look who takes the journal away; nothing is lost as long as this process lives, for all of it is held open"
)
_DEAD: Final = (
    "close the log and open it anew; accepted events are kept in ring and journal for the next opener, "
    "new ones get what when_full says"
)
_UPKEEP: Final = "sinks and counters are not looked after until this is mended; events are journaled all the same"


class Pump:
    """Drives one log's pump. Its thread is a daemon, so that the interpreter can exit; an exit handler ends it."""

    def __init__(
        self, core: _core.Log, health: HealthBoard, tell: Callable[..., None], look: Callable[[], None]
    ) -> None:
        """`tell` records one of the library's own events; `look` is called about twice a second."""
        self.finished = False
        """The final batch is written."""
        self.failed: BaseException | None = None
        """Why the journal cannot be written now; `None` while it can."""
        self.ring_refused: str | None = None
        """Why there is no ring in place of one that was deleted; `None` where there is one."""
        self._core = core
        self._health = health
        self._tell = tell
        self._look = look
        self._thread = threading.Thread()
        self._stopping = threading.Event()
        self._reviving = threading.Lock()
        self._ended = True
        self._since = 0.0
        self._stopped = 0.0
        self._attempts = 0
        self._gone_at = -STAYS

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """It will never run again in this process."""
        return not self._core.pump_sound

    def revive(self) -> None:
        """Starts the thread anew if it has died where it could not even say so. From any other thread."""
        with self._reviving:
            if self._ended or self._stopping.is_set() or self.alive:
                return
            self._trouble(RuntimeError("the pump's thread has died; it is begun anew"))
            self.start()

    def start(self) -> None:
        """Starts the thread; again, after it has given up on a disk while the log was closed. Raises `OSError`."""
        self._ended = False
        self._thread = started(self._run, "auditring-pump")

    def join(self, timeout: float | None) -> None:
        """Waits for the end of the thread; one that was never started has ended."""
        if self.alive:
            self._thread.join(timeout)

    def stop(self) -> None:
        """The log is being closed: a disk that stays full is given up on after a while, and by callers at once."""
        self._stopped = time.monotonic()
        self._stopping.set()
        if self.failed is not None:
            self._declare(self.failed, dead=True)

    def keep_journal(self) -> None:
        """Puts back what is taken away of the journal: all of it that a sink lacks is held open.

        From its thread; and once that has ended, from whoever waits for the sinks.
        """
        found, error = self._core.keep_journal()
        for path, kind, what, restored in found:
            self._gone_at = time.monotonic()
            self._tell("auditring.FileVanished", file=path, kind=kind, what=what, restored=int(restored))
            self._health.bad("journal-files", f"{path} was {what}, and put back", _FILES)
        if error is not None:
            self._health.bad("journal-files", f"the journal was taken away, and cannot be put back: {error}", _FILES)
        elif not found and time.monotonic() - self._gone_at > STAYS:
            self._health.good("journal-files")

    def _run(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                self._pump()
                break
            except BaseException as error:  # noqa: BLE001 - a panic of the core, or what another thread sets in this one
                if self.dead or self._out_of_patience():
                    self._declare(error, dead=True)
                    self._health.bad("pump", f"dead: {type(error).__name__}: {error}", _DEAD)
                    break
                delay = _FIRST_DELAY if self.failed is None else min(delay * 2, _LONGEST_DELAY)
                self._trouble(error)
                time.sleep(delay)
        self._ended = True

    def _pump(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                ended = self._core.run_pump(_SLICE if self.failed is None else _TRIAL)
            except OSError as error:
                self._trouble(error)
                # A directory that was taken away may be why.
                self.keep_journal()
                if self._out_of_patience():
                    return
                # A stop cuts the wait short once; after that it is the delay that is waited out.
                if self._stopping.is_set():
                    time.sleep(delay)
                else:
                    self._stopping.wait(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            if self.failed is not None:
                self._recovered()
                delay = _FIRST_DELAY
            if ended:
                self.finished = True
                return
            self.keep_journal()
            self._keep_ring()
            self._keep_up()

    def _out_of_patience(self) -> bool:
        """Whether the log is being closed and has waited long enough for trouble to end."""
        return self._stopping.is_set() and time.monotonic() - max(self._since, self._stopped) > _LAST_PATIENCE

    def _keep_up(self) -> None:
        """What is done beside the pumping may fail without an end of that."""
        with self._health.told("upkeep", _UPKEEP):
            self._look()

    def _keep_ring(self) -> None:
        """Session managers and containers delete what lies in `/dev/shm`: then the log goes on with a new ring."""
        try:
            self._core.replace_ring(refused=self.ring_refused)
        except OSError as error:
            self.ring_refused = str(error)
        else:
            self.ring_refused = None

    def _declare(self, error: BaseException, *, dead: bool) -> None:
        """Says why there is no room; callers wait as configured, unless there will be none or the log is closing."""
        self.failed = error
        self._core.pump_failed(f"{type(error).__name__}: {error}", dead=dead)

    def _trouble(self, error: BaseException) -> None:
        if self.failed is None:
            self._since, self._attempts = time.monotonic(), 0
        self._attempts += 1
        # What strikes it again and again may do so for ever, which is no disk that is waited for.
        hopeless = self._attempts >= _HOPELESS and not isinstance(error, OSError)
        self._declare(error, dead=hopeless or self._stopping.is_set())
        self._health.bad("pump", f"{type(error).__name__}: {error}", _ADVICE if isinstance(error, OSError) else _BEGUN)

    def _recovered(self) -> None:
        cause, self.failed = self.failed, None
        self._core.pump_recovered()
        self._health.good("pump")
        lasted = int((time.monotonic() - self._since) * 1e9)
        self._tell("auditring.JournalFailed", attempts=self._attempts, duration_ns=lasted, error=_said(cause))


def _said(cause: BaseException | None) -> str:
    """The system's own words, or else what sort of thing it was."""
    return str(cause) if isinstance(cause, OSError) and cause.args else f"{type(cause).__name__}: {cause}"

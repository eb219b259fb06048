"""The thread that sits in the Rust pump: ring to journal, with the GIL released as long as there is work.

What must always hold: an error of the disk is never the end of it (it is told, and tried again for ever, ever more
slowly), and whatever else ends the thread is declared to the core first, so that no caller waits for room that
nobody will make.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from auditring import _core
from auditring.health import HealthBoard
from auditring.threads import started

__all__ = ["Pump"]

_SLICE: Final = 1.0
_TRIAL: Final = 0.02
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0
_LAST_PATIENCE: Final = 5.0
_ADVICE: Final = (
    "free space on, or repair, the disk of the journal; accepted events wait in the ring, "
    "and the pump tries again by itself"
)
_DEAD: Final = (
    "restart the process; accepted events are kept in ring and journal for the next opener, "
    "new ones get what when_full says"
)


class Pump:
    """Drives one log's pump. Its thread is a daemon, so that the interpreter can exit; an exit handler ends it."""

    def __init__(
        self, core: _core.Log, health: HealthBoard, tell: Callable[..., None], look: Callable[[], None]
    ) -> None:
        """`tell` records one of the library's own events; `look` is called about once a second."""
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
        self._since = 0.0
        self._stopped = 0.0
        self._attempts = 0

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread; again, after it has given up on a disk while the log was closed. Raises `OSError`."""
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
            self._declare(self.failed)

    def _run(self) -> None:
        try:
            self._pump()
        except BaseException as error:  # noqa: BLE001 - a panic of the core too must not leave callers waiting
            self._declare(error)
            self._health.bad("pump", f"dead: {type(error).__name__}: {error}", _DEAD)

    def _pump(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                ended = self._core.run_pump(_SLICE if self.failed is None else _TRIAL)
            except OSError as error:
                self._trouble(error)
                if self._stopping.is_set() and time.monotonic() - max(self._since, self._stopped) > _LAST_PATIENCE:
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
            self._keep_ring()
            self._look()

    def _keep_ring(self) -> None:
        """Session managers and containers delete what lies in `/dev/shm`: then the log goes on with a new ring."""
        try:
            self._core.replace_ring(refused=self.ring_refused)
        except OSError as error:
            self.ring_refused = str(error)
        else:
            self.ring_refused = None

    def _declare(self, error: BaseException) -> None:
        """Says why there is no room; callers wait as configured, unless there will be none or the log is closing."""
        self.failed = error
        dead = self._stopping.is_set() or not isinstance(error, OSError)
        self._core.pump_failed(f"{type(error).__name__}: {error}", dead=dead)

    def _trouble(self, error: OSError) -> None:
        if self.failed is None:
            self._since, self._attempts = time.monotonic(), 0
        self._attempts += 1
        self._declare(error)
        self._health.bad("pump", f"{type(error).__name__}: {error}", _ADVICE)

    def _recovered(self) -> None:
        cause, self.failed = self.failed, None
        self._core.pump_recovered()
        self._health.good("pump")
        lasted = int((time.monotonic() - self._since) * 1e9)
        self._tell("auditring.JournalFailed", attempts=self._attempts, duration_ns=lasted, error=str(cause))

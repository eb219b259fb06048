"""What takes its time with the dead, in a thread of its own: ending their journals, and removing what all sinks have.

What must always hold: one job at a time, in the order in which they were asked for; a job that fails says why in its
answer, and ends nothing.
"""

import queue
import threading  # noqa: TC003 - the class is plain at run time, too
from collections.abc import Callable, Sequence
from pathlib import Path

from auditring import _core
from auditring.redaction import RedactionKey
from auditring.threads import started

__all__ = ["Adopted", "Adopter"]

Adopted = tuple["_core.Orphan | None", str | None]
"""The dead process, held; or neither it nor a reason where somebody else has it or nothing is left; or the reason."""


class Adopter:
    """Recovers the dead of a directory, and ends those whose rows are all where they belong."""

    def __init__(self, root: Path, keys: Sequence[RedactionKey]) -> None:
        """`keys`: by which values were hashed."""
        self._root = root
        self._keys = keys
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread. Raises `OSError`."""
        self._thread = started(self._run, "auditring-adopter")

    def stop(self, timeout: float) -> None:
        """Does no more than what is being done."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def adopt(self, process: str, done: Callable[[Adopted], None]) -> None:
        """Takes over a process that has died, and ends its journal."""
        self._jobs.put(lambda: done(self._adopted(process)))

    def finish(self, orphan: "_core.Orphan", done: Callable[[str | None], None]) -> None:
        """Removes the journal of one whose sinks have all of it, and lets go; the answer says what was refused."""
        self._jobs.put(lambda: done(self._finished(orphan)))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _adopted(self, process: str) -> Adopted:
        try:
            orphans, refused = _core.adopt_orphans(self._root, keys=self._keys, only={process})
        except Exception as error:  # noqa: BLE001 - a panic, too, must not end the thread
            return None, f"{type(error).__name__}: {error}"
        return (orphans[0] if orphans else None), next((why for _, why in refused), None)

    @staticmethod
    def _finished(orphan: "_core.Orphan") -> str | None:
        try:
            orphan.finish()
        except Exception as error:  # noqa: BLE001 - see above
            return f"{type(error).__name__}: {error}"
        finally:
            orphan.close()
        return None

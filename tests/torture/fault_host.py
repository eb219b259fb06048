"""The host that system calls fail under: does what it is told over a socket, one log after the other.

    python tests/torture/fault_host.py <descriptor of the socket> <file of the page>

It asks and answers by `recvfrom` and `sendto` alone, and all its modules are imported before the first fault: so the
calls that are counted and failed are the library's. A slot of the shared page says of each thread how many of its
calls have returned; whether threads go on can so be seen from outside, whatever holds the GIL.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import auditring
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink

SLOT = struct.Struct("<q")
PAGE = 4096
THREADS = 2
BURST, PAUSE = 8, 0.002
TOPIC = "t-{}"
ORPHANED = 400


class Page:
    """The shared page: of each topic, how many of its events were accepted."""

    def __init__(self, path: Path) -> None:
        """Maps the file."""
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE)

    def tell(self, number: int, count: int) -> None:
        """So many calls of this thread have returned."""
        SLOT.pack_into(self._page, SLOT.size * number, count)

    def told(self, number: int) -> int:
        """How many have."""
        return int(SLOT.unpack_from(self._page, SLOT.size * number)[0])


class Life:
    """One log and the threads that emit into it."""

    def __init__(self, order: dict[str, Any], page: Page) -> None:
        """Opens the log; nothing is emitted yet."""
        wait = None if order["when_full"] == "wait" else 0.01
        self.log = auditring.open(
            order["path"],
            instance="host",
            segment_bytes=1 << 16,
            segment_age=0.1,
            ring_bytes=1 << 20,
            ring_dir=order["ring_dir"],
            sinks=(
                ParquetSink(rotation=auditring.Rotation(rows=800, age=1.0)),
                JsonlSink(
                    rotation=auditring.Rotation(rows=1000),
                    checkpoint=Checkpoint(bytes=1 << 16, age=0.1),
                    compress=order["compress"],
                ),
            ),
            when_full=auditring.WhenFull(wait=wait, then=auditring.Then.RAISE),
        )
        self._page = page
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def threads(self) -> dict[str, int]:
        """The library's threads by their names, with what the kernel knows them by."""
        found = {}
        for thread in threading.enumerate():
            if thread.name.startswith("auditring-") and thread.native_id is not None:
                found[thread.name.removeprefix("auditring-")] = thread.native_id
        # Those of the core have told the kernel their names.
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):
                name = (task / "comm").read_text().strip()
                if name.startswith("auditring-"):
                    found[f"{name.removeprefix('auditring-')}/{task.name}"] = int(task.name)
        return found

    @property
    def ring(self) -> str:
        """Where the ring lies."""
        running = self.log._running  # noqa: SLF001 - no host need know, but one whose ring is deleted
        return str(running.core.ring_path) if running is not None else ""

    def go(self) -> dict[str, Any]:
        """Begins to emit."""
        for number in range(THREADS):
            thread = threading.Thread(target=self._emit, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return {}

    def _emit(self, number: int) -> None:
        session = self.log.session(id=f"s-{number}", peer=("10.0.0.1", number), authority="decision")
        offset = 0
        while not self._stop.is_set():
            try:
                session.write(TOPIC.format(number), 0, offset, offset)
            except auditring.AuditUnavailable:
                # Refused, so not accepted: a host that must have it recorded tries again.
                time.sleep(PAUSE)
                continue
            except auditring.LogClosed:
                return
            offset += 1
            self._page.tell(number, offset)
            if offset % BURST == 0:
                time.sleep(PAUSE)

    def stop(self, timeout: float) -> dict[str, Any]:
        """Ends the threads; whether they have ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)
        return {"ended": not any(thread.is_alive() for thread in self._threads)}

    def look(self) -> dict[str, Any]:
        """What `health` says."""
        return {"problems": [[one.component, one.cause] for one in self.log.health().problems]}

    def settle(self, timeout: float) -> dict[str, Any]:
        """Waits until all is well and everything accepted is safe; `why` says what is not."""
        deadline = time.monotonic() + timeout
        why: str | None = "not asked yet"
        while why is not None and time.monotonic() < deadline:
            # A ring that was full stays on the board for a minute, so that somebody sees it.
            problems = [one for one in self.log.health().problems if one.component != "ring"]
            if problems:
                why = str(problems)
                time.sleep(0.01)
                continue
            try:
                self.log.flush(max(0.1, deadline - time.monotonic()))
                why = None
            except (auditring.AuditError, TimeoutError) as error:
                why = f"flush: {error!r}"
        return {"why": why}

    def close(self, timeout: float) -> dict[str, Any]:
        """Closes the log, and says how the balance stands."""
        try:
            self.log.close(timeout)
        except auditring.CloseIncomplete as error:
            return {"incomplete": str(error)}
        stats = self.log.stats()
        return {
            "balanced": stats.balanced,
            "refused": stats.refused,
            "dropped": stats.dropped,
            "lost": dict(stats.lost),
        }


def orphan(order: dict[str, Any], page: Page) -> dict[str, Any]:
    """A child that accepts events and is killed: what it leaves waits for whoever opens the directory next."""
    child = os.fork()
    if child == 0:
        life = Life(order, page)
        session = life.log.session(id="s-orphan", peer=("10.0.0.2", 1), authority="decision")
        for offset in range(ORPHANED):
            session.write(TOPIC.format(THREADS), 0, offset, offset)
            page.tell(THREADS, offset + 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    return {"accepted": page.told(THREADS)}


def held() -> dict[str, Any]:
    """What this process has open, and how many threads it runs."""
    gc.collect()
    fds = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            fds.append(str(fd.readlink()))
    return {"fds": sorted(fds), "threads": len(list(Path("/proc/self/task").iterdir()))}


class Host:
    """Answers orders: each by the method of its name."""

    def __init__(self, page: Page) -> None:
        """No log is open."""
        self._page = page
        self._life: Life | None = None

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Does what it is told; what is not the host's is the life's."""
        do = order.pop("do")
        method = getattr(self, do, None) or getattr(self._life, do)
        found: dict[str, Any] = method(**order)
        return found

    def held(self) -> dict[str, Any]:
        """What the process holds."""
        return held()

    def orphan(self, **order: Any) -> dict[str, Any]:  # noqa: ANN401 - an order is what it is
        """Leaves the remains of a process."""
        return orphan(order, self._page)

    def open(self, **order: Any) -> dict[str, Any]:  # noqa: ANN401 - an order is what it is
        """Opens a log."""
        try:
            self._life = Life(order, self._page)
        except Exception as error:  # noqa: BLE001 - whichever it is, is what was asked
            return {
                "raised": type(error).__name__,
                "os": isinstance(error.__cause__ or error, OSError),
                "text": str(error),
            }
        return {"process": self._life.log.process, "ring": self._life.ring}

    def forget(self) -> dict[str, Any]:
        """Lets go of the log."""
        self._life = None
        return held()


def main() -> None:
    """Answers until nobody asks."""
    page = Page(Path(sys.argv[2]))
    host = Host(page)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        data = b""
        while True:
            while b"\n" not in data:
                more = connection.recv(1 << 16)
                if not more:
                    return
                data += more
            order, _, data = data.partition(b"\n")
            connection.sendall(json.dumps(host.answer(json.loads(order))).encode() + b"\n")


if __name__ == "__main__":
    main()

"""One fault after the other, each in the life of a log of its own; what must be seen of every one is asserted here.

The host goes on serving, and nothing hangs; what lasts is named by `health()` and by an event; the library recovers by
itself; the balance holds, every acknowledged event is once in tables and lines; no failed sync is believed later; no
descriptor, thread or file is left behind.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditring import query
from auditring.recovery import recover
from auditring.verify import check
from fault_host import PAGE, THREADS, TOPIC, Page
from fault_room import Ballast, Limit, Small
from fault_trace import Tracer, failed, forgotten, uses
from in_sinks import once

if TYPE_CHECKING:
    from fault_cells import Cell

__all__ = ["UNUSED", "Rig"]

UNUSED: Final = "·"
"""The call was not made so often: there is nothing to fail."""
_HANG: Final = 40.0
_USED: Final = 2.0
_SEEN: Final = 4.0
_SETTLE: Final = 20.0
_CLOSE: Final = 20.0
_LOOK: Final = 0.01
_TRIES: Final = 3

Fault = Tracer | Limit | Ballast


class Rig:
    """A host and what it is put through."""

    def __init__(self) -> None:
        """Starts the host, and lets it do everything once, so that it has imported what it needs."""
        self._base = Path(tempfile.mkdtemp(prefix="auditring-faults-"))
        self._page_file = self._base / "page"
        self._page_file.write_bytes(bytes(PAGE))
        self._page = Page(self._page_file)
        ours, theirs = socket.socketpair()
        ours.settimeout(_HANG)
        self._socket = ours
        self._data = b""
        host = Path(__file__).with_name("fault_host.py")
        command = [sys.executable, str(host), str(theirs.fileno()), str(self._page_file)]
        environment = {**os.environ, "LOGNAME": "faults"}
        self._host = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        self._number = 0
        self._rng = random.Random(0)
        self._compress: bool | None = None
        self._uses: dict[tuple[str, str], list[int]] = {}
        folder = self._folder()
        self._ask("orphan", **self._order(folder))
        self._ask("open", **self._order(folder))
        self._ask("go")
        self._serve(100)
        self._finish(folder)
        shutil.rmtree(folder)

    def end(self, *, keep: bool = False) -> None:
        """Ends the host."""
        self._socket.close()
        try:
            self._host.wait(5)
        except subprocess.TimeoutExpired:
            self._host.kill()
            self._host.wait()
        if not keep:
            shutil.rmtree(self._base, ignore_errors=True)

    def run(self, cell: Cell, seed: int) -> str:
        """One cell: what became of it in a word. Raises `AssertionError`, with what it left kept in a folder."""
        self._rng = random.Random(seed)
        self._compress = True if cell.path.endswith("closed") else None
        folder = self._folder()
        before = self._ask("held")
        with ExitStack() as stack:
            match cell.place:
                case "open" | "adopt":
                    result = self._birth(cell, folder, before)
                case "close":
                    result = self._close(cell, folder)
                case "tmpfs":
                    stack.enter_context(Small(folder / "audit"))
                    result = self._load(cell, folder, stack)
                case _ if cell.path:
                    result = self._about(cell)
                case _:
                    result = self._load(cell, folder, stack)
            self._nothing_left(before)
        shutil.rmtree(folder)
        return result

    # How a life goes

    def _birth(self, cell: Cell, folder: Path, before: dict[str, Any]) -> str:
        """A fault while a log is opened; with `adopt` over the remains of one that died."""
        adopts = cell.place == "adopt"
        order = self._order(folder)
        if adopts:
            self._ask("orphan", **order)
        with Tracer(folder / "trace", [self._host.pid], cell.inject(), follow=adopts) as tracer:
            answer = self._ask("open", **order)
            raised = answer.get("raised")
            if adopts and raised is None:
                self._used(tracer)
                if cell.lasting:
                    # Threads are at work on the remains.
                    self._seen(cell, required=False)
            used = tracer.injected()
        result = "ok" if raised is None else "raised"
        if raised is not None:
            assert used, f"nothing failed, and it raised {answer}"
            assert answer["os"], f"{raised} is no OSError: {answer['text']}"
            named = str(folder) in answer["text"] or "/dev/shm" in answer["text"]  # noqa: S108 - where rings lie
            assert named, f"no path is named: {answer['text']}"
            self._nothing_left(before)
            answer = self._ask("open", **order)
            assert "raised" not in answer, f"what was left disturbs the next open: {answer}"
        self._ask("go")
        self._serve(50)
        self._settle()
        if adopts:
            self._adopted(cell, folder)
        self._finish(folder)
        self._trace(folder)
        return result if used else UNUSED

    def _load(self, cell: Cell, folder: Path, stack: ExitStack) -> str:
        """A fault while events come."""
        answer = self._ask("open", **self._order(folder))
        assert "raised" not in answer, answer
        fault = self._fault(cell, folder)
        stack.enter_context(fault)
        self._ask("go")
        if cell.place == "ring":
            Path(answer["ring"]).unlink()
        if not self._used(fault):
            fault.detach()
            self._finish(folder)
            return UNUSED
        result = "ok"
        if cell.lasting:
            served = self._told()
            result = "seen" if self._seen(cell) else "ok"
            if cell.place not in {"pump", "ring", "tmpfs", "rlimit"}:
                # A sink's trouble is no matter of the host's.
                self._serve(1, since=served)
            fault.detach()
        self._settle()
        self._serve(20)
        self._finish(folder)
        fault.detach()
        self._trace(folder)
        if result == "seen":
            self._evented(cell, folder)
        return result

    def _close(self, cell: Cell, folder: Path) -> str:
        """A fault while the log is closed."""
        self._ask("open", **self._order(folder))
        self._ask("go")
        self._serve(800)
        assert self._ask("stop", timeout=10)["ended"], "threads of the host hang"
        threads = [self._host.pid, *self._ask("threads").values()]
        with Tracer(folder / "trace", threads, cell.inject()) as tracer:
            self._send("close", timeout=_CLOSE)
            began = time.monotonic()
            while not (done := self._answered()) and time.monotonic() - began < _USED and not tracer.injected():
                time.sleep(_LOOK)
            while cell.lasting and not (done or self._answered()) and time.monotonic() - began < _USED:
                time.sleep(_LOOK)
            if cell.lasting:
                tracer.detach()
            answer = self._receive()
            used = tracer.injected()
        result = "ok"
        if "incomplete" in answer:
            assert used, f"nothing failed, and {answer}"
            result = "again"
            assert _said(cell, answer["incomplete"]), f"the cause is not named: {answer['incomplete']}"
            answer = self._ask("close", timeout=_CLOSE)
            assert "incomplete" not in answer, f"a close without a fault: {answer}"
        self._judge(folder, answer)
        self._trace(folder)
        return result if used else UNUSED

    # The fault

    def _about(self, cell: Cell) -> str:
        """A fault of the calls about one path: which uses of the call these are, a life without a fault has shown."""
        known = self._uses.get((cell.place, cell.path))
        for _ in range(_TRIES):
            if known is None:
                known = self._uses[cell.place, cell.path] = self._probe(cell, self._folder())
            if len(known) < cell.use:
                break
            folder = self._folder()
            with ExitStack() as stack:
                result = self._load(replace(cell, use=known[cell.use - 1]), folder, stack)
            hit = failed((folder / "trace").read_text(errors="replace"))
            if hit and self._at(cell, folder, hit[0]):
                return result
            # Threads have taken another turn.
            known = None
        return UNUSED

    def _probe(self, cell: Cell, folder: Path) -> list[int]:
        answer = self._ask("open", **self._order(folder))
        path = folder / "audit" / cell.path.format(process=answer["process"], date=datetime.now(UTC).date().isoformat())
        with Tracer(folder / "trace", self._threads(cell), []) as tracer:
            self._ask("go")
            deadline = time.monotonic() + _USED
            while len(found := uses(tracer.text(), cell.call, path)) < 2 and time.monotonic() < deadline:
                time.sleep(_LOOK)
        self._finish(folder)
        return found

    def _at(self, cell: Cell, folder: Path, path: str) -> bool:
        """Whether a path is that of a cell."""
        wanted = (
            re.escape(str(folder / "audit" / cell.path)).replace(r"\{process\}", "[^/]+").replace(r"\{date\}", "[^/]+")
        )
        return re.fullmatch(wanted, path) is not None

    def _threads(self, cell: Cell) -> list[int]:
        """Those whose calls fail."""
        name = {"ring": "pump"}.get(cell.place, cell.place)
        threads = {
            tid
            for thread, tid in self._ask("threads").items()
            if thread.split("/")[0] == name or (name == "parquet" and thread.startswith("ahead/"))
        }
        assert threads, f"no thread is {name}"
        return sorted(threads)

    def _fault(self, cell: Cell, folder: Path) -> Fault:
        if cell.place == "rlimit":
            return Limit(self._host.pid, cell.use, lasting=cell.lasting)
        if cell.place == "tmpfs":
            return Ballast(folder / "audit", cell.use, lasting=cell.lasting)
        return Tracer(folder / "trace", self._threads(cell), cell.inject())

    def _used(self, fault: Fault) -> bool:
        """Waits until a call has failed; `False` where none does."""
        deadline = time.monotonic() + _USED
        while not fault.injected():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        return True

    # What must be seen

    def _seen(self, cell: Cell, *, required: bool = True) -> bool:
        """Waits until `health()` names the cause."""
        deadline = time.monotonic() + _SEEN
        problems: list[list[str]] = []
        while time.monotonic() < deadline:
            problems = self._ask("look")["problems"]
            if any(_said(cell, cause) for _, cause in problems):
                return True
            time.sleep(_LOOK)
        assert not required or cell.quiet, f"health() does not name it: {problems}"
        return False

    def _evented(self, cell: Cell, folder: Path) -> None:
        """A row of the library's own names the cause."""
        with query.connect(folder / "audit") as con:
            rows = con.execute(
                "SELECT action, coalesce(reason, '') || coalesce(context, '') FROM events "
                "WHERE action LIKE 'auditring.%' AND action NOT LIKE '%Balance'"
            ).fetchall()
        assert any(_said(cell, text) for _, text in rows), f"no event names it: {rows}"

    def _told(self) -> int:
        return sum(self._page.told(number) for number in range(THREADS))

    def _serve(self, more: int, since: int | None = None) -> None:
        """Waits until so many more calls have returned."""
        wanted = (self._told() if since is None else since) + more
        deadline = time.monotonic() + 10
        while self._told() < wanted:
            assert time.monotonic() < deadline, f"the host does not go on: {self._told()} of {wanted} calls"
            time.sleep(_LOOK)

    def _settle(self) -> None:
        why = self._ask("settle", timeout=_SETTLE)["why"]
        assert why is None, f"it does not recover: {why}"

    def _adopted(self, cell: Cell, folder: Path) -> None:
        """Waits until nothing is left of the dead: a close leaves them to the next opener."""
        if (cell.call, cell.error) == ("fcntl", "EACCES"):
            # Which says that somebody else is at it: then who comes next is the one that finds out.
            recover(folder / "audit")
        deadline = time.monotonic() + _SETTLE
        while len(left := list((folder / "audit" / "journal").iterdir())) > 1:
            assert time.monotonic() < deadline, f"the dead are not brought to their sinks: {left}"
            time.sleep(_LOOK)

    def _finish(self, folder: Path) -> None:
        """Ends the life and looks at what it has left."""
        assert self._ask("stop", timeout=10)["ended"], "threads of the host hang"
        answer = self._ask("close", timeout=_CLOSE)
        assert "incomplete" not in answer, answer
        self._judge(folder, answer)

    def _judge(self, folder: Path, answer: dict[str, Any]) -> None:
        path = folder / "audit"
        assert answer["balanced"], f"the equations do not hold: {answer}"
        assert (answer["dropped"], answer["lost"]) == (0, {}), answer
        if any((path / "journal").glob(".dead-*")):
            # What could not be removed was renamed before: whoever comes next removes it.
            assert recover(path) == []
        left = list((path / "journal").iterdir())
        left += [one for one in path.rglob("*") if one.name.startswith(".") or one.suffix == ".ring"]
        left += list((folder / "rings").iterdir())
        assert not left, f"left behind: {left}"
        report = check(path)
        assert report.complete, report.findings
        assert not report.everything, report.everything
        once(path, {TOPIC.format(number): self._page.told(number) for number in range(THREADS + 1)})

    def _trace(self, folder: Path) -> None:
        record = folder / "trace"
        if record.exists():
            found = forgotten(record.read_text(errors="replace"))
            assert not found, found

    def _nothing_left(self, before: dict[str, Any]) -> None:
        """No descriptor and no thread more than there were."""
        deadline = time.monotonic() + 5
        while (now := self._ask("forget")) != before and time.monotonic() < deadline:
            time.sleep(0.05)
        gone = list(now["fds"])
        for one in before["fds"]:
            with suppress(ValueError):
                gone.remove(one)
        assert now["threads"] <= before["threads"], f"{now['threads'] - before['threads']} threads are left"
        assert len(now["fds"]) <= len(before["fds"]), f"descriptors are left: {gone}"

    # The host

    def _folder(self) -> Path:
        self._number += 1
        folder = self._base / f"cell-{self._number}"
        (folder / "rings").mkdir(parents=True)
        for number in range(THREADS + 1):
            self._page.tell(number, 0)
        return folder

    def _order(self, folder: Path) -> dict[str, Any]:
        return {
            "path": str(folder / "audit"),
            "ring_dir": self._rng.choice((None, str(folder / "rings"))),
            "compress": self._rng.random() < 0.5 if self._compress is None else self._compress,
            "when_full": self._rng.choice(("wait", "raise")),
        }

    def _send(self, do: str, **more: object) -> None:
        self._socket.sendall(json.dumps({"do": do, **more}).encode() + b"\n")

    def _answered(self) -> bool:
        """Whether an answer is there."""
        self._socket.settimeout(0)
        with suppress(BlockingIOError):
            self._data += self._socket.recv(1 << 16)
        self._socket.settimeout(_HANG)
        return b"\n" in self._data

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._data:
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise AssertionError("the host hangs") from None
            assert more, f"the host has died: {self._host.wait(5)}"
            self._data += more
        answer, _, self._data = self._data.partition(b"\n")
        found: dict[str, Any] = json.loads(answer)
        return found

    def _ask(self, do: str, **more: object) -> dict[str, Any]:
        self._send(do, **more)
        return self._receive()


def _said(cell: Cell, text: str) -> bool:
    """Whether a text names the error of a cell."""
    return os.strerror(getattr(errno, cell.error)) in text

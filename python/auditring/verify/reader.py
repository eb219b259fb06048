"""Examines Parquet files in a process of its own.

pyarrow ends the whole process over some damage to a footer: an exception of C++ that nobody catches. What must always
hold is that such a file is a finding like any other; so the reader dies of it alone, and the next file gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from auditring.verify.tables import examine, given_up

if TYPE_CHECKING:
    from types import TracebackType

    from auditring.verify.tables import Table

__all__ = ["Reader"]

_READY = b"auditring reads"
"""What the process says first, or it is another program than ours."""
_PATIENCE = 60.0
_PROGRAM = "from auditring.verify.reader import serve; serve()"


class Reader:
    """Hands one file after the other to its process, which is started when it is first needed."""

    def __init__(self, root: Path, *, fast: bool) -> None:
        self._root, self._fast = root, fast
        self._child: subprocess.Popen[bytes] | None = None
        # Within another program there may be no Python to start; then files are read here.
        self._here = not sys.executable or bool(getattr(sys, "frozen", False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._end()

    def examine(self, path: Path) -> Table:
        """What the file comes to. Raises `FileNotFoundError`."""
        child = self._started()
        if child is None or child.stdin is None or child.stdout is None:
            return examine(path, self._root, fast=self._fast)
        try:
            pickle.dump(path, child.stdin)
            child.stdin.flush()
            answer = pickle.load(child.stdout)  # noqa: S301 - written by our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            return given_up(path, self._root, _end_of(self._end()))
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _started(self) -> subprocess.Popen[bytes] | None:
        """The process; `None` where there can be none."""
        if self._child is not None or self._here:
            return self._child
        try:
            # In a group of its own, so that Ctrl-C is for us to answer; it ends with our end of the pipe.
            self._child = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-c", _PROGRAM, str(self._root), "fast" if self._fast else "whole"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                process_group=0,
            )
        except OSError:
            self._here = True
            return None
        if not _is_ready(self._child.stdout):
            self._end()
            self._here = True
        return self._child

    def _end(self) -> int | None:
        """Ends the process, if it has not ended, and returns how it ended."""
        child, self._child = self._child, None
        if child is None:
            return None
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            return child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _is_ready(answers: IO[bytes] | None) -> bool:
    """Whether it says in time that it is ours; some programs say nothing at all."""
    if answers is None or not select.select([answers], [], [], _PATIENCE)[0]:
        return False
    return answers.read(len(_READY)) == _READY


def _end_of(status: int | None) -> str:
    if status is None or status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def serve() -> None:
    """Answer with what each file comes to, until nobody asks any more."""
    root, fast = Path(sys.argv[1]), sys.argv[2] == "fast"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What some library might print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answers.write(_READY)
    answers.flush()
    with contextlib.suppress(EOFError):
        while True:
            path = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own process
            answer: Table | Exception
            try:
                answer = examine(path, root, fast=fast)
            except Exception as error:  # noqa: BLE001 - the one who asked raises it
                answer = error
            pickle.dump(answer, answers)
            answers.flush()

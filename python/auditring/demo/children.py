"""The demo's server processes, each with a pipe that ends it and one that it says things in.

What must always hold: a child ends when its standard input closes, which the death of this process does too, and a
terminal's Ctrl-C reaches this process alone, so that a proxy always closes its log in order.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

PATIENCE = 15.0
"""Seconds that a child has to start, and to end in order."""


class ChildFailed(Exception):  # noqa: N818 - it says what happened
    """A server process did not do its part; the message is what it said."""


class Child:
    """`python -m MODULE …`; people know it as `what`."""

    def __init__(self, what: str, module: str, *options: str, pass_fds: Sequence[int] = ()) -> None:
        self.what = what
        self.last = b""
        """The last whole line of its standard output."""
        self._spoke = threading.Event()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
            [sys.executable, "-m", module, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self.last = line
                self._spoke.set()
        self._spoke.set()

    def hear(self) -> bytes:
        """The last line, as soon as there is one. Raises `ChildFailed` where none comes."""
        self._spoke.wait(PATIENCE)
        if not self.last:
            self.stop()
            message = f"the {self.what} did not start"
            raise ChildFailed(message)
        return self.last

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the child in order. Raises `ChildFailed` if that is not how it ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            message = f"the {self.what} did not end within {PATIENCE:.0f} s"
            raise ChildFailed(message) from None
        finally:
            self._reader.join()
        if code != 0:
            self._said.seek(0)
            message = f"the {self.what} failed: {self._said.read().decode(errors='replace').strip()[-2000:]}"
            raise ChildFailed(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except ChildFailed as failed:
            if error is None:
                raise
            error.add_note(str(failed))
        finally:
            self._said.close()


class Server(Child):
    """A child with a listening socket, reachable at `url` at once: connections wait in the backlog."""

    def __init__(self, what: str, module: str, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            fd = listener.fileno()
            super().__init__(what, module, what, "--fd", str(fd), *options, pass_fds=[fd])


def when_told(end: Callable[[], object]) -> None:
    """In a child: calls `end`, in a thread, when standard input has ended."""

    def wait() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()

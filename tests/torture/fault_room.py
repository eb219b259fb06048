"""Room that ends for real: files that may not grow, and a small file system that is full."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Ballast", "Limit", "Small"]

_FOR: Final = 0.3
"""Seconds that are long enough for every thread to come to the end of the room."""
_LIMITS: Final = {1: 4 << 10, 2: 40 << 10, 10: 100 << 10}
"""By the number of the use: bytes that a file may have."""
_LEFT: Final = {1: 0, 2: 64 << 10, 10: 512 << 10}
"""Likewise: bytes that are left of the file system."""
_TRIES: Final = 100
_PAGE: Final = 4096
_SIZE: Final = 24 << 20


class _Fault(ABC):
    """In force for a while, or until it is let go."""

    def __init__(self, *, lasting: bool) -> None:
        self._lasting = lasting
        self._began = 0.0

    def __enter__(self) -> Self:
        self.lay()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    @abstractmethod
    def lay(self) -> None:
        """There is no room."""

    @abstractmethod
    def detach(self) -> None:
        """There is room again."""

    def injected(self) -> int:
        """Whether it has been in force long enough; one that does not last ends with that."""
        if time.monotonic() - self._began < _FOR:
            return 0
        if not self._lasting:
            self.detach()
        return 1


class Limit(_Fault):
    """No file of a process may grow beyond a limit: writes are short, then refused."""

    def __init__(self, pid: int, use: int, *, lasting: bool) -> None:
        """RLIMIT_FSIZE of a process."""
        super().__init__(lasting=lasting)
        self._pid, self._limit = pid, _LIMITS[use]

    def lay(self) -> None:
        """Sets the limit."""
        _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (self._limit, hard))

    def detach(self) -> None:
        """No limit."""
        _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (hard, hard))


class Ballast(_Fault):
    """Takes all room but a little of a small file system."""

    def __init__(self, folder: Path, use: int, *, lasting: bool) -> None:
        """A file in a folder that is a file system of its own."""
        super().__init__(lasting=lasting)
        self._path, self._left = folder / "ballast", _LEFT[use]

    def lay(self) -> None:
        """Takes the room. The host writes meanwhile: what is free at the moment may not be at the next."""
        with self._path.open("wb") as file:
            for attempt in range(_TRIES):
                free = os.statvfs(self._path.parent)
                with suppress(OSError):
                    os.posix_fallocate(
                        file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - self._left - attempt * _PAGE)
                    )
                    return
        raise AssertionError("the room cannot be taken")

    def detach(self) -> None:
        """Gives the room back."""
        self._path.unlink(missing_ok=True)


class Small:
    """A small file system of its own for a folder, as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        """Where it is mounted."""
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", self._folder], check=True)  # noqa: S607 - the system's own
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self._folder], check=True)  # noqa: S607 - the system's own

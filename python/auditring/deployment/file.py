"""The file of a configuration: read once, whole, and only where nobody else can change it.

Whoever can write to it can switch the audit off at the next start. What must always hold: a file that others may write
to, or put another in the place of, is a mistake like any other; nothing but a plain file is read, and of none more than
fits a configuration.
"""

import dataclasses
import hashlib
import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from auditring.deployment.lines import lines_of
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Source

__all__ = ["File", "exposed", "read"]

_MOST: Final = 1 << 20
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """What a file says."""

    tree: dict[str, Any]
    source: Source
    sha256: str | None


def read(path: Path, mistakes: Mistakes) -> File:
    """Reads a file. Where that cannot be, the mistakes say why, and there is nothing in it."""
    nothing = File({}, Source(path.name, {}), None)
    try:
        # Not to wait for somebody to write into a pipe. Links are followed: that is how configurations are mounted.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        mistakes.add(
            "", f"cannot be read: {error.strerror if isinstance(error, OSError) else 'no path has a NUL in it'}"
        )
        return nothing
    try:
        told = os.fstat(fd)
        if not stat.S_ISREG(told.st_mode):
            mistakes.add("", "is no file")
            return nothing
        if (why := exposed(path, told)) is not None:
            mistakes.add("", f"{why}: whoever does can switch the audit off")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read(_MOST + 1)
    finally:
        os.close(fd)
    if len(content) > _MOST:
        mistakes.add("", f"is larger than {_MOST} bytes, as no configuration is")
        return nothing
    try:
        text = content.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError:
        mistakes.add("", "is not UTF-8")
        return nothing
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        # It says where, and of what is there a character at most.
        mistakes.add("", f"is not TOML: {error}")
        return nothing
    return File(tree, Source(path.name, lines_of(text)), hashlib.sha256(content).hexdigest())


def exposed(path: Path, told: os.stat_result) -> str | None:
    """Why others may change what a file says; `None` where nobody may but its owner and root."""
    if told.st_mode & _OTHERS:
        return f"others may write to it (mode {stat.S_IMODE(told.st_mode):04o}; chmod go-w {path})"
    for place in _way(path.absolute()):
        folder = place.parent
        of = folder.stat()
        # In a folder such as /tmp nobody takes away what is not his own.
        held = of.st_mode & stat.S_ISVTX and place.lstat().st_uid in {0, os.geteuid()}
        # What is mounted for reading alone nobody replaces from here.
        if of.st_mode & _OTHERS and not held and not os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"others may put another in its place (mode {stat.S_IMODE(of.st_mode):04o}; chmod go-w {folder})"
    return None


def _way(path: Path) -> Iterator[Path]:
    """Every name by which a file is found, from its own up to the root's: folders above it, and where links lead."""
    known, todo = {path.root}, [path]
    while todo:
        place = todo.pop()
        if str(place) in known:
            continue
        known.add(str(place))
        yield place
        todo.append(place.parent)
        if place.is_symlink():
            todo.append(place.parent / place.readlink())

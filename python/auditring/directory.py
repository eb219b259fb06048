"""The audit directory as it is found: whether a path is one at all, and who else may change what is in it."""

import os
from typing import TYPE_CHECKING

from auditring.exceptions import AuditError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NotAnAuditDirectory", "exposed", "require"]

_WANTED = "give the directory that auditring.open was called with"


class NotAnAuditDirectory(AuditError):  # noqa: N818 - reads as what is wrong; `…Error` would add nothing
    """The path is not a directory that a log has been opened in."""


def require(root: "Path") -> None:
    """Raises `NotAnAuditDirectory` for a path that no log has written to: a slip must not look like an empty log."""
    if not root.is_dir():
        raise NotAnAuditDirectory(f"{root} is not a directory: {_WANTED}")
    if not any((root / name).is_dir() for name in ("events", "journal", "jsonl", "totals")):
        raise NotAnAuditDirectory(f"{root} holds neither events/ nor journal/: {_WANTED}")


def exposed(root: "Path") -> str | None:
    """Why others may put files into an audit directory, or take ours away; `None` where nobody may.

    What is in it is private all the same: its folders are made for their owner alone.
    """
    status = root.stat()
    if status.st_uid != os.geteuid():
        return f"{root} belongs to user {status.st_uid}, who may take the log away"
    if status.st_mode & 0o022:
        return f"others may write to {root} (mode {status.st_mode & 0o7777:04o}), and so take the log away"
    return None

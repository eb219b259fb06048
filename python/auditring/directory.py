"""The audit directory as a reader finds it: whether a path is one at all."""

from typing import TYPE_CHECKING

from auditring.exceptions import AuditError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NotAnAuditDirectory", "require"]

_WANTED = "give the directory that auditring.open was called with"


class NotAnAuditDirectory(AuditError):  # noqa: N818 - reads as what is wrong; `…Error` would add nothing
    """The path is not a directory that a log has been opened in."""


def require(root: "Path") -> None:
    """Raises `NotAnAuditDirectory` for a path that no log has written to: a slip must not look like an empty log."""
    if not root.is_dir():
        raise NotAnAuditDirectory(f"{root} is not a directory: {_WANTED}")
    if not any((root / name).is_dir() for name in ("events", "journal", "jsonl", "totals")):
        raise NotAnAuditDirectory(f"{root} holds neither events/ nor journal/: {_WANTED}")

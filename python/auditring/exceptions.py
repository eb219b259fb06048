"""Every error that auditring raises of its own accord, in one tree.

```
AuditError
├── LogClosed                    the log takes no more events
│   └── SessionClosed            this session has ended; the log may be open
├── AuditUnavailable             the ring is full and `when_full` says `Then.RAISE`
├── EventConflict (ValueError)   an event is declared already, and otherwise
├── EventTableFull               a log takes 256 declared events and no more
├── ConfigError (ValueError)     a setting that cannot be; raised before anything is opened
│   └── DeploymentError          what a file and the environment say cannot be: all that is wrong with them, at once
├── PolicyLocked                 the log was opened with `lock_policy=True`
├── JournalError                 the journal cannot be written now; what was accepted waits in the ring
├── SinkError                    a sink could not make rows safe; its follower goes on trying
│   ├── CursorError              what a sink left behind does not fit what the cursor says
│   ├── SinkRejected             a sink can never take certain rows; raised by sinks
│   ├── SinkAhead                a sink has more rows safe than the cursor says; raised by sinks
│   └── FileGone                 a file that a sink was writing was taken away or replaced; it begins another
└── CloseIncomplete              `close` ran out of time or patience; what is missing is kept on disk
```

A programmer's mistake in an emit call (a wrong type, an unknown name, a number out of range) is Python's own
`TypeError` or `ValueError`. Values off the wire never raise.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = [
    "AuditError",
    "AuditUnavailable",
    "CloseIncomplete",
    "ConfigError",
    "CursorError",
    "DeploymentError",
    "EventConflict",
    "EventTableFull",
    "FileGone",
    "JournalError",
    "LogClosed",
    "PolicyLocked",
    "SessionClosed",
    "SinkAhead",
    "SinkError",
    "SinkRejected",
]


class AuditError(Exception):
    """Root of all errors of this library."""


class LogClosed(AuditError):  # noqa: N818 - names a state, as hosts will catch it
    """The log was closed; nothing was recorded."""


class SessionClosed(LogClosed):
    """The session has ended, or belongs to the process that this one was forked from; nothing was recorded."""


class AuditUnavailable(AuditError):  # noqa: N818 - names a state, as hosts will catch it
    """There is no room for the event and the configuration says to refuse; counted as refused, nothing was recorded."""


class EventConflict(AuditError, ValueError):  # noqa: N818 - names what is in the way, as hosts will catch it
    """The log knows an event of that name with other fields or another outcome; nothing was declared."""


class EventTableFull(AuditError):  # noqa: N818 - names a state, as hosts will catch it
    """All places for declared events are taken; nothing was declared, and `emit` still takes any name."""


class ConfigError(AuditError, ValueError):
    """A setting that cannot be; the message says which, and what was probably meant."""


class DeploymentError(ConfigError):
    """A deployment's file or environment says what cannot be; all of it that could be found."""

    def __init__(self, where: str, mistakes: Iterable[str]) -> None:
        """`where`: the file, or the environment. `mistakes`: each with its place."""
        self.mistakes = tuple(mistakes)
        """One text for each."""
        several = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{where}: {several}", *self.mistakes]))


class PolicyLocked(AuditError):  # noqa: N818 - names a state, as hosts will catch it
    """The log's policy stays as it was opened with; nothing has changed, and the log has a row of the attempt."""


class JournalError(AuditError):
    """The journal cannot be written now; what was accepted waits in the ring, and the pump goes on trying."""


class SinkError(AuditError):
    """A sink could not make its rows safe; they are still in the journal, and its follower goes on trying."""


class CursorError(SinkError):
    """What lies in a sink's place is not what its cursor says; nothing of it was touched."""


class SinkRejected(SinkError):  # noqa: N818 - names what was done, as sinks will raise it
    """Raised by a sink: these rows are to blame, it will never take them, and it wants to go on without them.

    The follower goes back to its cursor and gives all rows again but these, whose events count as `lost["rejected"]`.
    """

    def __init__(self, reason: str, seqs: Iterable[int]) -> None:
        """`seqs`: of the rows, as the batches since the last commit had them."""
        super().__init__(reason)
        self.seqs = tuple(seqs)
        """Of the rows that are refused."""


class SinkAhead(SinkError):  # noqa: N818 - names what was found, as sinks will raise it
    """Raised by a sink's `write`: rows up to a cut are safe in it already, from before a crash; the cursor is behind.

    The follower moves its cursor there and calls `start` with an empty state; nothing of them is asked of the journal,
    which may have let go of them.
    """

    def __init__(self, next_seq: int, totals: Mapping[str, int]) -> None:
        """`next_seq`: behind the last of them. `totals`: what became of those from the cursor on, by their names."""
        super().__init__(f"rows before seq {next_seq} are safe already")
        self.next_seq = next_seq
        self.totals = dict(totals)


class FileGone(SinkError):  # noqa: N818 - names what has happened, as a follower catches it
    """A file that a sink was writing was taken away or replaced; `start` begins another."""

    def __init__(self, path: Path, what: str, *, rows: int = 0, first_seq: int | None = None) -> None:
        """`what`: deleted, moved or replaced. `rows`: how many were safe in it, from `first_seq` on."""
        super().__init__(f"{path} was {what} while it was written")
        self.path = path
        self.what = what
        self.rows = rows
        self.first_seq = first_seq


class CloseIncomplete(AuditError):  # noqa: N818 - names a state, as hosts will catch it
    """Something lagged or failed during `close`; all that was accepted is kept on disk for the next opener."""

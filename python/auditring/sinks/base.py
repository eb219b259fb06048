"""What a sink is, and what it says about itself to the follower that drives it.

A sink makes something durable of the journal's rows. It knows batches and its own files, nothing else: no thread, no
cursor, no retry, no log. Those belong to the follower, which calls it from one thread in this order:

```
open(context)                      once, in the thread that opens the log, so that a bad path is an error there
  start(state)                     at first, and again after any failure: undoes what was not committed
    write(batch) …                 rows, not yet safe
    commit() -> state              now they are; the follower then moves its cursor, which keeps `state`
  …
close()                            once, after the last commit
```

A sink that raises loses nothing: the follower counts the failure, waits, goes back to its cursor and calls `start`
with the state of the last commit. A sink that finds its file taken away raises `FileGone`, which is told of as such,
and begins another at the next `start`; one with a method `missing`, which returns such an error, is asked twice a
second. One with a method `hurry` is told, from another thread, that the log is being closed: a call that waits for
another machine then gives up soon, and raises; where the close is tried again its `unhurry` says that there is time. So
any call but `close` may raise, and `start` must cope with whatever an interrupted `write` or `commit` left behind.

An agent drives the sinks of many processes, a `fresh()` one each. What all of them can have in common (a Kafka
producer, a pool of connections) a sink offers by a method `shared()`: a context manager that the agent enters once, on
the template, before the first `fresh()`, and leaves when the last one has let go. It gives another template, whose
`fresh()` sinks share what it has opened. They are called from threads of their own, at the same time; each `commit`
must still mean all that its own sink was given, and `close` must leave what is shared to the others.

Where a row is to blame, and will be at every further try, `write` or `commit` raises `SinkRejected` with its seq: the
follower goes back all the same, and gives all rows again but that one, which is counted as lost and told of. Any other
exception is taken for the sink's own trouble, and is tried again for ever.

A crash may come between a `commit` and the cursor. A sink that knows its rows again (by their `event_id`, or by what it
has named its files) raises `SinkAhead` at the first `write` after a `start`, and the cursor moves; any other sink is
given them twice.
"""

import contextlib
import copy
import dataclasses
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from auditring._core import RowBatch
from auditring.config import Exempt
from auditring.exceptions import FileGone
from auditring.policy import Policy

__all__ = [
    "Batching",
    "Checkpoint",
    "RowBatch",
    "Sink",
    "SinkContext",
    "digest_of",
    "hurry",
    "missing_of",
    "policy_of",
    "shared",
    "traffic_of",
    "unhurry",
]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """How much a sink takes before it is made safe: at the first limit that is reached; `None` is no limit.

    Beside that a checkpoint ends wherever a new UTC date begins, so no checkpoint has rows of two days. Where the
    policy has windows, it ends at the end of one: at the first past the limit, or past midnight.
    """

    rows: int | None = None
    bytes: int | None = None
    """Of what `write` says it made."""
    age: float | None = None
    """Seconds since the last commit."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """How a sink likes its rows."""

    rows: int
    """At most so many at a time."""
    partial: bool = True
    """Take what is there; else wait for a full batch, until a checkpoint is due."""
    linger: float = 0.0
    """With `partial`: seconds to let rows gather after a batch that was not full."""
    tables: bool = False
    """Take rows as Arrow alone (`json_lines` raises): they are converted as they are read, ahead of the sink."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SinkContext:
    """Whose rows a sink gets: one open log in one OS process."""

    root: Path
    """The audit directory."""
    process: str
    instance: str
    host: str
    schema_version: int
    primary_tap: str | None = None


@runtime_checkable
class Sink(Protocol):
    """A destination for rows. Inherit from it for the defaults, or bring all of it.

    The object given to `auditring.open` is a template: the log works with `fresh()` ones, one in each process. It may
    have a `policy`, too: see `policy_of`; and `missing`, `hurry`, `unhurry`: see `missing_of`, `hurry`, `unhurry`.
    """

    name: str
    """Names the cursor file, the metrics and the health entry; letters, digits, `-` and `_`; unique in a log."""

    batching: Batching = Batching(rows=8192)
    """Read once, when the log is opened."""

    remote: bool = False
    """Whether what it writes to may be away while the proxy starts: then only `open(probe=…)` that names it asks it."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Limits of the next checkpoint; read after every `start` and every `commit`."""
        return Checkpoint(bytes=64 << 20, age=1.0)

    def fresh(self) -> Self:
        """A sink of the same configuration that has not been opened."""
        return copy.deepcopy(self)

    def interested(self, action: str, outcome: str) -> bool:  # noqa: ARG002 - the default wants everything
        """Whether rows of this kind shall come; the others count as filtered. Must always answer the same."""
        return True

    def probe(self, root: Path) -> None:  # noqa: ARG002 - the default asks nothing
        """Looks, before anything of a log is begun in `root`, whether rows could be written, and writes none.

        Raises whatever says why not. Called on the template, and has to come back within moments. Nothing it finds out
        is kept, so `open` and `start` rely on nothing of it.
        """
        return

    def open(self, context: SinkContext) -> None:  # noqa: ARG002 - the default needs nothing
        """Takes what must be known before the first row. Must not wait for another machine."""
        return

    def start(self, state: bytes) -> None:
        """Resumes behind the commit that returned `state` (empty: behind none) and undoes what came after it."""
        ...

    def write(self, batch: RowBatch) -> int:
        """Takes rows and says how many bytes they became.

        A batch may have none: a range that was left out whole, or whose rows wait in a window. They come in a later
        batch of the same checkpoint, with a lesser seq.
        """
        ...

    def commit(self) -> bytes:
        """Makes all since the last commit safe. Returns at most 4 KiB that `start` needs to resume from here."""
        ...

    def close(self) -> None:
        """Lets go. What was written and not committed is not to be kept."""
        ...

    def forked(self) -> None:
        """In a forked child: lets go of what is the parent's without writing to it."""
        return


def missing_of(sink: Sink) -> FileGone | None:
    """A file that a sink has open and that was taken away under it, if it can say so; asked from another thread."""
    missing = getattr(sink, "missing", None)
    found: FileGone | None = None if missing is None else missing()
    return found


def shared(sink: Sink) -> contextlib.AbstractContextManager[Sink]:
    """A template whose `fresh()` sinks have in common what its method `shared` says; without one it is the same."""
    offered = getattr(sink, "shared", None)
    entered: contextlib.AbstractContextManager[Sink] = contextlib.nullcontext(sink) if offered is None else offered()
    return entered


def hurry(sink: Sink) -> None:
    """Has a sink know that the log is being closed, if it wants to.

    A call of its that waits for another machine gives up soon, and raises. From another thread.
    """
    told = getattr(sink, "hurry", None)
    if told is not None:
        told()


def unhurry(sink: Sink) -> None:
    """Has a sink know, if it wants to, that a close that did not wait for it is tried again: it has time once more.

    Not for ever, as nobody hurries it again. Before its next `start`.
    """
    told = getattr(sink, "unhurry", None)
    if told is not None:
        told()


def traffic_of(sink: Sink, *, elsewhere: bool = False) -> tuple[Exempt, ...]:
    """What a sink sends to a Kafka that may lie behind a tap of this very process: its `traffic`, if it has any.

    `elsewhere`: what it sends where another process drives it, its `traffic_elsewhere`.
    """
    traffic: tuple[Exempt, ...] = getattr(sink, "traffic_elsewhere" if elsewhere else "traffic", ())
    return traffic


def policy_of(sink: Sink) -> Policy | None:
    """What a sink keeps where that is other than the log: its `policy`, if it has one.

    The first of its rules that matches decides, else the log's; what the log's policy turns off is in no sink. Fixed
    while the sink is open.
    """
    policy: Policy | None = getattr(sink, "policy", None)
    return policy


def digest_of(sink: Sink) -> str | None:
    """SHA-256 of what a configuration says of a sink, secrets by reference; `None` where a program made it."""
    digest: str | None = getattr(sink, "settings_digest", None)
    return digest

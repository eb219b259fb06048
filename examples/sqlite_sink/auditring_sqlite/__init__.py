"""Audit rows in an SQLite database.

What must always hold: a row is in the database once, whoever gives it again; what `commit` said is safe survives
`kill -9`; and nothing of a batch is there before its `commit`. Rows wait in memory until then, as many as a checkpoint
has, so that several processes can share a database: each has it for as long as a transaction takes, and no longer.
"""

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from auditring import ConfigError, Policy
from auditring.sinks import Batching, Checkpoint, RowBatch, Sink, SinkContext

__all__ = ["SqliteSink"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS rows (
    process TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    action TEXT NOT NULL,
    category TEXT NOT NULL,
    outcome TEXT NOT NULL,
    session TEXT,
    virtual_cluster TEXT,
    principal TEXT,
    line TEXT NOT NULL,
    PRIMARY KEY (process, seq)
) WITHOUT ROWID
"""
_INSERT: Final = "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteSink(Sink):
    """A row an event, with what one asks for most in columns, and the whole line beside them."""

    batching = Batching(rows=4096, linger=0.03)

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str = "sqlite",
        timeout: float = 1.0,
        policy: Policy | None = None,
    ) -> None:
        """`path`: by default `audit.db` in the audit directory. `timeout`: seconds to wait for a database in use.

        `policy`: what this sink keeps, by default what the log keeps.
        """
        if not 0 <= timeout <= 10:  # noqa: PLR2004 - half a minute in one call is said to hang
            raise ConfigError(f"timeout: between 0 and 10 seconds, not {timeout!r}")
        self.name = name
        self.policy = policy
        self._path = None if path is None else Path(path)
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._rows: list[tuple[object, ...]] = []

    @property
    def checkpoint(self) -> Checkpoint:
        """Readers see rows a second after they happened; no more than these wait in memory."""
        return Checkpoint(rows=20_000, age=1.0)

    def fresh(self) -> Self:
        """The same configuration; a connection would not be copied."""
        return type(self)(self._path, name=self.name, timeout=self._timeout, policy=self.policy)

    def probe(self, root: Path) -> None:
        """Looks whether a database could be written."""
        folder = root if self._path is None else self._path.parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} is not writable")

    def open(self, context: SinkContext) -> None:
        """Takes whose rows they are, and where they go."""
        self._process = context.process
        self._database = self._path if self._path is not None else context.root / "audit.db"

    def start(self, state: bytes) -> None:
        """Connects anew. What was not committed is not there, so there is nothing that `state` would have to say."""
        del state
        self.close()
        # A database is as secret as what is in it.
        os.close(os.open(self._database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._database, timeout=self._timeout, isolation_level=None)
        self._connection = connection
        # Readers go on while rows are written; FULL syncs at each commit.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)

    def write(self, batch: RowBatch) -> int:
        """Takes rows."""
        size = 0
        for line, seq, time_ns, action, category, outcome, session, cluster in batch.records():
            size += len(line)
            said = json.loads(line)
            known = (self._process, seq, said["time"], time_ns, action, category, outcome, session, cluster)
            self._rows.append((*known, _principal(said), line.decode()))
        return size

    def commit(self) -> bytes:
        """One transaction. The database knows its rows by their keys, so no state is needed."""
        if self._connection is None:
            raise RuntimeError("the sink was not started")
        if self._rows:
            self._connection.execute("BEGIN IMMEDIATE")
            # Those that are there already, because the process died before the cursor moved, stay as they are.
            self._connection.executemany(_INSERT, self._rows)
            self._connection.execute("COMMIT")
            self._rows.clear()
        return b""

    def close(self) -> None:
        """Forgets what was not committed, and lets go."""
        self._rows.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.rollback()
            connection.close()

    def forked(self) -> None:
        """In a forked child the connection must not be used, nor closed: SQLite would let go of the parent's locks."""
        if self._connection is not None:
            _INHERITED.append(self._connection)
            self._connection = None


_INHERITED: Final[list[sqlite3.Connection]] = []
"""What a forked child must never finalise: it is the parent's."""


def _principal(said: Mapping[str, object]) -> str | None:
    """The first of who did it, by the canonical JSON."""
    actor = said.get("actor")
    principals = actor.get("principals") if isinstance(actor, Mapping) else None
    return principals[0]["name"] if principals else None

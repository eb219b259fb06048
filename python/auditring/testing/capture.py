"""A log for tests whose rows one can look at: a real one, with ring, journal and policy, over a sink in memory."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa

import auditring
from auditring.sinks.base import Batching, RowBatch, Sink

__all__ = ["Capture", "capture"]

_PATIENCE: Final = 30.0
_MAPS: Final = ("object_ref", "context")


class _MemorySink(Sink):
    """Rows in memory, as far as they are committed."""

    name = "memory"
    batching = Batching(rows=8192)

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self._open: list[dict[str, Any]] = []

    def fresh(self) -> Self:
        """Another that fills the same list: that of the test."""
        return type(self)(self._rows)

    def start(self, state: bytes) -> None:
        """Forgets what was not committed."""
        del state
        self._open = []

    def write(self, batch: RowBatch) -> int:
        """Takes rows."""
        if batch.rows:
            self._open += pa.record_batch(batch).to_pylist()
        return batch.rows

    def commit(self) -> bytes:
        """Shows them."""
        self._rows += self._open
        self._open = []
        return b""

    def close(self) -> None:
        """Holds nothing."""


class Capture:
    """What a test asks: `log` takes events, the rest says what became of them."""

    def __init__(self, log: auditring.AuditLog, rows: list[dict[str, Any]]) -> None:
        """Made by `capture`."""
        self.log = log
        self._rows = rows
        self._seen = 0

    def rows(self, action: str | None = None, **columns: object) -> list[dict[str, Any]]:
        """The rows so far whose columns have these values, as they would be in the tables; null columns are left out.

        `object_ref` and `context` are dictionaries. Everything emitted before the call is there.
        """
        if not self.log.closed:
            self.log.flush(_PATIENCE)
        if action is not None:
            columns["action"] = action
        rows = [_plain(row) for row in self._rows[self._seen :]]
        return [row for row in rows if all(row.get(name) == value for name, value in columns.items())]

    def actions(self) -> list[str]:
        """What happened, in order, without what the log tells of itself: its start, its end and its health."""
        return [row["action"] for row in self.rows() if row["category"] not in {"lifecycle", "audit"}]

    def clear(self) -> None:
        """Forgets the rows so far."""
        self.rows()
        self._seen = len(self._rows)


@contextlib.contextmanager
def capture(**settings: Any) -> Iterator[Capture]:  # noqa: ANN401 - those of `open`
    """Opens a log in a directory of its own that is removed at the end; `settings` are those of `auditring.open`.

    Sinks may be given, too; the rows come to all of them.
    """
    rows: list[dict[str, Any]] = []
    settings = {"balance": None, "instance": "capture", **settings}
    settings["sinks"] = (_MemorySink(rows), *settings.get("sinks", ()))
    with (
        tempfile.TemporaryDirectory(prefix="auditring-capture-") as folder,
        auditring.open(Path(folder) / "audit", **settings) as log,
    ):
        yield Capture(log, rows)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if value is not None}
    return known | {name: json.loads(known[name]) for name in _MAPS if name in known}

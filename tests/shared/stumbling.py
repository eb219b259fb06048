"""Sinks that fail at chosen calls, before or after the call did its work, and one that keeps its rows in memory."""

from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from auditring import Policy
from auditring.sinks import Batching, Checkpoint, JsonlSink, ParquetSink, RowBatch, SinkContext

__all__ = ["MemorySink", "StumblingJsonl", "StumblingParquet"]


class _Stumbles:
    """Counts calls, and raises at those in `fails`: at even ones before the work is done, at odd ones after."""

    fails: frozenset[int] = frozenset()
    calls = 0

    def write(self, batch: RowBatch) -> int:
        """Writes, or stumbles."""
        return self._stumble(lambda: super(_Stumbles, self).write(batch))  # type: ignore[misc,no-any-return]  # of the sink beside it

    def commit(self) -> bytes:
        """Commits, or stumbles."""
        return self._stumble(lambda: super(_Stumbles, self).commit())  # type: ignore[misc,no-any-return]  # of the sink beside it

    def _stumble(self, work: Any) -> Any:  # noqa: ANN401 - whatever the call returns
        self.calls += 1
        call = self.calls
        if call in self.fails and call % 2 == 0:
            raise OSError(5, f"stumbled before call {call}")
        done = work()
        if call in self.fails:
            raise OSError(5, f"stumbled after call {call}")
        return done


class StumblingParquet(_Stumbles, ParquetSink):
    """Tables."""


class StumblingJsonl(_Stumbles, JsonlSink):
    """Lines."""


class _Memory:
    """Rows by checkpoint: `(rows, events that the ranges cover, events that were left out)`."""

    def __init__(self, name: str, *, rows: int, checkpoint: int, policy: Policy | None = None) -> None:
        self.name = name
        self.batching = Batching(rows=rows)
        self.checkpoint = Checkpoint(rows=checkpoint, age=0.2)
        self.policy = policy
        self.safe: list[tuple[list[dict[str, Any]], int, int]] = []
        self._open: list[tuple[list[dict[str, Any]], int, int]] = []

    def fresh(self) -> Self:
        """The object itself: one process, one log."""
        return self

    remote = False

    def probe(self, root: Path) -> None:
        """There is always room."""

    def interested(self, action: str, outcome: str) -> bool:  # noqa: ARG002 - everything
        """Everything."""
        return True

    def open(self, context: SinkContext) -> None:
        """Nothing is needed."""

    def start(self, state: bytes) -> None:
        """What the cursor knows stays, and no more."""
        del self.safe[int(state or b"0") :]
        self._open = []

    def write(self, batch: RowBatch) -> int:
        """Takes rows."""
        rows = pa.record_batch(batch).to_pylist()
        left_out = batch.sampled_out + batch.filtered_out + batch.lost
        self._open.append((rows, max(0, batch.last_seq - batch.first_seq + 1), left_out))
        return len(rows)

    def commit(self) -> bytes:
        """They are safe."""
        rows = [row for some, _, _ in self._open for row in some]
        self.safe.append((rows, sum(one[1] for one in self._open), sum(one[2] for one in self._open)))
        self._open = []
        return str(len(self.safe)).encode()

    def close(self) -> None:
        """Nothing is held."""

    def forked(self) -> None:
        """Nothing is the parent's."""


class MemorySink(_Stumbles, _Memory):
    """Rows in memory."""

    def rows(self) -> list[dict[str, Any]]:
        """All that is safe, by seq."""
        return sorted((row for rows, _, _ in self.safe for row in rows), key=lambda row: row["seq"])

"""Sinks that tests shut and open: they fail, or hang in `write`, as long as they are shut."""

import threading
from typing import Any

from auditring.sinks import JsonlSink, ParquetSink, RowBatch

__all__ = ["JsonlValve", "ParquetValve"]


class _Valve:
    """What both have."""

    def __init__(self, *, hangs: bool = False, **given: Any) -> None:  # noqa: ANN401 - the sink's own
        super().__init__(**given)
        self.opened = threading.Event()
        self.waiting = threading.Event()
        self.hangs = hangs

    def fresh(self) -> Any:  # noqa: ANN401 - of the class that mixes this in
        """Itself, so that it can be opened while it is at work."""
        return self

    def pass_(self) -> None:
        """Fails, or waits, while it is shut."""
        if self.hangs:
            self.waiting.set()
            self.opened.wait(60)
        elif not self.opened.is_set():
            raise OSError(5, "shut")


class JsonlValve(_Valve, JsonlSink):
    """JSON lines behind a valve."""

    def write(self, batch: RowBatch) -> int:
        """Writes once it is open."""
        self.pass_()
        return super().write(batch)


class ParquetValve(_Valve, ParquetSink):
    """Parquet files behind a valve."""

    def write(self, batch: RowBatch) -> int:
        """Writes once it is open."""
        self.pass_()
        return super().write(batch)

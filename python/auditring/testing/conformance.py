"""The conformance kit: derive a test class from it, say how to make the sink and where its rows are, and run pytest."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from auditring.sinks.base import Sink
from auditring.testing import checks, killing

__all__ = ["SinkConformance"]


class SinkConformance:
    """Every rule that a sink has to keep, as a test of its own.

    ```python
    class TestMySink(SinkConformance):
        def make_sink(self, folder):
            return MySink(folder / "rows.db")

        def delivered(self, folder):
            return [row.event_id for row in read(folder / "rows.db")]
    ```

    A failed one names the rule and where it is written. Some checks kill a process that they start, so the class stands
    at the top of its module, and what `make_sink` needs it finds in the folder or in the environment.
    """

    exactly_once: ClassVar[bool] = False
    """Whether each row is there once whatever happens; else rows that are given again may be there again."""

    def make_sink(self, folder: Path) -> Sink:
        """A new sink, always of the same configuration, that writes into `folder` or whatever is known by it."""
        raise NotImplementedError

    def delivered(self, folder: Path) -> Iterable[str]:
        """The `event_id` (`<process>:<seq>`) of every row that is safe at the destination, in its order.

        Read from the destination itself, as a stranger would, and not from the sink.
        """
        raise NotImplementedError

    def outage(self, folder: Path) -> AbstractContextManager[object] | None:  # noqa: ARG002 - for those who override it
        """Makes the destination refuse rows as long as the context lasts; `None`, if nothing can, skips that check."""
        return None

    def test_order(self, tmp_path: Path) -> None:
        """What is written is there, in order, each row once."""
        checks.order(self, tmp_path)

    def test_windows(self, tmp_path: Path) -> None:
        """Batches without rows, and rows that come late."""
        checks.windows(self, tmp_path)

    def test_errors(self, tmp_path: Path) -> None:
        """What the sink cannot take it raises."""
        checks.errors(self, tmp_path)

    def test_retry(self, tmp_path: Path) -> None:
        """After a failure the rows come again, and all are there."""
        checks.retry(self, tmp_path)

    def test_poison(self, tmp_path: Path) -> None:
        """A rejected row is left out, and no other."""
        checks.poison(self, tmp_path)

    def test_slow(self, tmp_path: Path) -> None:
        """A sink that was held up has everything in the end, and held up nobody else."""
        checks.slow(self, tmp_path)

    def test_state(self, tmp_path: Path) -> None:
        """What `commit` returns is small."""
        checks.state(self, tmp_path)

    def test_interested(self, tmp_path: Path) -> None:
        """What the sink wants does not change."""
        checks.interested(self, tmp_path)

    def test_fresh(self, tmp_path: Path) -> None:
        """Two of one template do not disturb each other."""
        checks.fresh(self, tmp_path)

    def test_close(self, tmp_path: Path) -> None:
        """Nothing is lost by it, nothing stays open."""
        checks.close(self, tmp_path)

    def test_outage(self, tmp_path: Path) -> None:
        """The destination is away for a while."""
        if not checks.outage(self, tmp_path):
            import pytest  # noqa: PLC0415 - whoever runs this has it, and nobody else needs it

            pytest.skip("`outage` says that nothing can make the destination refuse rows")

    def test_restart(self, tmp_path: Path) -> None:
        """`kill -9` between two commits."""
        killing.restart(self, tmp_path)

    def test_acknowledgement(self, tmp_path: Path) -> None:
        """`kill -9` as `commit` returns."""
        killing.acknowledgement(self, tmp_path)

    def test_fork(self, tmp_path: Path) -> None:
        """The process forks while rows are on their way."""
        killing.fork(self, tmp_path)

"""Logs to measure with: a session that has all that a Kafka proxy knows, and how to wait until the ring is empty."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import auditring
from auditring import WhenFull, query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditring import AuditLog
    from auditring._core import Session

READ = '("orders", 3, 1000, 1099, 42)'
"""The five fields of a Read: topic, partition, first and last offset, the client's correlation id."""

ROW = {
    "resource": "orders",
    "partition": 3,
    "first_offset": 1000,
    "last_offset": 1099,
    "client_correlation_id": 42,
}
"""The same as columns."""

PATIENT = WhenFull(wait=None)
"""Wait for room for ever: nothing is lost, and the time is counted as blocked."""

TMPFS = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - the ring makes its file with O_EXCL, mode 0600
"""Where rings lie by default, but not in a container, which may be where this is measured."""

CONTEXT: dict[str, Any] = {
    "peer": ("10.1.2.3", 40_000),
    "local": ("10.0.0.9", 9092),
    "virtual_cluster": "payments",
    "client_id": "service-07",
    "authority": "witness",
}


def authenticated(log: AuditLog) -> Session:
    """A client's session, as every row of it will know it."""
    session = log.session(**CONTEXT)
    session.client_sasl_auth_success("alice", mechanism="SCRAM-SHA-256")
    return session


@contextmanager
def opened(**settings: Any) -> Iterator[AuditLog]:  # noqa: ANN401 - the settings of `auditring.open`
    """A log in a directory that goes with it: ring and journal, and no sink that could take the CPU meanwhile."""
    with (
        TemporaryDirectory() as folder,
        auditring.open(folder, **{"sinks": (), "when_full": PATIENT, "ring_dir": TMPFS, **settings}) as log,
    ):
        yield log


def drained(log: AuditLog) -> None:
    """Waits until the ring is empty."""
    deadline = time.monotonic() + 60
    while log.pressure:
        assert time.monotonic() < deadline, "the pump does not drain the ring"
        time.sleep(0.0005)


def rows(directory: Path, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """Rows of a directory, in their order."""
    with query.connect(directory) as connection:
        return connection.execute(f"SELECT {columns} FROM events WHERE {where} ORDER BY seq").fetchall()  # noqa: S608 - our own

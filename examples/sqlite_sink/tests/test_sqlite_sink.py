"""The conformance kit, and what the sink promises beyond it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from auditring_sqlite import SqliteSink

import auditring
from auditring.sinks import Sink
from auditring.testing import SinkConformance


def rows(database: Path, what: str = "*") -> list[tuple[object, ...]]:
    """All rows, as a stranger reads them."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT {what} FROM rows ORDER BY process, seq").fetchall()  # noqa: S608 - its own


class TestSqliteSink(SinkConformance):
    """Every rule that a sink has to keep."""

    exactly_once = True

    def make_sink(self, folder: Path) -> Sink:
        """A database of the test's, and little patience."""
        return SqliteSink(folder / "rows.db", timeout=0.05)

    def delivered(self, folder: Path) -> list[str]:
        """Of all processes."""
        return [f"{process}:{seq}" for process, seq in rows(folder / "rows.db", "process, seq")]

    @contextlib.contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """Somebody else has the database."""
        with contextlib.closing(sqlite3.connect(folder / "rows.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield


def test_columns_are_those_of_the_row(tmp_path: Path) -> None:
    """Who, what, when; and the line itself."""
    with (
        auditring.open(tmp_path / "audit", sinks=(SqliteSink(),), balance=None) as log,
        log.session(id="s-1", virtual_cluster="payments", authority="decision") as session,
    ):
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        session.operation_denied("WRITE", "Topic", "salaries")
    found = rows(tmp_path / "audit" / "audit.db", "action, category, outcome, session, virtual_cluster, principal")
    assert ("OperationDenied", "authorization", "denied", "s-1", "payments", "alice") in found
    assert (tmp_path / "audit" / "audit.db").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_an_error_at_open(tmp_path: Path) -> None:
    """Where there is one; `probe` makes nothing."""
    SqliteSink(tmp_path / "not" / "yet" / "rows.db").probe(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(auditring.ConfigError, match="timeout"):
        SqliteSink(timeout=60)

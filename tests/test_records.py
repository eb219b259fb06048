"""Rows one by one: each line with what addresses it."""

from pathlib import Path

import pytest

import auditring
from auditring import _core
from auditring.sinks import Batching, RowBatch, Sink, SinkContext
from deadlines import until


def rows_of(root: Path) -> RowBatch:
    """The first rows of a log: of the process, of a session in a virtual cluster, and of one outside of any."""
    with auditring.open(root, sinks=[], balance=None) as log:
        log.virtual_cluster_startup("ledger", "none")
        with log.session(id="conn-7", virtual_cluster="payments") as session:
            session.operation_denied("WRITE", "Topic", "salaries")
            session.emit("com.example.kms.KeyUsed", outcome="failure")
        with log.session(id="conn-8"):
            pass
        until(lambda: log.stats().journaled == 8)
        (batch,) = _core.Snapshot(str(root)).fresh([])
    return batch


def test_a_record_is_its_line_and_what_addresses_it(tmp_path: Path) -> None:
    """The lines are those of `json_lines`; seq and time are the row's, and words are the catalog's."""
    batch = rows_of(tmp_path / "audit")
    records = batch.records()
    assert b"".join(record[0] + b"\n" for record in records) == batch.json_lines()
    assert [record[1] for record in records] == list(range(8))
    assert all(batch.min_time_ns <= record[2] <= batch.max_time_ns for record in records)
    assert [record[3:] for record in records] == [
        ("ProxyStartup", "lifecycle", "success", None, None),
        ("VirtualClusterStartup", "lifecycle", "success", None, "ledger"),
        ("ClientAccept", "connection", "success", "conn-7", "payments"),
        ("OperationDenied", "authorization", "denied", "conn-7", "payments"),
        ("com.example.kms.KeyUsed", "plugin", "failure", "conn-7", "payments"),
        ("ClientClose", "connection", "success", "conn-7", "payments"),
        ("ClientAccept", "connection", "success", "conn-8", None),
        ("ClientClose", "connection", "success", "conn-8", None),
    ]


def test_a_dialect_names_actions_in_the_line_alone(tmp_path: Path) -> None:
    """Whoever chooses by action needs no second list of names."""
    batch = rows_of(tmp_path / "audit")
    line, *_, action, _, _, _, _ = batch.records("kroxylicious-v1")[0]
    assert (b'"action":"ProxyStart"' in line, action) == (True, "ProxyStartup")
    with pytest.raises(ValueError, match='no dialect "klingon"'):
        batch.records("klingon")  # type: ignore[arg-type]


class Table(Sink):
    """Takes rows as Arrow alone, and tells how asking for records ends."""

    name = "table"
    batching = Batching(rows=100, tables=True)
    said: list[str]

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def fresh(self) -> "Table":
        """The same list."""
        return Table(self.said)

    def start(self, state: bytes) -> None:
        """Nothing to resume."""

    def write(self, batch: RowBatch) -> int:
        """Asks for what is not there."""
        try:
            batch.records()
        except RuntimeError as error:
            self.said.append(str(error))
        return 0

    def commit(self) -> bytes:
        """Nothing to keep."""
        return b""

    def close(self) -> None:
        """Nothing to let go of."""

    def probe(self, root: Path) -> None:
        """There is nothing to write to."""

    def open(self, context: SinkContext) -> None:
        """Whose rows they are does not matter."""

    def forked(self) -> None:
        """Nobody forks here."""


def test_rows_that_are_arrow_alone_have_no_records(tmp_path: Path) -> None:
    """As with `json_lines`."""
    said: list[str] = []
    with auditring.open(tmp_path / "audit", sinks=[Table(said)]):
        pass
    assert said
    assert all("Arrow alone" in one for one in said)

"""One process in an agent's hands, step by step: what its sinks share, who hangs, and who is told of what."""

import contextlib
import copy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

import auditring
from agent_rig import running
from auditring import Keep, Policy, Retention, Rule, _core
from auditring.sinks import JsonlSink, ParquetSink
from auditring.sinks.base import RowBatch, Sink
from deadlines import until


def written(root: Path) -> str:
    """All lines that there are."""
    return "".join(one.read_text() for one in root.glob("jsonl/*.jsonl"))


class Pooled(Sink):
    """Sinks that share a pool, as those of Kafka share a producer."""

    def __init__(self, name: str = "pooled", gate: threading.Event | None = None) -> None:
        self.name = name
        self.opened: list[str] = []
        self.rows: list[int] = []
        self._gate = gate
        self.pool: list[str] | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """All of them show what they do in the same lists, and hang at the same gate."""
        return copy.copy(self)

    @contextlib.contextmanager
    def shared(self) -> Iterator[Self]:
        """Opens the pool for as long as an agent runs."""
        template = copy.copy(self)
        template.pool = self.opened
        self.opened.append("opened")
        yield template
        self.opened.append("closed")

    def start(self, state: bytes) -> None:
        """Has the pool."""
        assert not state
        assert self.pool is self.opened

    def write(self, batch: RowBatch) -> int:
        """Waits at the gate, if there is one."""
        if self._gate is not None:
            self._gate.wait(60)
        self.rows.append(batch.rows)
        return batch.rows

    def commit(self) -> bytes:
        """Keeps nothing."""
        return b""

    def close(self) -> None:
        """Leaves the pool to the others."""


def test_what_sinks_have_in_common_is_opened_once_for_all_processes(tmp_path: Path) -> None:
    """Before the first of them, and closed behind the last."""
    sink = Pooled()
    logs = [auditring.open(tmp_path, sinks=(), agent_sinks=("pooled",)) for _ in range(3)]
    with running(tmp_path, sink) as agent:
        until(lambda: agent.status().sinks == 3)
        for log in logs:
            log.emit("com.example.Made")
            log.close(30)
        until(lambda: not any((tmp_path / "journal").iterdir()))
        assert sink.opened == ["opened"]
    assert sink.opened == ["opened", "closed"]
    assert sum(sink.rows) >= 9


def test_a_sink_that_hangs_keeps_no_other_waiting_also_when_its_process_ends(tmp_path: Path) -> None:
    """The lines of a process that has closed its log are all there, though another of its sinks does not come back."""
    gate = threading.Event()
    with running(tmp_path, Pooled("hung", gate), JsonlSink()) as agent:
        log = auditring.open(tmp_path, sinks=(), agent_sinks=("hung", "jsonl"))
        until(lambda: agent.status().sinks == 2)
        log.emit("com.example.Made")
        log.close(30)
        until(lambda: "ProxyCleanShutdown" in written(tmp_path))
        assert any((tmp_path / "journal").iterdir())
        gate.set()
        until(lambda: not any((tmp_path / "journal").iterdir()))


def test_a_sinks_own_policy_is_entered_and_one_that_does_not_go_with_the_logs_is_told_of(tmp_path: Path) -> None:
    """The others are followed all the same."""
    window = Policy(rules=(Rule(action=("Read",), keep=Keep.COALESCE(window=7)),))
    log = auditring.open(
        tmp_path, sinks=(), policy=Policy(rules=(Rule(action=("Read",), keep=Keep.COALESCE(window=2)),))
    )
    off = JsonlSink(policy=Policy(rules=(Rule(action=("com.example.Off",), keep=Keep.OFF),)))
    with running(tmp_path, off, ParquetSink(policy=window)) as agent:
        until(lambda: any("policy" in one.component for one in agent.health().problems))
        log.emit("com.example.Off")
        log.emit("com.example.Made")
        log.close(30)
        until(lambda: "ProxyCleanShutdown" in written(tmp_path))
        assert "com.example.Made" in written(tmp_path)
        assert "com.example.Off" not in written(tmp_path)
        until(lambda: agent.health().ok and not any((tmp_path / "journal").iterdir()))


def test_windows_that_an_agent_brings_are_told_of_as_over(tmp_path: Path) -> None:
    """The pump writes a batch without rows at the end of a window that only an agent's sink has."""
    window = Policy(rules=(Rule(action=("Read",), keep=Keep.COALESCE(window=1)),))
    log = auditring.open(tmp_path, sinks=(), balance=None)
    with running(tmp_path, JsonlSink(policy=window)) as agent, log.session() as session:
        until(lambda: agent.status().sinks == 1)
        offset = 0

        def seen() -> bool:
            # Not so often that the next one closes the window: there is none for two seconds.
            return '"action":"Read"' in written(tmp_path)

        # Its pump learns of the sink when it looks at its list, about once a second.
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 2)
        session.read("orders", 0, offset, offset)
        until(seen)
    log.close(30)


def test_what_a_log_drives_itself_is_left_to_it(tmp_path: Path) -> None:
    """An agent with a sink of the same name drives it when the process has died, and not before."""
    with running(tmp_path, JsonlSink(), ParquetSink()) as agent:
        log = auditring.open(tmp_path, sinks=(JsonlSink(),))
        until(lambda: agent.status().sinks == 1)
        assert log.stats().sinks.keys() == {"jsonl", "parquet"}
        log.emit("com.example.Made")
        log.flush(30)
        log.close(30)
        until(lambda: not any((tmp_path / "journal").iterdir()))
    assert "com.example.Made" in written(tmp_path)


def test_retention_of_a_host_deletes_what_the_agent_has_sealed(tmp_path: Path) -> None:
    """It is a log's, which has a row for each file, and goes by the cursors on the disk."""
    quick = ParquetSink(rotation=auditring.Rotation(rows=1, age=0.2))
    with running(tmp_path, quick):
        log = auditring.open(tmp_path, sinks=(), agent_sinks=("parquet",), retention=Retention(max_age=0.5))
        sealed: set[str] = set()

        def gone() -> bool:
            log.emit("com.example.Made")
            now = {one.name for one in tmp_path.glob("events/*/*.parquet")}
            sealed.update(now)
            return bool(sealed - now)

        until(gone)
        log.close(30)
    assert any(row["process"] for row in _core.outside(str(tmp_path)))


def test_a_process_that_shows_nothing_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of an older release: nothing of it is read while it lives."""
    monkeypatch.setattr("auditring.agent.process._PATIENCE", 0.0)
    log = auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",))
    (directory,) = (tmp_path / "journal").iterdir()

    def told() -> bool:
        # Its keeper puts it back.
        (directory / ".shown").unlink(missing_ok=True)
        return any(one.component.endswith(":shown") for one in agent.health().problems)

    with running(tmp_path, JsonlSink()) as agent:
        until(lambda: agent.status().sinks == 1)
        until(told)
        until(lambda: agent.health().ok)
        log.close(30)

"""What an agent meets that is not as it should be: it is told of, does no harm, and keeps nobody else waiting."""

import os
from pathlib import Path

import pytest

import auditring
from agent_rig import running
from auditring import AuditLog, Keep, Policy, Rule, _core
from auditring.agent import Agent
from auditring.sinks import JsonlSink, ParquetSink
from auditring.sinks.base import SinkContext
from deadlines import until


def problems(agent: Agent) -> dict[str, str]:
    """By the end of the component's name."""
    return {one.component.rpartition(":")[2]: one.cause for one in agent.health().problems}


def directory(log: AuditLog) -> Path:
    """Of its process."""
    return Path(log.path or "") / "journal" / log.process


def rows(root: Path) -> int:
    """In JSON lines."""
    return sum(one.read_text().count("\n") for one in root.glob("jsonl/*.jsonl"))


def die(root: Path) -> None:
    """A process that opens a log and is killed."""
    child = os.fork()
    if child == 0:
        auditring.open(root, sinks=()).emit("com.example.Made")
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)


class Unopened(ParquetSink):
    """One that cannot be opened."""

    def open(self, context: SinkContext) -> None:
        """Refuses."""
        raise PermissionError(f"not for {context.instance}")


def test_a_directory_of_another_user_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes could neither read nor replace what is made in there."""
    with auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",)) as log:
        found = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        with pytest.raises(PermissionError, match="this agent runs as 4711"):
            Agent(tmp_path, [JsonlSink()]).run()
        assert sorted(tmp_path.rglob("*")) == found
        assert log.health().ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_so_is_that_of_a_single_process(tmp_path: Path) -> None:
    """Below a folder that is ours."""
    log = auditring.open(tmp_path, sinks=())
    os.chown(directory(log), 65534, 65534)
    try:
        with pytest.raises(OSError, match="belongs to user 65534"):
            _core.Living.open(directory(log))
    finally:
        os.chown(directory(log), 0, 0)
        log.close(30)


def test_a_list_that_was_taken_away_is_for_its_process_to_put_back(tmp_path: Path) -> None:
    """Whoever made another would let go of the process's own sinks, and their rows."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),)) as log:
        living = _core.Living.open(directory(log))
        assert living is not None
        (directory(log) / "followers").unlink()
        with pytest.raises(OSError, match="cannot change"):
            living.enter("parquet", b"")
        until(lambda: [name for name, *_ in living.sinks()] == ["jsonl"])
        living.enter("parquet", b"")
        assert [(name, by_agent) for name, by_agent, *_ in living.sinks()] == [("jsonl", False), ("parquet", True)]


@pytest.mark.parametrize("lives", [True, False])
def test_a_sink_that_cannot_be_opened_keeps_no_other_waiting(tmp_path: Path, *, lives: bool) -> None:
    """Of the living and of the dead."""
    log = auditring.open(tmp_path, sinks=())
    log.emit("com.example.Made")
    log.sync(30)
    if not lives:
        log.close(30)
    with running(tmp_path, Unopened(), JsonlSink()) as agent:
        until(lambda: rows(tmp_path) >= 2)
        until(lambda: "not for" in problems(agent).get("open", ""))
    log.close(30)


def test_who_wants_to_be_done_once_does_not_wait_for_it(tmp_path: Path) -> None:
    """What it could not bring to a sink is no success."""
    die(tmp_path)
    assert not Agent(tmp_path, [Unopened(), JsonlSink()]).run(once=True)
    assert rows(tmp_path) >= 2


def test_a_process_whose_lock_cannot_be_asked_keeps_no_other_waiting(tmp_path: Path) -> None:
    """It is left alone, and told of."""
    die(tmp_path)
    (lock,) = tmp_path.glob("journal/*/lock")
    lock.unlink()
    lock.mkdir()
    with auditring.open(tmp_path, sinks=()) as log, running(tmp_path, JsonlSink()) as agent:
        log.emit("com.example.Made")
        until(lambda: rows(tmp_path) >= 2)
        until(lambda: "cannot be asked" in problems(agent).get(lock.parent.name, ""))


@pytest.mark.parametrize("same", [True, False])
def test_it_says_where_rows_go_by_another_policy_than_its_own(tmp_path: Path, *, same: bool) -> None:
    """A process that names a sink, and no policy, has it given everything, whatever the agent's own says."""
    narrow = JsonlSink(policy=Policy(rules=(Rule(action=("com.example.Made",), keep=Keep.OFF),)))
    agent_sinks = (narrow if same else "jsonl",)
    with auditring.open(tmp_path, sinks=(), agent_sinks=agent_sinks) as log, running(tmp_path, narrow) as agent:
        log.emit("com.example.Made")
        log.sync(30)
        until(lambda: log.stats().sinks["jsonl"].pending == 0)
        said = "".join(one.read_text() for one in tmp_path.glob("jsonl/*.jsonl"))
        assert ("com.example.Made" not in said) == same
        assert ("go by the journal's" in problems(agent).get("policy", "")) != same


def test_what_was_wrong_with_a_process_that_is_gone_is_no_problem(tmp_path: Path) -> None:
    """Nobody could ever mend it."""
    narrow = JsonlSink(policy=Policy(rules=(Rule(action=("com.example.Made",), keep=Keep.OFF),)))
    log = auditring.open(tmp_path, sinks=(), agent_sinks=("jsonl",))
    with running(tmp_path, narrow) as agent:
        until(lambda: "policy" in problems(agent))
        log.close(30)
        until(lambda: not any((tmp_path / "journal").iterdir()))
        until(lambda: agent.health().ok)

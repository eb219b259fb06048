"""`auditring sink`: a sink that nobody configures any more holds no journal for ever, and what it lacked is told."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import auditring
from auditring import _core
from auditring.cli.commands import auditring as command
from auditring.recovery import recover
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import check
from deadlines import until

HOST = """
import sys
import auditring
from auditring.sinks import JsonlSink, ParquetSink

class Kafka(JsonlSink):
    def __init__(self):
        super().__init__(name="kafka")
    def write(self, batch):
        raise OSError(5, "nobody there")

class Broken(ParquetSink):
    def write(self, batch):
        raise OSError(5, "shut")

table = Broken() if sys.argv[2] == "parquet" else ParquetSink()
log = auditring.open(sys.argv[1], sinks=(table, JsonlSink(), Kafka()), instance="gone", balance=None)
with log.session(id="s") as session:
    for i in range(1000):
        session.read("orders", 0, i, i)
log.flush(30) if sys.argv[2] == "none" else log.sync()
print("there", flush=True)
sys.stdin.read()
"""


def run(*given: str) -> Result:
    """The command as a user calls it."""
    return CliRunner().invoke(command, ["sink", *given])


def dead(root: Path, broken: str = "kafka") -> None:
    """A process that was killed, and recovered but for its Kafka sink, which nobody has any more."""
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(root), broken], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "there\n"
        host.send_signal(signal.SIGKILL)


def sinks_of(root: Path) -> dict[str, Any]:
    """The sinks of the one process."""
    (process,) = _core.outside(str(root))
    sinks: dict[str, Any] = process["sinks"]
    return sinks


def test_a_forgotten_sink_lets_the_journal_go_and_what_it_lacked_stays_counted(tmp_path: Path) -> None:
    """Without `--yes` nothing is done; with it the totals say `forgotten`, and everything still balances."""
    dead(tmp_path)
    assert "not recovered" in run("forget", "kafka", str(tmp_path), "--yes").output
    (result,) = recover(tmp_path)
    assert result.behind == ("kafka",)
    asked = run("forget", "kafka", str(tmp_path))
    assert (asked.exit_code, "rows would be lost to kafka" in asked.output) == (1, True)
    assert list((tmp_path / "journal").iterdir())
    done = run("forget", "kafka", str(tmp_path), "--yes")
    assert (done.exit_code, "its journal is removed" in done.output) == (0, True), done.output
    assert list((tmp_path / "journal").iterdir()) == []
    (process,) = _core.outside(str(tmp_path))
    assert process["sinks"]["kafka"]["lost"] == {"forgotten": process["journaled"]}
    assert check(tmp_path).complete
    assert CliRunner().invoke(command, ["stats", str(tmp_path)]).exit_code == 0
    again = run("forget", "kafka", str(tmp_path), "--yes")
    assert (again.exit_code, "No journal of a process is held" in again.output) == (1, True)


def test_other_sinks_keep_what_they_are_owed(tmp_path: Path) -> None:
    """The journal stays for a sink that lacks rows; it has them all once it is brought to its end."""
    dead(tmp_path, "kafka")
    recover(tmp_path, sinks=(ParquetSink(),))
    assert "other sinks still need its journal" in run("forget", "kafka", str(tmp_path), "--yes").output
    (result,) = recover(tmp_path)
    assert result.behind == ()
    assert check(tmp_path).complete
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_forgotten_table_sink_is_said_by_verify_and_its_files_are_held_to_where_it_stood(tmp_path: Path) -> None:
    """No file is missed that was never to be, and the rows count as lost on their way."""
    dead(tmp_path, "parquet")
    recover(tmp_path, sinks=(JsonlSink(), JsonlSink(name="kafka", path=tmp_path / "kafka")))
    assert run("forget", "parquet", str(tmp_path), "--yes").exit_code == 0
    report = check(tmp_path)
    assert report.complete, report.findings
    (process,) = report.processes
    assert process.lost == sinks_of(tmp_path)["parquet"]["lost"]["forgotten"] > 0
    assert any("the sink was forgotten" in finding.text for finding in process.findings)


def test_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    """The advice is to open its log without the sink; nothing of it changes."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log:
        log.emit("com.example.Thing")
        done = run("forget", "jsonl", str(tmp_path), "--yes")
        assert (done.exit_code, "open its log without the sink" in done.output) == (1, True)
        log.flush(30)
        assert log.stats().sinks["jsonl"].lost == {}


def test_a_process_whose_lock_file_is_gone_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Neither to live nor to be dead; and it is left alone."""
    dead(tmp_path)
    (lock,) = (tmp_path / "journal").glob("*/lock")
    lock.unlink()
    assert {row["state"] for row in json.loads(run("list", str(tmp_path), "--json").output)} == {"unknown"}
    done = run("forget", "kafka", str(tmp_path), "--yes")
    assert (done.exit_code, "no lock file any more" in done.output) == (1, True)
    assert lock.parent.is_dir()


def test_list_says_of_each_sink_how_far_it_is(tmp_path: Path) -> None:
    """As a table, and as JSON; also of processes that have gone."""
    auditring.open(tmp_path, sinks=(JsonlSink(),), instance="before").close(30)
    with auditring.open(tmp_path, sinks=(JsonlSink(), ParquetSink()), instance="now", balance=None) as log:
        until(lambda: log.stats().sinks["jsonl"].pending == 0)
        rows = {(row["instance"], row["sink"]): row for row in json.loads(run("list", str(tmp_path), "--json").output)}
        assert rows["before", "jsonl"]["state"] == "closed"
        assert (rows["now", "jsonl"]["required"], rows["now", "parquet"]["required"]) == (False, True)
        assert rows["now", "jsonl"]["pending"] == 0
        assert "parquet" in run("list", str(tmp_path)).output


@pytest.mark.parametrize("given", [("list",), ("forget", "kafka")])
def test_what_is_no_audit_directory_is_said_to_be_none(tmp_path: Path, given: tuple[str, ...]) -> None:
    """Status 2, as of every command."""
    assert run(*given, str(tmp_path / "nowhere")).exit_code == 2

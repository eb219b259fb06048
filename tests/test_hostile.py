"""What others have put where the library keeps its files: never followed, waited for or removed, and always named."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

import auditring
from auditring import query
from auditring.cli.commands import auditring as cli
from auditring.recovery import recover
from auditring.sinks import JsonlSink, ParquetSink
from auditring.stats import Health
from auditring.tail import Tail
from auditring.verify import check
from deadlines import flushed, until

PROCESS = "00112233-4455-6677-8899-aabbccddeeff"
NOBODY = 65534
HOST = """
import sys, time, auditring
log = auditring.open(sys.argv[1], instance="dead", ring_dir=sys.argv[2] if len(sys.argv) > 2 else None)
session = log.session(id="s", authority="decision")
for offset in range(10):
    session.read("orders", 0, offset, offset)
log.flush(30)
session.read("orders", 0, 10, 10)
print(log._running.core.ring_path, flush=True)
time.sleep(60)
"""


def died(root: Path, ring_dir: Path) -> tuple[Path, Path]:
    """A process that was killed: its directory, and its ring."""
    command = [sys.executable, "-c", HOST, str(root), str(ring_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        ring = Path(host.stdout.readline().strip())
        host.send_signal(signal.SIGKILL)
    (directory,) = (root / "journal").iterdir()
    return directory, ring


def read(root: Path) -> list[int]:
    """The offsets of all Reads that a query shows."""
    con = query.connect(root)
    return [
        row[0] for row in con.execute("SELECT first_offset FROM events WHERE action = 'Read' ORDER BY 1").fetchall()
    ]


def record(root: Path, offset: int = 0) -> Health:
    """A log that is opened, records one Read, and is closed; how it was while it was open."""
    with auditring.open(root, sinks=(ParquetSink(), JsonlSink())) as log:
        with log.session(authority="decision") as session:
            session.read("orders", 0, offset, offset)
        log.flush(30)
        return log.health()


def contents(folder: Path) -> list[str]:
    """The names of all that is in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else's, with a file in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "theirs").write_text("precious")
    return folder


@pytest.mark.parametrize("name", ["events", "jsonl", "journal"])
def test_a_link_in_the_place_of_a_folder_is_refused_by_name(tmp_path: Path, elsewhere: Path, name: str) -> None:
    """Nobody can lead the log elsewhere by it: the log is not opened, and says why."""
    root = tmp_path / "audit"
    root.mkdir()
    (root / name).symlink_to(elsewhere)
    with pytest.raises(OSError, match=f"{name}.*(link|no directory)|(link|no directory).*{name}"):
        record(root)
    assert contents(elsewhere) == ["theirs"]
    (root / name).unlink()
    record(root)
    assert read(root) == [0]


def test_what_retention_has_deleted_is_read_of_plain_files_alone(tmp_path: Path, elsewhere: Path) -> None:
    """Links are not followed, pipes not waited for; `verify` names them."""
    root = tmp_path / "audit"
    record(root)
    folder = root / "retention"
    folder.symlink_to(elsewhere)
    assert any("symbolic link" in finding.text for finding in check(root).wrong)
    folder.unlink()
    folder.mkdir()
    account = folder / str(uuid.uuid4())
    os.mkfifo(account)
    assert any("no plain file" in finding.text for finding in check(root).wrong)
    account.unlink()
    account.symlink_to(elsewhere / "theirs")
    assert any(account.name in finding.text for finding in check(root).wrong)
    account.unlink()
    assert check(root).complete


def test_a_link_to_nothing_is_refused_too(tmp_path: Path) -> None:
    """It would be made where it leads to."""
    for name in ("events", "journal"):
        root = tmp_path / name
        root.mkdir()
        (root / name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(OSError, match=name):
            record(root)
        assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_a_date_that_is_a_link_keeps_the_rows_in_the_journal(tmp_path: Path, elsewhere: Path) -> None:
    """The sink says so in `health()`, goes on when the link is gone, and no row is lost or lies elsewhere."""
    root = tmp_path / "audit"
    with auditring.open(root) as log:
        (events,) = root.glob("events")
        with log.session(authority="decision") as session:
            session.read("orders", 0, 1, 1)
        today = datetime.now(UTC).date()
        for day in (today, today + timedelta(days=1)):
            (events / day.isoformat()).symlink_to(elsewhere)
        with pytest.raises(auditring.AuditError):
            log.flush(30)
        until(lambda: any("symbolic link" in problem.cause for problem in log.health().problems))
        assert contents(elsewhere) == ["theirs"]
        for path in events.iterdir():
            if path.is_symlink():
                path.unlink()
        until(lambda: flushed(log))
    assert read(root) == [1]
    assert check(root).complete


def test_what_only_looks_like_a_process_is_named_and_left_alone(tmp_path: Path, elsewhere: Path) -> None:
    """A link to another process's directory, or one that looks half made or removed, is neither adopted nor purged."""
    other, root = tmp_path / "other", tmp_path / "audit"
    directory, _ = died(other, tmp_path)
    before = contents(other)
    record(root)
    for name, target in (
        (directory.name, directory),
        (f".dead-{PROCESS}", elsewhere),
        (f".tmp-{PROCESS}.0", elsewhere),
    ):
        (root / "journal" / name).symlink_to(target)
    (root / "journal" / PROCESS).write_text("a file")
    results = {result.process: result.failed for result in recover(root)}
    assert set(results) == {directory.name, f".dead-{PROCESS}", f".tmp-{PROCESS}.0", PROCESS}
    assert all(failed is not None and "left alone: it is a" in failed for failed in results.values())
    health = record(root, 1)
    assert {problem.component for problem in health.problems} == {f"recovery:{name}" for name in results}
    assert (contents(other), contents(elsewhere)) == (before, ["theirs"])
    assert read(root) == [0, 1]
    found = CliRunner().invoke(cli, ["recover", str(root)])
    assert found.exit_code == 1
    assert all(name in found.output for name in results)


@pytest.mark.parametrize(
    "name", ["owner", "followers", "parquet.cursor", "lock", "0000000000000001-0000000000000002.journal"]
)
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file_in_a_journal_is_an_error_by_name_and_nobody_waits(
    tmp_path: Path, elsewhere: Path, name: str, kind: str
) -> None:
    """Recovery names it and touches nothing; every other process is in nobody's way."""
    root = tmp_path / "audit"
    directory, ring = died(root, tmp_path)
    path = directory / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(elsewhere / "theirs")
    else:
        path.mkdir()
    command = [sys.executable, "-m", "auditring", "recover", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, name in done.stdout) == (1, True), done
    assert path.is_fifo() or path.is_symlink() or path.is_dir()
    assert (elsewhere / "theirs").read_text() == "precious"
    assert ring.exists()
    record(root)


def test_pipes_and_links_named_like_sealed_files_are_neither_read_nor_waited_for(tmp_path: Path) -> None:
    """A query leaves them out and says so, `verify` names each, and so it is for a link in the place of a folder."""
    root = tmp_path / "audit"
    record(root)
    real = min(root.glob("events/*/*.parquet"))
    os.mkfifo(real.with_name(f"{PROCESS}-0-9.parquet"))
    real.with_name(f"{PROCESS}-10-19.parquet").symlink_to(real)
    (root / "events" / "2020-01-01").symlink_to(real.parent)
    os.mkfifo(root / "jsonl" / f"{PROCESS}-0000000000000000.jsonl")
    for name in ("retention", "totals"):
        (root / name).mkdir(exist_ok=True)
        os.mkfifo(root / name / PROCESS)
    with pytest.warns(query.QueryWarning, match=r"left out 3"):
        assert read(root) == [0]
    assert list(Tail(root).history())
    done = subprocess.run(
        [sys.executable, "-m", "auditring", "verify", str(root), "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    named = [finding["path"] for finding in json.loads(done.stdout)["findings"] if finding["kind"] == "foreign"]
    assert len(named) == 3, done.stdout
    assert done.returncode == 1


def test_names_that_are_not_ours_disturb_nobody(tmp_path: Path) -> None:
    """Random, huge, not UTF-8, with quotes and patterns, of absurd ranges: writers and readers go on."""
    root = tmp_path / "it's [an] au*dit"
    record(root)
    real = min(root.glob("events/*/*.parquet"))
    names = [
        b"x" * 250,
        b"\xff\xfe\x00".replace(b"\x00", b"") + b".parquet",
        b"'); DROP VIEW events; --.parquet",
        b"\x1b[2J.parquet",
        PROCESS.encode() + b"-0-99999999999999999999.parquet",
        PROCESS.encode() + b"-9-3.parquet",
        PROCESS.encode() + "-\N{ARABIC-INDIC DIGIT ZERO}-\N{ARABIC-INDIC DIGIT NINE}.parquet".encode(),
        b".tmp", b"\n", b"core",
    ]  # fmt: skip
    for folder in (root, root / "events", real.parent, root / "journal", root / "totals", root / "jsonl"):
        for name in names:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"not ours")
    for folder in (root / "journal", root / "totals"):
        (folder / f"{PROCESS}.bak").mkdir()
    assert record(root, 1).ok
    assert recover(root) == []
    with pytest.warns(query.QueryWarning, match=r"left out \d+ Parquet"):
        assert read(root) == [0, 1]
    assert b"".join(Tail(root).history()).count(b"orders") >= 2
    for command in (["stats"], ["tail", "--last", "3"], ["verify"], ["verify", "--json"], ["query", "SELECT 1"]):
        done = CliRunner().invoke(cli, [command[0], str(root), *command[1:]])
        assert done.exit_code in {0, 1}, (command, done.output)
        assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)
        assert "\x1b[2J" not in done.output


def test_a_file_that_is_only_named_as_if_it_were_sealed_keeps_no_row_from_being_written(tmp_path: Path) -> None:
    """Taken for sealed it would hide its range: the sink says what is wrong, and goes on when it is gone."""
    root = tmp_path / "audit"
    with auditring.open(root) as log:
        (folder,) = (root / "journal").iterdir()
        record(tmp_path / "other")
        foreign = min((tmp_path / "other").glob("events/*/*.parquet"))
        day = root / "events" / foreign.parent.name
        day.mkdir(mode=0o700)
        planted = day / f"{folder.name}-0-{1 << 40}.parquet"
        planted.write_bytes(foreign.read_bytes())
        with log.session(authority="decision") as session:
            session.read("orders", 0, 1, 1)
        with pytest.raises(auditring.AuditError):
            log.flush(30)
        assert any(planted.name in problem.cause for problem in log.health().problems)
        planted.unlink()
        until(lambda: flushed(log))
    assert read(root) == [1]
    assert check(root).complete


def test_a_ring_whose_name_was_taken_meanwhile_is_told_of(tmp_path: Path) -> None:
    """Deleted, and its place taken: that file is left as it is, and `health()` says why there is no ring."""
    with auditring.open(tmp_path / "audit", ring_dir=tmp_path) as log:
        (ring,) = tmp_path.glob("auditring-*.ring")
        # In one step, whatever is there: in between the log may have made a new one, which must not be written into.
        theirs = tmp_path / "theirs"
        theirs.write_text("somebody else's")
        theirs.replace(ring)
        until(lambda: any(str(ring) in problem.cause for problem in log.health().problems))
        with log.session(authority="decision") as session:
            session.read("orders", 0, 1, 1)
        log.flush(30)
    assert ring.read_text() == "somebody else's"
    assert read(tmp_path / "audit") == [1]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@needs_root
def test_another_users_directory_is_named_and_left_alone(tmp_path: Path) -> None:
    """Whoever recovered it for him would take its ring for somebody else's, and what is in there for lost."""
    root = tmp_path / "audit"
    directory, ring = died(root, tmp_path)
    os.chown(directory, NOBODY, NOBODY)
    before = contents(root)
    (result,) = recover(root)
    assert result.failed is not None
    assert f"belongs to user {NOBODY}" in result.failed
    assert contents(root) == before
    assert ring.exists()
    os.chown(directory, 0, 0)
    (result,) = recover(root)
    assert result.salvage is not None
    assert not result.salvage.ring_gone
    assert read(root) == list(range(11))


@needs_root
def test_another_users_ring_is_not_trusted_and_not_removed(tmp_path: Path) -> None:
    """Somebody may have put it under a name that he saw: what it held is unknown, and a row says so."""
    root = tmp_path / "audit"
    _, ring = died(root, tmp_path)
    os.chown(ring, NOBODY, NOBODY)
    (result,) = recover(root)
    assert result.salvage is not None
    assert result.salvage.ring_gone
    assert ring.exists()
    # What a pump that was quick had taken out of it is in the journal.
    assert read(root)[:10] == list(range(10))


@needs_root
def test_another_users_folder_for_tables_is_refused(tmp_path: Path) -> None:
    """He could take away, or read, what is put there."""
    root = tmp_path / "audit"
    (root / "events").mkdir(parents=True)
    os.chown(root / "events", NOBODY, NOBODY)
    with pytest.raises(OSError, match=f"belongs to user {NOBODY}"):
        record(root)


@needs_root
def test_another_user_can_do_nothing_with_what_is_ours() -> None:
    """Not open a log in our directory, not recover it, not read it: he is told so and nothing is changed."""
    code = """
import os, sys
import auditring
from auditring.recovery import recover
os.setgid(65534); os.setuid(65534)
for what in (lambda: auditring.open(sys.argv[1]), lambda: recover(sys.argv[1])):
    try:
        what()
        print("done")
    except (OSError, auditring.AuditError) as error:
        print("PermissionError" if "Permission" in repr(error) else repr(error))
"""
    # Where he may go: the folders of tests are for root alone.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "audit"
        died(root, Path(folder))
        root.chmod(0o755)
        before = contents(root)
        command = [sys.executable, "-c", code, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == ["PermissionError", "PermissionError"], done
        assert contents(root) == before

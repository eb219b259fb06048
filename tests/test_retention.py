"""Retention: the oldest sealed files go, each told of before it goes, and never one that a sink still needs."""

import dataclasses
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import zlib
from functools import partial
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

import auditring
import deadlines
from auditring import ConfigError, Keep, Retention, Rotation, ledger, query, verify
from auditring.cli.commands import auditring as command
from auditring.health import HealthBoard
from auditring.ledger import Account, LedgerDamaged
from auditring.retention import Survey, plan, survey
from auditring.retention.contents import describe
from auditring.retention.stages import Warnings, stage
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import Kind
from sealed_rows import rows_of

GOLDEN = Path(__file__).parent / "golden" / "v1"
until = partial(deadlines.until, seconds=60.0)


def sinks(rows: int = 50, *, compress: bool = False) -> tuple[ParquetSink, JsonlSink]:
    """Small files of both kinds."""
    return (
        ParquetSink(rotation=Rotation(rows=rows)),
        JsonlSink(rotation=Rotation(rows=rows), compress=compress),
    )


def opened(path: Path, **options: object) -> auditring.AuditLog:
    """A log whose ring does not lie in its directory, where it would count."""
    settings = {"sinks": sinks(), "balance": None, "ring_dir": path.parent, "ring_bytes": 1 << 20, **options}
    return auditring.open(path, **settings)  # type: ignore[arg-type]


def written(path: Path, events: int = 300, *, compress: bool = False) -> str:
    """A closed log of several files; its process."""
    with opened(path, sinks=sinks(compress=compress)) as log:
        with log.session(id="s", authority="decision") as session:
            for offset in range(events):
                session.read("payments", 0, offset, offset, 1)
        return log.process


def files_of(path: Path, process: str) -> dict[str, bytes]:
    """The files of a process, by their path in the directory."""
    return {str(name.relative_to(path)): name.read_bytes() for name in names_of(path, process)}


def names_of(path: Path, process: str) -> list[Path]:
    """The same unread: any of them may go meanwhile."""
    return [*path.glob(f"events/*/{process}-*.parquet"), *path.glob(f"jsonl/**/{process}-*")]


def told(path: Path) -> dict[str, dict[str, object]]:
    """What rows tell of deleted files, by file; of those that are in sealed files."""
    return {
        row["resource"]: {"bytes": row["bytes"], **json.loads(row["context"])}
        for row in rows_of(path, "auditring.FileDeleted")
    }


def used(path: Path) -> int:
    """Bytes of all files of a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def sound(path: Path) -> None:
    """Nothing speaks against the directory."""
    report = verify.check(path)
    assert report.complete, [str(finding) for finding in report.wrong]


@pytest.mark.parametrize("compress", [False, True])
def test_the_oldest_files_go_until_the_rest_fits_and_each_has_a_row_with_its_digest(
    tmp_path: Path, *, compress: bool
) -> None:
    """Files of a process that has gone, of both kinds, in their order; what is left and what is told add up."""
    path = tmp_path / "audit"
    process = written(path, compress=compress)
    before = files_of(path, process)
    limit = used(path) - sum(map(len, before.values())) // 2 + 30_000
    with opened(path, retention=Retention(max_bytes=limit)) as log:
        until(lambda: survey(path).used <= limit)
        log.flush(30)
    after = files_of(path, process)
    gone = before.keys() - after.keys()
    rows = told(path)
    assert gone
    assert after
    assert gone <= rows.keys()
    for file in gone:
        assert rows[file]["sha256"] == hashlib.sha256(before[file]).hexdigest()
        assert rows[file]["bytes"] == len(before[file])
        assert rows[file]["ofProcess"] == process
        assert rows[file]["cause"] == "max_bytes"
        assert rows[file]["rows"] == rows[file]["lastSeq"] + 1 - rows[file]["firstSeq"]  # type: ignore[operator]
        assert rows[file]["fromNanos"] <= rows[file]["toNanos"]  # type: ignore[operator]
    for folder in ("events", "jsonl"):
        first = [int(str(rows[file]["firstSeq"])) for file in gone if file.startswith(folder)]
        kept = [int(Path(file).name.split(".")[0].split("-")[5]) for file in after if file.startswith(folder)]
        assert max(first, default=-1) < min(kept, default=1 << 62)
    sound(path)


def test_a_file_goes_when_its_newest_event_is_too_old_and_the_folder_of_an_empty_day_too(tmp_path: Path) -> None:
    """By age all files of a dead process go; what a sink has open stays."""
    path = tmp_path / "audit"
    process = written(path)
    with opened(path, retention=Retention(max_age=1.0)) as log:
        until(lambda: not names_of(path, process))
        until(lambda: not list(path.glob("events/*-*-*")))
        log.emit("com.example.StillHere")
        log.flush(30)
    assert verify.check(path, process=process).complete


@pytest.mark.parametrize(("cursor", "may_go"), [(164, True), (163, False)])
def test_a_file_stays_as_long_as_the_cursor_is_not_past_all_of_it(tmp_path: Path, *, cursor: int, may_go: bool) -> None:
    """A dead process whose sink is at the file's end, or one row before it."""
    path = tmp_path / "audit"
    shutil.copytree(GOLDEN / "open", path)
    (file,) = path.glob("journal/*/parquet.cursor")
    said = {**json.loads(file.read_bytes().partition(b"\n")[2]), "seq": cursor}
    body = json.dumps(said).encode()
    file.write_bytes(f"auditring cursor 1 {zlib.crc32(body):08x} {len(body)}\n".encode() + body)
    (sealed,) = path.glob("events/*/*.parquet")
    assert sealed.stem.endswith(f"{163:016}")
    assert [one.path for group in survey(path).groups for one in group] == ([sealed] if may_go else [])


def test_nothing_goes_of_a_process_of_which_nobody_knows_how_far_its_sinks_are(tmp_path: Path) -> None:
    """Neither journal nor totals: there is no cursor that it could be past."""
    path = tmp_path / "audit"
    process = written(path)
    (path / "totals" / process).unlink()
    assert survey(path).groups == []


def test_the_file_that_a_living_sink_has_open_is_never_among_those_that_may_go(tmp_path: Path) -> None:
    """Of lines the last one stays, and one before it only until the cursor is past its end."""
    path = tmp_path / "audit"
    with opened(path) as log:
        for number in range(230):
            log.emit("com.example.Event", resource=str(number))
        log.flush(30)
        (newest,) = sorted(path.glob("jsonl/*.jsonl"))[-1:]
        group = [one.path for of in survey(path).groups for one in of if one.kind == "jsonl"]
        assert len(group) >= 3
        assert newest not in group


def test_one_process_deletes_at_a_time(tmp_path: Path) -> None:
    """As long as another holds the lock nothing goes, and then it does."""
    path = tmp_path / "audit"
    process = written(path)
    (path / ledger.FOLDER).mkdir()
    with (path / ledger.FOLDER / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with opened(path, retention=Retention(max_age=0.001)) as log:
            until(lambda: any(thread.name == "auditring-retention" for thread in threading.enumerate()))
            before = log.stats().journaled
            log.emit("com.example.Tick")
            until(lambda: log.stats().journaled > before)
            assert len(files_of(path, process)) > 4
            fcntl.flock(lock, fcntl.LOCK_UN)
            until(lambda: not names_of(path, process))


@pytest.mark.parametrize("unlinked", [False, True])
def test_who_comes_after_a_crash_ends_what_was_begun(tmp_path: Path, *, unlinked: bool) -> None:
    """A file is pending in the ledger, and there or not: it goes, has a row, and is counted once."""
    path = tmp_path / "audit"
    process = written(path)
    (oldest,) = [one for group in survey(path).groups for one in group[:1] if one.kind == "parquet"]
    entry = describe(oldest, "max_bytes")
    (path / ledger.FOLDER).mkdir()
    ledger.store(path, process, {"parquet": Account(pending=entry)})
    if unlinked:
        oldest.path.unlink()
    sound(path)
    with opened(path, retention=Retention(max_bytes=1 << 40)) as log:
        until(lambda: ledger.load(path, process)["parquet"].pending is None)
        log.flush(30)
    assert not oldest.path.exists()
    account = ledger.load(path, process)["parquet"]
    assert (account.files, account.ranges) == (1, ((entry.first_seq, entry.last_seq),))
    assert told(path)[entry.file]["sha256"] == entry.sha256
    sound(path)


def test_a_deletion_without_a_row_is_told_by_who_comes_next(tmp_path: Path) -> None:
    """A full disk took no row before its process died: the ledger has it as untold, until there is one."""
    path = tmp_path / "audit"
    process = written(path)
    (oldest,) = [one for group in survey(path).groups for one in group[:1] if one.kind == "parquet"]
    entry = describe(oldest, "min_free")
    oldest.path.unlink()
    (path / ledger.FOLDER).mkdir()
    ledger.store(path, process, {"parquet": Account().gone(entry, told=False)})
    with opened(path, retention=Retention(max_bytes=1 << 40)) as log:
        until(lambda: ledger.load(path, process)["parquet"].untold == ())
        log.flush(30)
    assert told(path)[entry.file]["cause"] == "min_free"
    sound(path)


def test_what_has_gone_is_proved_by_the_ledger_when_the_rows_have_gone_and_by_rows_without_it(tmp_path: Path) -> None:
    """Either is enough for the ranges; a file that nobody has told of is missing all the same."""
    path = tmp_path / "audit"
    process = written(path)
    with opened(path, retention=Retention(max_bytes=used(path) * 3 // 4)) as log:
        until(lambda: ledger.load(path, process).get("parquet", Account()).files > 0)
        teller = log.process
    sound(path)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    shutil.rmtree(copy / ledger.FOLDER)
    report = verify.check(copy, process=None)
    by_rows = [one for one in report.processes if one.process == process]
    assert by_rows[0].deleted > 0
    assert not [finding for finding in report.wrong if finding.kind is Kind.MISSING and "in no file" in finding.text]
    # All that the teller wrote goes, too.
    with opened(path, retention=Retention(max_age=0.001)):
        until(lambda: not names_of(path, teller))
    sound(path)
    next(iter(sorted(path.glob("events/*/*.parquet")))).unlink()
    assert not verify.check(path).complete


def test_a_damaged_ledger_deletes_nothing_and_is_told_of(tmp_path: Path) -> None:
    """What has gone is not known, so nothing is added to it."""
    path = tmp_path / "audit"
    process = written(path)
    (path / ledger.FOLDER).mkdir()
    ledger.store(path, process, {"parquet": Account(files=1)})
    file = path / ledger.FOLDER / process
    file.write_bytes(file.read_bytes().replace(b'"files": 1', b'"files": 2'))
    with pytest.raises(LedgerDamaged):
        ledger.load(path, process)
    count = len(files_of(path, process))
    with opened(path, retention=Retention(max_age=0.001)) as log:
        until(lambda: "retention" in [problem.component for problem in log.health().problems])
        assert len(files_of(path, process)) == count
    assert "what retention deleted" in str(verify.check(path).wrong)


def test_a_reader_goes_on_with_a_new_snapshot_while_files_go(tmp_path: Path) -> None:
    """A bound file that has gone is an error of that snapshot alone; every new one can be read."""
    path = tmp_path / "audit"
    written(path, 3000)
    con = query.connect(path)
    total = con.sql("SELECT sum(events_total) FROM events").fetchall()
    with opened(path, retention=Retention(max_age=0.001)):
        refreshed = 0

        def read() -> bool:
            nonlocal refreshed
            try:
                con.sql("SELECT count(*), max(seq) FROM events WHERE resource = 'payments'").fetchall()
            except duckdb.IOException:
                refreshed += 1
                query.refresh(con)
            # Taking a snapshot never fails, whatever goes meanwhile.
            query.connect(path).close()
            result = CliRunner().invoke(command, ["query", str(path), "SELECT count(*) FROM events", "--format", "csv"])
            assert result.exit_code == 0, result.output
            return not list(path.glob("events/*/*.parquet"))

        deadlines.until(read, 180)
    assert total[0][0] > 3000
    if not refreshed:
        # All went within one look.
        with pytest.raises(duckdb.IOException):
            con.sql("SELECT count(*), max(seq) FROM events WHERE resource = 'payments'").fetchall()


def test_two_stages_and_one_when_it_is_not_kept_with_hysteresis() -> None:
    """Up at once, down only when it is clearly less."""
    stages, now = [], 0
    for share in (0.5, 0.8, 0.79, 0.74, 0.96, 0.94, 0.89, 1.0, 0.96, 0.5):
        now = stage(share, now)
        stages.append(now)
    assert stages == [0, 1, 1, 0, 2, 2, 1, 3, 3, 0]


def test_a_stage_is_told_once_and_what_may_go_is_no_trouble() -> None:
    """By what may not be deleted: a directory at its limit that is all sealed files is well."""
    board, events = HealthBoard(), []
    warnings = Warnings(Retention(max_bytes=100), board, lambda action, **fields: events.append((action, fields)))
    for used_bytes in (99, 85, 86, 120, 40):
        warnings.look(Survey(used=used_bytes, free=1 << 30, groups=[]))
    assert [(action.rpartition(".")[2], fields.get("stage")) for action, fields in events] == [
        ("StorageLow", 2),
        ("StorageLow", 3),
        ("StorageRecovered", None),
    ]
    assert board.health()


def test_a_limit_that_cannot_be_kept_is_a_problem_and_a_row(tmp_path: Path) -> None:
    """The journal alone takes more."""
    path = tmp_path / "audit"
    with opened(path, retention=Retention(max_bytes=100)) as log:
        until(lambda: "retention:max_bytes" in [problem.component for problem in log.health().problems])
        until(lambda: any(action == "auditring.StorageLow" for action, _ in log.stats().actions))


def low(path: Path, log: auditring.AuditLog) -> list[object]:
    """Rows that tell of a limit that is near."""
    log.flush(30)
    return list(rows_of(path, "auditring.StorageLow"))


def test_min_free_deletes_until_so_much_is_free(tmp_path: Path) -> None:
    """As a plan: the disk is what it is."""
    path = tmp_path / "audit"
    written(path)
    seen = survey(path)
    sizes = [one.bytes for group in seen.groups for one in group]
    wanted = seen.free + min(sizes) + 1
    going = list(plan(seen, Retention(min_free=wanted)))
    assert 1 <= len(going) < len(sizes)
    assert {cause for _, cause in going} == {"min_free"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no limit"),
        ({"max_bytes": 0}, "less than 1"),
        ({"max_age": 0}, "as soon as it is sealed"),
        ({"min_free": 1.5}, "whole number"),
        ({"max_byte": 1}, "did you mean 'max_bytes'"),
    ],
)
def test_a_retention_that_cannot_be_is_an_error(values: dict[str, object], words: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=words):
        Retention.from_mapping(values)


def test_a_retention_is_a_value_and_open_takes_nothing_else(tmp_path: Path) -> None:
    """Frozen; a mapping goes through `from_mapping`."""
    retention = Retention.from_mapping({"max_age": 3600})
    with pytest.raises(dataclasses.FrozenInstanceError):
        retention.max_age = 1  # type: ignore[misc]
    with pytest.raises(ConfigError, match="retention"):
        auditring.open(tmp_path / "audit", retention={"max_age": 1})  # type: ignore[arg-type]
    assert not (tmp_path / "audit").exists()


def test_the_command_says_what_would_go_and_touches_nothing(tmp_path: Path) -> None:
    """In the order in which they would go, and what has gone."""
    path = tmp_path / "audit"
    process = written(path)
    before = files_of(path, process)
    result = CliRunner().invoke(command, ["retention", str(path), "--max-bytes", "1K"])
    assert result.exit_code == 0, result.output
    assert all(file in result.output for file in before)
    assert files_of(path, process) == before
    assert CliRunner().invoke(command, ["retention", str(path), "--max-bytes", "much"]).exit_code == 2


def test_a_policy_that_samples_keeps_the_sums_provable(tmp_path: Path) -> None:
    """What was sampled out of a file is in the ledger with it."""
    path = tmp_path / "audit"
    with (
        opened(path, read=Keep.SAMPLE(one_in=4)) as log,
        log.session(id="s", authority="decision") as session,
    ):
        for offset in range(2000):
            session.read("payments", 0, offset, offset, 1)
    with opened(path, retention=Retention(max_bytes=used(path) * 2 // 3)):
        until(lambda: bool(ledger.load_all(path)[0]))
    sound(path)


def pending(path: Path) -> list[Account]:
    """Accounts with a file that is about to go."""
    every = [account for of in ledger.load_all(path)[0].values() for account in of.values()]
    return [account for account in every if account.pending is not None]


HOST = """
import sys, time, auditring
from auditring import Retention, Rotation
from auditring.sinks import JsonlSink, ParquetSink
small = Rotation(rows=20)
log = auditring.open(sys.argv[1], sinks=(ParquetSink(rotation=small), JsonlSink(rotation=small)),
                     ring_dir=sys.argv[2], ring_bytes=1 << 20, retention=Retention(max_bytes=60_000))
print("alive", flush=True)
for number in range(10**9):
    log.emit("com.example.Event", resource=str(number))
    time.sleep(0.0005)
"""


@pytest.mark.parametrize("wait", [0.3, 0.7, 1.3])
def test_killed_in_the_middle_of_deleting_nothing_is_unaccounted_for(tmp_path: Path, wait: float) -> None:
    """`kill -9` at any moment: the next log of the directory ends what was begun, and all is there or told of."""
    path = tmp_path / "audit"
    written(path, 2000)
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(path), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "alive\n"
        try:
            host.wait(wait)
        except subprocess.TimeoutExpired:
            host.kill()
    with opened(path, retention=Retention(max_bytes=1 << 40)) as log:
        until(lambda: not pending(path))
        until(lambda: len(list((path / "journal").iterdir())) == 1)
        log.flush(30)
    sound(path)


@pytest.mark.parametrize("left", [0, 20, None])
def test_killed_while_an_account_was_being_written(tmp_path: Path, left: int | None) -> None:
    """What was half written says nothing: what was there before is right, and the next retention removes the rest."""
    path = tmp_path / "audit"
    written(path, 2000)
    with opened(path, retention=Retention(max_bytes=used(path) * 2 // 3)):
        until(lambda: bool(ledger.load_all(path)[0]))
    accounts, wrong = ledger.load_all(path)
    assert wrong == []
    account = path / "retention" / next(iter(accounts))
    half = account.with_name(f".{account.name}.tmp")
    half.write_bytes(account.read_bytes()[:left])
    (path / "retention" / "lock").write_text(account.name)
    assert ledger.load_all(path) == (accounts, [])
    sound(path)
    with opened(path, retention=Retention(max_bytes=1 << 40)):
        until(lambda: not half.exists() and not pending(path))
    ended, wrong = ledger.load_all(path)
    assert (ended.keys(), wrong) == (accounts.keys(), [])
    sound(path)

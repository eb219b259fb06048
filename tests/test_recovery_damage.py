"""Recovery through the public way of what was damaged, deleted or put in another's place after a process had died."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import auditring
from auditring import _core, query, recovery
from auditring.cli.commands import auditring as cli
from auditring.redaction import read_key
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import check
from deadlines import until
from sealed_rows import lines_of, rows_of

FLUSHED, JOURNALED, ACCEPTED = 100, 200, 300
"""So many Reads are in the sinks, in the journal, accepted, when it dies."""
HOST = f"""
import os, signal, sys
import auditring
from auditring.sinks import JsonlSink, ParquetSink

log = auditring.open(
    sys.argv[1], instance="dead", ring_dir=sys.argv[1], ring_bytes=1 << 20, balance=None, segment_age=0.05,
    sinks=(ParquetSink(), JsonlSink()),
)
session = log.session(id="s", peer=("10.0.0.1", 1000), authority="decision")
for offset in range({ACCEPTED}):
    session.read("t", 0, offset, offset)
    if offset == {FLUSHED - 1}:
        log.flush(60)
    if offset == {JOURNALED - 1}:
        log.sync(60)
os.kill(os.getpid(), signal.SIGKILL)
"""
BOOT = "00000000-1111-2222-3333-444444444444"


@dataclass(frozen=True)
class Dead:
    """What a process left."""

    root: Path
    journal: Path
    ring: Path

    def owner(self, **changed: object) -> dict[str, Any]:
        """Who it says that it was, after a change."""
        path = self.journal / "owner"
        owner = {**json.loads(path.read_text()), **changed}
        path.write_text(json.dumps(owner))
        return owner

    @property
    def segments(self) -> list[Path]:
        """Of its journal, in order."""
        return sorted(self.journal.glob("*.journal"))


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A process was killed here. Nobody recovers this one: it is copied for each test."""
    root = tmp_path_factory.mktemp("died") / "audit"
    root.mkdir()
    done = subprocess.run([sys.executable, "-c", HOST, str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    return root


def moved(died: Path, root: Path) -> Dead:
    """As if it had died in `root`."""
    shutil.copytree(died, root, dirs_exist_ok=True)
    (journal,) = (root / "journal").iterdir()
    (ring,) = root.glob("*.ring")
    dead = Dead(root, journal, ring)
    dead.owner(ring_path=str(ring), dir=str(journal))
    return dead


@pytest.fixture
def dead(died: Path, tmp_path: Path) -> Iterator[Dead]:
    """A process that has died, of its own for each test."""
    yield moved(died, tmp_path / "audit")
    # Whatever it was about: nobody is left to be recovered, and nothing has to be done twice.
    again = recovery.recover(tmp_path / "audit")
    assert [one for one in again if one.salvage is not None] == []


def by_command(root: Path) -> None:
    """`auditring recover`."""
    done = recover(root)
    assert done.exit_code == 0, done.output


def by_opening(root: Path) -> None:
    """The next life of the proxy, which closes only when the sinks have what the dead one left."""
    with auditring.open(root, instance="next", sinks=(ParquetSink(), JsonlSink())) as log:
        assert log.health().ok, log.health()
        # A close does not wait for a recovery that has not begun: the next opener has it then.
        until(lambda: len(list((root / "journal").iterdir())) == 1)


WAYS = [by_command, by_opening]


def recover(root: Path, *options: str) -> Result:
    """The command."""
    return CliRunner().invoke(cli, ["recover", str(root), *options])


def reads(root: Path) -> list[int]:
    """The offsets of the dead one's Reads, which tables and lines have alike."""
    rows = [row for row in rows_of(root, "Read") if row["instance"] == "dead"]
    told = [line for line in lines_of(root) if line["action"] == "Read" and line["instance"] == "dead"]
    assert [row["seq"] for row in rows] == [line["seq"] for line in told]
    assert len({row["seq"] for row in rows}) == len(rows)
    return [row["first_offset"] for row in rows]


def losses(root: Path) -> list[tuple[str, int | None]]:
    """Why the dead one's rows say that events are gone, and how many."""
    rows = [row for row in rows_of(root, "auditring.EventsLost") if row["instance"] == "dead"]
    return [(json.loads(row["context"])["cause"], row["lost"]) for row in rows]


def balanced(root: Path) -> None:
    """From the files alone."""
    done = CliRunner().invoke(cli, ["stats", str(root)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("way", WAYS)
def test_nothing_damaged(dead: Dead, way: Callable[[Path], None]) -> None:
    """All that was accepted."""
    way(dead.root)
    assert reads(dead.root) == list(range(ACCEPTED))
    assert losses(dead.root) == []
    assert not dead.journal.exists()
    assert not dead.ring.exists()
    balanced(dead.root)


@pytest.mark.parametrize("way", WAYS)
def test_a_process_id_that_somebody_else_has_now(dead: Dead, way: Callable[[Path], None]) -> None:
    """It says nothing: a lock tells who lives."""
    dead.owner(pid=os.getpid())
    way(dead.root)
    assert reads(dead.root) == list(range(ACCEPTED))


def deleted(dead: Dead, _: Path) -> None:
    """Cleaned away."""
    dead.ring.unlink()


def truncated(dead: Dead, _: Path) -> None:
    """Half of it is there."""
    os.truncate(dead.ring, dead.ring.stat().st_size // 2)


def emptied(dead: Dead, _: Path) -> None:
    """A file of that name."""
    os.truncate(dead.ring, 0)


def of_another_version(dead: Dead, _: Path) -> None:
    """Its head says so."""
    data = bytearray(dead.ring.read_bytes())
    data[8] ^= 0x40
    dead.ring.write_bytes(data)


def linked(dead: Dead, elsewhere: Path) -> None:
    """A symlink to what may be anybody's."""
    shutil.move(dead.ring, elsewhere)
    dead.ring.symlink_to(elsewhere)


def of_another_user(dead: Dead, _: Path) -> None:
    """Somebody put it there."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(dead.ring, 65534, 65534)


def of_another_process(dead: Dead, elsewhere: Path) -> None:
    """A copy of the ring of one that died elsewhere, whole and sound."""
    subprocess.run([sys.executable, "-c", HOST, str(elsewhere)], check=False)
    (other,) = elsewhere.glob("*.ring")
    shutil.copy(other, dead.ring)


def before_a_reboot(dead: Dead, _: Path) -> None:
    """Its memory is gone, and so is its ring."""
    dead.owner(boot_id=BOOT)
    dead.ring.unlink()


def before_a_reboot_on_a_disk(dead: Dead, _: Path) -> None:
    """Its ring outlived the boot, but nobody knows which of its pages did."""
    dead.owner(boot_id=BOOT)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "damage",
    [
        deleted,
        truncated,
        emptied,
        of_another_version,
        linked,
        of_another_user,
        of_another_process,
        before_a_reboot,
        before_a_reboot_on_a_disk,
    ],
)
def test_a_ring_that_cannot_be_trusted(
    dead: Dead, tmp_path: Path, damage: Callable[[Dead, Path], None], way: Callable[[Path], None]
) -> None:
    """What is journaled is there, once; one row says that nobody knows what else there was."""
    damage(dead, tmp_path / "elsewhere")
    way(dead.root)
    found = reads(dead.root)
    assert found == list(range(len(found)))
    assert JOURNALED <= len(found) <= ACCEPTED
    assert losses(dead.root) == [("ring_gone", None)]
    assert not dead.journal.exists()
    balanced(dead.root)
    # What is not the dead one's is left alone.
    foreign = damage in {linked, of_another_user}
    assert dead.ring.is_symlink() == (damage is linked)
    assert dead.ring.exists() == foreign


def without_the_newest_segment(dead: Dead) -> None:
    """Deleted."""
    dead.segments[-1].unlink()


def without_any_segment(dead: Dead) -> None:
    """All of them."""
    for segment in dead.segments:
        segment.unlink()


def with_a_flipped_head(dead: Dead) -> None:
    """Of the newest segment."""
    flip(dead.segments[-1], 40)


def with_a_flipped_payload(dead: Dead) -> None:
    """Of the last batch."""
    flip(dead.segments[-1], -9)


def with_a_cut_tail(dead: Dead) -> None:
    """In the last batch."""
    os.truncate(dead.segments[-1], dead.segments[-1].stat().st_size - 5)


def flip(path: Path, at: int) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "damage",
    [
        without_the_newest_segment,
        without_any_segment,
        with_a_flipped_head,
        with_a_flipped_payload,
        with_a_cut_tail,
    ],
)
def test_a_journal_that_is_damaged(dead: Dead, damage: Callable[[Dead], None], way: Callable[[Path], None]) -> None:
    """What the sinks had stays, what is whole comes out, nothing twice, and the balance holds with what is lost."""
    damage(dead)
    way(dead.root)
    found = reads(dead.root)
    assert sorted(set(found)) == found
    assert set(range(FLUSHED)) <= set(found)
    assert not dead.journal.exists()
    assert not dead.ring.exists()
    balanced(dead.root)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sink", ["parquet", "jsonl"])
def test_a_cursor_that_is_lost(dead: Dead, sink: str, way: Callable[[Path], None]) -> None:
    """What its sink has is recognised, and not written again."""
    (dead.journal / f"{sink}.cursor").unlink()
    way(dead.root)
    assert reads(dead.root) == list(range(ACCEPTED))
    balanced(dead.root)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_half_born_and_half_removed(dead: Dead, way: Callable[[Path], None]) -> None:
    """Goes; who makes one at this moment is left alone."""
    journal = dead.root / "journal"
    for name in (".tmp-3c7a9f7e-3a0f-4f51-9f54-0f4d0c3e9c11.0", ".dead-3c7a9f7e-3a0f-4f51-9f54-0f4d0c3e9c12"):
        shutil.copytree(dead.journal, journal / name)
    way(dead.root)
    assert list(journal.iterdir()) == []
    assert reads(dead.root) == list(range(ACCEPTED))


def test_a_lock_file_that_is_gone_is_named(dead: Dead) -> None:
    """Nobody can tell whether the process lives: it is left alone and named, with what to do; then all is there."""
    lock = dead.journal / "lock"
    lock.unlink()
    done = recover(dead.root)
    assert done.exit_code == 1
    assert f"touch {lock}" in done.output
    with auditring.open(dead.root, instance="next") as log:
        (problem,) = log.health().problems
    assert problem.component == f"recovery:{dead.journal.name}"
    assert "lock file" in problem.cause
    stats = CliRunner().invoke(cli, ["stats", str(dead.root), "--json"])
    assert [one["lockless"] for one in json.loads(stats.stdout) if one["instance"] == "dead"] == [True]
    # Readers show what is journaled, and call nobody dead.
    with query.connect(dead.root) as con:
        recovered = con.execute("SELECT count(*) FROM events WHERE action = 'auditring.Recovered'").fetchall()
    assert recovered == [(0,)]
    lock.touch()
    by_command(dead.root)
    assert reads(dead.root) == list(range(ACCEPTED))


def test_a_lock_file_that_a_reboot_has_outlived(dead: Dead) -> None:
    """Who lived in another boot of this machine is dead without any lock."""
    (dead.journal / "lock").unlink()
    dead.owner(boot_id=BOOT)
    by_command(dead.root)
    assert losses(dead.root) == [("ring_gone", None)]


def test_one_damaged_journal_hides_nobody(dead: Dead, died: Path, tmp_path: Path) -> None:
    """`stats` counts the others and names it; `recover` recovers the others and names it."""
    other = "3c7a9f7e-3a0f-4f51-9f54-0f4d0c3e9c13"
    damaged = moved(died, tmp_path / "damaged")
    shutil.move(damaged.journal, dead.root / "journal" / other)
    (dead.root / "journal" / other / "followers").write_text("{")
    stats = CliRunner().invoke(cli, ["stats", str(dead.root)])
    assert stats.exit_code == 1
    assert dead.journal.name in stats.stdout
    assert other in stats.stderr
    done = recover(dead.root)
    assert done.exit_code == 1
    assert other in done.output
    assert reads(dead.root) == list(range(ACCEPTED))
    report = check(dead.root)
    assert not report.complete
    assert any(other in finding.text for finding in report.findings), report.findings
    shutil.rmtree(dead.root / "journal" / other)


LOOK = """
import sys
from auditring import query

with query.connect(sys.argv[1]) as con:
    print(con.execute("SELECT count(*), count(DISTINCT first_offset) FROM events WHERE action = 'Read'").fetchone())
    print(con.execute("SELECT count(*) FROM events WHERE action = 'auditring.Recovered'").fetchone())
try:
    open(sys.argv[1] + "/written", "w")
except PermissionError:
    print("may not write")
"""


def keeps_to_modes() -> None:
    """In a child: root, too, may then only do what a file's mode lets its owner do."""
    if os.getuid() == 0:
        drop, override, search = 24, 1, 2
        for capability in (override, search):
            assert ctypes.CDLL(None).prctl(drop, capability) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_reader_that_may_not_write(dead: Dead) -> None:
    """Sees the rows that recovery would add, and changes nothing."""
    paths = [dead.root, *dead.root.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(dead.root)],
            check=False,
            capture_output=True,
            text=True,
            preexec_fn=keeps_to_modes,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"({ACCEPTED}, {ACCEPTED})", "(1,)", "may not write"]
    assert {path: path.read_bytes() for path in dead.root.rglob("*") if path.is_file()} == before
    by_command(dead.root)
    assert reads(dead.root) == list(range(ACCEPTED))


KEY, OTHER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
HASHING = """
import os, signal, sys
import auditring
from auditring import Hash, Policy, Redact
from auditring.sinks import JsonlSink, ParquetSink

policy = Policy(redact=(Redact("client_id", Hash("env:AUDIT_KEY")),))
log = auditring.open(sys.argv[1], instance="dead", policy=policy, sinks=(ParquetSink(), JsonlSink()), balance=None)
with log.session(id="s", client_id="alice", authority="decision") as session:
    for offset in range(50):
        session.read("t", 0, offset, offset)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not _core.in_memory("/dev/shm"), reason="a log that redacts needs tmpfs")  # noqa: S108 - where rings lie
@pytest.mark.parametrize(
    ("keys", "hashed"),
    [((), False), (("AUDIT_KEY",), True), (("OTHER_KEY",), False), (("OTHER_KEY", "AUDIT_KEY"), True)],
)
def test_the_key_of_a_dead_process_is_given_to_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], *, hashed: bool
) -> None:
    """With it the last rows say of a value what the others do; without, or with another, it is left out and marked."""
    monkeypatch.setenv("AUDIT_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", OTHER)
    root = tmp_path / "audit"
    done = subprocess.run([sys.executable, "-c", HASHING, str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert recover(root, "--key", "env:NOWHERE").exit_code == 2
    said = recover(root, *(part for key in keys for part in ("--key", f"env:{key}")))
    assert said.exit_code == 0, said.output
    assert ("of its rows lack what the policy hashes" in said.output) is not hashed, said.output
    assert reads(root) == list(range(50))
    rows = rows_of(root, "Read")
    expected = read_key("env:AUDIT_KEY").hash("client_id", "alice")[0]
    assert {row["client_id"] for row in rows[-5:]} == {expected if hashed else None}
    assert all("auditring.redacted" in json.loads(row["context"]) for row in rows)

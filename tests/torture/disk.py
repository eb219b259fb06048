"""A disk that is full, again and again, under load: nothing acknowledged is lost, or this fails with its seed.

    python tests/torture/disk.py [--rounds 40] [--seed S] [--seconds 4]

The audit directory is a tmpfs of 64 MiB (so root is needed). A host emits from several threads, reads and denials; a
shared page says of each thread how many of its denials were acknowledged. A file fills the disk, to the last byte or
nearly, and goes again after a while. By its mode the host waits, drops or raises meanwhile:

    raise      denials raise after a moment, and are tried again; reads are dropped, and counted
    wait       denials wait for room; reads are dropped, and counted
    all wait   so do the reads
    killed     as `wait`, and `kill -9` while the disk is full: recovery needs the room that comes back
    retention  as `all wait`, without the file: the log itself fills the disk, and old files go

At the end: every acknowledged denial is in one row, of Parquet and of JSON lines, but for those that retention deleted;
the balance holds, reads that are in no row were counted as dropped, and `auditring verify` has nothing against it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import zstandard

from auditring import ledger
from auditring.recovery import recover
from auditring.verify import check

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOT = struct.Struct("<q")
PAGE = 4096
THREADS = 4
MOUNT, UMOUNT = (shutil.which(name) or "" for name in ("mount", "umount"))
MODES = ("raise", "wait", "all wait", "killed", "retention")

HOST = """
import json, mmap, sys, threading, time
import auditring
from auditring import AuditUnavailable, JournalError, Retention, Rotation, Then, WhenFull
from auditring.sinks import JsonlSink, ParquetSink

order = json.loads(sys.argv[1])
file = open(order["page"], "r+b")
page = mmap.mmap(file.fileno(), 4096)
mode = order["mode"]
protected = WhenFull(wait=0.05, then=Then.RAISE) if mode == "raise" else WhenFull(wait=None)
droppable = WhenFull(wait=None) if mode in ("all wait", "retention") else WhenFull(wait=0.01)
log = auditring.open(
    order["path"], instance="host", segment_age=0.3, segment_bytes=1 << 20, ring_bytes=1 << 20, ring_dir=order["ring"],
    # Plain lines would fill the disk by themselves, which is for retention to deal with.
    sinks=(ParquetSink(rotation=Rotation(rows=20_000, age=0.5)),
           JsonlSink(rotation=Rotation(rows=10_000), compress=mode != "retention")),
    when_full={"protected": protected, "droppable": droppable}, balance=0.5,
    retention=Retention(max_bytes=30 << 20, min_free=20 << 20) if mode == "retention" else None,
    required=("parquet", "jsonl"),
)
stop = threading.Event()
raised = [0] * order["threads"]
reads = [0] * order["threads"]

def emit(number):
    session = log.session(id=f"s-{number}", peer=("10.0.0.1", number), authority="decision")
    offset = 0
    while not stop.is_set():
        for _ in range(8):
            session.read(f"t-{number}", 0, reads[number], reads[number])
            reads[number] += 1
        try:
            session.operation_denied("WRITE", "Topic", f"{number}/{offset}")
        except AuditUnavailable:
            raised[number] += 1
            continue
        offset += 1
        page[8 * number : 8 * number + 8] = offset.to_bytes(8, "little")
        time.sleep(order["pause"])

threads = [threading.Thread(target=emit, args=(number,), daemon=True) for number in range(order["threads"])]
for thread in threads:
    thread.start()
print("alive", flush=True)
bad = set()
for line in sys.stdin:
    if line == "health\\n":
        print(json.dumps([problem.component for problem in log.health().problems]), flush=True)
        continue
    break
stop.set()
for thread in threads:
    thread.join(60)
# The load may have filled so small a disk by itself: then a flush says so, until the sinks have made room.
for trial in range(300):
    try:
        log.flush(60)
        break
    except JournalError:
        time.sleep(0.2)
well = bool(log.health())
balanced = log.stats().balanced
log.close()
stats = log.stats()
print(json.dumps({
    "reads": sum(reads), "raised": sum(raised), "dropped": stats.dropped, "refused": stats.refused,
    "balanced": balanced and stats.balanced, "well": well,
}), flush=True)
"""


@dataclass
class Found:
    """What a round came to."""

    mode: str
    acknowledged: int
    raised: int
    dropped: int
    deleted: int
    seconds: float


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """A file system of 64 MiB."""
    path.mkdir()
    subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run([UMOUNT, "-l", str(path)], check=True)


def fill(path: Path, leave: int) -> None:
    """Fills the disk but for `leave` bytes."""
    with path.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            room = os.statvfs(path.parent)
            size = room.f_bavail * room.f_frsize - leave
            if size <= 0:
                break
            filler.write(bytes(min(size, 1 << 20)))


def taken(mount: Path) -> str:
    """What lies on the disk, for a failure's message."""
    room = os.statvfs(mount)
    sizes: Counter[str] = Counter()
    for file in mount.glob("audit/*/**/*"):
        with contextlib.suppress(FileNotFoundError):
            sizes[file.relative_to(mount).parts[1]] += file.lstat().st_blocks * 512
    sizes["free"] = room.f_bavail * room.f_frsize
    return ", ".join(f"{name} {size >> 10} KiB" for name, size in sizes.most_common())


def ask(host: subprocess.Popen[str]) -> list[str]:
    """The components that have a problem, as the host sees it."""
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write("health\n")
    host.stdin.flush()
    problems: list[str] = json.loads(host.stdout.readline())
    return problems


def one(rng: random.Random, folder: Path, mode: str, seconds: float) -> Found:
    """One round. Raises `AssertionError`."""
    began = time.monotonic()
    mount, page = folder / "disk", folder / "page"
    page.write_bytes(bytes(PAGE))
    with disk(mount):
        path = mount / "audit"
        order = {
            "path": str(path),
            "page": str(page),
            "ring": str(folder),
            "mode": mode,
            "threads": THREADS,
            "pause": rng.choice((0.0005, 0.002)) if mode != "retention" else 0.0002,
        }
        # Not read again: what a host has to say goes to standard error.
        with subprocess.Popen(
            [sys.executable, "-c", HOST, json.dumps(order)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as host:
            assert host.stdin is not None
            assert host.stdout is not None
            try:
                assert host.stdout.readline() == "alive\n"
                time.sleep(rng.uniform(0.1, 0.3) * seconds)
                if mode != "retention":
                    full(rng, mount / "filler", host, mode, seconds)
                else:
                    time.sleep(seconds)
                said = end(host, mode)
            finally:
                host.kill()
        told = acknowledged(page)
        if mode == "killed":
            (mount / "filler").unlink()
            for result in recover(path):
                assert result.failed is None, result
                assert result.behind == (), result
        judge(path, told, said, mode)
        gone = sum(account.files for of in ledger.load_all(path)[0].values() for account in of.values())
        assert gone > 0 or mode != "retention", "nothing was deleted: the disk was never short"
    return Found(mode, sum(told), said.get("raised", 0), said.get("dropped", 0), gone, time.monotonic() - began)


def full(rng: random.Random, filler: Path, host: subprocess.Popen[str], mode: str, seconds: float) -> None:
    """Fills the disk, sees that the host notices, and makes room again; but for a host that is to be killed."""
    fill(filler, rng.choice((0, 0, 4096, 1 << 20, 8 << 20)))
    deadline = time.monotonic() + 20
    while not ask(host):
        assert time.monotonic() < deadline, "the host never noticed that its disk is full"
        time.sleep(0.05)
    time.sleep(rng.uniform(0.1, 0.4) * seconds)
    if mode == "killed":
        return
    filler.unlink()
    deadline = time.monotonic() + 30
    while {"pump", "journal", "sink:parquet", "sink:jsonl"} & set(ask(host)):
        assert time.monotonic() < deadline, f"the host is not well again: {ask(host)}, with {taken(filler.parent)}"
        time.sleep(0.05)
    time.sleep(0.1 * seconds)


def end(host: subprocess.Popen[str], mode: str) -> dict[str, int]:
    """Ends the host, one way or the other; what it says of itself."""
    assert host.stdin is not None
    assert host.stdout is not None
    if mode == "killed":
        host.send_signal(signal.SIGKILL)
        return {}
    host.stdin.write("end\n")
    host.stdin.flush()
    line = host.stdout.readline()
    assert line, "the host died"
    said: dict[str, int] = json.loads(line)
    assert said["balanced"], said
    return said


def acknowledged(page: Path) -> list[int]:
    """Of each thread, how many of its denials were acknowledged."""
    with page.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as shared:
        return [SLOT.unpack_from(shared, SLOT.size * number)[0] for number in range(THREADS)]


def judge(path: Path, told: list[int], said: dict[str, int], mode: str) -> None:
    """Holds what is there against what was acknowledged."""
    report = check(path)
    assert report.complete, [str(finding) for finding in report.wrong]
    lost: Counter[str] = Counter()
    for loss in (loss for process in report.processes for loss in process.losses):
        lost[f"{loss.cause} {loss.action}"] += loss.lost or 0
    for denials, reads in (tables(path), lines(path)):
        assert max(denials.values(), default=0) <= 1, "a denial is there twice"
        if mode == "retention":
            continue  # what has gone is proved by its ledger, which verify has held against the totals
        for number, count in enumerate(told):
            there = {int(name.partition("/")[2]) for name in denials if name.startswith(f"{number}/")}
            missing = set(range(count)) - there
            assert not missing, f"thread {number}: {len(missing)} acknowledged denials are missing"
            assert len(there) <= count + 1, f"thread {number}: {len(there)} denials, {count} acknowledged"
        assert max(reads.values(), default=0) <= 1, f"reads are there twice: {reads.most_common(8)}"
        if said:
            assert reads.total() + said["dropped"] == said["reads"], (reads.total(), said, lost)
            assert said["dropped"] == lost["dropped Read"], (said, lost)
            assert said["refused"] == said["raised"], said


def tables(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Denials and reads in Parquet, by the thread and number of their call."""
    denials: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    for file in path.glob("events/*/*.parquet"):
        for row in pq.read_table(file, columns=["action", "resource", "first_offset"]).to_pylist():
            if row["action"] == "OperationDenied":
                denials[row["resource"]] += 1
            elif row["action"] == "Read":
                reads[f"{row['resource']}/{row['first_offset']}"] += 1
    return denials, reads


def lines(path: Path) -> tuple[Counter[str], Counter[str]]:
    """The same of the lines."""
    denials: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    for file in (*path.glob("jsonl/*.jsonl"), *path.glob("jsonl/closed/*.zst")):
        data = file.read_bytes()
        for line in (zstandard.decompress(data) if file.suffix == ".zst" else data).splitlines():
            if b'"OperationDenied"' not in line and b'"Read"' not in line:
                continue
            event = json.loads(line)
            if event["action"] == "OperationDenied":
                denials[event["objectRef"]["topicName"]] += 1
            elif event["action"] == "Read":
                reads[f"{event['resource']}/{event['offsets']['first']}"] += 1
    return denials, reads


def main() -> int:
    """Runs so many rounds, or until a time is over; prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--mode", action="append", choices=MODES, help="only this; may be given several times")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a round's load takes, about")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: only root can mount a small disk")
        return 0
    seen: list[Found] = []
    modes = options.mode or MODES
    for number in range(options.rounds):
        seed = options.seed + number
        mode = modes[number % len(modes)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                seen.append(one(random.Random(seed), Path(folder), mode, options.seconds))
            except (AssertionError, subprocess.CalledProcessError) as error:
                print(f"FAILED in round {number + 1} ({mode}): {error}")
                print(f"again: python tests/torture/disk.py --rounds {number + 1} --seed {options.seed}")
                return 1
    print(f"seed {options.seed}: {len(seen)} rounds, nothing acknowledged was lost")
    print(f"{'mode':<12}{'rounds':>8}{'acknowledged':>14}{'raised':>10}{'dropped':>10}{'deleted':>10}{'seconds':>10}")
    for mode in MODES:
        of = [one for one in seen if one.mode == mode]
        sums = [sum(getattr(one, name) for one in of) for name in ("acknowledged", "raised", "dropped", "deleted")]
        took = sum(one.seconds for one in of)
        print(f"{mode:<12}{len(of):>8}" + f"{sums[0]:>14,}" + "".join(f"{n:>10,}" for n in sums[1:]) + f"{took:>10.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

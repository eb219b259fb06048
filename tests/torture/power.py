"""Power cuts at random moments: what `sync()` had returned for is there, once, or this fails with its seed. Wants root.

    python tests/torture/power.py [--cuts 200] [--seed S] [--durability power|process]

A host keeps its log on a file system of its own, an ext4 in a file, and syncs from several threads; a shared page says
of each which of its events were durable. It is stopped at a random moment, some of what the kernel still holds is
written, as it might have been anyway, and the file is copied: that is what a disk has after a power cut. The copy is
mounted in the other's place, by a kernel that has started anew as far as the log can tell, and the log is recovered.
Then, of every thread: the offsets from 0 to at least what was durable are each in one row, of Parquet and of JSON
lines; and totals, files and journals agree (`auditring.verify`).

`--durability process` promises less, so less is asked: no row twice, none that was never emitted.

The same seed makes the same choices; what the kernel writes meanwhile is not in its power.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from auditring.recovery import recover
from auditring.verify import check
from host_of_threads import Page
from in_sinks import lines, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = 256 << 20
ANOTHER_BOOT = "00000000-1111-2222-3333-444444444444"

HOST = """
import json, mmap, sys, threading, time
import auditring
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink

order = json.loads(sys.argv[1])
file = open(order["page"], "r+b")
page = mmap.mmap(file.fileno(), 4096)
interval = order["interval"]
log = auditring.open(
    order["path"], instance="host", segment_bytes=order["segment_bytes"], segment_age=0.2, ring_bytes=1 << 20,
    sinks=(
        ParquetSink(rotation=auditring.Rotation(rows=order["rows"], age=0.2)),
        JsonlSink(
            rotation=auditring.Rotation(rows=order["rows"]), compress=order["compress"],
            checkpoint=Checkpoint(age=0.05),
        ),
    ),
    durability=auditring.Durability.PROCESS if interval is None else auditring.Durability.POWER(interval),
    when_full=auditring.WhenFull(wait=None),
)

def emit(number):
    session = log.session(id=f"s-{number}", peer=("10.0.0.1", number), authority="decision")
    for offset in range(10**9):
        session.write(f"t-{number}", 0, offset, offset)
        if offset % order["every"] == 0:
            if order["waiting"] and number % 2 == 0:
                log.sync()
                page[8 * number : 8 * number + 8] = (offset + 1).to_bytes(8, "little")
            time.sleep(order["pause"])

threads = [threading.Thread(target=emit, args=(number,), daemon=True) for number in range(order["threads"])]
for thread in threads:
    thread.start()
print("alive", flush=True)
time.sleep(60)
"""


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """The file system in a file. It writes its own journal when it is told to, so that a copy is of one moment."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,noatime,commit=3600", str(image), str(at)], check=True)  # noqa: S607 - root's own
    try:
        yield at
    finally:
        # Lazily: where something failed a reader may still have a file of it open, and the failure says more.
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # noqa: S607 - root's own


def possible() -> str | None:
    """Why there can be no power cuts here; `None` where there can."""
    if os.geteuid() != 0:
        return "mounting a file system wants root"
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4"
    with tempfile.TemporaryDirectory(prefix="auditring-power-") as folder:
        image = Path(folder, "image")
        made(image, 8 << 20)
        probe = Path(folder, "at")
        probe.mkdir()
        done = subprocess.run(["mount", "-o", "loop", str(image), str(probe)], capture_output=True, check=False)  # noqa: S607 - root's own
        if done.returncode != 0:
            return f"no file can be mounted: {done.stderr.decode().strip()}"
        subprocess.run(["umount", str(probe)], check=True)  # noqa: S607 - root's own
    return None


def made(image: Path, size: int) -> None:
    """An empty file system."""
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(image)], check=True)  # noqa: S607 - root's own


def written_back(rng: random.Random, path: Path) -> int:
    """Writes some of the files, as the kernel might have done at any time; how many."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    kinds = rng.choice((("jsonl",), ("jsonl", "parquet", "tmp"), ("journal",), ("cursor",), ()))
    chosen = [file for file in files if any(kind in file.name for kind in kinds) and rng.random() < 0.7]
    for file in chosen:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
    return len(chosen)


def one(rng: random.Random, folder: Path, *, power: bool) -> Counter[str]:
    """One life, its cut, and what is left of it. Raises `AssertionError`."""
    page, at = folder / "page", folder / "at"
    page.write_bytes(bytes(mmap.PAGESIZE))
    threads = rng.choice((2, 4, 6))
    interval = rng.choice((0.0, 0.01, 0.1)) if power else None
    order = {
        "path": str(at / "audit"),
        "page": str(page),
        "threads": threads,
        "interval": interval,
        "segment_bytes": rng.choice((1 << 16, 1 << 20)),
        "rows": rng.choice((200, 2_000, 1_000_000)),
        "compress": rng.random() < 0.5,
        "every": rng.choice((1, 5, 20)),
        "pause": rng.choice((0.002, 0.01)),
        # Else nobody asks for the disk: what sinks have is all that is held against the journal.
        "waiting": rng.random() < 0.6,
    }
    made(folder / "image", IMAGE)
    found: Counter[str] = Counter()
    with mounted(folder / "image", at):
        command = [sys.executable, "-c", HOST, json.dumps(order)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == "alive\n", order
            time.sleep(rng.uniform(0, 1.2))
            host.send_signal(signal.SIGKILL)
        shared = Page(page)
        told = [shared[number] for number in range(threads)]
        if rng.random() < 0.7:
            found["files written back"] = written_back(rng, at)
        subprocess.run(["cp", "--sparse=always", str(folder / "image"), str(folder / "left")], check=True)  # noqa: S607 - root's own
    with mounted(folder / "left", at):
        path = at / "audit"
        for owner in path.glob("journal/*/owner"):
            said = json.loads(owner.read_text())
            Path(said["ring_path"]).unlink(missing_ok=True)
            owner.write_text(json.dumps({**said, "boot_id": ANOTHER_BOOT}))
        for result in recover(path):
            assert result.failed is None, result
            assert result.behind == (), result
            assert result.salvage is not None, result
            assert result.salvage.ring_gone, result
        judge(path, told, found, power=power)
    found["durable before the cut"] = sum(told)
    return found


def judge(path: Path, told: list[int], found: Counter[str], *, power: bool) -> None:
    """What is left, against what was told."""
    if power:
        assert path.exists(), "nothing is left of the log"
    elif not (path / "jsonl").exists():
        return
    in_lines = lines(path)
    in_tables = tables(path)
    for number, count in enumerate(told):
        offsets = in_tables.get(f"t-{number}", [])
        found["rows"] += len(offsets)
        assert len(set(offsets)) == len(offsets), f"thread {number}: twice"
        assert len(offsets) >= count, f"thread {number}: {count} were durable, there are {len(offsets)}"
        if power:
            assert offsets == list(range(len(offsets))), f"thread {number}: a hole"
    if not power:
        found["lines and tables differ"] += in_lines != in_tables
        found["verify finds something"] += not check(path).complete
        return
    assert in_tables == in_lines
    report = check(path)
    # Cut before it was born there is nothing to judge, and nothing that anybody was told of.
    assert report.complete or not (report.everything or report.processes or any(told)), report.everything


def main() -> int:
    """Cuts as often as is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="of the first life; each has the next")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long, though there were fewer cuts")
    parser.add_argument("--durability", choices=("power", "process"), default="power")
    given = parser.parse_args()
    if (why := possible()) is not None:
        print(f"power cuts: skipped, {why}")
        return 0
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"power cuts: {given.cuts}, seed {seed}, durability {given.durability}", flush=True)
    totals, began, done = Counter[str](), time.monotonic(), 0
    for number in range(given.cuts):
        if given.seconds is not None and time.monotonic() - began > given.seconds:
            break
        folder = Path(tempfile.mkdtemp(prefix="auditring-power-"))
        try:
            totals.update(one(random.Random(seed + number), folder, power=given.durability == "power"))
        except BaseException:
            print(
                f"cut {number} failed: --seed {seed + number} --cuts 1 --durability {given.durability}; "
                f"what it left is in {folder}",
                flush=True,
            )
            raise
        shutil.rmtree(folder)
        done += 1
    print(f"{done} power cuts; seeds {seed} to {seed + done - 1}; {time.monotonic() - began:.0f} s")
    for name, count in sorted(totals.items()):
        print(f"  {count:>12,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

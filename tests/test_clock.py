"""A real host whose wall clock is set both ways, by libfaketime; the monotonic clock and the TSC go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditring.verify import check
from sealed_rows import rows_of

DEADLINE = 60.0
DAY = 86_400
EACH = 100

HOST = """
import select, sys, time
import auditring

log = auditring.open(sys.argv[1])
session = log.session(id="s")
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    # Until the pump has seen it, stamps keep the old offset.
    while log.stats().actions.get(("auditring.ClockStepped", "success"), 0) < number:
        # libfaketime makes a sleep until a moment of the monotonic clock fail; this one is for a while.
        select.select([], [], [], 0.001)
    for _ in range(int(line)):
        before = time.time_ns()
        session.read("orders", number, before, 0)
        session.write("orders", number, time.time_ns(), 0)
    print("told", flush=True)
log.close()
"""


def faketime() -> Path:
    """The library, in its form for threads."""
    for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return path
    assert os.environ.get("CI") != "true", "CI has faketime: `make ci-tools`"
    pytest.skip("libfaketime is not installed")


def set_clock(file: Path, offset: int) -> None:
    """The wall clock is so many seconds off from now on."""
    beside = file.with_suffix(".next")
    beside.write_text(f"{offset:+d}\n")
    beside.rename(file)


@pytest.mark.parametrize("clock", ["detected", "monotonic"])
def test_a_wall_clock_that_is_set_is_told_of_and_followed(tmp_path: Path, clock: str) -> None:
    """A day on, two days back: each is one `ClockStepped`; times of rows are the wall clock's, ages never go back."""
    offsets = [0, DAY, -DAY]
    file, root = tmp_path / "offset", tmp_path / "audit"
    set_clock(file, offsets[0])
    env = {
        **os.environ,
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "AUDITRING_CLOCK": clock,
    }
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(root)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        for offset in offsets:
            set_clock(file, offset)
            host.stdin.write(f"{EACH}\n")
            host.stdin.flush()
            assert host.stdout.readline() == "told\n"
        host.stdin.close()
        assert host.wait(DEADLINE) == 0
    assert check(root).complete
    rows = rows_of(root)
    contexts = [json.loads(row["context"]) for row in rows if row["action"] == "auditring.ClockStepped"]
    steps = [(one["newOffsetNanos"] - one["oldOffsetNanos"]) / 1e9 for one in contexts]
    assert steps == pytest.approx([DAY, -2 * DAY], abs=0.01)
    ages = [row["age_ns"] for row in rows if row["session"] == "s"]
    assert ages == sorted(ages)
    reads, writes = ([row for row in rows if row["action"] == action] for action in ("Read", "Write"))
    assert len(reads) == len(writes) == EACH * len(offsets)
    for read, write in zip(reads, writes, strict=True):
        # The library reads a file at each look at the clock: what it says is true to a millisecond.
        assert read["first_offset"] - 1_000_000 <= read["time_ns"] <= write["first_offset"] + 1_000_000
    # A file is of the latest day that was seen: what comes behind it, of a clock set back, goes into it too.
    assert len({path.parent.name for path in root.glob("events/*/*.parquet")}) == 2

"""A full disk: the short form of `tests/torture/disk.py`, a round of each mode."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MOUNT, UMOUNT = (shutil.which(name) or "" for name in ("mount", "umount"))
SCRIPT = Path(__file__).parent / "torture" / "disk.py"


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Waits, drops or raises by class as configured, counts exactly, and is well again when there is room."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    (tmp_path / "probe").mkdir()
    probe = subprocess.run(
        [MOUNT, "-t", "tmpfs", "tmpfs", str(tmp_path / "probe")], check=False, capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"mount is refused here: {probe.stderr.strip()}")
    subprocess.run([UMOUNT, str(tmp_path / "probe")], check=True)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds", "5", "--seconds", "1.5", "--seed", "7"],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing acknowledged was lost" in done.stdout

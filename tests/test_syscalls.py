"""System calls that fail under a host: cells of the torture's matrix that have once found a fault in the library.

What must hold of every cell stands at the head of `tests/torture/fault_rig.py`; the whole matrix is
`make torture-faults FAULTS=`.
"""

from collections.abc import Iterator

import pytest

from fault_cells import Cell
from fault_rig import UNUSED, Rig
from fault_trace import forgotten
from tools import tool

SEED = 7


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """A host to fail calls under."""
    tool("strace")
    rig = Rig()
    yield rig
    rig.end()


CELLS = {
    "a cursor whose name is not safe counts for no other sink": Cell(
        "jsonl", "fsync", "EIO", 1, lasting=False, path="journal/{process}"
    ),
    "a folder whose name could not be made safe is made anew": Cell(
        "parquet", "fsync", "EIO", 1, lasting=False, path="events"
    ),
    "a sealed file whose name could not be made safe is written anew": Cell(
        "parquet", "fsync", "EIO", 1, lasting=False, path="events/{date}"
    ),
    "lines whose name could not be made safe are written anew": Cell(
        "jsonl", "fsync", "EIO", 1, lasting=False, path="jsonl"
    ),
    "lines go only when their compressed form is safe under its name": Cell(
        "jsonl", "fsync", "EIO", 1, lasting=False, path="jsonl/closed"
    ),
    "lines that could not be synced are written anew": Cell("jsonl", "fsync", "EIO", 1, lasting=False),
    "a segment that cannot be begun is told of": Cell("pump", "openat", "EMFILE", 1, lasting=True),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_call_that_fails_does_no_harm(rig: Rig, cell: Cell) -> None:
    """What its name says; and the host goes on, and nothing is lost, doubled, forgotten or left behind."""
    # On a busy machine a host may come to the call only when its time is over.
    seen = (rig.run(cell, SEED + again) for again in range(3))
    assert next((result for result in seen if result != UNUSED), UNUSED) == ("seen" if cell.lasting else "ok")


OPENED = 'openat(AT_FDCWD</>, "/a/x", O_RDWR|O_CREAT) = 3</a/x>\n'
WRITTEN = "pwrite64(3</a/x>, ..., 9, 0) = 9\n"
FAILED = "fsync(3</a/x>) = -1 EIO (Input/output error)\n"


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (WRITTEN + FAILED + "fsync(3</a/x>) = 0\n", 1),
        (WRITTEN + FAILED + WRITTEN + "fsync(3</a/x>) = 0\n", 0),
        ("fsync(4</a>) = -1 EIO (Input/output error)\nfsync(4</a>) = 0\n", 1),
        ('fsync(4</a>) = -1 EIO (Input/output error)\nrename("/a/y", "/a/x") = 0\nfsync(4</a>) = 0\n', 0),
        ("fsync(4</a>) = -1 EINTR (Interrupted system call)\nfsync(4</a>) = 0\n", 0),
    ],
    ids=["data", "written anew", "name", "named anew", "interrupted"],
)
def test_a_failed_sync_that_is_forgotten_is_seen(record: str, wrong: int) -> None:
    """By the record of strace alone."""
    assert len(forgotten(OPENED + record)) == wrong

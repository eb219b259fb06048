"""A sink of the simplest right kind, a file of ids for each process, for tests that do something wrong with it."""

import os
from pathlib import Path

import pyarrow as pa

from auditring.sinks import Batching, RowBatch, Sink, SinkContext

__all__ = ["FilingSink", "filed", "ids_of"]


def ids_of(batch: RowBatch, process: str) -> list[str]:
    """The ids of a batch's rows."""
    seqs = pa.record_batch(batch).column("seq").to_pylist() if batch.rows else []
    return [f"{process}:{seq}" for seq in seqs]


def filed(folder: Path) -> list[str]:
    """Every id that is in a file of the folder."""
    return [line for path in sorted(folder.glob("*.ids")) for line in path.read_text().splitlines()]


class FilingSink(Sink):
    """Appends; the state is how long the file was. While there is a file `away`, it cannot write."""

    name = "filing"
    batching = Batching(rows=512)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fd = -1
        self.size = 0

    def open(self, context: SinkContext) -> None:
        """Makes the folder."""
        self.process = context.process
        self.folder.mkdir(exist_ok=True)

    def start(self, state: bytes) -> None:
        """Cuts off what was not committed."""
        self.close()
        self.fd = os.open(self.folder / f"{self.process}.ids", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = int(state or b"0")
        os.ftruncate(self.fd, self.size)

    def write(self, batch: RowBatch) -> int:
        """Appends the ids."""
        return self.put(ids_of(batch, self.process))

    def put(self, ids: list[str]) -> int:
        """Appends lines."""
        if (self.folder / "away").exists():
            raise OSError(5, "the destination is away")
        data = "".join(f"{one}\n" for one in ids).encode()
        self.size += os.pwrite(self.fd, data, self.size)
        return len(data)

    def commit(self) -> bytes:
        """Syncs."""
        os.fsync(self.fd)
        return str(self.size).encode()

    def close(self) -> None:
        """Cuts off what was not committed, the next `start` says; here the file is only closed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def forked(self) -> None:
        """Closes the child's descriptor."""
        self.close()

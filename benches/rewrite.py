"""What pyarrow needs to write a finished table once more, beside a thread that emits into a log that keeps nothing.

    python benches/rewrite.py DIRECTORY

The files are read back a row group at a time, as the record batches that they were written from (dictionaries and all),
off the clock; then the very writer of the Parquet sink, with its own settings, writes them again. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time

import pyarrow as pa
import pyarrow.parquet as pq

import auditring
from auditring import _core
from auditring.sinks.parquet import _OpenFile
from logs import authenticated

_SOME = 20_000


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What was measured; seconds."""

    rows: int
    cpu: float
    """Of the thread that wrote."""
    wall: float
    size: int
    """Bytes of the new files."""
    emitted: int
    """Events that the other thread emitted meanwhile."""


def batches(file: Path, schema: pa.Schema) -> list[pa.RecordBatch]:
    """A file's row groups as the sink had them: one batch each, one dictionary a column."""
    source = pq.ParquetFile(file)
    found = []
    for number in range(source.num_row_groups):
        table = source.read_row_group(number).unify_dictionaries().combine_chunks().cast(schema)
        found += table.to_batches()
    assert len(found) == source.num_row_groups, "a row group came back in pieces"
    return found


class _Emitting(threading.Thread):
    """Emits all the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.count = 0

    def run(self) -> None:
        """The loop: many calls, then a look at whether it is over."""
        with auditring.open(None) as log:
            session = authenticated(log)
            while not self.ended.is_set():
                for _ in range(_SOME):
                    session.read("orders", 3, 1000, 1099, 42)
                self.count += _SOME


def rewrite(directory: Path, *, level: int = 3) -> Rewrite:
    """Writes every file of a directory again."""
    schema = pa.schema(_core.schema())
    rows, size, cpu, wall = 0, 0, 0.0, 0.0
    beside = _Emitting()
    with TemporaryDirectory(dir=directory.parent) as folder:
        target = Path(folder, "again.tmp")
        gc.disable()
        for file in sorted(directory.glob("events/*/*.parquet")):
            read = batches(file, schema)
            if not beside.is_alive():
                beside.start()
            thread_start, start = thread_time(), perf_counter()
            again = _OpenFile(target, schema, level)
            for batch in read:
                again.write(batch)
            again.seal({}, Path(folder, "again", file.name))
            cpu, wall = cpu + thread_time() - thread_start, wall + perf_counter() - start
            written = Path(folder, "again", file.name)
            assert pq.read_metadata(written).num_rows == sum(batch.num_rows for batch in read)
            rows, size = rows + sum(batch.num_rows for batch in read), size + written.stat().st_size
            written.unlink()
        beside.ended.set()
        beside.join()
    return Rewrite(rows=rows, cpu=cpu, wall=wall, size=size, emitted=beside.count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    print(json.dumps(asdict(rewrite(parser.parse_args().directory))))

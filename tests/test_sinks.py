"""Files that sinks make: how they are named, what they hold, and what becomes of them when something breaks."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

import auditring
from auditring import Keep, Rotation, WhenFull, _core
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink, RowBatch
from auditring.sinks._lines import LineFile, compress
from deadlines import until

STATISTICS = {"time", "seq", "first_offset", "last_offset", "resource"}


def emit_reads(log: auditring.AuditLog, n: int, session: str = "s") -> None:
    """One session with `n` reads."""
    with log.session(id=session) as open_session:
        for i in range(n):
            open_session.read("orders", i % 3, i, i)


def sealed(root: Path) -> list[Path]:
    """All sealed files, in order."""
    return sorted(root.glob("events/*/*.parquet"), key=lambda path: path.name)


def metadata_of(path: Path) -> dict[str, str]:
    """What a file says about itself."""
    metadata = pq.read_metadata(path).metadata
    return {
        key.decode().removeprefix("auditring."): value.decode()
        for key, value in metadata.items()
        if key.startswith(b"auditring.")
    }


def lines_of(root: Path) -> list[dict[str, Any]]:
    """All objects of all JSONL files, in order, compressed ones too."""
    found = {path.name: path.read_bytes() for path in root.glob("jsonl/*.jsonl")}
    for path in root.glob("jsonl/closed/*.jsonl.zst"):
        found[path.stem] = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    text = b"".join(found[name] for name in sorted(found))
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def assert_gapless(root: Path) -> None:
    """The files' ranges join without a gap, and each holds, by its own words, exactly its range."""
    after = None
    for path in sealed(root):
        said = metadata_of(path)
        first, last = int(said["first_seq"]), int(said["last_seq"])
        assert path.stem == f"{said['process']}-{first:016}-{last:016}"
        assert after is None or first == after
        after = last + 1
        rows = pq.read_table(path, columns=["seq", "count"]).to_pylist()
        assert all(first <= row["seq"] <= last for row in rows)
        left_out = sum(int(said[term]) for term in ("sampled_out", "filtered_out", "lost"))
        assert sum(row["count"] for row in rows) + left_out == last - first + 1


def test_a_table_is_written_as_measured(tmp_path: Path) -> None:
    """Zstd, dictionaries for strings, delta packing for whole numbers and times, statistics on five columns alone."""
    began = datetime.now(UTC)
    with auditring.open(tmp_path, instance="proxy-1", primary_tap="edge", balance=None) as log:
        emit_reads(log, 1000)
    (path,) = sealed(tmp_path)
    assert path.parent.name in {day.strftime("%Y-%m-%d") for day in (began, datetime.now(UTC))}
    said = metadata_of(path)
    assert (said["instance"], said["process"], said["primary_tap"]) == ("proxy-1", log.process, "edge")
    assert said["schema_version"] == str(auditring._core.SCHEMA_VERSION)  # noqa: SLF001 - the core's number
    group = pq.read_metadata(path).row_group(0)
    for i in range(group.num_columns):
        column = group.column(i)
        name = column.path_in_schema.split(".")[0]
        assert column.compression == "ZSTD"
        assert (column.statistics is not None and column.statistics.has_min_max) <= (name in STATISTICS), name
        packed = "DELTA_BINARY_PACKED" in column.encodings
        assert packed == (column.physical_type in {"INT32", "INT64"}), name
        assert packed or "RLE_DICTIONARY" in column.encodings, name
    seq = pq.read_table(path).column("seq").to_pylist()
    assert seq == list(range(seq[0], seq[0] + 1004))


def test_files_end_at_the_row_limit_and_row_groups_at_122_880(tmp_path: Path) -> None:
    """A file takes exactly as many rows as its rotation says, in full row groups, and ranges join without a gap."""
    sinks = (ParquetSink(rotation=Rotation(rows=300_000)),)
    with auditring.open(tmp_path, sinks=sinks, when_full=WhenFull(wait=None), balance=None) as log:
        emit_reads(log, 700_000)
    files = [pq.read_metadata(path) for path in sealed(tmp_path)]
    assert [file.num_rows for file in files] == [300_000, 300_000, 100_004]
    assert [files[0].row_group(i).num_rows for i in range(files[0].num_row_groups)] == [122_880, 122_880, 54_240]
    assert_gapless(tmp_path)


def test_files_end_by_age_and_by_bytes(tmp_path: Path) -> None:
    """A row waits no longer than the age limit for its file, and a file past the byte limit is ended."""
    rotation = Rotation(age=0.2)
    with auditring.open(tmp_path / "age", sinks=(ParquetSink(rotation=rotation),), balance=None) as log:
        log.emit("com.example.First")
        until(lambda: len(sealed(tmp_path / "age")) == 1)
        log.emit("com.example.Second")
        until(lambda: len(sealed(tmp_path / "age")) == 2)
    assert_gapless(tmp_path / "age")
    sinks = (ParquetSink(rotation=Rotation(bytes=1)),)
    with auditring.open(tmp_path / "bytes", sinks=sinks, when_full=WhenFull(wait=None), balance=None) as log:
        emit_reads(log, 250_000)
    assert [pq.read_metadata(path).num_rows for path in sealed(tmp_path / "bytes")] == [122_880, 122_880, 4_244]


def test_a_range_of_which_nothing_is_kept_is_a_file_too(tmp_path: Path) -> None:
    """An empty checkpoint has a file whose metadata carries the range, so that ranges have no gap."""
    with (
        auditring.open(tmp_path, read=Keep.SAMPLE(one_in=1_000_000), seed=3, balance=None) as log,
        log.session() as session,
    ):
        session.read("orders", 0, 0, 0)
        log.flush(30)
        for i in range(1000):
            session.read("orders", 0, i, i)
        log.flush(30)
        counts = [pq.read_metadata(path).num_rows for path in sealed(tmp_path)]
        assert len(counts) == 2
        assert counts[1] <= 1
        assert int(metadata_of(sealed(tmp_path)[1])["sampled_out"]) >= 999
    assert_gapless(tmp_path)


class _Picky(ParquetSink):
    """Wants no reads."""

    def interested(self, action: str, outcome: str) -> bool:
        """All but successful reads."""
        return (action, outcome) != ("Read", "success")


def test_what_a_sink_declines_is_filtered_by_name(tmp_path: Path) -> None:
    """Rows of a kind that the sink declines are not there, and counted as filtered in stats and in the file."""
    with auditring.open(tmp_path, sinks=(_Picky(),), balance=None) as log:
        emit_reads(log, 50)
        log.flush(30)
        assert log.stats().sinks["parquet"].filtered == 50
        assert log.stats().balanced
    actions = [
        row["action"] for path in sealed(tmp_path) for row in pq.read_table(path, columns=["action"]).to_pylist()
    ]
    assert "Read" not in actions
    assert "ClientAccept" in actions
    assert_gapless(tmp_path)


def test_what_is_written_is_never_named_parquet_before_it_is_sealed(tmp_path: Path) -> None:
    """While a file is open its name does not end in .parquet, and a reader never meets a broken one."""
    with auditring.open(tmp_path, sinks=(ParquetSink(),), balance=None) as log:
        emit_reads(log, 300_000)
        until(lambda: any(tmp_path.glob("events/.*.tmp")))
        assert sealed(tmp_path) == []
    assert list(tmp_path.glob("events/.*.tmp")) == []
    assert len(sealed(tmp_path)) == 1


class _CrashesAfterSealing(ParquetSink):
    """Seals, and dies before the cursor can know of it."""

    crashes = 1

    def commit(self) -> bytes:
        """The first time, as a crash between rename and cursor."""
        state = super().commit()
        if self.crashes:
            self.crashes -= 1
            raise OSError(5, "crashed between rename and cursor")
        return state


@pytest.mark.parametrize("read", [Keep.ALL, Keep.SAMPLE(one_in=3)])
def test_a_file_sealed_before_the_cursor_knew_is_not_written_twice(tmp_path: Path, read: Keep) -> None:
    """After a crash between rename and cursor each row is in one file only, and ranges still join."""
    sink = _CrashesAfterSealing(rotation=Rotation(rows=1000))
    with auditring.open(tmp_path, sinks=(sink,), read=read, seed=1, balance=None) as log:
        for part in range(50):
            emit_reads(log, 100, f"s-{part}")
    assert log.stats().sinks["parquet"].failures == 1
    assert log.stats().balanced
    assert_gapless(tmp_path)
    seq = [row["seq"] for path in sealed(tmp_path) for row in pq.read_table(path, columns=["seq"]).to_pylist()]
    assert len(seq) == len(set(seq))
    assert read is not Keep.ALL or sorted(seq) == list(range(min(seq), min(seq) + log.stats().journaled))


def test_lines_are_whole_named_at_birth_and_in_order(tmp_path: Path) -> None:
    """Each line is one object with its seq; the file's name has the first of them."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None) as log:
        emit_reads(log, 20_000)
    lines = lines_of(tmp_path)
    first = lines[0]["seq"]
    assert [line["seq"] for line in lines] == list(range(first, first + 20_004))
    (path,) = tmp_path.glob("jsonl/*.jsonl")
    assert path.name == f"{log.process}-{first:016}.jsonl"


@pytest.mark.parametrize("limit", [Rotation(rows=5000), Rotation(bytes=1 << 20), Rotation(age=0.05)])
def test_lines_rotate_without_losing_one(tmp_path: Path, limit: Rotation) -> None:
    """By rows, bytes or age: several files, every line once, and the names in the order of the lines."""
    with auditring.open(tmp_path, sinks=(JsonlSink(rotation=limit),), balance=None) as log:
        for part in range(4):
            emit_reads(log, 5000, f"s-{part}")
            until(lambda: log.stats().sinks["jsonl"].pending == 0)
            time.sleep(0.06)  # ages the file; nothing is asserted of the time itself
    lines = lines_of(tmp_path)
    assert len(lines) == 4 * 5002 + 2
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    files = list(tmp_path.glob("jsonl/*.jsonl"))
    assert len(files) > 1
    assert limit.rows is None or all(path.read_bytes().count(b"\n") <= 5000 for path in files)


def test_rotated_lines_are_compressed(tmp_path: Path) -> None:
    """With `compress` every ended file lies in closed/ as zstd, and the plain one is gone."""
    sink = JsonlSink(rotation=Rotation(rows=1000), compress=True)
    with auditring.open(tmp_path, sinks=(sink,), balance=None) as log:
        emit_reads(log, 5000)
    assert list(tmp_path.glob("jsonl/*.jsonl")) == []
    assert len(list(tmp_path.glob("jsonl/closed/*.jsonl.zst"))) == 6
    assert len(lines_of(tmp_path)) == 5004


def test_a_compression_that_was_broken_off_is_done_again(tmp_path: Path) -> None:
    """Half a packed file is written anew; with both there the plain one goes."""
    plain, closed = tmp_path / "a.jsonl", tmp_path / "closed"
    plain.write_bytes(b'{"a":1}\n')
    closed.mkdir()
    (closed / ".a.jsonl.zst.tmp").write_bytes(b"half")
    compress(plain, closed)
    packed = (closed / "a.jsonl.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == b'{"a":1}\n'
    plain.write_bytes(b'{"a":1}\n')
    compress(plain, closed)
    assert not plain.exists()
    assert (closed / "a.jsonl.zst").read_bytes() == packed


def fresh_batch(root: Path) -> RowBatch:
    """The three rows of a log that has just been opened, and had a session."""
    with auditring.open(root, sinks=[], balance=None) as log:
        with log.session(id="s"):
            pass
        until(lambda: log.stats().journaled == 3)
        (batch,) = _core.Snapshot(str(root)).fresh([])
    assert batch.rows == 3
    return batch


@pytest.mark.parametrize(
    ("whole", "rest", "common"),
    [
        (0, b"", 0),
        (1, b"", 1),
        (1, b'{"time":', 1),
        (3, b"", 3),
        (3, b"zz\n", 3),
        (1, b"xx\n", 1),
        (0, b"yy\n", 0),
    ],
    ids=["nothing", "a line", "half a line", "all", "more", "another line", "another start"],
)
def test_what_lies_behind_the_offset_is_compared(tmp_path: Path, whole: int, rest: bytes, common: int) -> None:
    """Equal bytes stay, a partial line is completed, and at the first difference the file is cut."""
    batch, later = fresh_batch(tmp_path / "audit"), fresh_batch(tmp_path / "later")
    lines = batch.json_lines()
    left = b"".join(lines.splitlines(keepends=True)[:whole]) + rest
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"aaa\n" + left)
    same = b"aaa\n" + b"".join(lines.splitlines(keepends=True)[:common])
    inode = path.stat().st_ino
    file = LineFile(path, offset=4)
    assert file.append(batch) == len(lines)
    assert path.read_bytes()[: 4 + len(lines)] == b"aaa\n" + lines
    assert path.read_bytes().startswith(same)
    file.append(later)
    file.end()
    assert path.read_bytes() == b"aaa\n" + lines + later.json_lines()
    assert (file.rows, path.stat().st_ino) == (6, inode)


def test_another_file_in_the_place_of_the_open_one_is_an_error(tmp_path: Path) -> None:
    """Lines never go into a file that is not the one that is synced."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"")
    with pytest.raises(OSError, match=r"(?i)stale"):
        _core.LineWriter(str(path), path.stat().st_ino + 1)


def test_a_file_ends_at_its_rows_whatever_a_checkpoint_takes(tmp_path: Path) -> None:
    """What is read ahead never makes a batch larger than the room that is left."""
    sink = JsonlSink(rotation=Rotation(rows=1500), checkpoint=Checkpoint(rows=1000))
    with auditring.open(tmp_path, sinks=[sink], balance=None) as log:
        emit_reads(log, 20_000)
    files = sorted(tmp_path.glob("jsonl/*.jsonl"))
    counts = [len(path.read_bytes().splitlines()) for path in files]
    assert (sum(counts), set(counts[:-1])) == (20_004, {1500})


@pytest.mark.parametrize("rows", [100, 20_000], ids=["in turns", "side by side"])
def test_a_write_that_does_not_fit_leaves_whole_lines(tmp_path: Path, rows: int) -> None:
    """Whether pieces are made and written in turns or side by side, the error is raised and no half line is left."""
    with auditring.open(tmp_path / "audit", sinks=[], balance=None) as log:
        emit_reads(log, rows)
        until(lambda: log.stats().journaled == rows + 3)
        (batch,) = _core.Snapshot(str(tmp_path / "audit")).fresh([])
    lines, path = batch.json_lines(), tmp_path / "a.jsonl"
    path.write_bytes(b"")
    writer = _core.LineWriter(str(path), path.stat().st_ino)
    fits = len(lines) // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (fits, before[0][1]))
    try:
        with pytest.raises(OSError, match="too large"):
            writer.write(batch, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert path.read_bytes() == lines[: lines.rfind(b"\n", 0, fits) + 1]
    assert writer.write(batch, 0) == len(lines)
    writer.close()
    assert path.read_bytes() == lines


class _FailsHalfWay(JsonlSink):
    """Writes lines that it then does not commit."""

    failures = 3

    def commit(self) -> bytes:
        """Fails a few times, after the lines are in the file."""
        if self.failures:
            self.failures -= 1
            raise OSError(5, "no")
        return super().commit()


@pytest.mark.parametrize("rotation", [Rotation(), Rotation(rows=700)])
def test_lines_written_and_not_committed_are_not_doubled(tmp_path: Path, rotation: Rotation) -> None:
    """A sink that failed after its write finds the lines again and writes none twice."""
    with auditring.open(tmp_path, sinks=(_FailsHalfWay(rotation=rotation),), balance=None) as log:
        emit_reads(log, 3000)
        until(lambda: log.stats().sinks["jsonl"].failures == 3 and log.health().ok)
        emit_reads(log, 3000, "t")
    seq = [line["seq"] for line in lines_of(tmp_path)]
    assert seq == list(range(seq[0], seq[0] + len(seq)))
    assert log.stats().balanced


def test_standard_output_gets_every_line(tmp_path: Path) -> None:
    """`JsonlSink("-")` writes to standard output, and nothing else does."""
    script = (
        "import auditring, sys; from auditring.sinks import JsonlSink\n"
        "with auditring.open(sys.argv[1], sinks=(JsonlSink('-'),), balance=None) as log, log.session() as s:\n"
        "    for i in range(1000): s.read('orders', 0, i, i)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, timeout=60, check=True, text=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 1004
    assert list(tmp_path.glob("jsonl")) == []


def test_a_closed_pipe_is_a_failure_that_is_counted(tmp_path: Path) -> None:
    """A reader that has gone makes the sink fail; the log says so, close gives up on it, and nothing else suffers."""
    script = (
        "import auditring, os, sys, time; from auditring.sinks import JsonlSink, ParquetSink\n"
        "log = auditring.open(sys.argv[1], sinks=(JsonlSink('-'), ParquetSink()), balance=None)\n"
        "log.emit('com.example.Thing')\n"
        "while not log.stats().sinks['stdout'].failures: time.sleep(0.01)\n"
        "assert log.health().problems[0].component == 'sink:stdout', log.health()\n"
        "try: log.close()\n"
        "except auditring.CloseIncomplete as error: assert 'stdout' in str(error), error\n"
        "else: raise SystemExit('nobody noticed')\n"
        "assert log.stats().sinks['parquet'].pending == 0, log.stats()\n"
        "os._exit(0)\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sealed(tmp_path)) == 1


class _Counting:
    """Counts."""

    name = "counting"
    batching = JsonlSink.batching
    checkpoint = Checkpoint(age=0.05)
    remote = False
    seen: list[int]

    def __init__(self) -> None:
        self.seen = []

    def fresh(self) -> "_Counting":
        return self

    def interested(self, action: str, outcome: str) -> bool:
        return bool(action and outcome)

    def probe(self, root: Path) -> None:
        assert root.is_absolute()

    def open(self, context: object) -> None:
        assert context is not None

    def start(self, state: bytes) -> None:
        assert state in {b"", b"here"}

    def write(self, batch: RowBatch) -> int:
        self.seen.append(batch.rows)
        return 0

    def commit(self) -> bytes:
        return b"here"

    def close(self) -> None:
        self.seen.append(-1)

    def forked(self) -> None:
        pass


def test_a_sink_of_ones_own_needs_no_base_class(tmp_path: Path) -> None:
    """Any object with the protocol's members is a sink."""
    sink = _Counting()
    with auditring.open(tmp_path, sinks=(sink,), balance=None) as log:
        log.emit("com.example.Thing")
    assert sum(sink.seen[:-1]) == 3
    assert sink.seen[-1] == -1

"""Who touched what, added up: what a sealed file says of its rows in its metadata, so that they need not be read.

A rollup has a row for each resource, principal, action, operation, outcome, authority, origin and tap that are met
together in a file, with what they come to; a million rows have some thousands of such sums. What must always hold: the
sums are those of the file's rows, all of those that name a resource and no others, or the file has no rollup: where
its rows are few, the sums are many, or one does not fit 64 bits. Whoever asks takes rows wherever a rollup is missing,
is of another version, or does not answer the question.

It stands under `auditring.touched.1` as an Arrow stream, packed by zstd, in base64: readers of Parquet want text.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import pyarrow as pa

# What groups. Its first use would load it otherwise: in a sink's thread, where a fork may come, or at exit.
import pyarrow.acero
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditring._core import RowBatch

__all__ = [
    "KEYS",
    "LEAST_ROWS",
    "METADATA",
    "PLAIN",
    "TOUCHED",
    "Rollup",
    "decode",
    "fit",
    "of_rows",
    "same",
    "together",
]

METADATA: Final = b"auditring.touched.1"
"""Where it stands in a file's key-value metadata; another form would have another number."""
LEAST_ROWS: Final = 32_768
"""Rows of a file from which on it has a rollup: fewer are soon read."""
_SHORTER: Final = 8
"""So many rows at least for each sum, or reading them takes hardly longer."""
_MOST_BYTES: Final = 1 << 20
"""Of a rollup as it stands in the file: whoever opens the file reads it, whatever the question."""
_MOST_FOR_A_ROW: Final = 1
"""Bytes of a rollup for each row, which itself takes some ten."""
_MOST_UNPACKED: Final = 64 << 20
"""Of one, whoever wrote it: ours are seldom a tenth of it."""
_MOST_APART: Final = 1 << 17
"""Sums of row groups that are kept before they are added up."""
_MOST_PARTS: Final = 256
"""Row groups of which the same holds."""
_MOST_INT: Final = (1 << 63) - 1

KEYS: Final = ("resource", "principal", "action", "operation", "outcome", "authority", "origin", "tap")
"""What rows are told apart by."""
_WORD = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
TOUCHED: Final = pa.schema(
    [
        *(pa.field(name, _WORD, nullable=name != "resource") for name in KEYS),
        pa.field("events", pa.int64(), nullable=False),
        pa.field("records", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("first_seen", _TIME, nullable=False),
        pa.field("last_seen", _TIME, nullable=False),
    ]
)
"""A rollup's columns, as it is laid down.

`events`, `records` and `bytes` are sums with weights, the latter two null where no row has one; `last_seen` is the
greatest end of a row.
"""
PLAIN: Final = pa.schema([pa.field(one.name, pa.string() if one.type == _WORD else one.type) for one in TOUCHED])
"""The same with its words as strings."""
_SUMS: Final = ("events", "records", "bytes")
_TOGETHER: Final = [*((name, "sum") for name in _SUMS), ("first_seen", "min"), ("last_seen", "max")]


class Rollup:
    """That of one file in the making, a row group after the other."""

    def __init__(self) -> None:
        self._rows = 0
        self._apart = 0
        self._parts: list[pa.Table] | None = []

    def add(self, batch: RowBatch) -> None:
        """Takes a row group's sums."""
        self._rows += batch.rows
        if self._parts is None:
            return
        part = batch.touched()
        if part is None:
            self._parts = None
            return
        sums = pa.table(part)
        if sums.num_rows:
            self._parts.append(sums)
            self._apart += sums.num_rows
        if self._apart > _MOST_APART or len(self._parts) > _MOST_PARTS:
            self._add_up()

    def _add_up(self) -> pa.Table | None:
        """Makes one part of all; none where it would not hold."""
        if self._parts is None:
            return None
        sums = together(self._parts) if fit(self._parts) else None
        # It would be longer than it may, and be added up again and again.
        if sums is None or sums.num_rows > _MOST_APART // 2:
            self._parts = None
            return None
        self._parts, self._apart = [sums], sums.num_rows
        return sums

    def encode(self) -> bytes | None:
        """The value for the file's metadata; `None` where it is to have none."""
        sums = None if self._rows < LEAST_ROWS else self._add_up()
        if sums is None or self._rows < sums.num_rows * _SHORTER:
            return None
        value = _encoded(sums)
        return value if len(value) <= min(_MOST_BYTES, self._rows * _MOST_FOR_A_ROW) else None


def fit(parts: Sequence[pa.Table]) -> bool:
    """Whether their sums surely fit 64 bits: one that wraps round would be a lie."""
    most = _MOST_INT // max(1, len(parts))
    return all(_largest(part.column(name)) <= most for part in parts for name in _SUMS)


def _largest(column: pa.ChunkedArray) -> int:
    """The greatest distance from zero."""
    ends = pc.min_max(column)
    return max((abs(end) for end in (ends["min"].as_py(), ends["max"].as_py()) if end is not None), default=0)


def together(parts: Sequence[pa.Table]) -> pa.Table:
    """The sums of several parts in one, in the order of the keys; its words are plain strings."""
    if not parts:
        return PLAIN.empty_table()
    grouped = pa.concat_tables(parts).group_by(list(KEYS), use_threads=False).aggregate(_TOGETHER)
    columns = [grouped.column(name) for name in KEYS]
    columns += [grouped.column(f"{name}_{how}") for name, how in _TOGETHER]
    return _in_order(pa.table(columns, names=TOUCHED.names))


def _in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in KEYS])


def _encoded(table: pa.Table) -> bytes:
    columns = [
        column.combine_chunks().dictionary_encode() if field.type == _WORD else column
        for field, column in zip(TOUCHED, table.columns, strict=True)
    ]
    packed = pa.BufferOutputStream()
    # Packed as one: buffer by buffer, as Arrow does it by itself, is larger and takes five times as long to unpack.
    with pa.CompressedOutputStream(packed, "zstd") as stream, pa.ipc.new_stream(stream, TOUCHED) as writer:
        writer.write_table(pa.table(columns, schema=TOUCHED))
    return base64.b64encode(packed.getvalue())


def decode(metadata: Mapping[bytes, bytes] | None) -> pa.Table | None:
    """The rollup in a file's metadata; `None` where there is none.

    Raises `ValueError` for one that is damaged or of another version.
    """
    value = (metadata or {}).get(METADATA)
    if value is None:
        return None
    try:
        packed = pa.BufferReader(base64.b64decode(value, validate=True))
        stream = pa.CompressedInputStream(packed, "zstd").read(_MOST_UNPACKED)
        table = pa.ipc.open_stream(stream).read_all()
        table.validate(full=True)
    except (binascii.Error, OSError, pa.ArrowException) as error:
        raise ValueError(f"its sums of who touched what are damaged: {error}") from error
    if not table.schema.equals(TOUCHED):
        raise ValueError("its sums of who touched what are of another version")
    return table


def of_rows(rows: pa.Table) -> pa.Table:
    """What these rows of a table come to, by Arrow's own sums; to hold a rollup against, `together`."""
    rows = rows.select([*KEYS, "weight", "count", "records", "bytes", "time", "end_time"])
    rows = rows.filter(pc.is_valid(rows.column("resource"))).combine_chunks()
    weight = rows.column("weight")
    # Arrow compares numbers here, and no times.
    ends = [pc.cast(rows.column(name), pa.int64()) for name in ("time", "end_time")]
    columns = [_numbered(rows), pc.cumulative_sum(_same(1, rows.num_rows))]
    columns += [pc.multiply(rows.column(name), weight) for name in ("count", "records", "bytes")]
    columns += [rows.column("time"), pc.cast(pc.max_element_wise(*ends), _TIME)]
    grouped = pa.table(columns, names=["number", "row", *TOUCHED.names[len(KEYS) :]]).group_by(
        "number", use_threads=False
    )
    sums = grouped.aggregate([("row", "min"), *_TOGETHER])
    met = rows.select(KEYS).take(pc.subtract(sums.column("row_min"), 1))
    words = [pc.cast(met.column(name), pa.string()) for name in KEYS]
    return pa.table([*words, *(sums.column(f"{name}_{how}") for name, how in _TOGETHER)], names=TOUCHED.names)


def _same(number: int, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(number, pa.int64()), times)


def _numbered(rows: pa.Table) -> pa.Array:
    """A number for each combination of keys: Arrow groups by one of these in a fraction of the time."""
    numbers, most = _same(0, rows.num_rows), 1
    for name in KEYS:
        column = rows.column(name).combine_chunks()
        words = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        width = len(words.dictionary) + 1
        if most * width > _MOST_INT:
            numbers = numbers.dictionary_encode()
            numbers, most = pc.cast(numbers.indices, pa.int64()), len(numbers.dictionary)
        word = pc.cast(pc.fill_null(words.indices, width - 1), pa.int64())
        numbers, most = pc.add(pc.multiply(numbers, width), word), most * width
    return numbers


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two of them say the same; words may be plain or numbered."""
    return bool(_in_order(one.cast(PLAIN)).combine_chunks().equals(_in_order(other.cast(PLAIN)).combine_chunks()))

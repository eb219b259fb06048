"""Files of JSON lines, plain or compressed, as chunks of whole lines, and what of each line matters.

What must always hold: one chunk is in memory at a time; a line is whole JSON, by Arrow's parser, and where that objects
by Python's, which says which line it is. What Arrow's parser cannot be trusted with is never given to it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.json as pj

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["Broken", "chunks", "parsed"]

_CHUNK = 8 << 20
_PACKED = 16 << 10
"""Compressed bytes that are unpacked at a time; lines pack well, and all that they come to is in memory."""
_FIELDS = {"process": str, "seq": int, "eventId": str, "count": int, "action": str}
# A bare `null` makes Arrow's parser (pyarrow 26) die of a segmentation fault.
_DEADLY = re.compile(rb"\}\s*null")


class Broken(NamedTuple):
    """A line that cannot be used."""

    number: int
    """Counted from 1 within the chunk."""
    cut: bool
    """The file ends within it."""


def chunks(path: Path) -> Iterator[bytes]:
    """The file in chunks of whole lines; only the last may end within one. Raises `OSError`."""
    rest = b""
    for block in _blocks(path):
        rest += block
        end = rest.rfind(b"\n") + 1
        if end and len(rest) >= _CHUNK:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def parsed(chunk: bytes, fields: Mapping[str, type] = _FIELDS) -> tuple[pa.Table, list[Broken]]:
    """What of each usable line matters, with its `number` in the chunk, and the lines that are not usable."""
    table = _at_once(chunk, fields)
    if table is not None:
        return table.append_column("number", pa.array(range(1, table.num_rows + 1), pa.int64())), []
    return _one_by_one(chunk, fields)


def _schema(fields: Mapping[str, type]) -> pa.Schema:
    return pa.schema([(name, pa.int64() if kind is int else pa.string()) for name, kind in fields.items()])


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix == ".zst":
            yield from _unpacked(file)
        else:
            yield from iter(lambda: file.read(_CHUNK), b"")


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    # Where there is no GIL, importing it may bring that back: not before there is something to unpack.
    import zstandard  # noqa: PLC0415

    unpacking = zstandard.ZstdDecompressor().decompressobj()
    for block in iter(lambda: file.read(_PACKED), b""):
        if unpacking.eof:
            raise OSError("something follows the end of what was compressed")
        try:
            yield unpacking.decompress(block)
        except zstandard.ZstdError as error:
            raise OSError(f"what was compressed is damaged: {error}") from error
    if not unpacking.eof:
        raise OSError("it is cut: what was compressed does not end")


def _at_once(chunk: bytes, fields: Mapping[str, type]) -> pa.Table | None:
    """The lines by Arrow; `None` where not every line is one whole object with all that matters."""
    lines = chunk.count(b"\n")
    begun = chunk.count(b"\n{") + chunk.startswith(b"{")
    if not lines or begun != lines or not chunk.endswith(b"\n") or _DEADLY.search(chunk):
        return None
    try:
        # Arrow does not look at what is in a string, and Python does.
        chunk.decode()
        table = pj.read_json(
            pa.BufferReader(chunk),
            read_options=pj.ReadOptions(block_size=len(chunk) + 1, use_threads=False),
            parse_options=pj.ParseOptions(explicit_schema=_schema(fields), unexpected_field_behavior="ignore"),
        )
    except (ValueError, pa.ArrowException):
        return None
    # It takes two objects on a line for two lines.
    return table if table.num_rows == lines and not any(column.null_count for column in table.columns) else None


def _one_by_one(chunk: bytes, fields: Mapping[str, type]) -> tuple[pa.Table, list[Broken]]:
    """The lines by Python."""
    rows: list[dict[str, Any]] = []
    broken: list[Broken] = []
    for number, raw in enumerate(chunk.split(b"\n"), start=1):
        if number == chunk.count(b"\n") + 1:
            if raw:
                broken.append(Broken(number, cut=True))
            break
        row = _line(raw, fields)
        if row is None:
            broken.append(Broken(number, cut=False))
        else:
            rows.append({**row, "number": number})
    return pa.Table.from_pylist(rows, schema=_schema(fields).append(pa.field("number", pa.int64()))), broken


def _line(raw: bytes, fields: Mapping[str, type]) -> dict[str, Any] | None:
    try:
        said = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    row: dict[str, Any] = {name: said.get(name) for name in fields}
    fits = all(type(row[name]) is kind for name, kind in fields.items())
    return row if fits and all(abs(row[name]) < 1 << 63 for name, kind in fields.items() if kind is int) else None

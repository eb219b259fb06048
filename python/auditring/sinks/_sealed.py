"""Recognises Parquet files that a crash sealed before the cursor knew of them.

Rows are never written twice, so the batches that are replayed over such a file are skipped. What was left out of the
range travels along as terms: a replayed batch may reach beyond the file, and the next file may only count its own.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from auditring.exceptions import CursorError
from auditring.sealed import SealedFile, list_sealed
from auditring.sinks._files import sync_directory
from auditring.sinks.base import RowBatch

__all__ = ["Sealed", "Terms", "sealed_from"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What was left out of a range of seq."""

    sampled_out: int = 0
    filtered_out: int = 0
    lost: int = 0

    @classmethod
    def of(cls, batch: RowBatch) -> "Terms":
        """Of one batch."""
        return cls(sampled_out=batch.sampled_out, filtered_out=batch.filtered_out, lost=batch.lost)

    def __add__(self, other: "Terms") -> "Terms":
        return Terms(
            sampled_out=self.sampled_out + other.sampled_out,
            filtered_out=self.filtered_out + other.filtered_out,
            lost=self.lost + other.lost,
        )

    def __sub__(self, other: "Terms") -> "Terms":
        return Terms(
            sampled_out=self.sampled_out - other.sampled_out,
            filtered_out=self.filtered_out - other.filtered_out,
            lost=self.lost - other.lost,
        )

    def as_dict(self) -> dict[str, int]:
        """By name, as they stand in a file's metadata and in the sink's state."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class Sealed:
    """All that lies sealed from the cursor on: up to which seq, and the terms of that stretch."""

    last: int
    terms: Terms


def sealed_from(events: Path, process: str, cursor: int, carried: Terms) -> Sealed:
    """What of this process lies sealed at or beyond `cursor`; `carried`: the terms of the part of a file behind it."""
    found = Sealed(cursor - 1, carried)
    for file in list_sealed(events.parent)[0]:
        first, last, path = file.first_seq, file.last_seq, file.path
        if file.process != process or last < cursor:
            continue
        metadata = _metadata_of(file)
        if first > found.last + 1:
            raise CursorError(f"{path.name} is sealed, but nothing holds the rows before it, from seq {found.last + 1}")
        # The crash may have come before the names were safe.
        sync_directory(path.parent)
        sync_directory(events)
        terms = found.terms if first < cursor else found.terms + _terms_of(metadata)
        found = Sealed(last, terms)
    return found


def _metadata_of(file: SealedFile) -> Mapping[bytes, bytes]:
    """What a file says of itself. Raises `CursorError` where its name says something else: it is not ours then.

    Taken for sealed by its name alone it would keep rows from ever being written.
    """
    metadata: Mapping[bytes, bytes] = pq.read_metadata(file.path).metadata or {}
    said = tuple(metadata.get(f"auditring.{name}".encode()) for name in ("process", "first_seq", "last_seq"))
    if said != tuple(str(part).encode() for part in file.range):
        raise CursorError(
            f"{file.path} is named as if we had sealed it, and its metadata does not say so: move it away"
        )
    return metadata


def _terms_of(metadata: Mapping[bytes, bytes]) -> Terms:
    return Terms(**{term: int(metadata[f"auditring.{term}".encode()]) for term in Terms().as_dict()})

"""Recognises Parquet files that a crash sealed before the cursor knew of them.

Rows are never written twice, and nothing of a sealed file is asked of the journal again, which may have let go of it:
the cursor moves behind it. So its metadata has every term of the equation of its range, and losses by their cause.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditring.exceptions import CursorError, SinkAhead
from auditring.sealed import SealedFile, list_sealed
from auditring.sinks._files import sync_directory
from auditring.sinks.base import RowBatch

__all__ = ["Terms", "sealed_from"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What was left out of a range of seq."""

    sampled_out: int = 0
    filtered_out: int = 0
    lost: int = 0
    """In all; beside it what of it has a cause of its own, the rest being damaged."""
    lost_budget: int = 0
    lost_rejected: int = 0

    @classmethod
    def of(cls, batch: RowBatch) -> "Terms":
        """Of one batch."""
        return cls(**{field.name: getattr(batch, field.name) for field in dataclasses.fields(cls)})

    def __add__(self, other: "Terms") -> "Terms":
        return Terms(**{term: count + getattr(other, term) for term, count in self.as_dict().items()})

    def as_dict(self) -> dict[str, int]:
        """By name, as they stand in a file's metadata."""
        return dataclasses.asdict(self)

    def totals(self, length: int, rows: int) -> dict[str, int]:
        """What became of a range of this length, of which so many rows are there, by the names of a sink's totals."""
        return {
            "delivered": rows,
            "merged": length - rows - self.sampled_out - self.filtered_out - self.lost,
            "sampled_out": self.sampled_out,
            "filtered_out": self.filtered_out,
            "lost_corrupt": self.lost - self.lost_budget - self.lost_rejected,
            "lost_budget": self.lost_budget,
            "lost_rejected": self.lost_rejected,
        }


def sealed_from(events: Path, process: str, cursor: int, carried: Terms) -> SinkAhead | None:
    """What of this process lies sealed from `cursor` on; `carried`: the terms of the rest of a file that it lies in."""
    last, totals = cursor - 1, dict.fromkeys(Terms().totals(0, 0), 0)
    for file in list_sealed(events.parent)[0]:
        if file.process != process or file.last_seq < cursor:
            continue
        metadata, rows = _metadata_of(file)
        if file.first_seq > last + 1:
            raise CursorError(f"{file.path.name} is sealed, but nothing holds the rows before it, from seq {last + 1}")
        # The crash may have come before the names were safe.
        sync_directory(file.path.parent)
        sync_directory(events)
        terms = _terms_of(metadata)
        if file.first_seq < cursor:
            terms, rows = carried, _rows_from(file.path, cursor)
        for term, count in terms.totals(file.last_seq - last, rows).items():
            totals[term] += count
        last = file.last_seq
    return SinkAhead(last + 1, totals) if last >= cursor else None


def _rows_from(path: Path, seq: int) -> int:
    """How many rows of a file have this seq or a later one."""
    with pq.ParquetFile(str(path)) as file:
        return int(pc.sum(pc.greater_equal(file.read(columns=["seq"]).column("seq"), seq)).as_py() or 0)


def _metadata_of(file: SealedFile) -> tuple[Mapping[bytes, bytes], int]:
    """What a file says of itself, and how many rows it has.

    Raises `CursorError` where its name says something else: then it is not ours.

    Taken for sealed by its name alone it would keep rows from ever being written.
    """
    footer = pq.read_metadata(file.path)
    metadata: Mapping[bytes, bytes] = footer.metadata or {}
    said = tuple(metadata.get(f"auditring.{name}".encode()) for name in ("process", "first_seq", "last_seq"))
    if said != tuple(str(part).encode() for part in file.range):
        raise CursorError(
            f"{file.path} is named as if we had sealed it, and its metadata does not say so: move it away"
        )
    return metadata, footer.num_rows


def _terms_of(metadata: Mapping[bytes, bytes]) -> Terms:
    """Those of a file; an older one does not say which losses have a cause of their own."""
    return Terms(**{term: int(metadata.get(f"auditring.{term}".encode(), 0)) for term in Terms().as_dict()})

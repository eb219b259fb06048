"""Batches of records, and what there is to see of them from outside."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kio.records.schema import NewRecordBatch, Record
from kio.records.writers import write_new_batch
from kio.static.primitive import TZAwareMicros, i8, i16, i32, i64

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

CONTROL = 0x20
TRANSACTIONAL = 0x10


@dataclass(frozen=True)
class Batch:
    """One batch as it lies on the wire."""

    first: int
    last: int
    records: int
    raw: bytes


def _batch(rng: random.Random, first: int, secret: Callable[[], bytes]) -> Batch:
    """A batch from this offset on, which may have gaps, as compaction leaves them."""
    offsets = sorted(rng.sample(range(first, first + 12), rng.randint(1, 6)))
    offsets[0] = first
    at = TZAwareMicros.parse(dt.datetime.fromtimestamp(1_700_000_000, dt.UTC))
    records = tuple(
        Record(attributes=i8(0), timestamp=at, offset=i64(offset), key=secret(), value=secret(), headers=())
        for offset in offsets
    )
    attributes = rng.choice([0, 0, 0, TRANSACTIONAL, TRANSACTIONAL | CONTROL])
    new = NewRecordBatch(
        producer_id=i64(rng.choice([-1, 4000])),
        producer_epoch=i16(0),
        base_sequence=i32(-1),
        records=records,
        attributes=i16(attributes),
    )
    with io.BytesIO() as buffer:
        write_new_batch(buffer, new)
        return Batch(first, offsets[-1], len(offsets), buffer.getvalue())


def to_write(rng: random.Random, secret: Callable[[], bytes]) -> list[Batch]:
    """What a producer sends: one batch, counted from 0."""
    return [_batch(rng, 0, secret)]


def to_read(rng: random.Random, secret: Callable[[], bytes]) -> list[Batch]:
    """What a broker gives: batches one behind the other, some with a hole between them."""
    batches: list[Batch] = []
    at = rng.choice([0, 7, 2**31 + 5, 2**62])
    for _ in range(rng.randint(0, 4)):
        batches.append(_batch(rng, at, secret))
        at = batches[-1].last + 1 + rng.choice([0, 0, 0, 1, 1000])
    return batches


def seen(raw: bytes) -> list[Batch]:
    """The batches of a partition's records, read from their heads: 12 bytes, then as many as they say."""
    batches = []
    while len(raw) >= 61:
        length = 12 + int.from_bytes(raw[8:12], "big")
        if length > len(raw):
            break
        first = int.from_bytes(raw[:8], "big", signed=True)
        last = first + int.from_bytes(raw[23:27], "big", signed=True)
        batches.append(Batch(first, last, int.from_bytes(raw[57:61], "big", signed=True), raw[:length]))
        raw = raw[length:]
    return batches


def ranges(batches: list[Batch]) -> list[Batch]:
    """Batches that follow each other without a hole, as one."""
    joined: list[Batch] = []
    for batch in batches:
        if joined and joined[-1].last + 1 == batch.first:
            before = joined.pop()
            records, raw = before.records + batch.records, before.raw + batch.raw
            joined.append(Batch(before.first, batch.last, records, raw))
        else:
            joined.append(batch)
    return joined

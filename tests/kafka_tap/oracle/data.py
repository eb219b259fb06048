"""Records that are written and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.batches import ranges, seen
from oracle.rows import Row, Said, World, denial, expects, row

if TYPE_CHECKING:
    from collections.abc import Iterator


def _key(of: Any) -> Any:
    return of.topic_id if hasattr(of, "topic_id") else of.name


@expects("Produce")
def produce(request: Any, answer: Any, world: World) -> Iterator[Row]:
    """A row for each partition, in the order of the answer: from the base offset on, as many as the request had."""
    said = Said(
        ((_key(topic), one.index), one.error_code, one.base_offset)
        for topic in (answer.responses if answer else ())
        for one in topic.partition_responses
    )
    rows = {}
    for topic in request.topic_data:
        name, topic_id = world.topic(topic)
        for one in topic.partition_data:
            batches = seen(one.records or b"")
            key = (_key(topic), one.index)
            code, base = said.code(key), said.more(key)
            span = sum(batch.last - batch.first + 1 for batch in batches)
            there = code == 0 and base >= 0 and span > 0
            last = base + span - 1 if there else None
            rows[key] = row(
                "Write",
                code,
                resource=name,
                partition=one.index,
                first_offset=base if there else None,
                last_offset=last if last is not None and last < 2**63 else None,
                records=sum(batch.records for batch in batches),
                bytes=len(one.records or b""),
                ref={"topicId": topic_id, "transactionalId": request.transactional_id},
            )
    yield from (rows.pop(key) for key in said.entries if key in rows)
    yield from rows.values()


def _whole(answer: Any, asked: dict[int, tuple[str, str | None]]) -> Iterator[Row]:
    denied = denial(answer.error_code, asked) if hasattr(answer, "error_code") else None
    if denied:
        yield denied


def _reads(world: World, topic: Any, one: Any, group: str | None, log_start: int) -> Iterator[Row]:
    name, topic_id = world.topic(topic)
    ref = {"topicId": topic_id, "groupId": group}
    index = one.partition_index
    if one.error_code != 0:
        yield row("Read", one.error_code, resource=name, partition=index, ref=ref)
    for at in ranges(seen(one.records or b"")):
        start = None
        if log_start >= 0 and (name, index) not in world.started:
            world.started.add((str(name), index))
            start = log_start
        yield row(
            "Read",
            0,
            resource=name,
            partition=index,
            first_offset=at.first,
            last_offset=at.last,
            records=at.records,
            bytes=len(at.raw),
            ref=ref,
            context={"logStartOffset": start},
        )


@expects("Fetch")
def fetch(_request: Any, answer: Any, world: World) -> Iterator[Row]:
    """A row for each contiguous range of the batches that came."""
    if answer:
        yield from _whole(answer, {31: ("CLUSTER_ACTION", None), 29: ("READ", None)})
    for topic in answer.responses if answer else ():
        for one in topic.partitions:
            yield from _reads(world, topic, one, None, getattr(one, "log_start_offset", -1))


@expects("ShareFetch")
def share_fetch(request: Any, answer: Any, world: World) -> Iterator[Row]:
    """The same, for a group."""
    if answer:
        yield from _whole(answer, {30: ("READ", request.group_id), 29: ("READ", None)})
    for topic in answer.responses if answer else ():
        for one in topic.partitions:
            yield from _reads(world, topic, one, request.group_id, -1)

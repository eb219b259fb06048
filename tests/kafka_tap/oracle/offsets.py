"""Positions of groups: who sets one, and who may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.rows import Row, Said, World, denial, expects, id_text, row

if TYPE_CHECKING:
    from collections.abc import Iterator


def reset(
    group: str,
    topic: Any,
    index: int | None,
    code: Any,
    offset: int | None,
    topic_id: str | None,
    transactional_id: str | None = None,
) -> Row:
    """A group's position was set."""
    ref = {"topicName": topic, "topicId": topic_id, "transactionalId": transactional_id}
    return row("ResetOffsets", code, resource=group, partition=index, ref=ref, context={"offset": offset})


def topic_key(of: Any) -> Any:
    """What tells topics apart in this version."""
    return of.topic_id if hasattr(of, "topic_id") else of.name


def generation(request: Any) -> int:
    """What a member says of its group; commits in transactions first had no room for it, then another name."""
    names = ("generation_id_or_member_epoch", "generation_id")
    return next((getattr(request, name) for name in names if hasattr(request, name)), -1)


@expects("OffsetCommit", "TxnOffsetCommit")
def commit(request: Any, answer: Any, world: World) -> Iterator[Row]:
    """By somebody who is no member: a reset; by a member nothing, unless it is refused."""
    transactional_id = getattr(request, "transactional_id", None)
    if generation(request) >= 0:
        told = set()
        for topic in answer.topics if answer else ():
            for one in topic.partitions:
                asked = {29: ("READ", world.topic(topic)[0]), 30: ("READ", request.group_id)}
                if transactional_id is not None:
                    asked[53] = ("WRITE", transactional_id)
                denied = denial(one.error_code, asked)
                if denied and repr(denied) not in told:
                    told.add(repr(denied))
                    yield denied
        return
    said = Said(
        ((topic_key(topic), one.partition_index), one.error_code, None)
        for topic in (answer.topics if answer else ())
        for one in topic.partitions
    )
    for topic in request.topics:
        name, topic_id = world.topic(topic)
        for one in topic.partitions:
            code = said.code((topic_key(topic), one.partition_index))
            offset = one.committed_offset
            yield reset(request.group_id, name, one.partition_index, code, offset, topic_id, transactional_id)


@expects("OffsetDelete")
def delete_offsets(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """A position is gone."""
    said = Said(
        (
            ((topic.name, one.partition_index), one.error_code, None)
            for topic in (answer.topics if answer else ())
            for one in topic.partitions
        ),
        answer.error_code if answer else 0,
    )
    for topic in request.topics:
        for one in topic.partitions:
            code = said.code((topic.name, one.partition_index))
            yield reset(request.group_id, topic.name, one.partition_index, code, None, None)


@expects("AlterShareGroupOffsets")
def alter_share(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """The answer adds ids."""
    said = Said(
        (
            ((topic.topic_name, one.partition_index), one.error_code, topic.topic_id)
            for topic in (answer.responses if answer else ())
            for one in topic.partitions
        ),
        answer.error_code if answer else 0,
    )
    for topic in request.topics:
        for one in topic.partitions:
            key = (topic.topic_name, one.partition_index)
            topic_id = said.more(key)
            known = id_text(topic_id) if topic_id else None
            yield reset(
                request.group_id, topic.topic_name, one.partition_index, said.code(key), one.start_offset, known
            )


@expects("DeleteShareGroupOffsets")
def delete_share(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """A topic at a time."""
    said = Said(
        ((topic.topic_name, topic.error_code, topic.topic_id) for topic in (answer.responses if answer else ())),
        answer.error_code if answer else 0,
    )
    for topic in request.topics:
        topic_id = said.more(topic.topic_name)
        known = id_text(topic_id) if topic_id else None
        yield reset(request.group_id, topic.topic_name, None, said.code(topic.topic_name), None, known)

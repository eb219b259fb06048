"""What the authorizer knows of each API: which operation it is on which topics, and how a refusal looks on the wire."""

from __future__ import annotations

import dataclasses
import sys
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from kio.schema.errors import ErrorCode

from kafka_proxy import wire

if TYPE_CHECKING:
    from uuid import UUID

    from kafka_proxy.acl import Operation


class Guarded(NamedTuple):
    """Where topics and partitions are in a request, and where they go in the response."""

    operation: Operation
    topics: str
    answers: str
    answer: str
    """The class of what is in `answers`."""
    partitions: str | None = None
    number: str = ""
    """Nothing where the partitions of a request are plain numbers."""
    answered_partitions: str = ""
    answered_partition: str = ""
    answered_number: str = ""
    whole: bool = False
    """Where one topic is denied nothing of the request is done, as in a broker."""


GUARDED: Final = {
    wire.PRODUCE: Guarded(
        "WRITE", "topic_data", "responses", "TopicProduceResponse",
        "partition_data", "index", "partition_responses", "PartitionProduceResponse", "index",
    ),
    wire.FETCH: Guarded(
        "READ", "topics", "responses", "FetchableTopicResponse",
        "partitions", "partition", "partitions", "PartitionData", "partition_index",
    ),
    wire.LIST_OFFSETS: Guarded(
        "DESCRIBE", "topics", "topics", "ListOffsetsTopicResponse",
        "partitions", "partition_index", "partitions", "ListOffsetsPartitionResponse", "partition_index",
    ),
    wire.OFFSET_COMMIT: Guarded(
        "READ", "topics", "topics", "OffsetCommitResponseTopic",
        "partitions", "partition_index", "partitions", "OffsetCommitResponsePartition", "partition_index",
    ),
    wire.TXN_OFFSET_COMMIT: Guarded(
        "READ", "topics", "topics", "TxnOffsetCommitResponseTopic",
        "partitions", "partition_index", "partitions", "TxnOffsetCommitResponsePartition", "partition_index",
    ),
    wire.OFFSET_FOR_LEADER_EPOCH: Guarded(
        "DESCRIBE", "topics", "topics", "OffsetForLeaderTopicResult",
        "partitions", "partition", "partitions", "EpochEndOffset", "partition",
    ),
    wire.DELETE_RECORDS: Guarded(
        "DELETE", "topics", "topics", "DeleteRecordsTopicResult",
        "partitions", "partition_index", "partitions", "DeleteRecordsPartitionResult", "partition_index",
    ),
    # Of clients, so up to version 3; to end the transaction writes its marker to each of these topics.
    wire.ADD_PARTITIONS_TO_TXN: Guarded(
        "WRITE", "v3_and_below_topics", "results_by_topic_v3_and_below", "AddPartitionsToTxnTopicResult",
        "partitions", "", "results_by_partition", "AddPartitionsToTxnPartitionResult", "partition_index", whole=True,
    ),
    wire.CREATE_TOPICS: Guarded("CREATE", "topics", "topics", "CreatableTopicResult"),
    wire.DELETE_TOPICS: Guarded("DELETE", "topics", "responses", "DeletableTopicResult"),
}  # fmt: skip

OPEN: Final = frozenset(
    {
        wire.METADATA,  # its answer is looked through
        wire.OFFSET_FETCH,  # the same
        wire.API_VERSIONS,
        wire.DESCRIBE_CLUSTER,
        wire.FIND_COORDINATOR,
        *range(11, 15),  # members of groups: JoinGroup, Heartbeat, LeaveGroup, SyncGroup
        22,  # InitProducerId
        25,  # AddOffsetsToTxn
        26,  # EndTxn: its markers go to topics that AddPartitionsToTxn or a Produce has named, and both are guarded
        68,  # ConsumerGroupHeartbeat
    }
)
"""What names no topic to be read, written or changed. Groups and transactional ids are not guarded: who knows the name
of another's can fence its producer or end its transaction. Everything else is not offered, and who asks is cut off.
To log in is the proxy's own: at a broker a client would be another than the one who is judged."""
CLIENTS: Final = {wire.ADD_PARTITIONS_TO_TXN: 3}
"""The last version that is for clients, where newer ones are what brokers say to each other."""


def topics(guarded: Guarded, body: Any) -> tuple[str, tuple[Any, ...]]:
    """The list of topics in a request, and how its field is called."""
    name = guarded.topics if hasattr(body, guarded.topics) else "topic_names"  # DeleteTopics up to version 5
    return name, getattr(body, name) or ()


def named(topic: Any) -> tuple[str | None, UUID | None]:
    """Name and id of a topic; newer versions have the id alone."""
    if isinstance(topic, str):
        return topic, None
    name = getattr(topic, "name", None)  # empty is a name, too: whoever sends it gets it back
    return getattr(topic, "topic", None) if name is None else name, getattr(topic, "topic_id", None)


def refusal(codec: wire.Codec, topic: Any, error: ErrorCode) -> Any:
    """What stands in the response for a topic that was refused."""
    guarded = GUARDED[codec.key]
    kinds = sys.modules[codec.response_type.__module__]
    name, topic_id = named(topic)
    errors = {"error_code": error, "partition_error_code": error}
    values: dict[str, Any] = {"name": name, "topic": name, "topic_id": topic_id, **errors}
    if guarded.partitions:
        kind = getattr(kinds, guarded.answered_partition)
        values[guarded.answered_partitions] = tuple(
            # No records, as brokers say it: librdkafka takes null for a broken Fetch, and asks again at once.
            blank(
                kind,
                **{guarded.answered_number: getattr(partition, guarded.number) if guarded.number else partition},
                **errors,
                records=b"",
            )
            for partition in getattr(topic, guarded.partitions) or ()
        )
    return blank(getattr(kinds, guarded.answer), **values)


def blank(kind: Any, **values: Any) -> Any:
    """An entity with these values, where its version has them; what else it must have says nothing."""
    required = _required(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{**required, **{name: value for name, value in values.items() if name in known}})


@cache
def _required(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        field.name: _nothing(hints[field.name])
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    }


def _nothing(hint: Any) -> Any:
    if type(None) in get_args(hint):
        return None
    if get_origin(hint) is tuple:
        return ()
    if isinstance(hint, type):
        for kind, value in (
            (ErrorCode, ErrorCode.none),
            (timedelta, timedelta(0)),
            (bool, False),
            (str, ""),
            (bytes, b""),
        ):
            if issubclass(hint, kind):
                return value
    return -1

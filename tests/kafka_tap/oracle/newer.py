"""Versions that Kafka has and `kio` does not yet, in the form that `kio` itself gives to messages.

Annotations are types here and no text: `kio` reads them.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kio.schema.api_versions.v4 import response as api_versions
from kio.schema.errors import ErrorCode
from kio.schema.request_header.v2.header import RequestHeader
from kio.schema.response_header.v0.header import ResponseHeader as OldResponseHeader
from kio.schema.response_header.v1.header import ResponseHeader
from kio.schema.streams_group_heartbeat.v0 import request as streams_request
from kio.schema.streams_group_heartbeat.v0 import response as streams
from kio.schema.txn_offset_commit.v5 import request as committing
from kio.schema.txn_offset_commit.v5 import response as committed
from kio.schema.types import GroupId, ProducerId, TransactionalId
from kio.static.constants import EntityType
from kio.static.primitive import i16, i32, i32Timedelta, i64


class _Message:
    """What all of them have in common; all are flexible."""

    __type__: ClassVar = EntityType.nested
    __flexible__: ClassVar[bool] = True


_message = dataclass(frozen=True, slots=True, kw_only=True)


def _string() -> Any:
    return field(metadata={"kafka_type": "string"})


def _number(kind: str) -> Any:
    return field(metadata={"kafka_type": kind})


@_message
class ApiVersionsRequest(_Message):
    """Version 5 says which cluster and node the client takes this for."""

    __version__: ClassVar[i16] = i16(5)
    __api_key__: ClassVar[i16] = i16(18)
    __header_schema__: ClassVar = RequestHeader
    client_software_name: str = _string()
    client_software_version: str = _string()
    cluster_id: str | None = _string()
    node_id: i32 = _number("int32")


@_message
class ApiVersionsResponse(_Message):
    """As in version 4."""

    __version__: ClassVar[i16] = i16(5)
    __api_key__: ClassVar[i16] = i16(18)
    __header_schema__: ClassVar = OldResponseHeader
    error_code: ErrorCode = _number("error_code")
    api_keys: tuple[api_versions.ApiVersion, ...]
    throttle_time: i32Timedelta = _number("timedelta_i32")


@_message
class DeletableGroupResult(_Message):
    """Version 3 says why."""

    __version__: ClassVar[i16] = i16(3)
    group_id: GroupId = _string()
    error_code: ErrorCode = _number("error_code")
    error_message: str | None = _string()


@_message
class DeleteGroupsRequest(_Message):
    """As in version 2."""

    __version__: ClassVar[i16] = i16(3)
    __api_key__: ClassVar[i16] = i16(42)
    __header_schema__: ClassVar = RequestHeader
    groups_names: tuple[GroupId, ...] = _string()


@_message
class DeleteGroupsResponse(_Message):
    """Version 3."""

    __version__: ClassVar[i16] = i16(3)
    __api_key__: ClassVar[i16] = i16(42)
    __header_schema__: ClassVar = ResponseHeader
    throttle_time: i32Timedelta = _number("timedelta_i32")
    results: tuple[DeletableGroupResult, ...]


class StreamsGroupHeartbeatRequest(streams_request.StreamsGroupHeartbeatRequest):
    """As in version 0."""

    __slots__ = ()
    __version__: ClassVar[i16] = i16(1)


@_message
class StreamsGroupHeartbeatResponse(_Message):
    """Version 1 has its lag behind the intervals, and asks for the topology."""

    __version__: ClassVar[i16] = i16(1)
    __api_key__: ClassVar[i16] = i16(88)
    __header_schema__: ClassVar = ResponseHeader
    throttle_time: i32Timedelta = _number("timedelta_i32")
    error_code: ErrorCode = _number("error_code")
    error_message: str | None = _string()
    member_id: str = _string()
    member_epoch: i32 = _number("int32")
    heartbeat_interval: i32Timedelta = _number("timedelta_i32")
    task_offset_interval: i32Timedelta = _number("timedelta_i32")
    acceptable_recovery_lag: i64 = _number("int64")
    status: tuple[streams.Status, ...] | None
    active_tasks: tuple[streams.TaskIds, ...] | None
    standby_tasks: tuple[streams.TaskIds, ...] | None
    warmup_tasks: tuple[streams.TaskIds, ...] | None
    topology_description_required: bool = _number("bool")
    endpoint_information_epoch: i32 = _number("int32")
    partitions_by_user_endpoint: tuple[streams.EndpointToPartitions, ...] | None


@_message
class TxnOffsetCommitRequestTopic(_Message):
    """Version 6 names topics by their ids."""

    __version__: ClassVar[i16] = i16(6)
    topic_id: uuid.UUID | None = _number("uuid")
    partitions: tuple[committing.TxnOffsetCommitRequestPartition, ...]


@_message
class TxnOffsetCommitRequest(_Message):
    """Version 6."""

    __version__: ClassVar[i16] = i16(6)
    __api_key__: ClassVar[i16] = i16(28)
    __header_schema__: ClassVar = RequestHeader
    transactional_id: TransactionalId = _string()
    group_id: GroupId = _string()
    producer_id: ProducerId = _number("int64")
    producer_epoch: i16 = _number("int16")
    generation_id_or_member_epoch: i32 = _number("int32")
    member_id: str = _string()
    group_instance_id: str | None = _string()
    topics: tuple[TxnOffsetCommitRequestTopic, ...]


@_message
class TxnOffsetCommitResponseTopic(_Message):
    """Likewise."""

    __version__: ClassVar[i16] = i16(6)
    topic_id: uuid.UUID | None = _number("uuid")
    partitions: tuple[committed.TxnOffsetCommitResponsePartition, ...]


@_message
class TxnOffsetCommitResponse(_Message):
    """Version 6."""

    __version__: ClassVar[i16] = i16(6)
    __api_key__: ClassVar[i16] = i16(28)
    __header_schema__: ClassVar = ResponseHeader
    throttle_time: i32Timedelta = _number("timedelta_i32")
    topics: tuple[TxnOffsetCommitResponseTopic, ...]


# By name and version, with the reason: in Kafka 4.4, and not in kio 0.6.5.
NEWER: dict[tuple[str, int], tuple[type[Any], type[Any]]] = {
    ("ApiVersions", 5): (ApiVersionsRequest, ApiVersionsResponse),
    ("DeleteGroups", 3): (DeleteGroupsRequest, DeleteGroupsResponse),
    ("StreamsGroupHeartbeat", 1): (StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse),
    ("TxnOffsetCommit", 6): (TxnOffsetCommitRequest, TxnOffsetCommitResponse),
}

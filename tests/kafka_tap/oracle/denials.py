"""What a broker refuses in requests that have no event of their own: each refusal once an answer.

The operations are those that Kafka's documentation and its source ask the authorizer for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from oracle.rows import Row, World, denial, expects

# An error, and which operation each code would refuse on what.
Refusal = tuple[Any, dict[int, tuple[str, str | None]]]
Refusals = Callable[[Any, Any, World], Iterator[Refusal]]


def _once(*apis: str) -> Callable[[Refusals], Refusals]:
    """What an error says of a resource is said once, in the order of the answer."""

    def keep(refusals: Refusals) -> Refusals:
        @expects(*apis)
        def told(request: Any, answer: Any, world: World) -> Iterator[Row]:
            before = set()
            for code, asked in refusals(request, answer, world) if answer else ():
                made = denial(code, asked)
                if made and (code, made.get("resource")) not in before:
                    before.add((code, made.get("resource")))
                    yield made

        return refusals

    return keep


@expects("ApiVersions")
def nothing(_request: Any, _answer: Any, _world: World) -> Iterator[Row]:
    """No event."""
    return iter(())


@_once("Metadata", "DescribeTopicPartitions")
def metadata(_request: Any, answer: Any, world: World) -> Iterator[Refusal]:
    """Names of ids are learnt in passing."""
    for topic in answer.topics:
        topic_id = getattr(topic, "topic_id", None)
        name = topic.name or (None if topic_id is None else world.name(topic_id))
        if topic.error_code == 0:
            world.learn(topic_id, topic.name)
        yield topic.error_code, {29: ("DESCRIBE", name)}


@_once(
    "JoinGroup",
    "Heartbeat",
    "SyncGroup",
    "LeaveGroup",
    "ConsumerGroupHeartbeat",
    "ShareGroupHeartbeat",
    "StreamsGroupHeartbeat",
)
def member(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Which topic, nobody says."""
    yield answer.error_code, {30: ("READ", request.group_id), 29: ("DESCRIBE", None)}


@_once("FindCoordinator")
def coordinator(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """By the kind of key that it was."""
    for key, code in (
        [(one.key, one.error_code) for one in answer.coordinators]
        if hasattr(answer, "coordinators")
        else [(request.key, answer.error_code)]
    ):
        yield code, {30: ("DESCRIBE", key), 53: ("DESCRIBE", key), 31: ("CLUSTER_ACTION", None)}


@_once("DescribeGroups", "ConsumerGroupDescribe", "ShareGroupDescribe")
def describe_groups(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Group by group."""
    for group in answer.groups:
        yield group.error_code, {30: ("DESCRIBE", group.group_id), 29: ("DESCRIBE", None)}


@_once("DeleteGroups")
def delete_groups(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same."""
    for group in answer.results:
        yield group.error_code, {30: ("DELETE", group.group_id)}


@_once("ListOffsets")
def list_offsets(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Topic by topic."""
    for topic in answer.topics:
        for one in topic.partitions:
            yield one.error_code, {29: ("DESCRIBE", topic.name)}


@_once("OffsetForLeaderEpoch")
def leader_epoch(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same."""
    for topic in answer.topics:
        for one in topic.partitions:
            yield one.error_code, {29: ("DESCRIBE", topic.topic)}


@_once("OffsetFetch")
def fetch_offsets(request: Any, answer: Any, world: World) -> Iterator[Refusal]:
    """One group, or in the newer versions several."""
    for group_id, of in (
        [(group.group_id, group) for group in answer.groups]
        if hasattr(answer, "groups")
        else [(request.group_id, answer)]
    ):
        for topic in of.topics:
            for one in topic.partitions:
                yield one.error_code, {30: ("DESCRIBE", group_id), 29: ("DESCRIBE", world.topic(topic)[0])}
        if hasattr(of, "error_code"):
            yield of.error_code, {30: ("DESCRIBE", group_id), 29: ("DESCRIBE", None)}


@_once("DescribeShareGroupOffsets")
def describe_share_offsets(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same for share groups."""
    for group in answer.groups:
        for topic in group.topics:
            for one in topic.partitions:
                yield one.error_code, {30: ("DESCRIBE", group.group_id), 29: ("DESCRIBE", topic.topic_name)}
        yield group.error_code, {30: ("DESCRIBE", group.group_id), 29: ("DESCRIBE", None)}


@_once("ShareAcknowledge")
def acknowledge(request: Any, answer: Any, world: World) -> Iterator[Refusal]:
    """All of it, or a topic."""
    yield answer.error_code, {30: ("READ", request.group_id), 29: ("READ", None)}
    for topic in answer.responses:
        for one in topic.partitions:
            yield one.error_code, {30: ("READ", request.group_id), 29: ("READ", world.topic(topic)[0])}


@_once("InitProducerId")
def init_producer(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """For its transaction, or for the cluster."""
    yield answer.error_code, {53: ("WRITE", request.transactional_id), 31: ("IDEMPOTENT_WRITE", None)}


@_once("AddPartitionsToTxn")
def add_partitions(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """One transaction, or from brokers several."""
    if hasattr(answer, "error_code"):
        yield answer.error_code, {31: ("CLUSTER_ACTION", None)}
        transactions = [(one.transactional_id, one.topic_results) for one in answer.results_by_transaction]
    else:
        transactions = [(request.v3_and_below_transactional_id, answer.results_by_topic_v3_and_below)]
    for transactional_id, topics in transactions:
        for topic in topics:
            for one in topic.results_by_partition:
                yield one.partition_error_code, {53: ("WRITE", transactional_id), 29: ("WRITE", topic.name)}


@_once("AddOffsetsToTxn")
def add_offsets(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Transaction or group."""
    yield answer.error_code, {53: ("WRITE", request.transactional_id), 30: ("READ", request.group_id)}


@_once("EndTxn")
def end(request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The transaction."""
    yield answer.error_code, {53: ("WRITE", request.transactional_id)}


@_once("DescribeProducers")
def describe_producers(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Topic by topic."""
    for topic in answer.topics:
        for one in topic.partitions:
            yield one.error_code, {29: ("READ", topic.name)}


@_once("DescribeTransactions")
def describe_transactions(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """One by one."""
    for one in answer.transaction_states:
        yield one.error_code, {53: ("DESCRIBE", one.transactional_id)}


@_once("DescribeConfigs")
def describe_configs(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """By the kind of resource."""
    for one in answer.results:
        name, operation = one.resource_name, "DESCRIBE_CONFIGS"
        yield one.error_code, {29: (operation, name), 30: (operation, name), 31: (operation, None)}


@_once(
    "UpdateFeatures",
    "UnregisterBroker",
    "AddRaftVoter",
    "RemoveRaftVoter",
    "DescribeCluster",
    "AlterPartitionReassignments",
)
def alter_cluster(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """One error for all of it."""
    yield answer.error_code, {31: ("ALTER", None)}


@_once("UpdateRaftVoter")
def act_on_cluster(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same, among brokers."""
    yield answer.error_code, {31: ("CLUSTER_ACTION", None)}


@_once("WriteTxnMarkers")
def write_markers(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Each partition repeats it."""
    for marker in answer.markers:
        for topic in marker.topics:
            for one in topic.partitions:
                yield one.error_code, {31: ("CLUSTER_ACTION", None)}


@_once("ListPartitionReassignments", "DescribeQuorum", "DescribeLogDirs")
def describe_cluster(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same; older answers about log directories have none."""
    if hasattr(answer, "error_code"):
        yield answer.error_code, {31: ("DESCRIBE", None)}


@_once("DescribeClientQuotas", "ListConfigResources")
def describe_configs_of_cluster(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """The same."""
    yield answer.error_code, {31: ("DESCRIBE_CONFIGS", None)}


@_once("AlterClientQuotas")
def alter_quotas(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Entry by entry."""
    for entry in answer.entries:
        yield entry.error_code, {31: ("ALTER_CONFIGS", None)}


@_once("AlterReplicaLogDirs")
def alter_log_dirs(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """Partition by partition."""
    for topic in answer.results:
        for one in topic.partitions:
            yield one.error_code, {31: ("ALTER", None)}


@_once("ElectLeaders")
def elect(_request: Any, answer: Any, _world: World) -> Iterator[Refusal]:
    """All of it, or partition by partition."""
    if hasattr(answer, "error_code"):
        yield answer.error_code, {31: ("ALTER", None)}
    for topic in answer.replica_election_results:
        for one in topic.partition_result:
            yield one.error_code, {31: ("ALTER", None)}

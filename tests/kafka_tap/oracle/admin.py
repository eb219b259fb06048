"""Administration: an event for each resource that a request names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.rows import UNSAID, Row, Said, World, expects, id_text, row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

KINDS = ["Unknown", "Any", "Topic", "Group", "Cluster", "TransactionalId", "DelegationToken", "User"]
PATTERNS = ["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"]
PERMISSIONS = ["UNKNOWN", "ANY", "DENY", "ALLOW"]
OPERATIONS = [
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
]
CONFIGURED = {2: "Topic", 4: "Broker", 8: "BrokerLogger", 16: "ClientMetrics", 32: "Group"}
MECHANISMS = ["UNKNOWN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def word(words: list[str], number: int) -> str:
    """The word of a number, or the first where there is none."""
    return words[number] if 0 <= number < len(words) else words[0]


@expects("CreateTopics")
def create_topics(request: Any, answer: Any, world: World) -> Iterator[Row]:
    """Numbers are those of the answer if it has them, else of the request; a manual assignment counts."""
    said = Said((topic.name, topic.error_code, topic) for topic in (answer.topics if answer else ()))
    for topic in answer.topics if answer else ():
        if topic.error_code == 0 and hasattr(topic, "topic_id"):
            world.learn(topic.topic_id, topic.name)
    for topic in request.topics:
        code, more = said.code(topic.name), said.more(topic.name)
        partitions, replicas = topic.num_partitions, topic.replication_factor
        if topic.assignments:
            partitions, replicas = len(topic.assignments), max(len(one.broker_ids) for one in topic.assignments)
        topic_id = None
        if code == 0:
            partitions = (
                max(getattr(more, "num_partitions", -1), -1) if getattr(more, "num_partitions", -1) >= 0 else partitions
            )
            replicas = more.replication_factor if getattr(more, "replication_factor", -1) >= 0 else replicas
            topic_id = getattr(more, "topic_id", None)
        yield row(
            "CreateTopics",
            code,
            resource=topic.name,
            ref={"topicId": id_text(topic_id) if topic_id else None},
            context={
                "partitions": partitions,
                "replicationFactor": replicas,
                "validateOnly": int(request.validate_only),
            },
        )


@expects("DeleteTopics")
def delete_topics(request: Any, answer: Any, world: World) -> Iterator[Row]:
    """By name, or in the newest version by name or id."""
    entries = []
    for result in answer.responses if answer else ():
        topic_id = getattr(result, "topic_id", None)
        if result.name is not None:
            entries.append(((result.name, None), result.error_code, result))
        if result.name is None or topic_id is not None:
            entries.append(((None, topic_id), result.error_code, result))
    said = Said(entries)
    if hasattr(request, "topic_names"):
        asked: list[tuple[str | None, Any]] = [(name, None) for name in request.topic_names]
    else:
        asked = [(topic.name, topic.topic_id) for topic in request.topics]
    for name, topic_id in asked:
        key = (name, None) if name is not None else (None, topic_id)
        more = said.more(key)
        known_id = topic_id or getattr(more, "topic_id", None)
        known_name = name if name is not None else getattr(more, "name", None)
        if known_name is None and known_id is not None:
            known_name = world.name(known_id)
        yield row(
            "DeleteTopics",
            said.code(key),
            resource=known_name,
            ref={"topicId": id_text(known_id) if known_id else None},
        )


@expects("CreatePartitions")
def create_partitions(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """So many in the end."""
    said = Said((result.name, result.error_code, None) for result in (answer.results if answer else ()))
    for topic in request.topics:
        context = {"partitions": topic.count, "validateOnly": int(request.validate_only)}
        yield row("CreatePartitions", said.code(topic.name), resource=topic.name, context=context)


@expects("AlterConfigs", "IncrementalAlterConfigs")
def alter_configs(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Names of settings alone."""
    said = Said(
        ((one.resource_type, one.resource_name), one.error_code, None) for one in (answer.responses if answer else ())
    )
    for resource in request.resources:
        yield row(
            "AlterConfigs",
            said.code((resource.resource_type, resource.resource_name)),
            resource_type=CONFIGURED.get(resource.resource_type, "Unknown"),
            resource=resource.resource_name,
            context={
                "settings": ",".join(config.name for config in resource.configs) or None,
                "validateOnly": int(request.validate_only),
            },
        )


def acl(action: str, code: Any, of: Any) -> Row:
    """An ACL or a filter, whose fields have other names."""

    def get(*names: str) -> Any:
        return next(getattr(of, name) for name in names if hasattr(of, name))

    return row(
        action,
        code,
        resource_type=word(KINDS, get("resource_type", "resource_type_filter")),
        resource=get("resource_name", "resource_name_filter"),
        context={
            "acl.principal": get("principal", "principal_filter"),
            "acl.host": get("host", "host_filter"),
            "acl.operation": word(OPERATIONS, of.operation),
            "acl.permission": word(PERMISSIONS, of.permission_type),
            "acl.pattern": word(PATTERNS, get("pattern_type", "resource_pattern_type", "pattern_type_filter")),
        },
    )


@expects("CreateAcls")
def create_acls(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Answered in order."""
    codes = [result.error_code for result in (answer.results if answer else ())]
    for at, creation in enumerate(request.creations):
        yield acl("CreateAcls", codes[at] if at < len(codes) else UNSAID, creation)


@expects("DeleteAcls")
def delete_acls(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """What was deleted, and the filters that failed or met none."""
    results = list(answer.filter_results if answer else ())
    for at, of in enumerate(request.filters):
        if at >= len(results):
            yield acl("DeleteAcls", UNSAID, of)
        elif results[at].error_code != 0 or not results[at].matching_acls:
            yield acl("DeleteAcls", results[at].error_code, of)
        else:
            for deleted in results[at].matching_acls:
                yield acl("DeleteAcls", deleted.error_code, deleted)


@expects("DescribeAcls")
def describe_acls(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """The filter."""
    if answer:
        yield acl("DescribeAcls", answer.error_code, request)


@expects("AlterUserScramCredentials")
def alter_scram(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Removed ones, then new ones."""
    said = Said((one.user, one.error_code, None) for one in (answer.results if answer else ()))
    for change, parts in (("delete", request.deletions), ("upsert", request.upsertions)):
        for part in parts:
            iterations = getattr(part, "iterations", -1)
            context = {
                "scram.mechanism": word(MECHANISMS, part.mechanism),
                "scram.change": change,
                "scram.iterations": iterations if iterations >= 0 else None,
            }
            yield row("AlterUserScramCredentials", said.code(part.name), resource=part.name, context=context)


@expects("DescribeUserScramCredentials")
def describe_scram(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Each user, or everybody at once."""
    if not answer:
        return
    said = Said(((one.user, one.error_code, None) for one in answer.results), answer.error_code)
    for user in request.users or ():
        yield row("DescribeUserScramCredentials", said.code(user.name), resource=user.name)
    if not request.users:
        yield row("DescribeUserScramCredentials", answer.error_code)


def millis(at: dt.datetime) -> int:
    """As it is on the wire."""
    return round(at.timestamp() * 1000)


def principal(kind: str | None, name: str | None) -> str | None:
    """Both words of it."""
    return f"{kind}:{name}" if kind is not None and name is not None else None


@expects("CreateDelegationToken")
def create_token(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Of the answer, as far as there is one."""
    owner = principal(getattr(request, "owner_principal_type", None), getattr(request, "owner_principal_name", None))
    if not answer:
        yield row("CreateDelegationToken", UNSAID, context={"token.owner": owner})
        return
    owner = principal(answer.principal_type, answer.principal_name)
    requester = principal(
        getattr(answer, "token_requester_principal_type", None), getattr(answer, "token_requester_principal_name", None)
    )
    done = answer.error_code == 0
    yield row(
        "CreateDelegationToken",
        answer.error_code,
        resource=answer.token_id if done else None,
        context={
            "token.owner": owner,
            "token.requester": requester if requester != owner else None,
            "token.expiresMs": millis(answer.expiry_timestamp) if done else None,
        },
    )


@expects("RenewDelegationToken", "ExpireDelegationToken")
def move_token(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """A token that is named by its HMAC has no name."""
    action = type(request).__name__.removesuffix("Request")
    code = answer.error_code if answer else UNSAID
    yield row(action, code, context={"token.expiresMs": millis(answer.expiry_timestamp) if code == 0 else None})


@expects("DescribeDelegationToken")
def describe_token(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Each owner, or everybody at once."""
    if not answer:
        return
    for owner in request.owners or ():
        name = principal(owner.principal_type, owner.principal_name)
        yield row("DescribeDelegationToken", answer.error_code, context={"token.owner": name})
    if request.owners is None:
        yield row("DescribeDelegationToken", answer.error_code)


@expects("DeleteRecords")
def delete_records(request: Any, answer: Any, _world: World) -> Iterator[Row]:
    """Up to before the low watermark."""
    said = Said(
        ((topic.name, one.partition_index), one.error_code, one.low_watermark)
        for topic in (answer.topics if answer else ())
        for one in topic.partitions
    )
    for topic in request.topics:
        for one in topic.partitions:
            key = (topic.name, one.partition_index)
            code, low = said.code(key), said.more(key)
            last = low - 1 if code == 0 and low > 0 else None
            yield row("Delete", code, resource=topic.name, partition=one.partition_index, last_offset=last)

"""Administration: for each resource what the client was told, and what the audit says of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka import KafkaAdminClient
from kafka.admin import ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePatternFilter
from kafka.admin import ResourceType as ACLResourceType
from kafka.errors import ClusterAuthorizationFailedError

from harness import acls, java, planted
from harness.clients import QUICK, camel, produce, results, sasl
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.broker import Broker
    from harness.proxy import Proxy


@pytest.fixture
def through(broker: Broker, proxy_for: Callable[..., Proxy]) -> Proxy:
    """A proxy that lets clients log in at the broker."""
    return proxy_for(through={"bootstrap": broker.sasl, "sasl": {"mode": "pass-through"}})


@pytest.fixture
def locked(broker: Broker) -> Iterator[None]:
    """The cluster is nobody's but the administrator's."""
    acls.create(broker, acls.rule(ResourceType.BROKER, "kafka-cluster", "nobody", AclOperation.ALL))
    yield
    acls.delete(broker, acls.every(ResourceType.BROKER))


def admin(proxy: Proxy, user: str = "admin") -> AdminClient:
    """A client with all rights, or without any."""
    return AdminClient(proxy.client() | sasl(user, "PLAIN") | QUICK)


def scram_of(client: AdminClient, user: str) -> Any:  # noqa: ANN401 - confluent-kafka says no more of it
    """The credentials that a user has."""
    described = client.describe_user_scram_credentials([user])
    assert isinstance(described, dict)
    return described[user].result(PATIENCE)


def known(client: AdminClient, user: str) -> bool:
    """Whether the broker has heard of any credentials of a user."""
    described = client.describe_user_scram_credentials([user])
    assert isinstance(described, dict)
    return results(described) == {user: None}


def outcome(error: str | None) -> str:
    """What the audit calls what a client was told."""
    if error is None:
        return "success"
    return "denied" if error.endswith("AUTHORIZATION_FAILED") else "failure"


def told(action: str, answers: dict[Any, str | None]) -> list[tuple[str, str, str, str | None]]:
    """Rows of action, resource, outcome and status, as the client's own answers make one expect."""
    return sorted((action, str(name), outcome(error), camel(error)) for name, error in answers.items())


ANY_ACL = ACLFilter(
    None,
    None,
    ACLOperation.ANY,
    ACLPermissionType.ANY,
    ResourcePatternFilter(ACLResourceType.ANY, None, ACLResourcePatternType.ANY),
)

SHA_512 = ScramMechanism.SCRAM_SHA_512
"""What is removed is of this mechanism: where one credential of a mechanism was removed and the broker starts anew,
Kafka 4.4.0 has none of that mechanism any more, and others log in by SCRAM-SHA-256."""

COLUMNS = ("action", "resource", "outcome", "status")


def test_topics(through: Proxy, broker: Broker) -> None:
    """Made, given partitions, removed; and what of it was refused."""
    broker.create_topic("is-there")
    client = admin(through)
    new = [NewTopic("made", 2, 1), NewTopic("is-there", 1, 1), NewTopic("bad name!", 1, 1), NewTopic("too-wide", 1, 3)]
    made = results(client.create_topics(new, request_timeout=PATIENCE))
    wider = results(client.create_partitions([NewPartitions("made", 5), NewPartitions("is-there", 1)]))
    removed = results(client.delete_topics(["made", "was-never"]))
    assert made == {
        "made": None,
        "is-there": "TOPIC_ALREADY_EXISTS",
        "bad name!": "TOPIC_EXCEPTION",
        "too-wide": "INVALID_REPLICATION_FACTOR",
    }
    assert (wider["made"], wider["is-there"]) == (None, "INVALID_PARTITIONS")
    assert removed == {"made": None, "was-never": "UNKNOWN_TOPIC_OR_PART"}
    spelled = {"TOPIC_EXCEPTION": "INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PART": "UNKNOWN_TOPIC_OR_PARTITION"}
    said = [
        {name: spelled.get(error or "", error) for name, error in answers.items()} for answers in (made, wider, removed)
    ]
    audit = through.stop()
    for action, answers in zip(("CreateTopics", "CreatePartitions", "DeleteTopics"), said, strict=True):
        assert audit.rows(*COLUMNS, where=f"action = '{action}'", order="1, 2") == told(action, answers)
    assert audit.context("action = 'CreateTopics' AND resource = 'made'")["partitions"] == 2
    assert audit.context("action = 'CreatePartitions' AND resource = 'made'")["partitions"] == 5
    everybody = audit.rows("DISTINCT principal", "authority", where="category = 'administration'", order="1")
    assert everybody == [("admin", "witness")]


def test_settings(through: Proxy, broker: Broker) -> None:
    """By name, never their values; both ways of changing them."""
    topic = broker.create_topic("settings")
    client = admin(through)
    secret = f"{planted.MARK}-setting"
    step = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)],
    )
    bad = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[ConfigEntry("retention.ms", secret, incremental_operation=AlterConfigOpType.SET)],
    )
    whole = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"segment.ms": "60000", "retention.ms": "1"})
    answers = [results(client.incremental_alter_configs([change])) for change in (step, bad)]
    with pytest.deprecated_call():
        answers.append(results(client.alter_configs([whole])))
    assert [list(answer.values()) for answer in answers] == [[None], ["INVALID_CONFIG"], [None]]
    audit = through.stop()
    columns = ("api", "resource_type", "resource", "outcome", "status", "context->>'settings'")
    rows = audit.rows(*columns, where="action = 'AlterConfigs'", order="seq")
    assert rows[:2] == [
        ("IncrementalAlterConfigs", "Topic", topic, "success", None, "retention.ms"),
        ("IncrementalAlterConfigs", "Topic", topic, "failure", "InvalidConfig", "retention.ms"),
    ]
    assert rows[2][:5] == ("AlterConfigs", "Topic", topic, "success", None)
    assert sorted(re.split(r"[,\s]+", rows[2][5])) == ["retention.ms", "segment.ms"]


def test_acls(through: Proxy, broker: Broker) -> None:
    """Made, looked at, removed: every part of each, and that it holds."""
    topic = broker.create_topic("acls")
    bob = through.client() | sasl("bob", "PLAIN")
    binding = acls.rule(ResourceType.TOPIC, topic, "bob", AclOperation.WRITE, deny=True)
    every = acls.every(ResourceType.TOPIC, topic)
    client = admin(through)
    assert list(results(client.create_acls([binding])).values()) == [None]
    acls.created(broker, binding)
    (report,) = produce(bob, topic, 1)
    assert report.error == "TOPIC_AUTHORIZATION_FAILED"
    assert client.describe_acls(every).result(PATIENCE) == [binding]
    assert client.delete_acls([every])[every].result(PATIENCE) == [binding]
    acls.deleted(broker, every)
    (report,) = produce(bob, topic, 1)
    assert report.error is None
    audit = through.stop()
    columns = ("principal", "resource_type", "resource", "outcome", "status", "authority")
    said = [("admin", "Topic", topic, "success", None, "witness")]
    for action in ("CreateAcls", "DescribeAcls", "DeleteAcls"):
        assert audit.rows(*columns, where=f"action = '{action}'") == said
    for action in ("CreateAcls", "DeleteAcls"):
        assert audit.context(f"action = '{action}'") == {
            "acl.principal": "User:bob",
            "acl.operation": "WRITE",
            "acl.permission": "DENY",
            "acl.pattern": "LITERAL",
            "acl.host": "*",
        }
    assert audit.offsets("Write", topic, "principal = 'bob' AND outcome = 'success'") == {report.at: 1}


@pytest.mark.usefixtures("locked")
def test_what_is_refused_to_bob(through: Proxy, broker: Broker) -> None:
    """Everything that wants rights on the cluster: denied, with the name of the refusal, and by whom."""
    topic = broker.create_topic("not-bobs")
    acls.create(broker, acls.rule(ResourceType.TOPIC, "bobs-own", "nobody", AclOperation.ALL))
    bob = admin(through, "bob")
    scram = UserScramCredentialDeletion("carla", ScramMechanism.SCRAM_SHA_256)
    binding = acls.rule(ResourceType.TOPIC, topic, "bob", AclOperation.ALL)
    every = acls.every(ResourceType.ANY)
    config = ConfigResource(
        ConfigResource.Type.BROKER,
        "1",
        incremental_configs=[ConfigEntry("log.cleaner.threads", "1", incremental_operation=AlterConfigOpType.SET)],
    )
    answers = {
        "AlterUserScramCredentials": results(bob.alter_user_scram_credentials([scram])),
        "CreateAcls": results(bob.create_acls([binding])),
        "AlterConfigs": results(bob.incremental_alter_configs([config])),
        "DeleteAcls": results(bob.delete_acls([every])),
    }
    for action, answer in answers.items():
        assert list(answer.values()) == ["CLUSTER_AUTHORIZATION_FAILED"], action
    # confluent-kafka takes the refusal of a description for an empty one.
    other = KafkaAdminClient(
        bootstrap_servers=through.address(),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username="bob",
        sasl_plain_password=planted.password("bob"),
    )
    with pytest.raises(ClusterAuthorizationFailedError):
        other.describe_acls(ANY_ACL)
    other.close()
    made = results(bob.create_topics([NewTopic("bobs-own", 1, 1)], request_timeout=PATIENCE))
    assert made == {"bobs-own": "TOPIC_AUTHORIZATION_FAILED"}
    audit = through.stop()
    rows = audit.rows("action", "principal", "outcome", "status", where="category = 'administration'", order="seq")
    assert rows == [
        *((action, "bob", "denied", "ClusterAuthorizationFailed") for action in [*answers, "DescribeAcls"]),
        ("CreateTopics", "bob", "denied", "TopicAuthorizationFailed"),
    ]


def test_scram_credentials(through: Proxy, broker: Broker) -> None:
    """Set, used, looked at, removed: who, for which mechanism, how many iterations; never what makes a password."""
    client = admin(through)
    salt = os.urandom(24)
    info = ScramCredentialInfo(SHA_512, 4096)
    planted.salted("dave", salt, 4096)
    planted.remember(salt)
    delete = UserScramCredentialDeletion("dave", SHA_512)
    upsert = UserScramCredentialUpsertion("dave", info, planted.password("dave").encode(), salt)
    assert list(results(client.alter_user_scram_credentials([upsert])).values()) == [None]
    # The controller has it first; the audited description is to be the only one that the proxy sees.
    until(lambda: known(broker.admin(), "dave"), "the broker has heard of dave's credentials")
    described = scram_of(client, "dave")
    assert [one.iterations for one in described.scram_credential_infos] == [4096]
    assert list(results(client.alter_user_scram_credentials([delete])).values()) == [None]
    twice = results(client.alter_user_scram_credentials([delete]))
    assert list(twice.values()) == ["RESOURCE_NOT_FOUND"]
    audit = through.stop()
    columns = ("principal", "resource", "outcome", "status", "context->>'scram.mechanism'", "context->>'scram.change'")
    rows = audit.rows(
        *columns, "context->>'scram.iterations'", where="action = 'AlterUserScramCredentials'", order="seq"
    )
    assert rows == [
        ("admin", "dave", "success", None, "SCRAM-SHA-512", "upsert", "4096"),
        ("admin", "dave", "success", None, "SCRAM-SHA-512", "delete", None),
        ("admin", "dave", "failure", "ResourceNotFound", "SCRAM-SHA-512", "delete", None),
    ]
    looked = audit.rows("principal", "resource", "outcome", where="action = 'DescribeUserScramCredentials'")
    assert looked == [("admin", "dave", "success")]


def test_delegation_tokens(through: Proxy, folder: Path) -> None:
    """Made, looked at, renewed, ended by Kafka's own command: the token's id, never its HMAC."""
    config = java.command_config(folder / "tokens.properties", sasl("carla", "SCRAM-SHA-256"))
    tool = ("DelegationTokenCommand", "--bootstrap-server", through.address(), "--command-config", config)
    printed = java.run(*tool, "--create", "--max-life-time-period", "-1", "--renewer-principal", "User:carla")
    values = printed.splitlines()[-1].split()
    token_id, hmac = values[0], values[1]
    planted.remember(hmac.encode())
    assert token_id in java.run(*tool, "--describe", "--owner-principal", "User:carla")
    java.run(*tool, "--renew", "--renew-time-period", "-1", "--hmac", hmac)
    java.run(*tool, "--expire", "--expiry-time-period", "-1", "--hmac", hmac)
    audit = through.stop()
    columns = ("action", "principal", "outcome", "resource_type", "operation")
    rows = audit.rows(*columns, where="resource_type = 'DelegationToken'", order="seq")
    assert rows == [
        ("CreateDelegationToken", "carla", "success", "DelegationToken", "CREATE"),
        ("DescribeDelegationToken", "carla", "success", "DelegationToken", "DESCRIBE"),
        ("RenewDelegationToken", "carla", "success", "DelegationToken", "RENEW"),
        ("ExpireDelegationToken", "carla", "success", "DelegationToken", "EXPIRE"),
    ]
    assert audit.one("resource", where="action = 'CreateDelegationToken'") == (token_id,)
    assert audit.context("action = 'CreateDelegationToken'")["token.owner"] == "User:carla"


def test_records_that_are_deleted(proxy: Proxy, broker: Broker) -> None:
    """A Delete per partition, up to where the log now starts; what was refused says why."""
    topic = broker.create_topic("deleted", partitions=2)
    for partition, count in ((0, 10), (1, 5)):
        produce({"bootstrap.servers": broker.plain}, topic, count, partition=partition)
    client = AdminClient(proxy.client() | QUICK)
    asked = [TopicPartition(topic, 0, 4), TopicPartition(topic, 1, 99)]
    answers = client.delete_records(asked, request_timeout=PATIENCE)
    marks = {
        (at.partition): future.exception(PATIENCE) or future.result().low_watermark for at, future in answers.items()
    }
    assert marks[0] == 4
    assert marks[1].args[0].name() == "OFFSET_OUT_OF_RANGE"
    audit = proxy.stop()
    rows = audit.rows("partition", "last_offset", "outcome", "status", where="action = 'Delete'", order="1")
    assert rows == [(0, 3, "success", None), (1, None, "failure", "OffsetOutOfRange")]


def test_a_command_of_kafka_itself(through: Proxy, broker: Broker, folder: Path) -> None:
    """`kafka-acls` and `kafka-configs`, as administrators type them."""
    topic = broker.create_topic("by-command-line")
    config = java.command_config(folder / "admin.properties", sasl("admin", "PLAIN"))
    where = ("--bootstrap-server", through.address(), "--command-config", config)
    acl = ("--topic", topic, "--allow-principal", "User:alice", "--producer", "--force")
    java.run("AclCommand", *where, "--add", *acl)
    needed = (AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
    acls.created(broker, *(acls.rule(ResourceType.TOPIC, topic, "alice", operation) for operation in needed))
    listed = java.run("AclCommand", *where, "--list", "--topic", topic)
    java.run("AclCommand", *where, "--remove", *acl)
    java.run("ConfigCommand", *where, "--alter", "--topic", topic, "--add-config", "retention.ms=1234567")
    password = planted.password("erin")
    scram = f"SCRAM-SHA-256=[iterations=4096,password={password}]"
    java.run("ConfigCommand", *where, "--alter", "--user", "erin", "--add-config", scram)
    created = sorted(re.findall(r"operation=(\w+), permissionType=ALLOW", listed))
    assert created == ["CREATE", "DESCRIBE", "WRITE"]
    audit = through.stop()
    operations = "context->>'acl.operation'"
    for action in ("CreateAcls", "DeleteAcls"):
        rows = audit.rows(operations, "principal", "outcome", where=f"action = '{action}'", order="1")
        assert rows == [(operation, "admin", "success") for operation in created]
    looked = audit.rows("DISTINCT resource", "principal", where="action = 'DescribeAcls'", order="1")
    assert looked == [(topic, "admin")]
    altered = audit.rows("resource_type", "resource", "context->>'settings'", where="action = 'AlterConfigs'")
    assert altered == [("Topic", topic, "retention.ms")]
    scrams = audit.rows("resource", "context->>'scram.change'", "outcome", where="action = 'AlterUserScramCredentials'")
    assert scrams == [("erin", "upsert", "success")]


def test_looking_is_no_change(through: Proxy, broker: Broker) -> None:
    """Metadata, settings, groups and offsets are looked at without a row of administration."""
    topic = broker.create_topic("looked-at")
    client = admin(through)
    client.list_topics(timeout=PATIENCE)
    client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])
    client.list_consumer_groups().result(PATIENCE)
    client.describe_cluster().result(PATIENCE)
    assert through.stop().rows("*", where="category IN ('administration', 'data', 'authorization')") == []

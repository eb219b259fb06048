"""What the review asked about *what*: one action on one resource, the object's names, requests, joins, secrets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import Keep, _core
from auditring.exceptions import ConfigError
from auditring.query import connect
from auditring.sinks import JsonlSink, ParquetSink
from sealed_rows import lines_of, rows_of


def test_group_and_transaction_are_in_the_object_reference(tmp_path: Path) -> None:
    """By upstream's scope names, beside topic, partition and virtual cluster; the client's id is on every row."""
    with (
        auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log,
        log.session(virtual_cluster="payments", client_id="app-7") as session,
    ):
        session.read("orders", 3, 0, 9, group_id="billing")
        session.write("orders", 3, 10, 11, transactional_id="tx-1")
        session.operation_denied("READ", "Group", "billing")
        session.operation_denied("WRITE", "TransactionalId", "tx-1")
        session.broker("10.0.0.5:9092", node_id=5).close()
    lines = [line for line in lines_of(tmp_path) if "objectRef" in line and line["action"] != "ClientAccept"]
    assert [(line["action"], line["objectRef"]) for line in lines[:-1]] == [
        ("Read", {"vc": "payments", "topicName": "orders", "partition": "3", "groupId": "billing"}),
        ("Write", {"vc": "payments", "topicName": "orders", "partition": "3", "transactionalId": "tx-1"}),
        ("OperationDenied", {"vc": "payments", "groupId": "billing"}),
        ("OperationDenied", {"vc": "payments", "transactionalId": "tx-1"}),
        ("BrokerConnect", {"vc": "payments", "addr": "10.0.0.5:9092", "nodeId": "5"}),
        ("BrokerClose", {"vc": "payments", "addr": "10.0.0.5:9092", "nodeId": "5"}),
    ]
    assert {line["clientId"] for line in lines} == {"app-7"}
    (read,) = rows_of(tmp_path, "Read")
    assert json.loads(read["object_ref"]) == {"groupId": "billing"}


def test_a_reset_of_offsets_is_an_event_of_its_own(tmp_path: Path) -> None:
    """Which group, on which topic and partition, from where to where."""
    with (
        auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink())) as log,
        log.session() as session,
        session.broker("10.0.0.5:9092") as broker,
    ):
        broker.reset_offsets("billing", "orders", 3, 0, 1000, api="OffsetCommit")
    (line,) = [line for line in lines_of(tmp_path) if line["action"] == "ResetOffsets"]
    assert line["objectRef"] == {"groupId": "billing", "topicName": "orders", "partition": "3"}
    assert line["context"] == {"offset": 0, "previousOffset": 1000}
    assert (line["operation"], line["resourceType"], line["resource"]) == ("RESET_OFFSETS", "Group", "billing")
    assert (line["category"], line["authority"]) == ("administration", "witness")


def test_one_action_on_one_resource_is_one_event(tmp_path: Path) -> None:
    """A request that names several resources makes several rows, which its correlation id holds together."""
    with auditring.open(tmp_path) as log, log.session() as session, session.broker("10.0.0.5:9092") as broker:
        for topic, status in (("a", None), ("b", "TOPIC_ALREADY_EXISTS"), ("c", None)):
            broker.create_topics(topic, 3, 2, 77, 907, api="CreateTopics", status=status)
    rows = rows_of(tmp_path, "CreateTopics")
    assert [(row["resource"], row["outcome"], row["status"]) for row in rows] == [
        ("a", "success", None),
        ("b", "failure", "TOPIC_ALREADY_EXISTS"),
        ("c", "success", None),
    ]
    assert {(row["client_correlation_id"], row["server_correlation_id"]) for row in rows} == {(77, 907)}


def test_request_level_events_are_off_unless_asked_for(tmp_path: Path) -> None:
    """Off they cost a test and are counted; what failed is told all the same; `request=Keep.ALL` turns them on."""

    def pass_through(root: Path, **settings: Any) -> auditring.Stats:  # noqa: ANN401 - the settings of `open`
        with auditring.open(root, **settings) as log:
            with log.session() as session, session.broker("10.0.0.5:9092", local="10.0.0.9:40112") as broker:
                session.request_ingress("Produce", 9, 42, 100)
                broker.request_egress("Produce", 9, 42, 907, 104)
                session.request_shortcircuit("ApiVersions", filter="com.example.Filter")
                session.response_egress("Produce", 9, 42, 907, 60, 1_000_000)
                broker.request_egress("Produce", status="CONNECTION_LOST")
            log.request_inject("Metadata", 12, 908)
            log.flush(30)
            return log.stats()

    off = pass_through(tmp_path / "off")
    assert off.off == 5
    assert off.balanced
    assert off.actions["RequestIngress", "success"] == 1
    on = pass_through(tmp_path / "on", request=Keep.ALL)
    assert on.off == 0
    told = {
        name: [(row["action"], row["outcome"]) for row in rows_of(tmp_path / name) if row["category"] == "request"]
        for name in ("off", "on")
    }
    assert told == {
        "off": [("RequestEgress", "failure")],
        "on": [
            ("RequestIngress", "success"),
            ("RequestEgress", "forwarded"),
            ("RequestShortcircuit", "success"),
            ("ResponseEgress", "success"),
            ("RequestEgress", "failure"),
            ("RequestInject", "forwarded"),
        ],
    }
    with pytest.raises(ConfigError, match="request"):
        auditring.open(None, request=Keep.SAMPLE(one_in=2))


def test_request_level_events_join_with_a_brokers_request_log(tmp_path: Path) -> None:
    """A broker's log names the connection by the proxy's end of it, and the request by its correlation id there."""
    with auditring.open(tmp_path / "audit", request=Keep.ALL) as log:
        for number, name in ((1, "alice"), (2, "bob")):
            with log.session(id=name, authority="witness", client_id=f"app-{name}") as session:
                session.client_sasl_auth_success(name)
                with session.broker("10.0.0.5:9092", node_id=5, local=f"10.0.0.9:4011{number}") as broker:
                    # Both clients' requests have the same ids: the connection tells them apart.
                    broker.request_egress("Produce", 9, 42, 907, 104)
                    broker.request_egress("Fetch", 13, 43, 908, 80)
    sample = """\
[2026-11-23 20:15:00,123] DEBUG Completed request:{"isForwarded":false,"requestHeader":{"requestApiKeyName":"PRODUCE",\
"clientId":"proxy","correlationId":907},"connection":"10.0.0.5:9092-10.0.0.9:40112-3","totalTimeMs":1.2}
[2026-11-23 20:15:00,125] DEBUG Completed request:{"isForwarded":false,"requestHeader":{"requestApiKeyName":"FETCH",\
"clientId":"proxy","correlationId":908},"connection":"10.0.0.5:9092-10.0.0.9:40111-2","totalTimeMs":7.5}
[2026-11-23 20:15:00,126] DEBUG Completed request:{"isForwarded":false,"requestHeader":{"requestApiKeyName":"FETCH",\
"clientId":"other","correlationId":908},"connection":"10.0.0.5:9092-10.0.0.77:40111-9","totalTimeMs":7.5}
"""
    requests = [json.loads(line.partition("request:")[2]) for line in sample.splitlines()]
    with connect(tmp_path / "audit") as con:
        con.execute("CREATE TABLE broker_log (api VARCHAR, correlation_id INTEGER, connection VARCHAR, ms DOUBLE)")
        for request in requests:
            header = request["requestHeader"]
            values = [
                header["requestApiKeyName"],
                header["correlationId"],
                request["connection"],
                request["totalTimeMs"],
            ]
            con.execute("INSERT INTO broker_log VALUES (?, ?, ?, ?)", values)
        joined = con.execute("""
            SELECT principal, client_id, events.api, client_correlation_id, ms
            FROM broker_log
            JOIN events ON server_correlation_id = correlation_id AND server_local = split_part(connection, '-', 2)
            WHERE action = 'RequestEgress'
            ORDER BY principal
        """).fetchall()
    assert joined == [("alice", "app-alice", "Fetch", 43, 7.5), ("bob", "app-bob", "Produce", 42, 1.2)]


def test_secrets_have_no_field_to_go_into() -> None:
    """No argument of any event is for a password, a SASL payload, an HMAC, a setting's value or a record's contents."""
    secret = re.compile(r"password|secret|hmac|payload|salt|signature|private|credential|^key$|^value$|header|token$")
    for action in _core.actions():
        for field in action["fields"]:
            assert not secret.search(field["name"]), (action["name"], field["name"])


def test_a_process_tells_in_what_context_it_started(tmp_path: Path) -> None:
    """Versions, clock, who and where it runs, durability, and digests that tell whether the settings have changed."""
    facts = []
    for name, settings in (("a", {}), ("b", {}), ("c", {"read": Keep.OFF}), ("d", {"journal_bytes": 1 << 30})):
        auditring.open(tmp_path / name, instance="proxy-1", seed=7, **settings).close()
        (row,) = rows_of(tmp_path / name, "ProxyStartup")
        facts.append(json.loads(row["context"]))
    one, again, other_policy, other_settings = facts
    assert set(one) == {
        *("version", "pid", "bootId", "clock", "schemaVersion", "python", "platform", "user", "durability"),
        *("configurationDigest", "policyDigest"),
    }
    assert one["schemaVersion"] == _core.SCHEMA_VERSION
    assert one["durability"] == "process"
    assert one["clock"] in {"tsc", "monotonic"}
    assert one["python"].startswith("CPython 3.")
    digests = [(each["configurationDigest"], each["policyDigest"]) for each in facts]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for pair in digests for digest in pair)
    assert digests[0] == digests[1]
    assert other_policy["policyDigest"] != one["policyDigest"] == other_settings["policyDigest"]
    assert len({each["configurationDigest"] for each in (again, other_policy, other_settings)}) == 3


def test_administration_goes_by_its_broker(tmp_path: Path) -> None:
    """Every administrative action is a method of session and broker: done to what, and which broker answered."""
    names = [action["method"] for action in _core.actions() if action["category"] == "administration"]
    assert len(names) == 14
    with auditring.open(tmp_path) as log, log.session() as session:
        with session.broker("10.0.0.5:9092", node_id=5) as broker:
            broker.create_acls("Topic", "orders", "User:bob", "READ", "ALLOW", "LITERAL")
            broker.alter_configs("Topic", "orders", "retention.ms,cleanup.policy")
            broker.alter_user_scram_credentials("bob", "SCRAM-SHA-256", "upsert", 4096)
            broker.create_delegation_token("token-1", "User:bob", expires_ms=1_800_000_000_000)
            with pytest.raises(ValueError, match="must be one of upsert, delete"):
                broker.alter_user_scram_credentials("bob", change="reset")  # type: ignore[arg-type]
        assert all(callable(getattr(handle, name)) for handle in (session, broker) for name in names)
    rows = [row for row in rows_of(tmp_path) if row["category"] == "administration"]
    assert [(row["operation"], row["resource_type"], row["resource"], row["node_id"]) for row in rows] == [
        ("CREATE_ACL", "Topic", "orders", 5),
        ("ALTER_CONFIGS", "Topic", "orders", 5),
        ("ALTER", "User", "bob", 5),
        ("CREATE", "DelegationToken", "token-1", 5),
    ]
    with connect(tmp_path) as con:
        of_acl = """SELECT context ->> '$."acl.principal"' FROM events WHERE action = 'CreateAcls'"""
        assert con.execute(of_acl).fetchall() == [("User:bob",)]

"""The whole proxy between real clients and librdkafka's mock cluster of three brokers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("confluent_kafka")
pytest.importorskip("kio")
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from auditring import query
from proxy_messages import framed, request
from proxy_running import DEADLINE, Running, login, running

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")])}
API_VERSIONS, METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE, DESCRIBE_ACLS = 18, 3, 17, 36, 29
TERMINATE = 'sasl = {mode = "terminate", users = "users.toml"}\n'


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of a mock cluster."""
    mock = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 3, "log_level": 0})
    brokers = mock.list_topics(timeout=DEADLINE).brokers
    yield "{0.host}:{0.port}".format(brokers[1])
    mock.flush(0)


def cluster(upstream: str, more: str = "") -> str:
    """A virtual cluster that rewrites addresses."""
    return f'[clusters.c]\nbootstrap = "{upstream}"\ntaps = ["client", "broker"]\n{more}'


def produce(config: dict[str, Any], topics: list[str], count: int = 30) -> Counter[tuple[str, str | None]]:
    """What was delivered of `count` messages to each topic, and what was not, by error."""
    outcomes: Counter[tuple[str, str | None]] = Counter()
    producer = Producer(config)

    def report(error: KafkaError | None, message: Any) -> None:
        outcomes[message.topic(), error.name() if error else None] += 1

    for topic in topics:
        for number in range(count):
            producer.produce(topic, b"v%d" % number, partition=number % 3, on_delivery=report)
    assert producer.flush(DEADLINE) == 0
    return outcomes


def consume(config: dict[str, Any], topic: str, count: int, *, group: bool = False) -> int:
    """How many of `count` messages could be read, by a member of a group or without one."""
    consumer = Consumer({**config, "group.id": f"group-{topic}", "auto.offset.reset": "earliest"})
    if group:
        consumer.subscribe([topic])
    else:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
    read = 0
    deadline = time.monotonic() + DEADLINE
    while read < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        read += message is not None and message.error() is None
    consumer.close()
    return read


def create(upstream: str, *topics: str) -> None:
    """The mock makes topics that it is asked for."""
    producer = Producer({"bootstrap.servers": upstream, "log_level": 0})
    for topic in topics:
        producer.produce(topic, b"first", partition=0)
    assert producer.flush(DEADLINE) == 0


def refused(config: dict[str, Any]) -> set[str | None]:
    """The errors of a client that is not let in."""
    errors: set[str | None] = set()
    told = threading.Event()

    def note(error: KafkaError) -> None:
        errors.add(error.name())
        told.set()

    # The audit is to have the try that was refused, and not the beginning of one more that the client's end breaks off.
    seldom = {"reconnect.backoff.ms": 10_000, "reconnect.backoff.max.ms": 10_000}
    producer = Producer({**config, "error_cb": note, **seldom})
    deadline = time.monotonic() + DEADLINE
    while not told.is_set() and time.monotonic() < deadline:
        producer.poll(0.1)
    return errors


def test_clients_stay_on_the_proxy(tmp_path: Path, upstream: str) -> None:
    """Every broker has a port of its own, and its node id is in the rows; who closed is known."""
    with running(tmp_path, cluster(upstream)) as proxy:
        assert produce(proxy.client(), ["stay"]) == {("stay", None): 30}
        assert consume(proxy.client(), "stay", 30) == 30
        listed = Producer(proxy.client()).list_topics(timeout=DEADLINE).brokers.values()
        ports = {gate.port for gate in proxy.proxy.clusters["c"].gates.values()}
        assert {broker.port for broker in listed} < ports
        assert len(ports) == 4
    nodes = {node for (node,) in proxy.rows("SELECT DISTINCT node_id FROM events WHERE action = 'BrokerConnect'")}
    assert {None} < nodes <= {None, 1, 2, 3}
    opened, closed, lost = proxy.rows(
        "SELECT count(*) FILTER (action = 'ClientAccept'), count(*) FILTER (action = 'ClientClose'), "
        "count(*) FILTER (status IS NOT NULL AND category <> 'request') FROM events"
    )[0]
    assert (opened > 3, opened - closed, lost) == (True, 0, 0)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_logins_end_at_the_proxy(tmp_path: Path, upstream: str, mechanism: str) -> None:
    """The proxy decides; all rows after the login have the principal, and nobody is connected to a broker before."""
    with running(tmp_path, cluster(upstream, TERMINATE)) as proxy:
        assert produce(proxy.client(**login("alice", mechanism=mechanism)), ["login"]) == {("login", None): 30}
    actions = proxy.rows(
        "SELECT DISTINCT action, principal, mechanism, authority FROM events WHERE session IS NOT NULL"
    )
    assert ("ClientSaslAuthSuccess", "alice", mechanism, "decision") in actions
    assert {row[1] for row in actions if row[0] == "BrokerConnect"} == {"alice"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize(("name", "password"), [("alice", "wr0ng-pass"), ("nobody", "wr0ng-pass")])
def test_logins_that_fail(tmp_path: Path, upstream: str, name: str, password: str, mechanism: str) -> None:
    """The client gets one and the same error; the audit knows whom it claimed to be. No broker hears of it."""
    with running(tmp_path, cluster(upstream, TERMINATE)) as proxy:
        assert "_AUTHENTICATION" in refused(proxy.client(**login(name, password, mechanism)))
    rows = proxy.rows(
        "SELECT DISTINCT action, principal, attempted_principal, status, initiator, mechanism FROM events "
        "WHERE outcome = 'failure'"
    )
    assert set(rows) == {
        ("ClientSaslAuthFailure", None, name, "SaslAuthenticationFailed", None, mechanism),
        ("ClientClose", None, None, "SaslAuthenticationFailed", "proxy", None),
    }
    assert proxy.rows("SELECT count(*) FROM events WHERE action = 'BrokerConnect'") == [(0,)]


def exchange(address: str, *frames: bytes) -> list[bytes]:
    """Answers to frames, one by one; an empty one where the connection was closed."""
    host, port = address.split(":")
    answers = []
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as client, client.makefile("rb") as reader:
        for frame in frames:
            try:
                client.sendall(frame)
                answers.append(reader.read(int.from_bytes(reader.read(4))))
            except ConnectionError:
                answers.append(b"")
    return answers


def test_no_taps(tmp_path: Path, upstream: str, caplog: pytest.LogCaptureFixture) -> None:
    """Is said aloud at the start: the audit will have nothing of what clients do."""
    clusters = f'[clusters.c]\nbootstrap = "{upstream}"\ntaps = []\n[clusters.d]\nbootstrap = "{upstream}"\n'
    with running(tmp_path, clusters):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "kafka_proxy: c has taps = []: no data and no administration is recorded"
    ]


def test_a_login_the_old_way(tmp_path: Path, upstream: str) -> None:
    """SaslHandshake of version 0, then a bare token; then the broker answers."""
    token = b"\0alice\0alice-pass"
    with running(tmp_path, cluster(upstream, TERMINATE)) as proxy:
        answers = exchange(
            proxy.client()["bootstrap.servers"],
            framed(1, request(SASL_HANDSHAKE, 0, mechanism="PLAIN"), SASL_HANDSHAKE),
            len(token).to_bytes(4) + token,
            framed(3, request(METADATA, 4, topics=()), METADATA),
        )
    assert (answers[0][:6], answers[1], answers[2][:4]) == (b"\0\0\0\1\0\0", b"", b"\0\0\0\3")


def test_no_second_login(tmp_path: Path, upstream: str) -> None:
    """Least of all at the broker: refused by the proxy, and the connection goes on."""
    with running(tmp_path, cluster(upstream, TERMINATE)) as proxy:
        answers = exchange(
            proxy.client()["bootstrap.servers"],
            framed(1, request(SASL_HANDSHAKE, 1, mechanism="PLAIN"), SASL_HANDSHAKE),
            framed(2, request(SASL_AUTHENTICATE, 2, auth_bytes=b"\0bob\0bob-pass"), SASL_AUTHENTICATE),
            framed(3, request(SASL_HANDSHAKE, 1, mechanism="PLAIN"), SASL_HANDSHAKE),
            framed(4, request(METADATA, 4, topics=()), METADATA),
        )
    assert [answer[4:6] for answer in answers[:3]] == [b"\0\0", b"\0\0", b"\0\x22"]
    assert answers[3]
    assert proxy.rows("SELECT count(*) FROM events WHERE action LIKE 'ClientSasl%'") == [(1,)]


def test_what_is_not_offered_and_attempted(tmp_path: Path, upstream: str) -> None:
    """Is cut off; the audit has who it was, that it was denied, and what it was."""
    (tmp_path / "acl.toml").write_text(ACL)
    with running(tmp_path, cluster(upstream, TERMINATE + 'acl = "acl.toml"\n')) as proxy:
        answers = exchange(
            proxy.client()["bootstrap.servers"],
            framed(1, request(SASL_HANDSHAKE, 1, mechanism="PLAIN"), SASL_HANDSHAKE),
            framed(2, request(SASL_AUTHENTICATE, 2, auth_bytes=b"\0bob\0bob-pass"), SASL_AUTHENTICATE),
            framed(3, request(DESCRIBE_ACLS, 3), DESCRIBE_ACLS),
        )
    assert answers[2] == b""
    decided = "FROM events WHERE category = 'authorization'"
    assert proxy.rows(f"SELECT action, principal, operation, resource_type, resource, status, authority {decided}") == [
        ("OperationDenied", "bob", "DescribeAcls", "Cluster", "kafka-cluster", "ApiNotGuarded", "decision")
    ]
    assert proxy.rows(f"SELECT context->>'api', context->>'version' {decided}") == [("DescribeAcls", "3")]
    assert ("DescribeAcls", "client") in proxy.rows("SELECT api, tap FROM events WHERE action = 'RequestIngress'")
    assert proxy.rows("SELECT status FROM events WHERE action = 'ClientClose'") == [("ApiNotGuarded",)]


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (framed(1, request(METADATA, 4), METADATA), "IllegalSaslState"),
        (framed(1, request(SASL_AUTHENTICATE, 1), SASL_AUTHENTICATE), "IllegalSaslState"),
        (b"GET / HTTP/1.1\r\n\r\n", "FrameTooLarge"),
        (b"\xff\xff\xff\xff", "FrameTooLarge"),
    ],
)
def test_who_does_not_log_in(tmp_path: Path, upstream: str, frame: bytes, status: str) -> None:
    """Is cut off, with a status, before a broker hears of it."""
    with running(tmp_path, cluster(upstream, TERMINATE)) as proxy:
        assert exchange(proxy.client()["bootstrap.servers"], frame) == [b""]
    assert proxy.rows("SELECT initiator, status FROM events WHERE action = 'ClientClose'") == [("proxy", status)]


ACL = """
[[allow]]
principals = ["alice"]
operations = ["ALL"]
topics = ["acl-*"]
[[allow]]
principals = ["bob"]
operations = ["READ"]
topics = ["acl-orders"]
"""


def test_the_authorizer_answers_in_the_brokers_place(tmp_path: Path, upstream: str) -> None:
    """Alice writes, Bob reads and may not write; what was attempted is recorded, what was only asked is not."""
    (tmp_path / "acl.toml").write_text(ACL)
    with running(tmp_path, cluster(upstream, TERMINATE + 'acl = "acl.toml"\n')) as proxy:
        alice, bob = proxy.client(**login("alice")), proxy.client(**login("bob"))
        create(upstream, "acl-orders", "acl-secret")
        assert produce(alice, ["acl-orders"]) == {("acl-orders", None): 30}
        assert produce(bob, ["acl-orders"]) == {("acl-orders", "TOPIC_AUTHORIZATION_FAILED"): 30}
        assert consume(bob, "acl-orders", 31) == 31
        assert {"acl-orders"} == Producer(bob).list_topics(timeout=DEADLINE).topics.keys()
    rows = proxy.rows(
        "SELECT DISTINCT action, principal, operation, resource, outcome, status, authority, origin "
        "FROM events WHERE category = 'authorization'"
    )
    denied = "TopicAuthorizationFailed"
    assert ("OperationAllowed", "alice", "WRITE", "acl-orders", "allowed", None, "decision", "client") in rows
    assert ("OperationAllowed", "bob", "READ", "acl-orders", "allowed", None, "decision", "client") in rows
    assert ("OperationDenied", "bob", "WRITE", "acl-orders", "denied", denied, "decision", "client") in rows
    assert {(row[3], row[6]) for row in rows} == {("acl-orders", "decision")}
    written = proxy.rows("SELECT DISTINCT principal, resource, outcome FROM events WHERE action = 'Write'")
    assert written == [("alice", "acl-orders", "success")]
    shortcircuits = proxy.rows(
        "SELECT DISTINCT principal, api, outcome, status, origin FROM events WHERE action = 'RequestShortcircuit'"
    )
    assert shortcircuits == [("bob", "Produce", "denied", denied, "filter")]


def test_topics_have_other_names_behind_the_proxy(tmp_path: Path, upstream: str) -> None:
    """And the client does not notice."""
    with running(tmp_path, cluster(upstream, 'rename = {orders = "inner.orders"}\n')) as proxy:
        assert produce(proxy.client(), ["orders"]) == {("orders", None): 30}
        assert consume(proxy.client(), "orders", 30) == 30
        assert "orders" in Producer(proxy.client()).list_topics(timeout=DEADLINE).topics
        behind = Producer({"bootstrap.servers": upstream}).list_topics(timeout=DEADLINE).topics
    assert "inner.orders" in behind
    assert "orders" not in behind
    seen = "SELECT tap, resource, sum(records) FROM events WHERE action = ? AND outcome = 'success' GROUP BY ALL"
    for action in ("Write", "Read"):
        assert set(proxy.rows(seen.replace("?", f"'{action}'"))) == {
            ("client", "orders", 30),
            ("broker", "inner.orders", 30),
        }


ASKED = "SELECT count(*) FROM events WHERE action = 'RequestInject'"


def test_the_probe_asks_on_its_own(tmp_path: Path, upstream: str) -> None:
    """Between the client's requests, of which none is disturbed; on the filter's account, not on the client's."""
    with running(tmp_path, cluster(upstream, "probe = {interval = 0.01}\n")) as proxy:
        assert produce(proxy.client(), ["probe"]) == {("probe", None): 30}
        assert consume(proxy.client(), "probe", 30) == 30
        deadline = time.monotonic() + DEADLINE
        # It asks as long as a client is there, which may have been a moment.
        while proxy.rows(ASKED)[0][0] <= 10 and time.monotonic() < deadline:
            assert consume(proxy.client(), "probe", 30) == 30
    rows = proxy.rows(
        "SELECT api, origin, filter, count(*), count(DISTINCT server_correlation_id) > 1 FROM events "
        "WHERE action = 'RequestInject' GROUP BY ALL"
    )
    assert [row[:3] for row in rows] == [("Metadata", "filter", "com.example.kafka_proxy.Probe")]
    assert rows[0][3] > 10
    assert rows[0][4]
    assert proxy.rows("SELECT count(*) > 0 FROM events WHERE action = 'com.example.kafka_proxy.ControllerSeen'")[0][0]


def test_all_at_once(tmp_path: Path, upstream: str) -> None:
    """Login, authorizer, other names, requests of its own, and addresses: they do not get in each other's way."""
    (tmp_path / "acl.toml").write_text(ACL)
    more = TERMINATE + 'acl = "acl.toml"\nrename = {acl-a = "inner.a"}\nprobe = {interval = 0.01}\n'
    create(upstream, "inner.a", "acl-b")
    with running(tmp_path, cluster(upstream, more)) as proxy:
        alice = proxy.client(**login("alice"))
        assert produce({**alice, "enable.idempotence": True}, ["acl-a", "acl-b"]) == {
            ("acl-a", None): 30,
            ("acl-b", None): 30,
        }
        assert consume(alice, "acl-a", 31, group=True) == 31
    assert proxy.rows("SELECT count(*) FROM events WHERE status IS NOT NULL") == [(0,)]


def test_the_proxy_stops_with_a_consumer_waiting(tmp_path: Path, upstream: str) -> None:
    """What is in flight gets its answer; the proxy closes, and says so, and nothing was wrong."""
    with running(tmp_path, cluster(upstream), drain=60) as proxy:
        consumer = Consumer({**proxy.client(), "group.id": "waits", "enable.auto.commit": False})
        assert produce(proxy.client(), ["waits"]) == {("waits", None): 30}
        consumer.assign([TopicPartition("waits", 0, 0)])
        assert consumer.poll(DEADLINE) is not None
    consumer.close()
    ends = proxy.rows(
        "SELECT DISTINCT initiator, status FROM events WHERE action IN ('ClientClose', 'BrokerClose') "
        "AND initiator = 'proxy'"
    )
    assert ends == [("proxy", None)]
    assert proxy.rows("SELECT action FROM events ORDER BY seq DESC LIMIT 2") == [
        ("ProxyCleanShutdown",),
        ("VirtualClusterShutdown",),
    ]


def test_all_clusters_stop_at_once(tmp_path: Path) -> None:
    """No port takes a client once the proxy has begun to stop, and the drain time is that of all together."""
    # Long enough to find every port closed meanwhile, and so many that one after the other they would take far longer.
    names, drain = "abcdefghij", 5
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        bootstrap = "{}:{}".format(*silent.getsockname())
        clusters = "".join(f'[clusters.{name}]\nbootstrap = "{bootstrap}"\n' for name in names)
        proxy = Running(tmp_path, clusters, drain=drain)
        stack.callback(proxy.end)
        ports = [("127.0.0.1", proxy.proxy.clusters[name].gates[None].port) for name in names]
        clients = [stack.enter_context(socket.create_connection(port, DEADLINE)) for port in ports]
        for client in clients:
            client.sendall(framed(1, request(METADATA, 4, topics=()), METADATA))
            stack.enter_context(silent.accept()[0]).recv(1)  # it is in flight
        began = time.perf_counter()
        stopping = proxy.begin(proxy.proxy.stop())
        proxy.run(asyncio.sleep(0))
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(port, DEADLINE)
        assert not stopping.done()
        together = len(names) * drain
        stopping.result(together)
        assert time.perf_counter() - began < together - 1
    assert proxy.rows("SELECT DISTINCT initiator, status FROM events WHERE action = 'ClientClose'") == [
        ("proxy", "DrainTimeout")
    ]
    assert proxy.rows("SELECT count(*) FROM events WHERE action = 'VirtualClusterShutdown'") == [(len(names),)]


def test_a_second_signal(tmp_path: Path) -> None:
    """Ends at once what the first would let end; the audit is as whole as ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bootstrap = "{}:{}".format(*silent.getsockname())
        text = f'drain = 600\n[log]\ndirectory = "audit"\n[clusters.c]\nbootstrap = "{bootstrap}"\n'
        (tmp_path / "proxy.toml").write_text(text)
        command = [sys.executable, "-m", "kafka_proxy", str(tmp_path / "proxy.toml")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert process.stdout
            host, port = process.stdout.readline().removeprefix("c: ").strip().split(":")
            with socket.create_connection((host, int(port)), timeout=DEADLINE) as client:
                client.sendall(framed(1, request(METADATA, 4, topics=()), METADATA))
                with silent.accept()[0] as broker:
                    broker.recv(1)  # it is in flight
                    process.send_signal(signal.SIGTERM)
                    deadline = time.monotonic() + DEADLINE
                    while time.monotonic() < deadline:  # until no port takes a client: it has begun to stop
                        try:
                            socket.create_connection((host, int(port)), timeout=DEADLINE).close()
                        except OSError:
                            break
                    process.send_signal(signal.SIGINT)
                    assert process.wait(DEADLINE) == 0
    with query.connect(tmp_path / "audit") as connection:
        rows = connection.execute(
            "SELECT DISTINCT status FROM events WHERE action = 'ClientClose' AND status IS NOT NULL"
        )
        assert ("DrainTimeout",) in rows.fetchall()


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    """A failed BrokerConnect, and a close that says why."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with running(tmp_path, cluster(f"127.0.0.1:{port}")) as proxy:
        assert exchange(proxy.client()["bootstrap.servers"], framed(1, request(API_VERSIONS, 3), API_VERSIONS)) == [b""]
    assert proxy.rows("SELECT outcome, status, server FROM events WHERE action = 'BrokerConnect'") == [
        ("failure", "ECONNREFUSED", f"127.0.0.1:{port}")
    ]
    assert proxy.rows("SELECT initiator, status FROM events WHERE action = 'ClientClose'") == [
        ("proxy", "BrokerUnavailable")
    ]


def test_a_client_that_vanishes_in_mid_request(tmp_path: Path, upstream: str) -> None:
    """Is no orderly end."""
    with running(tmp_path, cluster(upstream)) as proxy:
        host, port = proxy.client()["bootstrap.servers"].split(":")
        whole = framed(1, request(METADATA, 4, topics=()), METADATA)
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as client:
            client.sendall(whole + whole[:20])
            with client.makefile("rb") as reader:
                assert reader.read(int.from_bytes(reader.read(4)))
        until(proxy, "SELECT count(*) FROM events WHERE action = 'ClientClose'")
    assert proxy.rows("SELECT initiator, status FROM events WHERE action = 'ClientClose'") == [("client", "EOF")]


def until(proxy: Any, sql: str) -> None:
    """Waits for a number that is not 0."""
    deadline = time.monotonic() + DEADLINE
    while not proxy.rows(sql)[0][0]:
        assert time.monotonic() < deadline, sql


def test_ports_that_are_taken(tmp_path: Path, upstream: str) -> None:
    """The proxy does not start, the log says why, and no other port stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        clusters = cluster(upstream) + cluster(upstream, f"port = {port}\n").replace("clusters.c", "clusters.d")
        (tmp_path / "proxy.toml").write_text(f'[log]\ndirectory = "audit"\n{clusters}')
        command = [sys.executable, "-m", "kafka_proxy", str(tmp_path / "proxy.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=ENVIRONMENT)
    assert done.returncode != 0
    assert done.stderr.startswith("kafka_proxy: ")
    assert "Traceback" not in done.stderr

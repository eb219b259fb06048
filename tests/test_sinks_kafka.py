"""The parts of the Kafka sink that need no broker: topics, values, marks, settings."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

import auditring
from auditring import ConfigError, Exempt, Keep, Secret, SinkError, SinkRejected
from auditring.sinks import KafkaRecord, KafkaSink
from auditring.sinks._kafka_cut import cut
from auditring.sinks._kafka_sent import SentMark
from auditring.sinks._kafka_shared import Pool
from auditring.sinks._kafka_topics import TopicPattern
from auditring.sinks._kafka_values import Values

PROCESS = "018f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60"


def values(**said: str | None) -> dict[str, str | None]:
    """What a row gives a pattern."""
    return {"virtual_cluster": None, "category": "data", "action": "Read", "instance": "eu-1", **said}


def test_a_topic_is_legal_whatever_the_value_is() -> None:
    """Other characters are replaced, what is not there has a name, what is long is cut, and literals stay."""
    pattern = TopicPattern("audit.{virtual_cluster}.{category}", 100)
    for value, topic in (
        ("payments", "audit.payments.data"),
        (None, "audit.none.data"),
        ("", "audit.none.data"),
        ("a/b c\u00e4\n", "audit.a_b_c__.data"),
        ("..", "audit....data"),
    ):
        assert pattern.topic(values(virtual_cluster=value)) == topic
    long = pattern.topic(values(virtual_cluster="x" * 1000))
    assert len(long) <= 249
    assert long.endswith("x.data")
    assert pattern.glob == "audit.*.*"


def test_topics_have_an_end() -> None:
    """What would be one more goes to the one for all others; those that are known stay."""
    pattern = TopicPattern("audit.{virtual_cluster}", 3)
    topics = [pattern.topic(values(virtual_cluster=f"c{number}")) for number in (*range(1000), 1)]
    assert topics[:3] == ["audit.c0", "audit.c1", "audit.c2"]
    assert set(topics[3:-1]) == {"audit.other"}
    assert topics[-1] == "audit.c1"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("audit.{virtual_clustr}", "did you mean 'virtual_cluster'"),
        ("audit.{session}", "unknown key 'session'"),
        ("audit/{category}", "no part of a topic's name"),
        ("audit.{category", "no part of a topic's name"),
        ("{category}", "no text of its own"),
        ("..", "no name for a topic"),
        ("", "no text of its own"),
        ("a.{category}", "too little text of its own"),
    ],
)
def test_a_pattern_that_cannot_be_is_an_error(pattern: str, said: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=said):
        KafkaSink("localhost:9092", pattern)


def row(**context: object) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        "time": "2026-11-23T20:15:00.123456789Z",
        "action": "com.example.KeyUsed",
        "reason": "because " * 20,
        "actor": {"type": "Client", "session": PROCESS, "principals": [{"type": "User", "name": "a" * 100}]},
        "context": context,
        "eventId": f"{PROCESS}:7",
        "seq": 7,
        "resource": "\u00e4" * 300,
    }


def test_a_row_that_is_cut_says_so_and_stays_itself() -> None:
    """The longest texts give way first; what identifies it is whole, in whatever room there is."""
    whole = row(text="x" * 5000, short="y" * 10)
    line = json.dumps(whole, ensure_ascii=False).encode()
    for room in (4000, 1500, 900, 500, 330):
        fitted = cut(line, room)
        assert fitted is not None
        assert len(fitted) <= room
        found = json.loads(fitted)
        assert found["context"]["auditring.cut"] is True
        assert all(found[key] == whole[key] for key in ("time", "action", "eventId", "seq"))
        assert found["actor"]["type"] == "Client"
    fitted = json.loads(cut(line, 4000) or b"{}")
    assert fitted["resource"] == whole["resource"]
    assert fitted["reason"] == whole["reason"]
    assert len(fitted["context"]["text"]) > 2000
    assert cut(line, 100) is None


def record(line: bytes = b"{}", seq: int = 1) -> KafkaRecord:
    """A row for a serializer."""
    return KafkaRecord(line, seq, 0, "Read", "data", "success", "s", None)


def test_a_serializer_that_raises_or_gives_nonsense_refuses_its_row_alone() -> None:
    """All rows of a batch are tried before any is refused, and the first cause is told."""

    def serializer(of: KafkaRecord) -> Any:  # noqa: ANN401 - nonsense is its point
        if of.seq == 2:
            raise RuntimeError("two")
        return 7 if of.seq == 3 else "fine"

    made = Values(serializer)
    assert [made.of(record(seq=seq), 100) for seq in range(1, 5)] == [b"fine", b"", b"", b"fine"]
    with pytest.raises(SinkRejected, match=r"2 row.*RuntimeError: two") as error:
        made.raise_refused()
    assert error.value.seqs == (2, 3)
    made.raise_refused()


def test_a_serialized_row_that_is_too_large_is_cut_before() -> None:
    """Whatever the serializer makes of a row's JSON, it makes of a cut one until that fits."""
    made = Values(lambda of: of.json.hex())
    line = json.dumps(row(text="x" * 5000)).encode()
    value = made.of(record(line), 4000)
    assert len(value) <= 4000
    assert json.loads(bytes.fromhex(value.decode()))["context"]["auditring.cut"] is True
    assert made.cut == 1
    made.of(record(line, seq=9), 50)
    with pytest.raises(SinkRejected, match="cannot be cut to the 50 bytes"):
        made.raise_refused()


def test_the_mark_of_what_was_sent_outlives_the_process(tmp_path: Path) -> None:
    """It only rises, is there for the next, and goes when all that it says is safe; others' marks stay."""
    mark = SentMark(tmp_path, PROCESS, "kafka")
    assert (mark.seq, list(tmp_path.iterdir())) == (0, [])
    mark.rise(17)
    mark.rise(5)
    other = SentMark(tmp_path, PROCESS, "second-kafka")
    other.rise(3)
    (tmp_path / "journal" / PROCESS).mkdir(parents=True)
    again = SentMark(tmp_path, PROCESS, "kafka")
    assert again.seq == 17
    again.close(safe=16)
    assert SentMark(tmp_path, PROCESS, "kafka").seq == 17
    assert (tmp_path / "kafka").stat().st_mode & 0o777 == 0o700
    SentMark(tmp_path, PROCESS, "kafka").close(safe=17)
    assert SentMark(tmp_path, PROCESS, "kafka").seq == 0
    assert [path.name for path in (tmp_path / "kafka").iterdir()] == [f"{PROCESS}-second-kafka.sent"]
    # One whose journal has gone is for nobody.
    SentMark(tmp_path, "118f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60", "second-kafka")
    (tmp_path / "journal" / PROCESS).rmdir()
    SentMark(tmp_path, "118f4e6a-7c1d-7b3e-9d52-1d2c3b4a5f60", "second-kafka")
    assert list((tmp_path / "kafka").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"config": {"acks": 1}}, "acks cannot be set: it is always all"),
        ({"config": {"enable.idempotence": False}}, "enable.idempotence cannot be set"),
        ({"config": {"client.id": "me"}}, "say client_id="),
        ({"config": {"plugin.library.paths": "x.so"}}, "would load code"),
        ({"config": {"sasl.kerberos.kinit.cmd": "true"}}, "would run a command"),
        ({"config": {"secuirty.protocol": "ssl"}}, "No such configuration property"),
        ({"config": {"security.protocol": "telnet"}}, "Invalid value"),
        ({"config": {"linger.ms": "soon"}}, "Invalid value"),
        ({"config": {"ssl.key.pem": "hidden"}}, "ssl.key.pem is a secret"),
        ({"secrets": {"sasl.password": "hidden"}}, "is given as a Secret"),
        (
            {"config": {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-1024", "sasl.username": "a"}},
            "(?i)sasl|hash",
        ),
        ({"queue_bytes": 1000}, "queue_bytes: at least"),
        ({"timeout": 0.5}, "timeout: at least a second"),
        ({"client_id": ""}, "client_id: what the id begins with"),
        ({"client_id": "east*"}, "client_id: what the id begins with"),
        ({"config": {"test.mock.num.brokers": 1}}, "a cluster in memory"),
        ({"config": {"topic.acks": 0}}, "topic.acks cannot be set"),
        ({"config": {"default.topic.config": {"message.timeout.ms": 0}}}, "default.topic.config cannot be set"),
        ({"exempt": Exempt(topic="audit", client_id="abc")}, "a sequence of Exempts"),
        ({"serializer": 3}, "serializer:"),
        ({"dialect": "klingon"}, "no 'klingon'"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_when_it_is_given(settings: dict[str, Any], said: str) -> None:
    """And says nothing of a secret."""
    with pytest.raises(ConfigError, match=said) as error:
        KafkaSink("localhost:9092", **settings)
    assert "hidden" not in str(error.value)


def test_settings_that_need_files_and_secrets_later_are_fine_now() -> None:
    """A certificate, a password and a ticket may come after the sink is configured."""
    for config in (
        {"security.protocol": "ssl", "ssl.ca.location": "/not/there/yet.pem"},
        {"security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "a"},
        {"compression.type": "lz4", "queue.buffering.max.ms": 5},
    ):
        secrets = {"sasl.password": Secret(env="AUDIT_TEST_LATER")} if "sasl.mechanism" in config else {}
        KafkaSink("localhost:9092", config=config, secrets=secrets)


def test_a_table_becomes_a_sink() -> None:
    """As TOML has it; an unknown key is an error with a suggestion."""
    sink = KafkaSink.from_mapping({
        "servers": ["a:1", "b:2"],
        "topic": "audit.{category}",
        "config": {"linger.ms": 5},
        "secrets": {"ssl.key.password": {"env": "NAME"}},
        "exempt": [{"topic": "theirs", "client_id": "west-*"}],
        "client_id": "east",
        "name": "events",
    })  # fmt: skip
    assert repr(sink) == "KafkaSink('a:1,b:2', 'audit.{category}', name='events')"
    own, theirs = sink.traffic
    assert own.topic == "audit.*"
    assert own.client_id.startswith("east-")
    assert theirs == Exempt(topic="theirs", client_id="west-*")
    with pytest.raises(ConfigError, match="did you mean 'servers'"):
        KafkaSink.from_mapping({"server": "a:1"})
    with pytest.raises(ConfigError, match="where is the cluster"):
        KafkaSink.from_mapping({})


def test_an_exemption_names_somebody() -> None:
    """One that let everything pass would turn the audit off."""
    for topic, client in (("*", "auditring-*"), ("audit", "*"), ("a*", "auditring"), ("audit", "a*b")):
        with pytest.raises(ConfigError, match=r"Exempt\.(topic|client_id)"):
            Exempt(topic=topic, client_id=client)
    # What is said whole lets nothing else pass, however short it is; a sink's own topic may be, too.
    assert KafkaSink("localhost:9092", "a").traffic[0].topic == "a"


def test_a_list_of_exemptions_has_tables_in_it() -> None:
    """Anything else is an error that says so."""
    with pytest.raises(ConfigError, match="each a table"):
        KafkaSink.from_mapping({"servers": "a:1", "exempt": ["audit"]})


@pytest.fixture
def mock() -> Iterator[str]:
    """Where librdkafka's own cluster in memory answers, as any other does."""
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = cluster.list_topics(timeout=30).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del cluster


def test_a_row_that_was_merged_comes_late_and_is_new(tmp_path: Path, mock: str) -> None:
    """Its seq is less than those of rows before it, and it was never sent: it bears no mark, and is not counted."""
    with auditring.open(tmp_path, sinks=(KafkaSink(mock),), read=Keep.COALESCE(window=0.05), balance=None) as log:
        with log.session(id="one", authority="decision") as session:
            for number in range(3):
                session.read("orders", 0, number, number)
                session.operation_denied("WRITE", "Topic", "salaries")
                # The denial has gone, the window has not ended.
                log.flush(30)
        log.flush(30)
        counters = dict(log.stats().sinks["kafka"].counters)
        rows = log.stats().sinks["kafka"].delivered
    consumer = Consumer({"bootstrap.servers": mock, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe(["audit"])
    got: list[Message] = []
    deadline = time.monotonic() + 30
    while len(got) < rows and time.monotonic() < deadline:
        got += [one for one in consumer.consume(100, 0.1) if one.error() is None]
    consumer.close()
    assert counters["redelivered"] == 0
    assert [dict(one.headers() or []) for one in got if "redelivered" in dict(one.headers() or [])] == []


class _Silent:
    """A producer of several sinks that has nothing to tell this one."""

    exception = KafkaException
    check = explain = staticmethod(lambda *said: SinkError(str(said)))

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def produce(self, *message: Any) -> None:  # noqa: ANN401 - librdkafka's own
        self.reports.append(message[4])

    def serve(self, seconds: float) -> None:
        del seconds

    def end(self) -> None: ...


def test_a_failure_that_another_thread_took_is_a_failure() -> None:
    """Sinks of one producer take each other's reports: also the last one, after this sink has looked for failures."""
    silent: Any = _Silent()
    pool = Pool()
    member = pool.join(lambda: silent, 1000)
    member.produce("audit", b"{}", "key", -1, None, None, 0, [])

    def elsewhere() -> bool:
        denied: Any = type("Message", (), {"topic": staticmethod(lambda: "audit")})()
        silent.reports.pop()(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), denied)
        return False

    with pytest.raises(SinkError, match="TOPIC_AUTHORIZATION_FAILED"):
        member.drain(elsewhere)

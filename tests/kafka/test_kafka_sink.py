"""Rows in topics of a real broker: what a message is, and that none is lost or doubled unseen, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclOperation,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

import auditring
from auditring import ConfigError, Secret, SinkError, _core, query
from auditring.recovery import recover
from auditring.sinks import JsonlSink, KafkaRecord, KafkaSink, ParquetSink
from harness import planted
from harness.acls import every, rule
from harness.clients import QUICK
from harness.topics import Got, doubled, end, messages
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.broker import Broker

_HOST = Path(__file__).resolve().parents[1] / "torture" / "kafka_host.py"


@pytest.fixture
def place(folder: Path, request: pytest.FixtureRequest) -> Path:
    """An audit directory for the test, where the search for secrets will look."""
    return folder / "sinks" / str(request.node.name)


def opened(place: Path, *sinks: KafkaSink) -> auditring.AuditLog:
    """A log with these sinks and tables."""
    return auditring.open(place, sinks=[ParquetSink(), *sinks], balance=None)


def emit(log: auditring.AuditLog, count: int, session: str = "conn-1") -> None:
    """A session with so many reads."""
    with log.session(id=session, virtual_cluster="payments") as one:
        for number in range(count):
            one.read("orders", 0, number, number)


def failed(log: auditring.AuditLog, *words: str, sink: str = "kafka") -> str:
    """What health says of the sink, as soon as all these words are in it."""

    def said() -> str:
        causes = [problem.cause for problem in log.health().problems if problem.component == f"sink:{sink}"]
        return next((cause for cause in causes if all(word in cause for word in words)), "")

    return until(said, f"health says {words}: {log.health()}")


def rows(place: Path) -> int:
    """How many rows all processes of a directory have in the tables and the journal."""
    with query.connect(place) as con:
        ((count,),) = con.execute("SELECT count(*) FROM events").fetchall()
    return int(count)


def whole(got: list[Got], place: Path) -> None:
    """Fails unless every event of the directory has a message, and what came twice bears the mark.

    Either of the two has it: what a killed host had under way may come to the broker after what is sent in its place.
    """
    with query.connect(place) as con:
        wanted = {event_id for (event_id,) in con.execute("SELECT event_id FROM events").fetchall()}
    assert {one.event_id for one in got} == wanted
    marked = {one.event_id for one in got if one.headers.get("redelivered") == "1"}
    assert doubled(got).keys() <= marked


def test_a_message_says_what_it_is(broker: Broker, topic: str, place: Path) -> None:
    """Value, key, timestamp and headers; in order; the same as the lines beside it."""
    sink = KafkaSink(broker.plain, topic, config=QUICK)
    with auditring.open(place, sinks=[JsonlSink(), sink], instance="eu-1", balance=None, probe=True) as log:
        emit(log, 500)
        log.flush(PATIENCE)
        assert log.stats().sinks["kafka"].counters == {"redelivered": 0, "cut": 0, "folded": 0}
    (path,) = (place / "jsonl").glob("*.jsonl")
    lines = path.read_bytes().splitlines()
    got = messages(broker.plain, topic)
    assert [one.value for one in got] == lines
    for one in got:
        row = one.row
        assert one.headers == {"event_id": row["eventId"], "action": row["action"], "schema": "1"}
        assert one.key == row.get("session", "eu-1")
        assert one.time_ms == row["timeNanos"] // 1_000_000
    assert [one.row["action"] for one in (got[0], got[1], got[-1])] == [
        "ProxyStartup",
        "ClientAccept",
        "ProxyCleanShutdown",
    ]
    assert not (place / "kafka").exists() or list((place / "kafka").iterdir()) == []


def test_topics_by_pattern(broker: Broker, topic: str, place: Path) -> None:
    """A topic for each virtual cluster, as far as there may be more; the rest, counted, in one for all others."""
    made = [broker.create_topic(f"{topic}.{name}") for name in ("none", "pay_ments", "other")]
    sink = KafkaSink(broker.plain, f"{topic}.{{virtual_cluster}}", config=QUICK, max_topics=2)
    with opened(place, sink) as log:
        for cluster in ("pay/ments", "third", "fourth", "pay/ments"):
            with log.session(virtual_cluster=cluster):
                pass
        log.flush(PATIENCE)
        assert log.stats().sinks["kafka"].counters["folded"] == 4
    found = [[one.row.get("virtualCluster") for one in messages(broker.plain, name)] for name in made]
    assert found == [[None, None], ["pay/ments"] * 4, ["third", "third", "fourth", "fourth"]]


def test_a_serializer_makes_the_value_and_may_refuse(broker: Broker, topic: str, place: Path) -> None:
    """A row at which it raises is lost under its name, and the others are there once."""

    def serialized(record: KafkaRecord) -> str:
        if record.seq % 10 == 3:
            raise ValueError("no threes")
        return f"{record.seq} {record.action} {record.session} {len(record.json) > 100}"

    sink = KafkaSink(broker.plain, topic, config=QUICK, serializer=serialized)
    with opened(place, sink) as log:
        emit(log, 96)
        log.flush(PATIENCE)
        stats = log.stats()
        assert stats.sinks["kafka"].lost == {"rejected": 10}
        assert stats.balanced
    values = sorted(int(one.value.split()[0]) for one in messages(broker.plain, topic))
    assert [seq for seq in values if seq < 99] == [seq for seq in range(99) if seq % 10 != 3]
    assert b"4 Read conn-1 True" in [one.value for one in messages(broker.plain, topic)]


def test_a_topic_that_is_made_later(broker: Broker, topic: str, place: Path) -> None:
    """The sink says what to do, and goes on by itself; a probe says the same before anything is begun."""
    missing = f"{topic}-later"
    sink = KafkaSink(broker.plain, missing, config=QUICK)
    with pytest.raises(SinkError, match=f"topic '{missing}' is not there; create it"):
        auditring.open(place, sinks=[sink], probe=["kafka"])
    with opened(place, sink) as log:
        emit(log, 50)
        failed(log, f"topic '{missing}' is not there; create it")
        broker.create_topic(missing)
        log_is_well(log)
    whole(messages(broker.plain, missing), place)


def log_is_well(log: auditring.AuditLog) -> None:
    """Waits until the sinks have all, and no problem is known."""

    def well() -> bool:
        try:
            log.flush(PATIENCE)
        except SinkError:
            return False
        return bool(log.health())

    until(well, "every sink has all")


def test_rights_that_come_later(broker: Broker, topic: str, place: Path, tmp_path: Path) -> None:
    """Whom the broker does not let write is told so; with the right all rows are there."""
    config = {**QUICK, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice"}
    secret = tmp_path / "secret"
    write_secret(secret, planted.password("alice"))
    sink = KafkaSink(broker.sasl, topic, config=config, secrets={"sasl.password": Secret(file=str(secret))})
    admin = broker.admin()
    denied = [rule(ResourceType.TOPIC, topic, "alice", AclOperation.WRITE, deny=True)]
    denied.append(rule(ResourceType.TOPIC, topic, "alice", AclOperation.DESCRIBE))
    for future in admin.create_acls(denied).values():
        future.result(PATIENCE)
    try:

        def is_denied() -> bool:
            try:
                sink.probe(place)
            except SinkError as error:
                return "grant its user Write" in str(error)
            return False

        until(is_denied, "the probe knows that Write is denied")
        with opened(place, sink) as log:
            emit(log, 50)
            failed(log, f"may not write to topic '{topic}'; grant its user Write")
            for future in admin.delete_acls([every(ResourceType.TOPIC, topic)]).values():
                future.result(PATIENCE)
            log_is_well(log)
    finally:
        for future in admin.delete_acls([every(ResourceType.TOPIC, topic)]).values():
            future.result(PATIENCE)
    whole(messages(broker.plain, topic), place)


def write_secret(path: Path, secret: str) -> None:
    """A file that its owner alone can read; it lies where the search for what was planted does not look."""
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")


def test_credentials_that_are_taken_and_given_back(
    broker: Broker, topic: str, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are read at every try, so new ones count at once. None is in a repr, an error, a log line or a message."""
    caplog.set_level(logging.DEBUG)
    admin, secret = broker.admin(), tmp_path / "secret"
    first, second = planted.password("dora"), f"{planted.MARK}-another-of-dora"

    def give(password: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        upsert = UserScramCredentialUpsertion("dora", info, password.encode())
        admin.alter_user_scram_credentials([upsert])["dora"].result(PATIENCE)

    give(first)
    write_secret(secret, first)
    config = {
        **QUICK,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "dora",
    }
    config |= {"log_level": 7}
    secrets = {"sasl.password": Secret(file=str(secret))}
    sink = KafkaSink(broker.sasl, topic, config=config, secrets=secrets, timeout=2)
    with opened(place, sink) as log:
        emit(log, 50)
        log_is_well(log)
        taken = UserScramCredentialDeletion("dora", ScramMechanism.SCRAM_SHA_256)
        admin.alter_user_scram_credentials([taken])["dora"].result(PATIENCE)
        # Who is in stays in: a connection has to be made anew.
        broker.stop()
        broker.start()
        emit(log, 50, "conn-2")
        said = failed(log, "refuses the sink's credentials")
        give(second)
        write_secret(secret, second)
        emit(log, 50, "conn-3")
        log_is_well(log)
        secret.chmod(0o644)
        with pytest.raises(SinkError, match="lets others at the secret"):
            sink.probe(place)
        secret.chmod(0o600)
    whole(messages(broker.plain, topic), place)
    told = [said, repr(sink), repr(secrets), caplog.text, *(str(one.value) for one in messages(broker.plain, topic))]
    assert not [one for one in told if first in one or second in one]
    kept = [path for path in place.rglob("*") if path.is_file()]
    assert len(kept) >= 1
    assert [path for path in kept if planted.found_in(path.read_bytes())] == []
    with pytest.raises(ConfigError, match=r"sasl\.password is a secret") as error:
        KafkaSink(broker.sasl, topic, config={"sasl.password": first})
    assert first not in str(error.value)


def test_what_is_too_large_is_cut_and_marked(broker: Broker, topic: str, place: Path) -> None:
    """A topic that takes no more than so much gets every event: small ones whole, large ones cut."""
    topic = broker.create_topic(f"{topic}-small", max_message_bytes="6000")
    sink = KafkaSink(broker.plain, topic, config={**QUICK, "compression.codec": "none"})
    with opened(place, sink) as log:
        emit(log, 40)
        with log.session(id="large") as session:
            session.emit("com.example.Large", context={"text": "ä" * 3500, "more": "x" * 500}, resource="r" * 900)
            session.read("orders", 0, 1, 1)
        emit(log, 40, "conn-2")
        log_is_well(log)
        counters = log.stats().sinks["kafka"].counters
        assert counters["cut"] == 1
    got = messages(broker.plain, topic)
    whole(got, place)
    cut = [one.row for one in got if one.row.get("context", {}).get("auditring.cut")]
    assert {row["action"] for row in cut} == {"com.example.Large"}
    assert cut[0]["session"] == "large"
    assert len(json.dumps(cut[0])) > 1000
    assert counters["redelivered"] >= sum(doubled(got).values())


def test_a_host_that_is_killed(broker: Broker, topic: str, place: Path) -> None:
    """What it had accepted is in the topic after recovery; what came twice lay at the cursor's edge, and is marked."""
    with subprocess.Popen(
        [sys.executable, str(_HOST), str(place), broker.plain, topic], stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        emitted = 0
        # In mid-flow: some are in the topic, some are on their way, some wait.
        while emitted < 3000 or end(broker.plain, topic) < 500:
            emitted = int(host.stdout.readline())
        host.kill()
        emitted = max([emitted, *(int(line) for line in host.stdout.read().splitlines()[:-1])])
    before = end(broker.plain, topic)
    (edges,) = _core.cursors(str(place))[0].values()
    sink = KafkaSink(broker.plain, topic, config=QUICK)
    (result,) = recover(place, sinks=[ParquetSink(), sink])
    assert result.failed is None
    got = messages(broker.plain, topic)
    whole(got, place)
    assert rows(place) >= emitted
    again = [one for one in got if "redelivered" in one.headers]
    assert sum(doubled(got).values()) <= len(again) < rows(place)
    assert all(int(event_id.rpartition(":")[2]) >= edges["kafka"] for event_id in doubled(got))
    assert len(got) > before
    assert [one.event_id for one in got[:before]] == sorted(
        (one.event_id for one in got[:before]), key=lambda event_id: int(event_id.rpartition(":")[2])
    )


def test_a_broker_that_is_killed_and_comes_back(broker: Broker, topic: str, place: Path) -> None:
    """Nothing is lost, tables go on meanwhile, and what came twice was counted."""
    with opened(place, KafkaSink(broker.plain, topic, config=QUICK, timeout=2)) as log:
        emit(log, 2000)
        until(lambda: end(broker.plain, topic) > 0, "rows come")
        emit(log, 20_000, "conn-2")
        broker.kill()
        emit(log, 20_000, "conn-3")
        failed(log, "no broker answers")
        until(lambda: log.stats().sinks["parquet"].pending < 20_000 or rows(place) >= 42_000, "tables go on")
        # Nothing is gathered in memory for a broker that is not there.
        assert log.stats().sinks["kafka"].pending >= 20_000
        broker.start()
        log_is_well(log)
        counted = log.stats().sinks["kafka"].counters["redelivered"]
        log.flush(PATIENCE)
    got = messages(broker.plain, topic)
    whole(got, place)
    assert sum(doubled(got).values()) <= counted


class _Gapless(KafkaSink):
    """A sink whose producer ends at a message that fails, as librdkafka does where it cannot go on in order.

    The setting is refused to callers; here it brings about a fatal error, for which a broker must else lose its log.
    """

    def _settings(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        return super()._settings(secrets) | {"enable.gapless.guarantee": True}


@pytest.mark.parametrize("shared", [False, True])
def test_a_producer_that_is_at_its_end(broker: Broker, topic: str, place: Path, *, shared: bool) -> None:
    """After a fatal error no call of a producer works again: the sink says so, makes another, and nothing is lost."""
    topic = broker.create_topic(f"{topic}-small", max_message_bytes="1100")
    sink = _Gapless(broker.plain, topic, config=QUICK, timeout=2)
    with sink.shared() if shared else nullcontext(sink) as mine, opened(place, mine) as log:
        emit(log, 20_000)
        failed(log, "the sink tries again by itself", "_GAPLESS_GUARANTEE: fatal: ")
        broker.alter_topic(topic, max_message_bytes="1000000")
        log_is_well(log)
    whole(messages(broker.plain, topic), place)


def test_a_log_that_is_closed_while_the_broker_is_away(broker: Broker, topic: str, place: Path) -> None:
    """The close comes back, says what lags, and the next opener brings it; also a call that hangs ends."""
    log = opened(place, KafkaSink(broker.plain, topic, config=QUICK))
    emit(log, 100)
    log_is_well(log)
    with broker.paused():
        emit(log, 100, "conn-2")
        until(lambda: log.stats().sinks["kafka"].pending > 0, "rows wait for Kafka")
        with pytest.raises(auditring.CloseIncomplete, match="kafka at seq"):
            log.close(30)
    log.close(PATIENCE)
    whole(messages(broker.plain, topic), place)


def test_sinks_that_share_a_producer(broker: Broker, topic: str, place: Path) -> None:
    """As an agent's do: each moves its own cursor, whatever becomes of the producer that they have together."""
    with (
        KafkaSink(broker.plain, topic, config=QUICK, timeout=2).shared() as template,
        opened(place / "one", template) as one,
        opened(place / "two", template) as two,
    ):
        pool = template._pool  # noqa: SLF001 - nobody else can count them
        assert pool is not None

        def both_in() -> bool:
            # A failure takes the producer from both; who has nothing to send makes none anew.
            for log in (one, two):
                emit(log, 1, "conn-3")
                log_is_well(log)
            return pool.members == 2

        for log in (one, two):
            emit(log, 3000)
        for log in (one, two):
            log_is_well(log)
        until(both_in, "both have a producer together")
        broker.kill()
        for log in (one, two):
            emit(log, 3000, "conn-2")
            failed(log, "no broker answers")
        broker.start()
        for log in (one, two):
            log_is_well(log)
        until(both_in, "both have a producer together again")
    assert pool.members == 0
    got = messages(broker.plain, topic)
    for number in ("one", "two"):
        (process,) = {path.name[:36] for path in (place / number).glob("events/*/*.parquet")}
        whole([one for one in got if one.event_id.startswith(process)], place / number)

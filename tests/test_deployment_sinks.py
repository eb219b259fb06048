"""Sinks of a deployment's file: each of our kinds, those of another package, and who of proxy and agent has which."""

import contextlib
import sqlite3
import threading
import tomllib
from pathlib import Path

import pytest

import auditring
from auditring import Keep, Policy, Rule, deployment
from auditring.agent import Agent
from auditring.config import Exempt
from auditring.sinks import KafkaSink, LoggingSink, registry
from deadlines import until
from deployments import load, mistakes, write


def test_sinks_of_the_agent_are_not_opened_by_the_proxy(tmp_path: Path) -> None:
    """All, some or none; the journal is kept for them, and the log asks only those that it has."""
    sinks = '[[sink]]\nkind = "parquet"\n[[sink]]\nkind = "jsonl"\n'
    both = 'path = "a"\nrequired = ["parquet", "jsonl"]\n'
    assert len(load(tmp_path, both + sinks).open_arguments()["sinks"]) == 2
    every = load(tmp_path, f'probe = ["jsonl"]\n{both}{sinks}[agent]\nlisten = "127.0.0.1:9464"\n').open_arguments()
    assert [sink.name for sink in every.pop("agent_sinks")] == ["parquet", "jsonl"]
    assert every == {"path": tmp_path / "a", "required": ("parquet", "jsonl"), "sinks": (), "probe": ()}
    one = load(tmp_path, f'{both}{sinks}[agent]\nsinks = ["jsonl"]\n').open_arguments()
    assert [[sink.name for sink in one[name]] for name in ("sinks", "agent_sinks")] == [["parquet"], ["jsonl"]]
    default = load(tmp_path, 'path = "a"\nagent.sinks = true\n').open_arguments()
    assert [len(default[name]) for name in ("sinks", "agent_sinks")] == [0, 1]
    none = load(tmp_path, f"{both}{sinks}[agent]\nsinks = false\n")
    assert len(none.open_arguments()["sinks"]) == 2
    assert "agent_sinks" not in none.open_arguments()
    (unknown,) = mistakes(tmp_path, f'{both}{sinks}[agent]\nsinks = ["jsnl"]\n')
    assert unknown == "line 8, agent.sinks: unknown key 'jsnl'; did you mean 'jsonl'?"


def test_settings_with_dots_in_their_names_may_be_written_as_tables(tmp_path: Path) -> None:
    """Those of librdkafka: quoted, as TOML's own dots, and by a variable, which says the last word."""
    pytest.importorskip("confluent_kafka")
    text = """\
path = "a"
[[sink]]
kind = "kafka"
servers = "127.0.0.1:9092"
timeout = "30 s"
queue_bytes = "8 MiB"
[sink.config]
"security.protocol" = "sasl_plaintext"
sasl.mechanism = "PLAIN"
"sasl.username" = "file"
[sink.secrets]
sasl.password = { file = "password" }
"""
    said = load(
        tmp_path,
        text,
        AUDITRING_SINK__KAFKA__CONFIG__SASL__USERNAME="variable",
        AUDITRING_SINK__KAFKA__CONFIG__LINGER__MS="7",
    )
    (sink,) = said.sinks
    assert isinstance(sink, KafkaSink)
    config = {key: sink._config[key] for key in ("security.protocol", "sasl.mechanism", "sasl.username", "linger.ms")}  # noqa: SLF001 - nowhere else to be seen
    assert config == {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "variable",
        "linger.ms": 7,
    }
    assert sink._config["message.timeout.ms"] == 30_000  # noqa: SLF001 - likewise
    assert said.references == (("file", f"{tmp_path}/password"),)
    by_variable = {
        "AUDITRING_SINK__KAFKA__SECRETS__SASL__PASSWORD__ENV": "AUDITRING_KAFKA_PASSWORD",
        "AUDITRING_KAFKA_PASSWORD": "hunter2",
    }
    said = load(tmp_path, text.partition("[sink.secrets]")[0], **by_variable)
    assert said.references == (("env", "AUDITRING_KAFKA_PASSWORD"),)
    assert "hunter2" not in repr(said)
    found = mistakes(tmp_path, text.replace('{ file = "password" }', '"hunter2"'))
    assert "secret in plain sight" in found[0]
    assert "hunter2" not in str(found)


def test_proxy_and_agent_share_one_file(tmp_path: Path) -> None:
    """What the proxy leaves to the agent, by the file, the agent finds by the same file."""
    path = write(
        tmp_path, 'path = "audit"\n[[sink]]\nkind = "parquet"\n[[sink]]\nkind = "jsonl"\n[agent]\nsinks = ["jsonl"]\n'
    )
    with auditring.open_from(path) as log:
        log.emit("com.example.Told")
        log.flush(30)
        assert set(log.stats().sinks) == {"parquet", "jsonl"}
        assert not list((tmp_path / "audit").glob("jsonl/*"))
        said = deployment.load(path, environ={})
        agent = Agent(said.root, said.agent_sinks)
        working = threading.Thread(target=agent.run)
        working.start()
        try:
            lines = tmp_path / "audit" / "jsonl"
            until(lambda: any("com.example.Told" in one.read_text() for one in lines.glob("*.jsonl")))
        finally:
            agent.stop()
            working.join(30)


def test_each_of_our_kinds_can_be_configured(tmp_path: Path) -> None:
    """Those that read their own table are given what is theirs as they want it: spans, sizes, limits, policies."""
    pytest.importorskip("confluent_kafka")
    text = """\
path = "a"
[[sink]]
kind = "log"
log_at = "DEBUG"
checkpoint = { age = "2 s", bytes = "1 MiB" }
except = [{ log_at = "WARNING", outcome = ["denied", "failure"] }, { log_at = "OFF", action = "Read" }]
[[sink.policy.rule]]
action = "Write"
keep = "off"
[[sink]]
kind = "kafka"
servers = ["127.0.0.1:9092"]
exempt = [{ topic = "audit-elsewhere", client_id = "auditring-*" }]
[[sink]]
kind = "jsonl"
[[sink]]
kind = "parquet"
"""
    said = load(tmp_path, text)
    assert {one.kind for one in said.configured or ()} == set(registry.OURS)
    log, kafka, *_ = said.sinks
    assert isinstance(log, LoggingSink)
    assert (log.checkpoint.age, log.checkpoint.bytes) == (2.0, 1 << 20)
    assert log.interested("Read", "denied")
    assert not log.interested("Read", "success")
    assert log.policy == Policy(rules=[Rule(action="Write", keep=Keep.OFF)])
    assert isinstance(kafka, KafkaSink)
    assert kafka.exempt == (Exempt(topic="audit-elsewhere", client_id="auditring-*"),)
    for wrong, told in (
        ('kind = "log"\nlog_att = "INFO"', "unknown key 'log_att'; did you mean 'log_at'?"),
        ('kind = "log"\nlog_at = "LOUD"', "log_at"),
        ('kind = "kafka"', "servers"),
        ('kind = "kafka"\nservers = "a:1"\ntimeout = "soon"', "soon"),
        ('kind = "kafka"\nservers = "a:1"\n[sink.config]\n"acks" = 1', "acks"),
    ):
        (found,) = mistakes(tmp_path, f'path = "a"\n[[sink]]\n{wrong}\n')
        assert told in found


def test_a_sink_of_another_package_is_configured_as_ours_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's, by its entry point: its arguments from the file, over them a variable, paths from the folder."""
    package = Path(__file__).parents[1] / "examples" / "sqlite_sink"
    points = tomllib.loads((package / "pyproject.toml").read_text())["project"]["entry-points"]["auditring.sinks"]
    told = tmp_path / "site" / "auditring_sqlite-0.1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: auditring-sqlite\nVersion: 0.1\n")
    (told / "entry_points.txt").write_text("[auditring.sinks]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.syspath_prepend(str(told.parent))
    text = 'path = "audit"\n[[sink]]\nkind = "sqlite"\npath = "own.db"\ntimeout = "500 ms"\n'
    path = write(tmp_path, text)
    monkeypatch.setenv("AUDITRING_SINK__SQLITE__POLICY__RULE", '[{ action = "ProxyStartup", keep = "all" }]')
    with auditring.open_from(path) as log:
        log.emit("com.example.Told")
        log.flush(30)
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        dumped = "\n".join(database.iterdump())
    assert tables
    assert "com.example.Told" in dumped
    (found,) = mistakes(tmp_path, text.replace("timeout", "tiemout"))
    assert "unknown key 'tiemout'; did you mean 'timeout'?" in found

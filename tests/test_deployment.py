"""A deployment's file: all that `open` takes is in it, values mean what they say, and stay while a log is open."""

import inspect
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import auditring
from auditring import (
    ConfigError,
    Durability,
    Hash,
    Keep,
    Policy,
    Retention,
    Rule,
    Then,
    Truncate,
    WhenFull,
    deployment,
    opening,
)
from auditring.config import Exempt
from auditring.deployment import loading
from auditring.deployment.file import File
from auditring.deployment.keys import SHORT
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Source
from auditring.sinks import JsonlSink, ParquetSink
from deployments import load, write

WHOLE = """\
path = "audit"
instance = "proxy-eu-1"
primary_tap = "edge"
durability = "power(100 ms)"
required = ["parquet"]
probe = ["parquet"]
lock_policy = true
ring_bytes = "8 MiB"
ring_dir = "rings"
journal_bytes = "1 GiB"
segment_bytes = 1048576
segment_age = "5 s"
balance = "never"

[when_full]
wait = "forever"
then = "raise"

[when_full.droppable]
wait = 0
then = "drop"

[retention]
max_bytes = "10 GiB"
max_age = "400 d"
min_free = "1 GiB"

[[exempt]]
topic = "audit-elsewhere"
client_id = "auditring-*"

[policy]
seed = 7
allow_blind_spots = true

[[policy.rule]]
action = ["Read", "Write"]
resource = "metrics.*"
keep = "sample"
one_in = 100

[[policy.redact]]
field = "peer"
how = "truncate"

[[policy.redact]]
field = "principal"
how = "hash"
key = { file = "secrets/key" }

[[sink]]
kind = "parquet"
rotation = { age = "1 min", bytes = "64 MiB", rows = 1000 }

[[sink]]
kind = "jsonl"
name = "lines"
path = "lines"
compress = true
dialect = "kroxylicious-v1"
checkpoint = { age = 0.5, bytes = "1 MiB" }

[sink.policy]
seed = 3

[[sink.policy.rule]]
category = "request"
keep = "all"

[agent]
sinks = ["lines"]
listen = "127.0.0.1:9464"

[metrics]
listen = "127.0.0.1:9465"
label_scopes = { vc = "virtual_cluster" }
label_scope_limit = 50
"""


def test_a_file_says_what_open_takes(tmp_path: Path) -> None:
    """Every key, with its unit, and paths from the file's folder."""
    said = load(tmp_path, WHOLE)
    arguments = said.open_arguments()
    (parquet,) = arguments.pop("sinks")
    assert [sink.name for sink in arguments.pop("agent_sinks")] == ["lines"]
    assert isinstance(parquet, ParquetSink)
    assert parquet.checkpoint.age == 60.0
    assert arguments == {
        "path": tmp_path / "audit",
        "instance": "proxy-eu-1",
        "primary_tap": "edge",
        "durability": Durability.POWER(timedelta(milliseconds=100)),
        "required": ("parquet",),
        "probe": ("parquet",),
        "lock_policy": True,
        "ring_bytes": 8 << 20,
        "ring_dir": tmp_path / "rings",
        "journal_bytes": 1 << 30,
        "segment_bytes": 1 << 20,
        "segment_age": 5.0,
        "balance": None,
        "when_full": {
            "droppable": WhenFull(wait=0, then=Then.DROP),
            "protected": WhenFull(wait=None, then=Then.RAISE),
        },
        "retention": Retention(max_bytes=10 << 30, max_age=timedelta(days=400), min_free=1 << 30),
        "label_scopes": {"vc": "virtual_cluster"},
        "label_scope_limit": 50,
        "exempt": [Exempt(topic="audit-elsewhere", client_id="auditring-*")],
        "policy": Policy(
            rules=[Rule(action=("Read", "Write"), resource="metrics.*", keep=Keep.SAMPLE(one_in=100))],
            redact=[
                auditring.Redact("peer", Truncate()),
                auditring.Redact("principal", Hash(f"file:{tmp_path}/secrets/key")),
            ],
            seed=7,
            allow_blind_spots=True,
        ),
    }
    assert set(arguments) | {"sinks", "agent_sinks", *SHORT, "seed"} == set(inspect.signature(opening.open).parameters)
    lines = said.sinks[1]
    assert isinstance(lines, JsonlSink)
    assert (lines.name, lines.policy) == ("lines", Policy(rules=[Rule(category="request", keep=Keep.ALL)], seed=3))
    assert (lines.checkpoint.age, lines.checkpoint.bytes) == (0.5, 1 << 20)
    assert said.agent == deployment.Agent(sinks=("lines",), listen="127.0.0.1:9464")
    assert said.metrics == deployment.Metrics(listen="127.0.0.1:9465")
    assert said.references == (("file", f"{tmp_path}/secrets/key"),)
    assert said.settings["retention.max_age"].origin == "auditring.toml:25"


def test_a_word_stands_for_a_table(tmp_path: Path) -> None:
    """What of reads and writes is kept, in short and at length."""
    said = load(
        tmp_path, 'path = "a"\nread = { keep = "coalesce", window = "1s" }\nwrite = "off"\nrequest = "all"\nseed = 1\n'
    )
    assert said.log == {"read": Keep.COALESCE(1), "write": Keep.OFF, "request": Keep.ALL, "seed": 1}


def test_what_nobody_says_is_left_to_open(tmp_path: Path) -> None:
    """So there is one place for defaults."""
    said = load(tmp_path, 'path = "/somewhere/else"\n')
    assert said.open_arguments() == {"path": Path("/somewhere/else")}
    assert load(tmp_path, 'path = "a"\nsink = []\n').open_arguments() == {"path": tmp_path / "a", "sinks": ()}


def test_the_file_is_read_once_and_never_again_while_a_log_is_open(tmp_path: Path) -> None:
    """Whoever gets at the file cannot switch the audit off in a running proxy; the log's row says what is in force."""
    path = write(tmp_path, 'path = "audit"\n[[sink]]\nkind = "parquet"\n')
    with auditring.open_from(path) as log:
        before, digest = log.policy, log.configuration_digest
        write(tmp_path, 'path = "audit"\nread = "off"\nwrite = "off"\nsink = []\n')
        with log.session(authority="decision") as session:
            session.read("orders", 0, 1, 1)
        log.flush(30)
        assert log.policy == before
        assert log.configuration_digest == digest
        path.unlink()
        with log.session(authority="decision") as session:
            session.write("orders", 0, 1, 1)
    rows = pq.ParquetDataset(tmp_path / "audit" / "events").read().to_pylist()
    assert {"Read", "Write"} <= {row["action"] for row in rows}
    (startup,) = [row for row in rows if row["action"] == "ProxyStartup"]
    assert f'"configurationDigest":"{digest}"' in startup["context"].replace(" ", "")


def test_the_digest_of_the_settings_knows_what_the_sinks_were_told(tmp_path: Path) -> None:
    """The same words are the same digest, other words another: of a sink, too."""

    def digest(text: str) -> str:
        path = write(tmp_path, f'path = "a"\n{text}')
        with auditring.open_from(path, path=None) as log:
            return log.configuration_digest

    one = digest('[[sink]]\nkind = "parquet"\n')
    assert digest('# a remark\n[[sink]]\nkind = "parquet"\n') == one
    assert digest('[[sink]]\nkind = "parquet"\ncompression_level = 3\n') != one


def test_an_argument_wins_over_the_file(tmp_path: Path) -> None:
    """Whatever `open` takes, and nothing else; a policy given whole takes the place of the file's words for one."""
    path = write(tmp_path, 'path = "audit"\ninstance = "file"\nread = "off"\n[[sink]]\nkind = "jsonl"\n')
    with auditring.open_from(path, policy=Policy(), sinks=()) as log:
        assert log.policy.rules == ()
    with auditring.open_from(path) as log:
        assert log.policy.rules == (Rule(action="Read", keep=Keep.OFF),)
    whole = write(tmp_path, 'path = "audit"\n[[policy.rule]]\naction = "Read"\nkeep = "off"\n')
    with auditring.open_from(whole, read=Keep.ALL) as log:
        assert log.policy.rules == (Rule(action="Read", keep=Keep.ALL),)
    with pytest.raises(ConfigError, match=r"unknown key 'instnce'; did you mean 'instance'\?"):
        auditring.open_from(path, instnce="x")


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 999),
    unit=st.sampled_from([("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)]),
    span=st.integers(1, 999),
    of=st.sampled_from([("ms", 0.001), ("s", 1), ("min", 60), ("h", 3600), ("d", 86400)]),
    instance=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=10),
)
def test_values_come_back_as_they_were_written(
    n: int, unit: tuple[str, int], span: int, of: tuple[str, float], instance: str
) -> None:
    """Sizes and spans by any of their units, and texts as they are."""
    tree = {
        "path": "a",
        "instance": instance,
        "journal_bytes": f"{n} {unit[0]}",
        "segment_age": f"{span}{of[0]}",
        "when_full": {"wait": span},
    }
    said = loading.made(File(tree, Source("x.toml", {}), None), None, {}, Mistakes())
    assert said.log["instance"] == instance
    assert said.log["journal_bytes"] == n * unit[1]
    assert said.log["segment_age"] == pytest.approx(span * of[1])
    assert said.log["when_full"] == dict.fromkeys(WhenFull.CLASSES, WhenFull(wait=span))

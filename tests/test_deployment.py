"""A deployment's file: all that `open` takes is in it, values mean what they say, all that is wrong is told at once."""

import contextlib
import dataclasses
import inspect
import os
import sqlite3
import threading
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import (
    ConfigError,
    DeploymentError,
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
    written,
)
from auditring.agent import Agent
from auditring.config import Exempt
from auditring.deployment import loading
from auditring.deployment.file import File
from auditring.deployment.forms import loose
from auditring.deployment.keys import ELSEWHERE, KEYS, SHORT, SINK
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Source
from auditring.sinks import JsonlSink, KafkaSink, LoggingSink, ParquetSink, Sink, registry
from deadlines import until

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


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A configuration as an operator would leave it."""
    path = folder / "auditring.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def load(folder: Path, text: str, **environ: str) -> deployment.Deployment:
    """A deployment of this file and no other environment than this."""
    return deployment.load(write(folder, text), environ=environ)


def mistakes(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    """What is wrong with it."""
    with pytest.raises(DeploymentError) as caught:
        load(folder, text, **environ)
    return caught.value.mistakes


def test_everything_that_open_takes_has_a_key_of_its_name() -> None:
    """A parameter without a key could not be configured, and a key without a parameter would say nothing."""
    parameters = set(inspect.signature(opening.open).parameters)
    tables = {name.partition(".")[0] for name in KEYS} | {"sink"}
    assert {name for name in parameters if ELSEWHERE.get(name, name).partition(".")[0] not in tables} == set()
    assert tables - {"agent", "metrics", "sink"} <= parameters
    assert set(ELSEWHERE) <= parameters
    assert set(ELSEWHERE.values()) <= {*KEYS, "sink"}


@pytest.mark.parametrize("value", [WhenFull, Retention])
def test_every_field_of_a_value_has_a_key(value: type[Any]) -> None:
    """Of those that have a table of their own."""
    table = {WhenFull: "when_full", Retention: "retention"}[value]
    wanted = {field.name for field in dataclasses.fields(value)}
    assert {name.removeprefix(f"{table}.") for name in KEYS if name.rpartition(".")[0] == table} == wanted


def test_every_word_of_a_policy_has_a_key() -> None:
    """Of the log's, and of a sink's what a sink's may have."""
    wanted = {
        field.name.removesuffix("s") if field.name == "rules" else field.name for field in dataclasses.fields(Policy)
    }
    assert {name.removeprefix("policy.") for name in KEYS if name.startswith("policy.")} == wanted
    assert {name.removeprefix("policy.") for name in SINK if name.startswith("policy.")} == wanted - {"redact"}


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


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    """Unknown keys with what was probably meant, wrong types with what is wanted, each on its line."""
    text = """\
pth = "audit"
ring_bytes = "8 MX"
lock_policy = "yes"
[retenion]
[retention]
max_age = "soon"
max_byte = 1
[[policy.rule]]
keep = "of"
[[policy.rule]]
action = "Raed"
keep = "off"
[[sink]]
kind = "parqet"
[[sink]]
kind = "jsonl"
pathh = "x"
[[sink]]
name = "x"
[sink.policy]
sed = 1
"""
    assert mistakes(tmp_path, text, AUDITRING_INSTNCE="x") == (
        "AUDITRING_INSTNCE: there is no such variable; did you mean AUDITRING_INSTANCE?",
        "line 1, auditring.toml: unknown key 'pth'; did you mean 'path'?",
        "line 4, auditring.toml: unknown key 'retenion'; did you mean 'retention'?",
        "line 7, retention: unknown key 'max_byte'; did you mean 'max_bytes'?",
        "line 3, lock_policy: true or false, not 'yes'",
        f"line 2, ring_bytes: {written.SIZE}, not '8 MX'",
        f"line 6, retention.max_age: {written.SPAN}, not 'soon'",
        "line 8, policy.rule 1: Rule.keep: unknown key 'of'; did you mean 'off'?",
        'line 10, policy.rule 2: Rule: there is no action "Raed"; did you mean "Read"?',
        "line 13, sink 1 (parqet): there is no sink kind 'parqet'; did you mean 'parquet'?",
        "line 15, sink 2 (jsonl): JsonlSink: unknown key 'pathh'; did you mean 'path'?",
        "line 21, sink 3: policy: unknown key 'sed'; did you mean 'seed'?",
        "line 18, sink 3: kind is missing; there are " + ", ".join(registry.kinds()),
        "path: is missing: the audit directory has to be said",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retention = 5\n", "retention: a table with max_bytes, max_age, min_free, not 5"),
        ("[retention]\n", None),
        ("[retention]\nmax_age = 0\n", "retention: Retention.max_age: 0 would delete every file"),
        ('read = "most"\n', "read.keep: all or off or sample"),
        ('read = { keep = "sample" }\n', "read: read: keep = 'sample' needs one_in"),
        ("seed = true\n", "seed: a whole number, not True"),
        ('durability = "power"\n', 'durability: "process", or "power'),
        ('instance = ""\n', "instance: an empty text says nothing"),
        ("[policy]\nrule = 3\n", "policy.rule: a list of tables, not 3"),
        ('read = "off"\n[policy]\nseed = 1\n', "read: not beside [policy]"),
        ('[agent]\nlisten = ":1"\n', "agent.listen: listen: HOST:PORT"),
        ('[metrics]\nlabel_scopes = { vc = "cluster" }\n', "metrics: label_scopes: vc: unknown key 'cluster'"),
        ("[metrics]\nlabel_scope_limit = 0\n", "metrics: label_scope_limit: a whole number from 1"),
        ("sink = 3\n", "sink: each sink is a table of its own"),
        ('[[sink]]\nkind = "jsonl"\n[[sink]]\nkind = "jsonl"\n', "two sinks are named 'jsonl'"),
        ('[[sink]]\nkind = "parquet"\nname = "other"\n', "a sink of this kind is named 'parquet'"),
        ('[[sink]]\nkind = "parquet"\ncompression_level = "high"\n', "compression_level: "),
        ('[[sink]]\nkind = "parquet"\ncompression_level = true\n', "compression_level: int, not bool"),
        ('[[sink]]\nkind = "jsonl"\ndialect = "no"\n', "dialect: there is no 'no'"),
        ('[[sink]]\nkind = "jsonl"\nrotation = { row = 1 }\n', "unknown key 'row'; did you mean 'rows'?"),
        ('[[sink]]\nkind = "jsonl"\npath = { env = "X" }\n', "path: the class takes this as plain text"),
        ("x = \n", "is not TOML: "),
        ("x = " + "[" * 5000 + "\n", "is not TOML: "),
        ("x = " + "9" * 5000 + "\n", "is not TOML: "),
    ],
)
def test_what_cannot_be_is_a_mistake_that_says_so(tmp_path: Path, text: str, told: str | None) -> None:
    """And an empty table is none."""
    if told is None:
        load(tmp_path, f'path = "a"\n{text}')
        return
    found = mistakes(tmp_path, text if text.startswith("x") else f'path = "a"\n{text}')
    assert any(told in one for one in found), found


def test_a_file_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    """Not there, a folder, a pipe, no text, too long."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    long = tmp_path / "long"
    long.write_text("#" * ((1 << 20) + 1))
    long.chmod(0o600)
    for path, told in (
        (tmp_path / "nowhere", "cannot be read: No such file"),
        (tmp_path, "is no file"),
        (pipe, "is no file"),
        (binary, "is not UTF-8"),
        (long, "is larger than"),
    ):
        with pytest.raises(DeploymentError, match=told) as caught:
            deployment.load(path, environ={})
        assert len(caught.value.mistakes) == 1


def test_a_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """Whoever can write to it can switch the audit off, as can who puts another in its place."""
    path = write(tmp_path, 'path = "a"\n', 0o620)
    with pytest.raises(DeploymentError, match=r"others may write to it \(mode 0620"):
        deployment.load(path, environ={})
    path.chmod(0o644)
    deployment.load(path, environ={})
    tmp_path.chmod(0o777)
    with pytest.raises(DeploymentError, match="others may put another in its place"):
        deployment.load(path, environ={})
    tmp_path.chmod(0o1777)
    deployment.load(path, environ={})
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "target.toml").write_text('path = "a"\n')
    (shared / "target.toml").chmod(0o600)
    (tmp_path / "link.toml").symlink_to(shared / "target.toml")
    with pytest.raises(DeploymentError, match="others may put another in its place"):
        deployment.load(tmp_path / "link.toml", environ={})


def test_a_file_that_others_may_move_away_is_refused(tmp_path: Path) -> None:
    """By any name on the way to it: a folder far above, a folder in which a link stands that another leads to."""
    deep = tmp_path / "open" / "closed" / "deep"
    deep.mkdir(parents=True)
    path = write(deep, 'path = "a"\n', 0o600)
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "link.toml").symlink_to(path)
    (tmp_path / "link.toml").symlink_to("between/link.toml")
    for folder, found in (("open", path), ("between", tmp_path / "link.toml")):
        deployment.load(found, environ={})
        (tmp_path / folder).chmod(0o777)
        with pytest.raises(DeploymentError, match=f"others may put another in its place .*{folder}"):
            deployment.load(found, environ={})
        (tmp_path / folder).chmod(0o1777)
        deployment.load(found, environ={})
    if os.geteuid() == 0:
        os.chown(tmp_path / "between" / "link.toml", 65534, 65534, follow_symlinks=False)
        with pytest.raises(DeploymentError, match="others may put another in its place"):
            deployment.load(tmp_path / "link.toml", environ={})


SECRETS = [
    'password = "hunter2"',
    'config = { "sasl.password" = "hunter2" }',
    '[sink.config]\nsasl.password = "hunter2"',
    '[sink.config]\n"ssl.key.password" = "hunter2"',
    '[sink.config]\n"ssl.key.pem" = "hunter2"',
    'servers = "https://user:hunter2@example.com"',
    'servers = ["https://user:hunter2@example.com"]',
    'headers = [{ Authorization = "hunter2" }]',
    "token = 12345",
    'client_secret = "hunter2"',
    'api_key = "hunter2"',
    'pwd = "hunter2"',
    'servers = "amqp://user:hunter2/3@example.com"',
    'servers = [["https://user:hunter2@example.com"]]',
    'dsn = "host=db user=audit password=hunter2"',
    'dsn = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2=="',
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_in_plain_sight_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    """In a table of any depth, and in an address."""
    found = mistakes(tmp_path, f'path = "a"\n[[sink]]\nkind = "jsonl"\n{line}\n')
    assert "secret in plain sight; a secret is named by where it is: { env" in found[0]
    assert "hunter2" not in str(found)
    assert "12345" not in str(found)


@pytest.mark.parametrize("name", [*KEYS, "sink", "sink.name", "sink.policy", "nobody", "nobody.knows"])
def test_no_message_repeats_a_secret_wherever_it_was_put(name: str) -> None:
    """Under a key that means something else, or nothing; in a table and in a list of tables."""
    for put in (
        {"password": "hunter2"},
        [{"password": "hunter2"}],
        [{"action": {"sasl.password": "hunter2"}}],
        {"rule": [{"action": {"token": "hunter2"}, "keep": "off"}]},
    ):
        tree: Any = put
        for part in reversed(name.split(".")):
            tree = [tree] if part == "sink" and not isinstance(tree, list) else tree
            tree = {part: tree}
        with pytest.raises(DeploymentError) as caught:
            loading.made(File(tree, Source("x.toml", {}), None), None, {}, Mistakes())
        assert "hunter2" not in str(caught.value)


def test_a_key_of_redaction_in_plain_sight_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """By what redaction itself says, and by a reference of the form that all secrets have."""
    table = '[[policy.redact]]\nfield = "peer"\nhow = "hash"\nkey = '
    (found,) = mistakes(tmp_path, f'path = "a"\n{table}"hunter2hunter2hunter2"\n')
    assert "where the key is" in found
    assert "hunter2" not in found
    said = load(tmp_path, f'path = "a"\n{table}{{ env = "AUDIT_KEY" }}\n')
    assert said.log["policy"].redact[0].how == Hash("env:AUDIT_KEY")


def test_names_of_no_sink_are_told_with_all_else(tmp_path: Path) -> None:
    """Wherever sinks are named; one that is a mistake itself is not told of twice."""
    text = 'path = "a"\nrequired = ["parket", "lines"]\nprobe = ["parquett"]\n[agent]\nsinks = ["parquet"]\n'
    found = mistakes(
        tmp_path, f'{text}[[sink]]\nkind = "parquet"\n[[sink]]\nkind = "jsonl"\nname = "lines"\ncompres = 1\n'
    )
    assert [one for one in found if "required: unknown key 'parket'; did you mean 'parquet'?" in one]
    assert [one for one in found if "probe: unknown key 'parquett'; did you mean 'parquet'?" in one]
    assert len(found) == 3


def test_a_key_with_dots_is_said_but_once(tmp_path: Path) -> None:
    """With its dots in quotes or without: which would win is for nobody to guess."""
    table = 'path = "a"\n[[sink]]\nkind = "kafka"\nservers = "k:1"\n[sink.config]\n'
    (found,) = mistakes(tmp_path, f'{table}"security.protocol" = "ssl"\nsecurity.protocol = "plaintext"\n')
    assert "security.protocol is said twice" in found


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


# What a file may hold, whatever it means.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["all", "off", "1 s", "4 KiB", "parquet", "jsonl", "process", "-", "\0", "a__b", "first"]),
)
NAMES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        sorted({part for name in (*KEYS, *SINK) for part in name.split(".")} | {"path", "rotation", "how"})
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
SINKS = st.lists(
    st.dictionaries(NAMES, VALUES, max_size=4).flatmap(
        lambda table: st.sampled_from(["parquet", "jsonl"]).map(lambda kind: {**table, "kind": kind})
    ),
    max_size=2,
)
TREES = st.one_of(
    st.dictionaries(st.sampled_from(sorted({name.partition(".")[0] for name in KEYS} | {"sink"})), VALUES, max_size=6),
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.fixed_dictionaries({"path": st.just("a"), "sink": SINKS}),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES)
def test_whatever_a_file_says_nothing_but_config_error_is_raised(tree: dict[str, Any]) -> None:
    """A mapping of anything becomes a deployment, or a list of what is wrong with it."""
    with contextlib.suppress(DeploymentError):
        said = loading.made(File(tree, Source("x.toml", {}), None), None, {}, Mistakes())
        assert all(isinstance(sink, Sink) for sink in said.sinks)


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


def test_the_defaults_of_the_table_are_those_that_hold() -> None:
    """What documentation and `auditring check` say where nobody says anything is what `open` does."""
    parameters = inspect.signature(opening.open).parameters
    said = {name: key for name, key in KEYS.items() if key.default.startswith("`") and name in parameters}
    assert {"durability", "ring_bytes", "journal_bytes", "segment_age", "balance", "lock_policy"} <= set(said)
    for name, key in said.items():
        assert key.form.read(loose(key.default.strip("`")), Path()) == parameters[name].default, name
    for field in dataclasses.fields(WhenFull):
        key = KEYS[f"when_full.{field.name}"]
        assert WhenFull.from_mapping({field.name: loose(key.default.strip("`"))}) == WhenFull(), field.name


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

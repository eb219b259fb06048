"""The environment says everything that a file does, key by key and over it, and nothing of it is passed over."""

import ast
import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import auditring
from auditring import DeploymentError, Durability, Keep, Policy, Retention, Rule, Then, Truncate, WhenFull, deployment
from auditring.config import Exempt
from auditring.deployment.environment import by_name
from auditring.deployment.keys import IGNORED, KEYS, PREFIX, SHORT, variable
from auditring.deployment.mistakes import Mistakes
from auditring.sinks import JsonlSink

ROOT = Path(__file__).parents[1]


def load(folder: Path, text: str = "", **environ: str) -> deployment.Deployment:
    """A deployment of this file and this environment."""
    path = folder / "auditring.toml"
    path.write_text(text)
    path.chmod(0o600)
    return deployment.load(path, environ=environ)


def mistakes(folder: Path, text: str = "", **environ: str) -> tuple[str, ...]:
    """What is wrong with it."""
    with pytest.raises(DeploymentError) as caught:
        load(folder, text, AUDITRING_PATH="a", **environ)
    return caught.value.mistakes


EVERYTHING = {
    "PATH": ("audit", None),
    "INSTANCE": ("0123", "0123"),
    "PRIMARY_TAP": ("edge", "edge"),
    "DURABILITY": ("power(0.1)", Durability.POWER(0.1)),
    "REQUIRED": ("parquet, lines", ("parquet", "lines")),
    "PROBE": ("false", False),
    "LOCK_POLICY": ("Yes", True),
    "RING_BYTES": ("8 MiB", 8 << 20),
    "RING_DIR": ("/dev/shm", Path("/dev/shm")),  # noqa: S108 - where rings lie
    "JOURNAL_BYTES": ("1073741824", 1 << 30),
    "SEGMENT_BYTES": ("1M", 1 << 20),
    "SEGMENT_AGE": ("2.5", 2.5),
    "BALANCE": ("never", None),
    "SEED": ("7", 7),
    "EXEMPT": ('[{ topic = "audit", client_id = "other-*" }]', [Exempt(topic="audit", client_id="other-*")]),
}


def test_every_key_has_a_variable(tmp_path: Path) -> None:
    """Those that `open` takes as they are, each as a text."""
    variables = {f"AUDITRING_{name}": text for name, (text, _) in EVERYTHING.items()}
    said = load(tmp_path, '[[sink]]\nkind = "parquet"\n[[sink]]\nkind = "jsonl"\nname = "lines"\n', **variables)
    wanted = {name.lower(): value for name, (_, value) in EVERYTHING.items()}
    assert {**said.log, "path": None} == wanted
    assert said.root == tmp_path / "audit"
    assert set(wanted) == {name for name in KEYS if "." not in name}


def test_tables_have_variables_too(tmp_path: Path) -> None:
    """A level of the file is two underscores, and a list of tables is as TOML has it."""
    said = load(
        tmp_path,
        AUDITRING_PATH="a",
        AUDITRING_WHEN_FULL__WAIT="forever",
        AUDITRING_WHEN_FULL__DROPPABLE__WAIT="0",
        AUDITRING_WHEN_FULL__PROTECTED__THEN="raise",
        AUDITRING_RETENTION__MAX_BYTES="10 GiB",
        AUDITRING_RETENTION__MAX_AGE="30 d",
        AUDITRING_RETENTION__MIN_FREE="1G",
        AUDITRING_POLICY__SEED="3",
        AUDITRING_POLICY__ALLOW_BLIND_SPOTS="on",
        AUDITRING_POLICY__RULE='[{ action = "Read", keep = "sample", one_in = 10, by = ["session"] }]',
        AUDITRING_POLICY__REDACT='[{ field = "peer", how = "truncate" }]',
        AUDITRING_AGENT__SINKS="parquet, ",
        AUDITRING_AGENT__LISTEN="127.0.0.1:1",
        AUDITRING_METRICS__LISTEN="[::1]:2",
        AUDITRING_METRICS__LABEL_SCOPE_LIMIT="50",
        AUDITRING_METRICS__LABEL_SCOPES='{ vc = "virtual_cluster" }',
    )
    assert said.log == {
        "label_scopes": {"vc": "virtual_cluster"},
        "label_scope_limit": 50,
        "when_full": {
            "droppable": WhenFull(wait=0),
            "protected": WhenFull(wait=None, then=Then.RAISE),
        },
        "retention": Retention(max_bytes=10 << 30, max_age=30 * 86400, min_free=1 << 30),
        "policy": Policy(
            rules=[Rule(action="Read", keep=Keep.SAMPLE(one_in=10, by=("session",)))],
            redact=[auditring.Redact("peer", Truncate())],
            seed=3,
            allow_blind_spots=True,
        ),
    }
    assert said.agent == deployment.Agent(sinks=("parquet",), listen="127.0.0.1:1")
    assert said.metrics == deployment.Metrics(listen="[::1]:2")


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path) -> None:
    """What it does not say, stays; and each value tells where it is from."""
    text = 'path = "a"\ninstance = "file"\n[retention]\nmax_age = "1 d"\nmax_bytes = "1 GiB"\n'
    said = load(tmp_path, text, AUDITRING_INSTANCE="env", AUDITRING_RETENTION__MAX_BYTES="2 GiB")
    assert said.log == {"instance": "env", "retention": Retention(max_age=86400, max_bytes=2 << 30)}
    origins = {name: one.origin for name, one in said.settings.items()}
    assert origins == {
        "path": "auditring.toml:1",
        "instance": "AUDITRING_INSTANCE",
        "retention.max_bytes": "AUDITRING_RETENTION__MAX_BYTES",
        "retention.max_age": "auditring.toml:4",
    }


def test_a_table_said_in_a_word_is_said_whole(tmp_path: Path) -> None:
    """What the file says of a sample does not stand beside the variable's word."""
    text = 'path = "a"\nread = { keep = "sample", one_in = 10 }\n'
    assert load(tmp_path, text, AUDITRING_READ="off").log == {"read": Keep.OFF}
    assert load(tmp_path, text, AUDITRING_READ__ONE_IN="99").log == {"read": Keep.SAMPLE(one_in=99)}


def test_the_environment_names_the_file_and_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `AUDITRING_CONFIG`; a deployment may be variables alone."""
    (tmp_path / "auditring.toml").write_text('path = "of-file"\n')
    (tmp_path / "auditring.toml").chmod(0o600)
    named = {"AUDITRING_CONFIG": str(tmp_path / "auditring.toml")}
    assert deployment.load(environ=named).root == tmp_path / "of-file"
    monkeypatch.chdir(tmp_path)
    alone = deployment.load(environ={"AUDITRING_PATH": "alone"})
    assert (alone.path, alone.root) == (None, tmp_path / "alone")
    with pytest.raises(DeploymentError, match="the environment: 1 mistake\n  path: is missing"):
        deployment.load(environ={})
    monkeypatch.setenv("AUDITRING_PATH", str(tmp_path / "opened"))
    monkeypatch.setenv("AUDITRING_INSTANCE", "of-env")
    with auditring.open_from() as log:
        assert log.health().ok
    assert (tmp_path / "opened" / "events").is_dir()


def test_variables_say_what_sinks_are_told(tmp_path: Path) -> None:
    """By the sink's name, in whichever case and with whichever signs it has, and its kind where it has none."""
    text = """\
path = "a"
[[sink]]
kind = "jsonl"
name = "my-lines"
compress = false
[[sink]]
kind = "parquet"
"""
    said = load(
        tmp_path,
        text,
        AUDITRING_SINK__MY_LINES__COMPRESS="true",
        AUDITRING_SINK__MY_LINES__PATH="123",
        AUDITRING_SINK__MY_LINES__ROTATION__AGE="5 min",
        AUDITRING_SINK__MY_LINES__ROTATION__ROWS="77",
        AUDITRING_SINK__MY_LINES__CHECKPOINT='{ age = "2 s" }',
        AUDITRING_SINK__MY_LINES__POLICY__RULE='[{ action = "Read", keep = "off" }]',
        AUDITRING_SINK__PARQUET__COMPRESSION_LEVEL="3",
    )
    lines, parquet = said.sinks
    assert isinstance(lines, JsonlSink)
    assert lines.policy == Policy(rules=[Rule(action="Read", keep=Keep.OFF)])
    assert (lines.checkpoint.age, lines.checkpoint.rows) == (2.0, 77)
    assert lines._path == tmp_path / "123"  # noqa: SLF001 - a text that looks like a number stays a path
    assert lines._compress is True  # noqa: SLF001 - nowhere else to be seen
    assert parquet._level == 3  # type: ignore[attr-defined]  # noqa: SLF001 - likewise
    assert said.configured is not None
    assert said.configured[0].settings["compress"].origin == "AUDITRING_SINK__MY_LINES__COMPRESS"
    assert said.configured[0].settings["kind"].origin == "auditring.toml:3"


def test_variables_alone_add_a_sink_to_the_tables(tmp_path: Path) -> None:
    """Where they say its kind; the tables stay, and can be spoken of, too."""
    said = load(
        tmp_path,
        AUDITRING_PATH="a",
        AUDITRING_SINK__LINES__KIND="jsonl",
        AUDITRING_SINK__LINES__COMPRESS="1",
        AUDITRING_SINK__PARQUET__COMPRESSION_LEVEL="5",
    )
    assert [sink.name for sink in said.sinks] == ["parquet", "lines"]
    assert said.configured is not None
    assert [one.kind for one in said.configured] == ["parquet", "jsonl"]
    assert said.configured[0].settings["kind"].origin == "default"


def test_a_file_that_lists_no_sink_has_none_but_what_variables_say(tmp_path: Path) -> None:
    """An empty list is a list."""
    said = load(tmp_path, 'path = "a"\nsink = []\n', AUDITRING_SINK__LINES__KIND="jsonl")
    assert [sink.name for sink in said.sinks] == ["lines"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("AUDITRING_INSTNCE", "x", "there is no such variable; did you mean AUDITRING_INSTANCE?"),
        ("AUDITRING_RETENTION__MAX_BYTE", "1", "did you mean AUDITRING_RETENTION__MAX_BYTES?"),
        ("AUDITRING_RETENTION_MAX_BYTES", "1", "did you mean AUDITRING_RETENTION__MAX_BYTES?"),
        ("AUDITRING_READ", "most", "read.keep: all or off"),
        ("AUDITRING_SEED", "1.5", "seed: a whole number, not '1.5'"),
        ("AUDITRING_LOCK_POLICY", "maybe", "lock_policy: true or false, not 'maybe'"),
        ("AUDITRING_INSTANCE", "", "is empty; unset it, or say something"),
        ("AUDITRING_POLICY__RULE", "[", "policy.rule: a list of tables, not '['"),
        ("AUDITRING_POLICY__RULE", '[{ keep = "of" }]', "policy.rule: Rule.keep: unknown key 'of'"),
        ("AUDITRING_RETENTION__MAX_AGE", "0", "retention: Retention.max_age: 0"),
        ("AUDITRING_SINK__KAFA__TOPIC", "x", "there is no sink of that name (there are: jsonl)"),
        ("AUDITRING_SINK__JSONL", "x", "there is no such variable"),
        ("AUDITRING_SINK__JSONL__COMPRES", "x", "unknown key 'compres'; did you mean 'compress'?"),
        ("AUDITRING_SINK__JSONL__KIND__X", "x", "kind is no table"),
        ("AUDITRING_Read", "off", "there is no such variable; did you mean AUDITRING_READ?"),
        ("AUDITRING_SINK__jsonl__COMPRESS", "1", "did you mean AUDITRING_SINK__JSONL__COMPRESS?"),
        ("AUDITRING_CONFIG", "", "is empty; unset it, or name the file"),
        ("AUDITRING_REQUIRED", " , ", "required: an empty text says nothing"),
        ("AUDITRING_DROP_TABLES", "x", "a key of a sink is AUDITRING_SINK__<name>__<KEY>"),
    ],
)
def test_what_a_variable_cannot_say_is_a_mistake(tmp_path: Path, name: str, text: str, told: str) -> None:
    """With its name, and what was probably meant."""
    found = mistakes(tmp_path, '[[sink]]\nkind = "jsonl"\n', **{name: text})
    assert any(told in one and (name in one or "SINK" in name) for one in found), found


def test_two_variables_do_not_say_one_thing(tmp_path: Path) -> None:
    """Which of them wins is for nobody to guess."""
    (found,) = mistakes(tmp_path, AUDITRING_READ="all", AUDITRING_READ__KEEP="off")
    assert found == "AUDITRING_READ__KEEP: says the same as AUDITRING_READ; unset one of them"


def test_a_secret_in_a_variable_is_refused_and_one_by_reference_taken(tmp_path: Path) -> None:
    """A literal is seen by everybody who sees the environment's list; what a reference names is no unknown variable."""
    literal = {"AUDITRING_SINK__JSONL__PASSWORD": "hunter2"}
    (found,) = mistakes(tmp_path, '[[sink]]\nkind = "jsonl"\n', **literal)
    assert "secret in plain sight" in found
    assert "hunter2" not in found
    table = '[[policy.redact]]\nfield = "peer"\nhow = "hash"\nkey = { env = "AUDITRING_OWN_KEY" }\n'
    said = load(tmp_path, table, AUDITRING_PATH="a", AUDITRING_OWN_KEY="hunter2")
    assert said.references == (("env", "AUDITRING_OWN_KEY"),)
    old = table.replace('{ env = "AUDITRING_OWN_KEY" }', '"env:AUDITRING_OWN_KEY"')
    assert load(tmp_path, old, AUDITRING_PATH="a", AUDITRING_OWN_KEY="hunter2").references == said.references
    assert "hunter2" not in repr(said)


def test_variables_that_are_no_configuration_are_those_of_the_list(tmp_path: Path) -> None:
    """Whatever of that name stands in our own code, tests and benches is there, and nothing else."""
    for pattern in IGNORED:
        load(tmp_path, AUDITRING_PATH="a", **{pattern.replace("*", "X"): "1"})
    listed = subprocess.run(
        ["git", "grep", "-hoE", "AUDITRING_[A-Z_]+", "--", "rust", "benches", "tests/torture", "python"],  # noqa: S607 - whose this is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no repository here")
    known = {"AUDITRING_CONFIG", "AUDITRING_SINK__", "AUDITRING_", *map(variable, [*KEYS, *SHORT])}
    for name in set(listed.stdout.split()) - known:
        assert any(re.fullmatch(pattern.replace("*", ".*"), name) for pattern in IGNORED), name


@settings(max_examples=200, deadline=None)
@given(
    environ=st.dictionaries(
        st.one_of(
            st.sampled_from([variable(name) for name in [*KEYS, *SHORT]]),
            st.text(alphabet="ABX_", max_size=12).map(PREFIX.__add__),
            st.text(alphabet="AX_", max_size=8).map("AUDITRING_SINK__".__add__),
        ),
        st.one_of(st.text(max_size=12), st.sampled_from(["true", "[1]", "{a=1}", "1 s", "9" * 40, "[[", "nan"])),
        max_size=6,
    )
)
def test_whatever_the_environment_says_nothing_but_config_error_is_raised(environ: dict[str, str]) -> None:
    """Each variable is a setting, a sink's, or a mistake."""
    with contextlib.suppress(DeploymentError):
        assert deployment.load(environ=environ).root.is_absolute()


def test_no_value_is_evaluated() -> None:
    """Nothing in the room calls what would."""
    for path in sorted((ROOT / "python" / "auditring" / "deployment").glob("*.py")):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "compile", "__import__", "literal_eval"}, path


def test_the_variables_of_the_same_key_are_one(tmp_path: Path) -> None:
    """No two keys have one variable."""
    del tmp_path
    names = [variable(name) for name in [*KEYS, *SHORT]]
    assert len(names) == len(set(names))
    assert not by_name({}, Mistakes()).settings

"""What is wrong with a deployment's file: all of it is told at once, with its place, as a `DeploymentError`."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditring import DeploymentError, written
from auditring.deployment import loading
from auditring.deployment.file import File
from auditring.deployment.keys import KEYS, SINK
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Source
from auditring.sinks import Sink, registry
from deployments import load, mistakes


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

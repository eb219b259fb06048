"""The table of a deployment's keys: it has all that `open` takes, with the defaults that hold there."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

from auditring import Policy, Retention, WhenFull, opening
from auditring.deployment.forms import loose
from auditring.deployment.keys import ELSEWHERE, KEYS, SINK


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

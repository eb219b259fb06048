"""Lines in the names of the Kroxylicious proposal: only the action differs, and the row is found again."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import jsonschema
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import ConfigError, Keep, _core
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail
from auditring.types import Dialect

SCHEMA = Path(__file__).parents[2] / "shared" / "peers" / "kroxylicious_audit_action_v1.json"
THEIRS: Dialect = "kroxylicious-v1"
NAMES = {
    "ProxyStartup": "ProxyStart",
    "ProxyCleanShutdown": "ProxyStop",
    "VirtualClusterStartup": "VirtualClusterStart",
    "VirtualClusterShutdown": "VirtualClusterStop",
    "ClientAccept": "ClientConnect",
    "ClientClose": "ClientClose",
    "BrokerConnect": "ServerConnect",
    "BrokerClose": "ServerClose",
    "ClientSaslAuthSuccess": "ClientAuthenticate",
    "ClientSaslAuthFailure": "ClientAuthenticate",
    "ClientTlsAuthSuccess": "ClientAuthenticate",
    "ClientTlsAuthFailure": "ClientAuthenticate",
}
"""What the proposal says, written out again: the catalog is what is tested."""

OPERATIONS = {
    "READ": "Read",
    "DESCRIBE_CONFIGS": "DescribeConfigs",
    "TwoPhaseCommit": "TwoPhaseCommit",
    "write": "Write",
}


def arguments(action: dict[str, Any]) -> dict[str, Any]:
    """A value for every field."""
    values: dict[str, Any] = {}
    for field in action["fields"]:
        text = field["words"][0] if field["words"] else f"<{field['name']}>"
        values[field["name"]] = text if field["type"] == "str" else min(101, field["max"])
    return values


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every action in a table, in our lines, and in theirs under `upstream/`."""
    root = tmp_path_factory.mktemp("audit")
    theirs = JsonlSink(root / "upstream", name="upstream", dialect=THEIRS)
    with (
        auditring.open(root, sinks=(ParquetSink(), JsonlSink(), theirs), request=Keep.ALL) as log,
        log.session(id="c-1", authority="decision", peer=("192.0.2.7", 1), virtual_cluster="payments") as session,
    ):
        for handle, name in ((session, "session"), (session.broker("b:1"), "broker"), (log, "log")):
            for action in _core.actions():
                if action[name] and action["method"] != "emit":
                    getattr(handle, action["method"])(**arguments(action))
        for operation in OPERATIONS:
            session.operation_allowed(operation, "Topic", "orders")
        session.operation_denied("3D läsen", "Topic", "orders")
        session.emit("com.example.kms.KeyUsed", operation="UNWRAP")
        log.declare("com.example.kms.KeyLost", context=("alg",))(session, "AES")
    return root


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """All lines, by seq."""
    lines = [json.loads(line) for path in directory.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return sorted(lines, key=lambda line: line["seq"])


def theirs_of(line: dict[str, Any]) -> str:
    """What one of our lines is called in theirs."""
    action: str = line["action"]
    if line["category"] == "authorization":
        return OPERATIONS.get(line["operation"], f"auditring.{action}")
    return NAMES.get(action, action if "." in action else f"auditring.{action}")


def test_only_the_action_differs(root: Path) -> None:
    """Every line is there, with the same event id, process, seq and everything else."""
    ours, theirs = lines_of(root / "jsonl"), lines_of(root / "upstream")
    assert [{**line, "action": theirs_of(line)} for line in ours] == theirs
    said = {line["action"] for line in theirs}
    assert said >= {*NAMES.values(), *OPERATIONS.values(), "auditring.Read", "auditring.CreateTopics"}
    assert said >= {"com.example.kms.KeyUsed", "com.example.kms.KeyLost", "auditring.OperationDenied"}


def test_a_row_is_found_again(root: Path) -> None:
    """Process and seq of a line name one row of the tables; that row has our own name."""
    tables = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    rows = {(row["process"], row["seq"]): row for row in tables}
    theirs = lines_of(root / "upstream")
    assert len(theirs) == len(rows)
    for line in theirs:
        row = rows[line["process"], line["seq"]]
        assert line["eventId"] == f"{row['process']}:{row['seq']}"
        assert theirs_of(row) == line["action"]


@functools.cache
def upstream() -> jsonschema.protocols.Validator:
    """The upstream schema, formats included; skips the test where the schema is not at hand."""
    if not SCHEMA.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the upstream schema must be there in CI")
        pytest.skip("the upstream schema is not beside this checkout")
    checker = jsonschema.FormatChecker()
    assert {"date-time", "uuid"} <= set(checker.checkers), "a format would silently not be checked"
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=checker)


def test_every_line_validates_upstream(root: Path) -> None:
    """Under upstream's names too, each line is a valid audit action; and each name is one that may be."""
    for line in lines_of(root / "upstream"):
        upstream().validate(line)
        assert re.fullmatch(r"([a-z0-9_]+[.])*[A-Z][a-zA-Z0-9_]*", line["action"])


def test_the_tail_speaks_it_from_journal_and_from_tables(root: Path, tmp_path: Path) -> None:
    """What is told out of sealed files, and while a proxy writes, has the same names as a sink's lines."""
    tail = Tail(root, json=True, dialect=THEIRS)
    told = [json.loads(line) for text in tail.history() for line in text.splitlines()]
    assert sorted(told, key=lambda line: cast("int", line["seq"])) == lines_of(root / "upstream")
    with auditring.open(tmp_path, sinks=()) as log:
        live = Tail(tmp_path, json=True, dialect=THEIRS, last=0)
        with log.session(authority="decision") as session:
            session.operation_allowed("READ", "Topic", "orders")
        log._live().journaled(30)  # noqa: SLF001 - what a tail can see
        names = [json.loads(line)["action"] for line in live.fresh().splitlines()]
    assert names == ["ClientConnect", "Read", "ClientClose"]


def test_the_command_has_an_option_for_it(root: Path) -> None:
    """`tail --json --dialect`; without `--json` there is nothing that a dialect could be of."""

    def said(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from auditring.cli import main; main()", "tail", str(root), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = said("--json", "--dialect", THEIRS, "--last", "1")
    assert json.loads(done.stdout)["action"] == "ProxyStop"
    done = said("--dialect", THEIRS)
    assert done.returncode != 0
    assert "--json" in done.stderr


def test_standard_output_speaks_it_too(tmp_path: Path) -> None:
    """`JsonlSink("-", dialect=…)` prints their names."""
    program = (
        "import auditring, sys\n"
        "from auditring.sinks import JsonlSink\n"
        "sinks = (JsonlSink('-', dialect='kroxylicious-v1'),)\n"
        "auditring.open(sys.argv[1], sinks=sinks, balance=None).close()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["action"] for line in done.stdout.splitlines()] == ["ProxyStart", "ProxyStop"]


def test_a_dialect_that_there_is_not_is_an_error_at_once(tmp_path: Path) -> None:
    """Before a log is opened, and with the names that there are."""
    wrong = cast("Dialect", "klingon")
    with pytest.raises(ConfigError, match="known: kroxylicious-v1"):
        JsonlSink(dialect=wrong)
    (tmp_path / "journal").mkdir()
    with pytest.raises(ValueError, match="known: kroxylicious-v1"):
        Tail(tmp_path, json=True, dialect=wrong)
    with pytest.raises(ValueError, match="JSON"):
        Tail(tmp_path, dialect=THEIRS)

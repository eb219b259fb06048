"""`auditring explain --against`: a policy held against what was recorded, rule by rule."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import auditring
from auditring import Keep, Policy, Rule, _core
from auditring.cli.commands import auditring as command_line
from sealed_rows import rows_of

PATIENCE = 60.0
NEW = """
[[rule]]
action = "Read"
resource = ["metrics.*", "heartbeat"]
keep = "off"

[[rule]]
action = ["Read", "Write"]
principal = "svc-*"
peer = "10.1.0.0/16"
keep = "sample"
one_in = 10

[[rule]]
category = "plugin"
keep = "off"

[[rule]]
outcome = "denied"
keep = "all"
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of sessions that do a bit of everything, under a policy that samples writes."""
    root = tmp_path_factory.mktemp("audit")
    policy = Policy(
        rules=[
            Rule(action="Write", keep=Keep.SAMPLE(one_in=4, by=None)),
            Rule(action="OperationAllowed", keep=Keep.OFF),
            Rule(action="com.example.Off", keep=Keep.OFF),
        ],
        seed=3,
    )
    with auditring.open(root, policy=policy, balance=None) as log:
        off = log.declare("com.example.Off")
        for number in range(40):
            peer = (f"10.{number % 3}.0.7", 40_000)
            with log.session(id=f"s{number}", peer=peer, authority="decision") as session:
                session.client_sasl_auth_success(f"svc-{number}" if number % 2 else "alice", mechanism="PLAIN")
                session.operation_allowed("READ", "Topic", "orders")
                for topic in ("metrics.cpu", "orders"):
                    for offset in range(5):
                        session.read(topic, 0, offset, offset)
                        session.write(topic, 0, offset, offset)
                session.operation_denied("WRITE", "Topic", "salaries")
                session.read("metrics.cpu", 0, status="OFFSET_OUT_OF_RANGE")
                session.emit("com.example.kms.KeyUsed")
                off(session)
    return root


def run(*arguments: object, status: int = 0) -> str:
    """What the command says."""
    done = CliRunner().invoke(command_line, ["explain", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done.output


def plainly(policy: Policy, row: dict[str, Any]) -> tuple[int | None, str]:
    """Which rule decides about a row, and what it says, by asking for each alone."""
    names = ("action", "category", "outcome", "authority", "origin", "filter", "tap", "resource", "virtual_cluster")
    event = {name: row[name] for name in names} | {"peer": row["peer_ip"], "principals": row["principals"] or []}
    answer = _core.explain(policy.journaled(seed=0), event | {"status": row["status"] is not None})
    return (None if answer["rule"] is None else answer["rule"] + 1), answer["keep"]


def test_every_row_is_counted_under_the_rule_that_decides_about_it(recorded: Path, tmp_path: Path) -> None:
    """Rows, and the events that they stand for; what is kept of a sample is the share to be expected."""
    path = tmp_path / "new.toml"
    path.write_text(NEW)
    said = json.loads(run("--policy", path, "--against", recorded, "--json"))
    rows = rows_of(recorded)
    policy = Policy.from_toml(path)
    expected = Counter(plainly(policy, row) for row in rows)
    assert {(line["rule"], line["keep"]): line["rows"] for line in said["rules"]} == dict(expected)
    assert said["rows"] == len(rows)
    assert said["events"] == sum(row["count"] * row["weight"] for row in rows)
    by_rule = {line["rule"]: line for line in said["rules"]}
    assert set(by_rule) == {None, 1, 2, 3, 4}
    assert by_rule[1]["would_be_rows"] == 0
    assert by_rule[1]["left_out"] == 40 * 5
    assert by_rule[3]["left_out"] == 40
    sampled = by_rule[2]
    assert sampled["events"] > sampled["rows"], "writes are there with weights"
    assert sampled["would_be_rows"] == round(sampled["events"] / 10)
    assert by_rule[4]["would_be_rows"] == 40
    assert said["would_be_rows"] == pytest.approx(sum(line["would_be_rows"] for line in said["rules"]), abs=2)
    files = sum(file.stat().st_size for file in recorded.glob("events/*/*.parquet"))
    assert said["bytes"] == pytest.approx(files, rel=0.01)
    assert said["bytes_per_row"] == pytest.approx(files / len(rows))


def test_what_is_in_no_row_is_told_by_number(recorded: Path, tmp_path: Path) -> None:
    """What today's policy has left out: refused by the call, sampled out, filtered."""
    path = tmp_path / "new.toml"
    path.write_text(NEW)
    left = json.loads(run("--policy", path, "--against", recorded, "--json"))["not_in_rows"]
    assert (left["off"], left["filtered_out"]) == (40, 40)
    assert left["sampled_out"] > 0
    text = run("--policy", path, "--against", recorded)
    assert "Not in any row, and so not in this table: 40 off" in text
    assert "40 filtered out" in text
    assert "at today's bytes a row" in text
    assert "Of a sample the expected share is shown" in text
    assert "log 1" in text
    assert "Rule(action='Read', resource=('metrics.*', 'heartbeat'), keep=Keep.OFF)" in text


def test_rows_in_the_journal_count_too_and_since_narrows(tmp_path: Path) -> None:
    """A log that is open; and one of which nothing is so young."""
    path = tmp_path / "new.toml"
    path.write_text("[[rule]]\naction = 'Read'\nkeep = 'off'\n")
    root = tmp_path / "audit"
    with auditring.open(root) as log, log.session() as session:
        session.read("orders", 0, 1, 1)
        log._live().journaled(PATIENCE)  # noqa: SLF001 - before any sink has sealed
        said = json.loads(run("--policy", path, "--against", root, "--since", "1h", "--json"))
        assert said["bytes_per_row"] is None
        none = json.loads(run("--policy", path, "--against", root, "--since", "2999-01-01", "--json"))
    assert {line["rule"]: line["rows"] for line in said["rules"]} == {1: 1, None: said["rows"] - 1}
    assert (none["rows"], none["rules"]) == (0, [])


def test_a_sinks_policy_is_asked_first_but_for_what_the_log_turns_off(recorded: Path, tmp_path: Path) -> None:
    """As a follower does: the log's OFF, else the sink's first match, else the log's."""
    path, own = tmp_path / "new.toml", tmp_path / "own.toml"
    path.write_text(NEW)
    own.write_text("[[rule]]\naction = ['Read', 'ClientAccept']\nkeep = 'sample'\none_in = 2\n")
    said = json.loads(run("--policy", path, "--sink-policy", own, "--against", recorded, "--json"))
    lines = {(line["policy"], line["rule"]): line for line in said["rules"]}
    assert lines["log", 1]["left_out"] == 40 * 5
    # The reads of orders and the connections; a read that failed is protected.
    assert lines["sink", 1]["rows"] == 40 * 5 + 40
    assert lines["sink", 1]["says"] == "Rule(action=('Read', 'ClientAccept'), keep=Keep.SAMPLE(one_in=2))"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "say which event with --action, or --against DIR"),
        (("--since", "1h", "--action", "Read"), "say which event with --action, or --against DIR"),
        (("--against", ".", "--action", "Read"), "--action is of one event"),
        (("--against", ".", "--principal", "alice"), "--principal is of one event"),
        (("--against", "nowhere"), "nowhere"),
    ],
)
def test_it_complains_about_what_cannot_be_asked(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """In one line, with status 2."""
    path = tmp_path / "new.toml"
    path.write_text(NEW)
    assert says in run("--policy", path, *arguments, status=2)


def test_a_rule_that_names_who_is_hashed_finds_the_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the log that redacts would; without the key nobody can tell, and that is said."""
    monkeypatch.setenv("AUDIT_TEST_KEY", "k" * 32)
    path, root = tmp_path / "new.toml", tmp_path / "audit"
    path.write_text(
        "[[rule]]\naction = 'Read'\nprincipal = 'noisy'\nkeep = 'off'\n"
        "[[redact]]\nfield = 'principal'\nhow = 'hash'\nkey = 'env:AUDIT_TEST_KEY'\n"
    )
    redact = Policy.from_toml(path).redact
    with auditring.open(root, policy=Policy(redact=redact)) as log:
        for principal in ("noisy", "alice"):
            with log.session(authority="decision") as session:
                session.client_sasl_auth_success(principal, mechanism="PLAIN")
                session.read("orders", 0, 1, 1)
    said = json.loads(run("--policy", path, "--against", root, "--json"))
    assert {line["rule"]: line["rows"] for line in said["rules"]} == {1: 1, None: said["rows"] - 1}
    monkeypatch.delenv("AUDIT_TEST_KEY")
    assert "AUDIT_TEST_KEY" in run("--policy", path, "--against", root, status=2)

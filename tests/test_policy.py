"""Policies as a host writes them, and what becomes of events: per log, per sink, for readers, after a kill."""

import json
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditring
from auditring import ConfigError, Keep, Policy, Rotation, Rule, _core, query
from auditring.policy import literal
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from auditring.tail import Tail
from deadlines import until
from policies import METRICS
from sealed_rows import rows_of

PATIENCE = 60.0
PROTECTED = {"authentication", "administration", "lifecycle", "audit"}


def lines_of(root: Path) -> list[dict[str, Any]]:
    """Every line of the usual place, by seq."""
    return lines_in(root / "jsonl")


def lines_in(directory: Path) -> list[dict[str, Any]]:
    """Every line, by seq."""
    lines = [json.loads(line) for path in directory.glob("*.jsonl") for line in path.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["seq"])


def traffic(log: auditring.AuditLog, sessions: int = 40) -> None:
    """Sessions that do a bit of everything."""
    for number in range(sessions):
        peer = (f"10.{number % 3}.0.{number % 250}", 40_000 + number)
        with log.session(id=f"s-{number}", peer=peer, virtual_cluster="vc", authority="decision") as session:
            session.client_sasl_auth_success(f"svc-{number % 5}", mechanism="PLAIN")
            for topic in ("metrics.cpu", "orders"):
                session.operation_allowed("READ", "Topic", topic)
                for offset in range(5):
                    session.read(topic, offset % 2, offset, offset, records=offset, bytes=offset * 100)
                session.write(topic, 0, number, number)
            session.operation_denied("WRITE", "Topic", "salaries")
            session.read("metrics.cpu", 0, status="OFFSET_OUT_OF_RANGE")
            session.emit("com.example.kms.KeyUsed")
            session.create_topics("orders")


def test_a_policy_reads_the_same_from_toml_and_from_code(tmp_path: Path) -> None:
    """TOML, from a path or as text, says what the classes say; the journaled form is canonical."""
    policy = Policy(
        rules=(
            Rule(action="Read", resource=("metrics.*", "heartbeat"), keep=Keep.OFF),
            Rule(
                action=("Read", "Write"),
                principal="svc-*",
                peer=(ip_network("10.0.0.0/8"), "2001:db8::/32"),
                keep=Keep.SAMPLE(one_in=100, by="session"),
            ),
        ),
        seed=7,
    )
    path = tmp_path / "policy.toml"
    path.write_text(METRICS)
    assert Policy.from_toml(METRICS) == Policy.from_toml(path) == Policy.from_toml(str(path)) == policy
    assert json.loads(policy.journaled(seed=1)) == {
        "version": 2,
        "seed": 7,
        "allow_blind_spots": False,
        "rules": [
            {"action": ["Read"], "resource": ["metrics.*", "heartbeat"], "keep": "off"},
            {
                "action": ["Read", "Write"],
                "principal": ["svc-*"],
                "peer": ["10.0.0.0/8", "2001:db8::/32"],
                "keep": "sample",
                "one_in": 100,
                "by": ["session"],
            },
        ],
    }
    namespace = {"Policy": Policy, "Rule": Rule, "Keep": Keep}
    assert eval(repr(policy), namespace) == policy  # noqa: S307 - our own repr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule(action="Raed", keep=Keep.OFF), 'did you mean "Read"'),
        (lambda: Rule(outcome="succes", keep=Keep.OFF), 'did you mean "success"'),
        (lambda: Rule(resource=(), keep=Keep.OFF), "no name at all"),
        (lambda: Rule(resource=3, keep=Keep.OFF), "a name or several"),  # type: ignore[arg-type]  # a mistake
        (lambda: Rule(peer="10.0.0.1/8", keep=Keep.OFF), 'the network is "10.0.0.0/8"'),
        (lambda: Rule(keep="off"), r"Keep\.ALL"),  # type: ignore[arg-type]  # a mistake
        (lambda: Keep.SAMPLE(one_in=2, by="sesion"), "did you mean 'session'"),
        (lambda: Keep.SAMPLE(one_in=2, by=()), "names nothing"),
        (lambda: Policy(rules=[Rule(outcome="denied", keep=Keep.OFF)]), 'rule 1: it names "denied"'),
        (lambda: Policy(rules=[Rule(category="authent*", keep=Keep.OFF)]), "allow_blind_spots"),
        (lambda: Policy(rules=Rule(keep=Keep.OFF)), "a sequence of Rules"),  # type: ignore[arg-type]  # a mistake
        (lambda: Policy(seed=-1), "seed"),
        (lambda: Policy.from_toml("rules = []\n"), "did you mean 'rule'"),
        (lambda: Policy.from_toml("[[rule]]\nacton = 'Read'\nkeep = 'off'\n"), "rule 1: .*did you mean 'action'"),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'sometimes'\n"), "known: all, coalesce, first, off, sample"),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'sample'\n"), "needs one_in"),
        (lambda: Policy.from_toml("[[rule]]\nkeep = 'off'\none_in = 3\n"), "has no one_in"),
        (lambda: Policy.from_toml("[[rule]\n\n"), "not TOML"),
        (lambda: auditring.open(None, policy=Policy(), read=Keep.ALL), "read: not beside policy="),
        (lambda: auditring.open(None, policy=Policy(), seed=3), "seed: not beside policy="),
        (lambda: auditring.open(None, policy="all"), "policy: a Policy"),  # type: ignore[arg-type]  # a mistake
        (lambda: auditring.open(None, sinks=[ParquetSink(policy=3)]), "'parquet' is a Policy"),  # type: ignore[arg-type]  # a mistake
    ],
)
def test_a_policy_that_exists_can_be_used(make: Any, message: str) -> None:  # noqa: ANN401 - any of the constructors
    """Every mistake is one of configuration, says where it is, and what was probably meant."""
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_literal_is_matched_as_it_is(tmp_path: Path) -> None:
    """`literal` takes stars, question marks and backslashes for what they are."""
    policy = Policy(rules=[Rule(resource=literal(r"a*b?\c"), keep=Keep.OFF)])
    with auditring.open(tmp_path, policy=policy) as log, log.session() as session:
        session.read(r"a*b?\c", 0)
        session.read(r"aXb?\c", 0)
    assert [row["resource"] for row in rows_of(tmp_path) if row["action"] == "Read"] == [r"aXb?\c"]


def test_rules_leave_out_what_they_say_and_never_what_is_protected(tmp_path: Path) -> None:
    """The widest rule there is leaves denials, failures and whatever else is protected as rows; all is counted."""
    with auditring.open(tmp_path, policy=Policy(rules=[Rule(keep=Keep.OFF)]), balance=None) as log:
        traffic(log, sessions=3)
        log.flush(PATIENCE)
        stats = log.stats()
    rows = rows_of(tmp_path)
    assert stats.balanced
    assert Counter(row["action"] for row in rows) == {
        "ProxyStartup": 1,
        "ClientSaslAuthSuccess": 3,
        "OperationDenied": 3,
        "Read": 3,
        "CreateTopics": 3,
        "ProxyCleanShutdown": 1,
    }
    assert {row["status"] for row in rows if row["action"] == "Read"} == {"OFFSET_OUT_OF_RANGE"}
    # Data and plugins' events are refused by the call; connections and authorizers' yes are left out by the follower.
    assert stats.off == 3 * (2 * 5 + 2 + 1)
    assert stats.sinks["parquet"].filtered == 3 * (2 + 2)


def test_an_action_that_is_wholly_off_is_refused_by_the_call_and_a_narrower_rule_is_not(tmp_path: Path) -> None:
    """Only what the log's own policy turns off, whatever else the event says, costs nothing; declared events, too."""
    policy = Policy(
        rules=[
            Rule(action="Write", keep=Keep.OFF),
            Rule(action="com.example.kms.*", keep=Keep.OFF),
            Rule(action="Read", resource="metrics.*", keep=Keep.OFF),
        ]
    )
    sink = ParquetSink(policy=Policy(rules=[Rule(action="Read", resource="heartbeat", keep=Keep.OFF)]))
    with auditring.open(tmp_path, policy=policy, sinks=[sink]) as log, log.session() as session:
        used = log.declare("com.example.kms.KeyUsed")
        other = log.declare("com.example.Other")
        for topic in ("metrics.cpu", "heartbeat", "orders"):
            session.read(topic, 0, 1, 1)
            session.write(topic, 0, 1, 1)
        used(session)
        other(session)
        session.emit("com.example.kms.KeyMade")
        log.flush(PATIENCE)
        stats = log.stats()
    assert stats.off == 3 + 1
    assert stats.sinks["parquet"].filtered == 3
    kept = [(row["action"], row["resource"]) for row in rows_of(tmp_path) if row["category"] in {"data", "plugin"}]
    assert kept == [("Read", "orders"), ("com.example.Other", None)]


def test_a_sinks_policy_is_its_own_and_the_logs_off_is_everybodys(tmp_path: Path) -> None:
    """The log's OFF wins, then the first match in the sink's rules, then the log's; weights are one rule's alone."""
    log_policy = Policy(
        rules=[
            Rule(action="Read", resource="metrics.*", keep=Keep.OFF),
            Rule(action="Read", keep=Keep.SAMPLE(one_in=3)),
        ],
        seed=7,
    )
    own = Policy(
        rules=[
            Rule(action="Read", resource=("metrics.*", "orders"), keep=Keep.SAMPLE(one_in=2)),
            Rule(category=("connection", "authorization"), outcome=("success", "allowed"), keep=Keep.OFF),
        ]
    )
    sinks = (ParquetSink(), JsonlSink(policy=own))
    with auditring.open(tmp_path, policy=log_policy, sinks=sinks) as log:
        traffic(log)
        log.flush(PATIENCE)
        stats = log.stats()
        followers = (Path(log._current().core.directory or "") / "followers").read_text()  # noqa: SLF001 - where it lies
    assert stats.balanced
    table, lines = rows_of(tmp_path), lines_of(tmp_path)

    def weights(rows: list[dict[str, Any]], resource: str) -> set[int]:
        reads = [row for row in rows if row["action"] == "Read" and row["outcome"] == "success"]
        named = [row for row in reads if resource in {row.get("resource"), row.get("objectRef", {}).get("topicName")}]
        return {row.get("weight", 1) for row in named}

    assert weights(table, "metrics.cpu") == weights(lines, "metrics.cpu") == set()
    assert weights(table, "orders") == {1, 3}
    assert weights(lines, "orders") == {1, 2}
    assert {"ClientAccept", "OperationAllowed"} <= {row["action"] for row in table}
    assert not {"ClientAccept", "OperationAllowed"} & {row["action"] for row in lines}
    assert {"OperationDenied", "ClientSaslAuthSuccess", "ProxyStartup"} <= {row["action"] for row in lines}
    # Written where readers find it, with the log's seed, and from where it holds.
    entries = json.loads(followers.split("\n", 1)[1])["entries"]
    assert [(entry["name"], entry["policy_since"]) for entry in entries] == [("parquet", 0), ("jsonl", 0)]
    assert [bytes.fromhex(entry["policy"]) for entry in entries] == [b"", own.journaled(seed=7)]


def test_two_sinks_of_the_same_rules_have_the_same_rows(tmp_path: Path) -> None:
    """Also where one has them from the log, and one as its own without a seed."""
    rules = [Rule(resource="orders", keep=Keep.SAMPLE(one_in=3, by=None)), Rule(keep=Keep.SAMPLE(one_in=2))]
    sinks = (ParquetSink(), JsonlSink(policy=Policy(rules=rules)))
    with auditring.open(tmp_path, policy=Policy(rules=rules), sinks=sinks) as log:
        traffic(log)
    table = [(row["seq"], row["weight"]) for row in rows_of(tmp_path)]
    lines = [(line["seq"], line.get("weight", 1)) for line in lines_of(tmp_path)]
    assert table == lines
    assert {weight for _, weight in table} == {1, 2, 3}


def test_readers_of_fresh_rows_see_what_the_table_will_have(tmp_path: Path) -> None:
    """The view, before and after the rows are sealed, and a tail go through the Parquet sink's own policy."""
    own = Policy(
        rules=[Rule(resource="orders", keep=Keep.SAMPLE(one_in=3)), Rule(category="connection", keep=Keep.OFF)]
    )
    sinks = (ParquetSink(policy=own), JsonlSink())
    asked = "SELECT seq, weight FROM events WHERE action <> 'ProxyCleanShutdown' ORDER BY seq"
    with auditring.open(tmp_path, sinks=sinks, balance=None) as log:
        traffic(log)
        log._live().journaled(PATIENCE)  # noqa: SLF001 - before any sink has sealed
        fresh = query.connect(tmp_path).execute(asked).fetchall()
        tailed = [json.loads(line) for line in b"".join(Tail(tmp_path, json=True).history()).splitlines()]
        log.flush(PATIENCE)
        sealed = query.connect(tmp_path).execute(asked).fetchall()
    assert fresh == sealed == query.connect(tmp_path, include_fresh=False).execute(asked).fetchall()
    assert [(line["seq"], line.get("weight", 1)) for line in tailed] == fresh
    assert {weight for _, weight in fresh} == {1, 3}


def blind(health: auditring.Health) -> list[str]:
    """What health notes of blind spots."""
    return [note for note in health.notes if "allow_blind_spots" in note]


def test_blind_spots_are_told_in_the_log_and_in_health(tmp_path: Path) -> None:
    """A policy that may leave out what is protected says so in a row that it cannot leave out."""
    only_denials = Policy(rules=[Rule(outcome="denied", keep=Keep.ALL), Rule(keep=Keep.OFF)], allow_blind_spots=True)
    sinks = (ParquetSink(), JsonlSink(policy=only_denials))
    with auditring.open(tmp_path, sinks=sinks) as log:
        traffic(log, sessions=2)
        health = log.health()
        log.flush(PATIENCE)
        assert log.stats().balanced
    assert health
    assert blind(health) == ["the policy of sink jsonl may leave out protected events (allow_blind_spots)"]
    assert [line["action"] for line in lines_of(tmp_path)] == ["auditring.BlindSpots", *["OperationDenied"] * 2]
    (row,) = [row for row in rows_of(tmp_path) if row["action"] == "auditring.BlindSpots"]
    told = json.loads(row["context"])
    assert told["sink"] == "jsonl"
    assert json.loads(told["policy"])["allow_blind_spots"] is True
    with auditring.open(tmp_path / "other", policy=Policy(rules=[Rule(keep=Keep.OFF)], allow_blind_spots=True)) as log:
        traffic(log, sessions=2)
        notes = blind(log.health())
    assert notes == ["the log's policy may leave out protected events (allow_blind_spots)"]
    assert [row["action"] for row in rows_of(tmp_path / "other")] == ["auditring.BlindSpots"]


names = st.sampled_from(["Read", "Write", "R*", "OperationAllowed", "com.example.*", "Client*"])
keeps = st.one_of(
    st.sampled_from([Keep.ALL, Keep.OFF, Keep.SAMPLE(one_in=2), Keep.SAMPLE(one_in=3, by=None)]),
    st.builds(Keep.SAMPLE, one_in=st.integers(1, 5), by=st.sampled_from([("session",), ("principal", "partition")])),
)


def conditions(**fields: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Some of the conditions."""
    return st.fixed_dictionaries({}, optional=fields)


rules = st.builds(
    lambda keep, given: Rule(keep=keep, **given),
    keeps,
    conditions(
        action=names,
        category=st.sampled_from(["data", "plugin", "connection", "a*"]),
        resource=st.sampled_from(["orders", "metrics.*", "*"]),
        principal=st.sampled_from(["svc-1", "User:svc-*"]),
        peer=st.sampled_from(["10.0.0.0/16", "10.1.0.0/16", "0.0.0.0/0"]),
        outcome=st.sampled_from(["success", "allowed", "*"]),
    ),
)
policies = st.builds(lambda rules: Policy(rules=rules), st.lists(rules, max_size=4))


@given(policies, policies)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_policies_every_sink_balances_and_nothing_protected_is_missing(
    tmp_path_factory: pytest.TempPathFactory, of_log: Policy, own: Policy
) -> None:
    """Exactly, per sink and per file; and two sinks of one policy have the same rows."""
    root = tmp_path_factory.mktemp("audit")
    sinks = (ParquetSink(policy=own), JsonlSink(policy=own), JsonlSink(root / "all", name="all"))
    with auditring.open(root, policy=of_log, sinks=sinks, ring_bytes=1 << 20) as log:
        traffic(log, sessions=6)
        log.flush(PATIENCE)
        assert log.stats().balanced
    (counted,) = _core.outside(str(root))
    for sink in counted["sinks"].values():
        passed = sink["delivered"] + sink["sampled_out"] + sink["filtered_out"] + sum(sink["lost"].values())
        assert (passed, sink["pending"]) == (counted["journaled"], 0)
    table, lines = rows_of(root), lines_of(root)
    assert [(row["seq"], row["weight"]) for row in table] == [(one["seq"], one.get("weight", 1)) for one in lines]
    for rows in (table, lines_in(root / "all")):
        kept = Counter(row["action"] for row in rows if row["outcome"] != "success" or row["category"] in PROTECTED)
        assert {name: kept[name] for name in ("OperationDenied", "CreateTopics", "ClientSaslAuthSuccess")} == {
            "OperationDenied": 6,
            "CreateTopics": 6,
            "ClientSaslAuthSuccess": 6,
        }
        assert kept["ProxyStartup"] == kept["ProxyCleanShutdown"] == 1
        assert kept["Read"] == 6, "a call that carries a status is never left out"


class _Stumbles(JsonlSink):
    """A sink that fails before each of its first commits, after rows were written."""

    stumbles = 3

    def commit(self) -> bytes:
        """Fails as a disk would."""
        if self.stumbles:
            self.stumbles -= 1
            raise OSError("no luck")
        return super().commit()


def test_a_sink_that_begins_again_at_its_cursor_comes_to_the_same_rows(tmp_path: Path) -> None:
    """What its policy has chosen is chosen again, whatever was cached meanwhile."""
    own = Policy(rules=[Rule(resource="orders", keep=Keep.SAMPLE(one_in=3, by=None)), Rule(keep=Keep.SAMPLE(one_in=4))])
    checkpoint = Checkpoint(rows=97)
    sinks = (
        ParquetSink(policy=own, rotation=Rotation(rows=97)),
        _Stumbles(policy=own, checkpoint=checkpoint),
        JsonlSink(tmp_path / "plain", name="plain", policy=own),
    )
    with auditring.open(tmp_path, sinks=sinks, segment_bytes=1 << 16) as log:
        traffic(log, sessions=200)
        until(lambda: log.stats().sinks["jsonl"].failures == 3)
        log.flush(PATIENCE)
        stats = log.stats()
    assert stats.balanced
    assert stats.sinks["jsonl"].failures == 3
    table = [(row["seq"], row["weight"]) for row in rows_of(tmp_path) if not row["action"].startswith("auditring.")]
    for lines in (lines_of(tmp_path), lines_in(tmp_path / "plain")):
        kept = [(line["seq"], line.get("weight", 1)) for line in lines if not line["action"].startswith("auditring.")]
        assert kept == table
    assert {weight for _, weight in table} == {1, 3, 4}

"""The view `events`: each row once, sealed or fresh, at one moment; and the saved questions over it."""

import gc
import ipaddress
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import Keep, questions
from auditring.query import NotAnAuditDirectory, QueryWarning, connect, refresh, schema
from auditring.questions import Bounds, Question
from auditring.sealed import list_sealed
from auditring.sinks import JsonlSink, ParquetSink
from auditring.tail import Tail, Wanted

PATIENCE = 20.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[auditring.AuditLog]:
    """An open log in `tmp_path / "audit"`."""
    with auditring.open(tmp_path / "audit", instance="proxy-1", balance=None) as log:
        yield log


def root_of(log: auditring.AuditLog) -> Path:
    """Where a log writes."""
    assert log.path is not None
    return log.path


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"


def seqs(con: duckdb.DuckDBPyConnection) -> list[int]:
    """Every seq in the view, in order; a row seen twice is here twice."""
    return [seq for (seq,) in con.execute("SELECT seq FROM events ORDER BY seq").fetchall()]


def wait_for(root: Path, rows: int) -> duckdb.DuckDBPyConnection:
    """A connection that sees so many rows: they are journaled soon after they were accepted."""
    con = connect(root)

    def there() -> bool:
        refresh(con)
        return len(seqs(con)) >= rows

    until(there)
    return con


def rows_of(question: Question, con: duckdb.DuckDBPyConnection, *columns: str) -> list[tuple[object, ...]]:
    """Some columns of an answer, row by row."""
    relation = question.on(con)
    at = [relation.columns.index(column) for column in columns]
    return [tuple(row[i] for i in at) for row in relation.fetchall()]


def test_fresh_and_sealed_rows_are_each_seen_once(log: auditring.AuditLog) -> None:
    """While rows move from the journal into a file, the view has every number once, without a gap."""
    log.emit("com.example.First")
    log.flush(PATIENCE)
    log.emit("com.example.Second")
    con = wait_for(root_of(log), 3)
    actions = con.execute("SELECT action FROM events ORDER BY seq").fetchall()
    assert actions == [("ProxyStartup",), ("com.example.First",), ("com.example.Second",)]
    log.flush(PATIENCE)
    # The connection stays at its moment, also when the fresh row has become a file since.
    assert len(seqs(con)) == 3
    refresh(con)
    assert seqs(con) == list(range(seqs(con)[0], seqs(con)[0] + 3))


def test_rows_are_each_seen_once_while_files_are_sealed(tmp_path: Path) -> None:
    """Reader against writer: whatever the moment, numbers are dense and none is doubled."""
    rotation = auditring.Rotation(rows=64)
    with (
        auditring.open(tmp_path, sinks=(ParquetSink(rotation=rotation),), balance=None) as log,
        log.session(id="s") as session,
    ):
        for batch in range(20):
            for offset in range(50):
                session.read("orders", 0, offset, offset, batch)
            seen = seqs(connect(tmp_path)) if (tmp_path / "journal").exists() else []
            assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seqs(connect(tmp_path))) == 20 * 50 + 4


def test_sealed_only_leaves_out_the_journal(log: auditring.AuditLog) -> None:
    """`include_fresh=False` shows what is in files, and `refresh` keeps to it."""
    log.emit("com.example.First")
    log.flush(PATIENCE)
    log.emit("com.example.Second")
    assert len(seqs(wait_for(root_of(log), 3))) == 3
    con = connect(root_of(log), include_fresh=False)
    assert len(seqs(con)) == 2
    refresh(con)
    assert len(seqs(con)) == 2


def test_the_columns_are_the_schema_and_two_more(log: auditring.AuditLog) -> None:
    """In the schema's order, whatever lies in files; `event_id` and `events_total` behind."""
    con = wait_for(root_of(log), 1)
    wanted = [*schema().names, "event_id", "events_total"]
    assert con.sql("SELECT * FROM events").columns == wanted
    log.flush(PATIENCE)
    assert connect(root_of(log), include_fresh=False).sql("SELECT * FROM events").columns == wanted
    process, seq, event_id = con.execute("SELECT process, seq, event_id FROM events").fetchall()[0]
    assert event_id == f"{process}:{seq}"


def test_a_directory_without_rows_has_the_columns(tmp_path: Path) -> None:
    """Nothing sealed and nothing fresh is an empty view, and `connect` says why it may be."""
    (tmp_path / "events").mkdir()
    with pytest.warns(QueryWarning, match="no log here writes Parquet"):
        con = connect(tmp_path)
    assert seqs(con) == []
    assert con.sql("SELECT * FROM events").columns == [*schema().names, "event_id", "events_total"]


def test_connect_says_when_no_parquet_is_written(tmp_path: Path) -> None:
    """With a JSONL sink alone rows are in the view only as long as they are in the journal."""
    with (
        auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None),
        pytest.warns(QueryWarning, match="no log here writes Parquet"),
    ):
        connect(tmp_path)


def test_what_is_no_audit_directory_is_refused(tmp_path: Path) -> None:
    """A slip in the path is an error, not an empty answer."""
    with pytest.raises(NotAnAuditDirectory, match="neither events/ nor journal/"):
        connect(tmp_path)
    with pytest.raises(NotAnAuditDirectory, match="not a directory"):
        connect(tmp_path / "missing")


@pytest.mark.parametrize("name", ["it's", "a [1]*?", 'quo"te; --', "päth 日本"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Quotes and glob characters in a path stand for themselves."""
    with auditring.open(tmp_path / name, balance=None) as log:
        log.emit("com.example.First")
    assert len(seqs(connect(tmp_path / name, include_fresh=False))) == 3


def test_a_file_that_goes_between_listing_and_opening_means_a_new_snapshot(
    log: auditring.AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction may be quicker than the reader: it looks again."""
    log.flush(PATIENCE)
    listings = []

    def listing(root: Path) -> object:
        files, strangers = list_sealed(root)
        listings.append(files)
        if len(listings) == 1:
            gone = files[0].path.with_name(files[0].path.name.replace(files[0].process, files[0].process[::-1]))
            files = [type(files[0])(files[0].process, 10**9, 10**9, gone), *files]
        return files, strangers

    monkeypatch.setattr("auditring.query.list_sealed", listing)
    con = connect(root_of(log))
    assert len(listings) == 2
    assert len(seqs(con)) == 1


def test_a_file_that_is_covered_by_another_is_ignored(tmp_path: Path) -> None:
    """After a compaction that was killed before it removed its sources, each row is still seen once."""
    with auditring.open(tmp_path, balance=None) as log:
        log.flush(PATIENCE)
        log.emit("com.example.First")
    files, _ = list_sealed(tmp_path)
    assert len(files) > 1
    merged = pa.concat_tables([pq.read_table(file.path) for file in files])
    name = f"{files[0].process}-{files[0].first_seq:016}-{files[-1].last_seq:016}.parquet"
    pq.write_table(merged, files[0].path.with_name(name))
    assert len(seqs(connect(tmp_path))) == 3


def test_parquet_files_of_others_are_left_out_and_named(tmp_path: Path) -> None:
    """A file that no sink has named is not evidence."""
    with auditring.open(tmp_path, balance=None):
        pass
    files, _ = list_sealed(tmp_path)
    shutil.copy(files[0].path, files[0].path.with_name("copy.parquet"))
    with pytest.warns(QueryWarning, match=r"left out 1 Parquet file\(s\) .* copy\.parquet"):
        con = connect(tmp_path)
    assert len(seqs(con)) == 2


def test_refresh_wants_a_connection_of_ours() -> None:
    """Any other connection does not say where it would look."""
    with pytest.raises(ValueError, match=r"auditring\.query\.connect"):
        refresh(duckdb.connect())


@pytest.fixture
def told(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """A connection to a small story: alice works, bob may not, somebody else is not bob."""
    with auditring.open(tmp_path / "audit", balance=None) as log:
        with log.session(peer=("10.0.0.1", 1), authority="decision") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            session.read("payments", 3, 1000, 1099, 1, records=100)
            session.read("payments", 3, 1100, 1199, 2, records=100)
            session.write("payments", 4, 5, 5, 3, records=1)
        with log.session(peer=("10.0.0.2", 2), authority="decision") as session:
            session.client_sasl_auth_failure("bob", mechanism="PLAIN")
        with log.session(peer=("10.0.0.3", 3), authority="decision") as session:
            session.client_sasl_auth_success("bob", mechanism="PLAIN")
            session.operation_denied("READ", "Topic", "payments")
    return connect(tmp_path / "audit")


def test_who_touched_counts_by_principal_and_deed(told: duckdb.DuckDBPyConnection) -> None:
    """Refusals are among what was done to a topic, and records are summed."""
    rows = rows_of(questions.who_touched("payments"), told, "principal", "action", "outcome", "events", "records")
    assert sorted(rows, key=str) == [
        ("alice", "Read", "success", 2, 200),
        ("alice", "Write", "success", 1, 1),
        ("bob", "OperationDenied", "denied", 1, None),
    ]


def test_who_touched_finds_the_range_that_holds_an_offset(told: duckdb.DuckDBPyConnection) -> None:
    """Both ends of a range are in it."""
    for offset, found in ((999, []), (1000, [1000]), (1099, [1000]), (1100, [1100]), (1200, [])):
        question = questions.who_touched_offset("payments", 3, offset)
        assert [first for (first,) in rows_of(question, told, "first_offset")] == found


def test_who_touched_finds_a_read_of_which_only_the_first_offset_is_known(log: auditring.AuditLog) -> None:
    """It is met at that offset, and at no other."""
    with log.session() as session:
        session.read("payments", 3, 1000)
    con = wait_for(root_of(log), 4)
    for offset, found in ((999, []), (1000, [(1000, None)]), (1001, [])):
        question = questions.who_touched_offset("payments", 3, offset)
        assert rows_of(question, con, "first_offset", "last_offset") == found


def test_denied_names_who_wanted_what(told: duckdb.DuckDBPyConnection) -> None:
    """A denial always has a status."""
    ((principal, operation, resource, status),) = rows_of(
        questions.denied(), told, "principal", "operation", "resource", "status"
    )
    assert (principal, operation, resource) == ("bob", "READ", "payments")
    assert status


def test_logins_tell_who_came_in_and_who_did_not(told: duckdb.DuckDBPyConnection) -> None:
    """A claimed name is never in the column of the proven ones."""
    columns = ("principal", "attempted_principal", "outcome")
    failure = (None, "bob", "failure")
    assert rows_of(questions.logins(failed=True), told, *columns) == [failure]
    everyone = [("alice", None, "success"), failure, ("bob", None, "success")]
    assert rows_of(questions.logins(), told, *columns) == everyone


def test_a_timeline_has_what_a_principal_did_and_who_tried_to_be_it(told: duckdb.DuckDBPyConnection) -> None:
    """In the order in which it happened."""
    actions = [action for (action,) in rows_of(questions.timeline("bob"), told, "action")]
    assert actions == ["ClientSaslAuthFailure", "ClientSaslAuthSuccess", "OperationDenied", "ClientClose"]


def test_a_timeline_has_what_every_proven_name_of_a_session_did(tmp_path: Path) -> None:
    """A certificate's name is as good as the one that SASL proved after it, as `Type:name` too; as for `tail`."""
    with auditring.open(tmp_path, balance=None) as log:
        with log.session(authority="decision") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            session.read("payments", 3, 1000, 1099, 1)
            session.client_tls_auth_success("carol")
            session.write("payments", 4, 5, 5, 3)
        with log.session(authority="decision") as session:
            session.client_sasl_auth_failure("carol", mechanism="PLAIN")
    con = connect(tmp_path)
    claimed = ["ClientSaslAuthFailure"]
    alice = ["ClientSaslAuthSuccess", "Read", "Write", "ClientClose"]
    carol = ["ClientTlsAuthSuccess", "Write", "ClientClose", *claimed]
    for name, expected in (("alice", alice), ("carol", carol), ("caro", []), ("Group:carol", [])):
        for principal in (name, f"User:{name}"):
            assert [action for (action,) in rows_of(questions.timeline(principal), con, "action")] == expected
            lines = b"".join(Tail(tmp_path, Wanted(principals=(principal,)), last=99, json=True).history())
            assert [json.loads(line)["action"] for line in lines.splitlines()] == expected


def test_a_limit_keeps_the_last_rows_in_order(told: duckdb.DuckDBPyConnection) -> None:
    """The newest are kept, and told oldest first."""
    rows = rows_of(questions.timeline("bob", Bounds(limit=2)), told, "action")
    assert rows == [("OperationDenied",), ("ClientClose",)]


def test_bounds_in_time_hold_the_first_and_not_the_last(told: duckdb.DuckDBPyConnection) -> None:
    """From `since`, included, until `until`, excluded."""
    times = [moment for (moment,) in rows_of(questions.timeline("alice"), told, "time")]
    question = questions.timeline("alice", Bounds(since=times[1], until=times[3]))  # type: ignore[arg-type]
    assert [moment for (moment,) in rows_of(question, told, "time")] == times[1:3]


def test_totals_hold_for_sampled_rows(tmp_path: Path) -> None:
    """A sampled row stands for as many as its weight says; a session on a topic is kept whole or not."""
    with auditring.open(tmp_path, read=Keep.SAMPLE(one_in=10), seed=1, balance=None) as log:
        for number in range(400):
            with log.session(id=f"s-{number}") as session:
                for offset in range(11):
                    session.read("payments", 0, offset, offset, 1)
    con = connect(tmp_path)
    ((events,),) = rows_of(questions.who_touched("payments"), con, "events")
    rows, total = con.execute("SELECT count(*), sum(events_total) FROM events WHERE action = 'Read'").fetchall()[0]
    assert events == total
    # 400 first touches with weight 1; of the 4,000 others a tenth, with weight 10.
    assert rows == 400 + (total - 400) / 10
    assert 3000 < total < 6000


def test_saved_questions_count_the_primary_tap_alone(tmp_path: Path) -> None:
    """One event that was seen at two points of the chain is one event; another tap can be asked for by name."""
    with auditring.open(tmp_path, primary_tap="outer", balance=None) as log, log.session(id="s") as session:
        for tap in ("outer", "outer", "inner"):
            session.read("payments", 0, 1, 1, 1, tap=tap)
        log.flush(PATIENCE)
        session.read("payments", 0, 1, 1, 1, tap="inner")
        con = wait_for(tmp_path, 6)
        assert rows_of(questions.who_touched("payments"), con, "events") == [(2,)]
        assert rows_of(questions.who_touched("payments", Bounds(tap="inner")), con, "events") == [(2,)]
    con = connect(tmp_path)
    assert rows_of(questions.who_touched("payments"), con, "events") == [(2,)]


def test_spikes_take_the_network_of_any_address() -> None:
    """However it is written: 24 bits of IPv4, also within IPv6, and 64 of IPv6; what is no address is itself."""
    drawn = random.Random(1)  # noqa: S311 - a test that is the same every time
    groups = [[drawn.choice((0, 0, 1, 0xF, 0xABCD)) for _ in range(8)] for _ in range(500)]
    sixes = [ipaddress.IPv6Address(b"".join(group.to_bytes(2) for group in eight)) for eight in groups]
    wanted = {
        form: str(ipaddress.ip_network((six, 64), strict=False)) for six in sixes for form in (str(six), six.exploded)
    }
    wanted |= dict.fromkeys(("10.1.2.3", "::ffff:10.1.2.3"), "10.1.2.0/24")
    wanted |= {
        "2001:DB8::1": "2001:db8::/64",
        "fe80::1%eth0": "fe80::/64",
        "64:ff9b::1.2.3.4": "64:ff9b::/64",
        "unix": "unix",
    }
    with duckdb.connect() as con:
        con.execute("CREATE MACRO at_primary_tap(process, tap) AS true")
        con.execute(
            "CREATE TABLE events AS SELECT now() AS \"time\", 'failure' AS outcome, unnest($1) AS peer_ip, "
            "1 AS events_total, 'p' AS process, NULL AS tap, NULL AS principal, NULL AS attempted_principal, "
            "'ClientClose' AS action, NULL AS status",
            [list(wanted)],
        )
        counted = {network: n for network, n in rows_of(questions.spikes(), con, "network", "failures")}  # noqa: C416 - typed
    assert counted == Counter(wanted.values())


def test_spikes_leave_out_connections_that_the_proxy_ended(tmp_path: Path) -> None:
    """Closing the log or letting go of a handle is no failure of a client's; a connection that broke is."""
    with auditring.open(tmp_path, balance=None) as log:
        left_open = [log.session(peer=("10.0.0.1", port), authority="decision") for port in range(3)]
        brokers = [session.broker("10.9.9.9:9092") for session in left_open]
        log.session(peer=("10.0.0.2", 1)).broker("10.9.9.9:9092")
        gc.collect()
        broken = log.session(peer=("10.0.0.3", 1), authority="decision")
        broken.broker("10.9.9.9:9092").close(status="EOF")
        broken.client_sasl_auth_failure("bob", status="SessionAbandoned")
        broken.close(status="ECONNRESET")
    assert left_open
    assert brokers
    con = connect(tmp_path)
    ended = con.execute("SELECT DISTINCT action, status FROM events WHERE outcome = 'failure' ORDER BY ALL").fetchall()
    assert {("ClientClose", "ProxyShutdown"), ("ClientClose", "SessionAbandoned")} < set(ended)
    assert {("BrokerClose", "ProxyShutdown"), ("BrokerClose", "BrokerAbandoned")} & set(ended)
    assert sum(failures for (failures,) in rows_of(questions.spikes(), con, "failures")) == 3  # type: ignore[misc]


def test_what_a_filter_did_for_a_session_is_in_its_story(tmp_path: Path) -> None:
    """By `causeSession`, which a filter's event carries where a client's request was the cause."""
    with auditring.open(tmp_path, balance=None) as log:
        for name in ("client", "other"):
            with log.session(id=name) as session:
                session.read("payments", 0, 1, 1, 1)
                session.plugin(filter="rotation", namespace="com.example").emit("com.example.Rotated")
    con = connect(tmp_path)
    rows = rows_of(questions.session("client"), con, "action", "origin", "filter")
    assert rows == [
        ("ClientAccept", "client", None),
        ("Read", "client", None),
        ("com.example.Rotated", "filter", "rotation"),
        ("ClientClose", "client", None),
    ]

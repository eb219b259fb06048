"""Rows that say how the balance stands: true at their own place, for anybody who has nothing but the rows."""

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
import deadlines
from auditring import ConfigError, Keep, Policy, Rotation, Rule, Then, WhenFull, query, verify
from auditring.sinks import Checkpoint, JsonlSink, ParquetSink
from auditring.verify import Kind
from auditring.verify.balances import Balance, backwards
from sealed_rows import rows_of

PATIENCE = 60.0
until = partial(deadlines.until, seconds=PATIENCE)
"""Waits for a condition, as long as these tests may."""
NUMBERS = """
CREATE MACRO n(context, key) AS coalesce((context->>key)::BIGINT, 0);
"""
UNTRUE = """
SELECT seq, context FROM events WHERE action = 'auditring.Balance' AND NOT (
    n(context, 'offered') = n(context, 'claimed') + n(context, 'off') + n(context, 'dropped') + n(context, 'refused')
    AND n(context, 'claimed') = n(context, 'accepted') + n(context, 'torn')
    AND n(context, 'accepted') + n(context, 'born') = n(context, 'journaled') + n(context, 'lostUnreadable')
        + n(context, 'lostJournalGone') + n(context, 'lostRingGone') + n(context, 'inRing')
    AND n(context, 'journaled') = seq + 1)
"""
UNTRUE_SINKS = """
SELECT seq, context FROM events WHERE action = 'auditring.SinkBalance' AND NOT (
    n(context, 'journaled') = seq + 1
    AND n(context, 'journaled') = n(context, 'delivered') + n(context, 'merged') + n(context, 'sampledOut')
        + n(context, 'filteredOut') + n(context, 'lostBudget') + n(context, 'lostCorrupt')
        + n(context, 'lostRejected') + n(context, 'pending'))
"""
# Born in the pump is what has no other source: counted in the rows themselves, up to each balance.
MISCOUNTED = """
SELECT b.seq, n(b.context, 'born'), count(*) FROM events b JOIN events e ON e.seq <= b.seq
WHERE b.action = 'auditring.Balance' AND (e.action LIKE 'auditring.%' OR e.action LIKE 'Proxy%')
GROUP BY ALL HAVING n(b.context, 'born') <> count(*)
"""


def told(root: Path) -> list[dict[str, Any]]:
    """The terms of each balance of the process, by seq."""
    return [json.loads(row["context"]) | {"seq": row["seq"]} for row in rows_of(root, "auditring.Balance")]


def test_duckdb_finds_the_equations_true_also_while_threads_emit_and_events_are_dropped(tmp_path: Path) -> None:
    """At every row, whatever eight threads do meanwhile; sampled, filtered, off and dropped events are all in it."""
    policy = Policy(
        rules=[
            Rule(action="Write", keep=Keep.OFF),
            Rule(action="Read", resource="metrics", keep=Keep.OFF),
            Rule(action="Read", resource="orders", keep=Keep.SAMPLE(one_in=3, by=None)),
        ]
    )
    log = auditring.open(
        tmp_path,
        policy=policy,
        balance=0.02,
        ring_bytes=1 << 20,
        when_full=WhenFull(wait=0, then=Then.DROP),
        sinks=(ParquetSink(rotation=Rotation(rows=5_000)), JsonlSink(checkpoint=Checkpoint(rows=1_000))),
    )
    stop = threading.Event()

    def emit(number: int) -> None:
        with log.session(id=f"s{number}", client_id="x" * 900) as session:
            offset = 0
            while not stop.is_set():
                session.read(("orders", "metrics", "other")[offset % 3], number, offset, offset, reason="y" * 2_000)
                session.write("orders", number, offset, offset)
                offset += 1

    threads = [threading.Thread(target=emit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: (stats := log.stats()).dropped > 0 and stats.journaled > 20_000)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    log.close(PATIENCE)
    stats = log.stats()
    con = query.connect(tmp_path)
    con.execute(NUMBERS)
    balances = told(tmp_path)
    assert len(balances) > 2
    assert con.execute(UNTRUE).fetchall() == []
    assert con.execute(UNTRUE_SINKS).fetchall() == []
    assert con.execute(MISCOUNTED).fetchall() == []
    # The last one tells all that anybody ever counted.
    last = balances[-1]
    assert (last["offered"], last["off"], last["dropped"]) == (stats.offered, stats.off, stats.dropped)
    assert last["inRing"] == 0
    assert verify.check(tmp_path).complete


def test_a_quiet_log_says_nothing_new_but_once_at_its_end(tmp_path: Path) -> None:
    """Nothing is told of the telling: after the last event one row of the process and of each sink, and so at close."""
    with auditring.open(tmp_path, balance=0.01, sinks=(ParquetSink(), JsonlSink())) as log:
        with log.session() as session:
            session.read("orders", 0, 1, 1)
        # What is told before all of that is in the journal is not the last that is.
        log._live().journaled(PATIENCE)  # noqa: SLF001 - into the journal, and no further
        until(lambda: log.stats().born >= len(("ProxyStartup", "Balance", "SinkBalance", "SinkBalance")))
        # Nothing happens any more: the number stays, however often the pump looks.
        stands = _settled(lambda: log.stats().born)
    assert log.stats().born == stands + len(("Balance", "SinkBalance", "SinkBalance", "ProxyCleanShutdown"))
    balances = told(tmp_path)
    assert len({(one["claimed"], one["off"], one["dropped"]) for one in balances}) >= len(balances) - 2
    assert rows_of(tmp_path)[-4]["action"] == "auditring.Balance"
    assert [row["resource"] for row in rows_of(tmp_path, "auditring.SinkBalance")][-2:] == ["parquet", "jsonl"]
    with auditring.open(tmp_path / "never", balance=None):
        pass
    assert told(tmp_path / "never") == []
    with auditring.open(tmp_path / "default"):
        pass
    assert [one["seq"] for one in told(tmp_path / "default")] == [1]
    with pytest.raises(ConfigError, match="balance"):
        auditring.open(None, balance=0)


def changed(path: Path, action: str, key: str, by: int) -> None:
    """The file again, with one term of each such row changed."""
    table, said_of_itself = pq.read_table(path), pq.read_metadata(path).metadata
    contexts = table.column("context").to_pylist()
    for at, name in enumerate(table.column("action").to_pylist()):
        if name == action:
            said = json.loads(contexts[at])
            contexts[at] = json.dumps(said | {key: said[key] + by})
    place = table.column_names.index("context")
    table = table.set_column(place, table.schema.field(place), pa.array(contexts, table.schema.field(place).type))
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({k: v for k, v in said_of_itself.items() if k.startswith(b"auditring.")})


@pytest.mark.parametrize(
    ("action", "key", "says"),
    [
        ("auditring.Balance", "dropped", "offered = claimed + off + dropped + refused"),
        ("auditring.Balance", "born", "journaled = accepted + born"),
        ("auditring.Balance", "journaled", "rows were journaled up to it"),
        ("auditring.SinkBalance", "sampledOut", "journaled = delivered + merged"),
    ],
)
def test_verify_adds_up_what_the_rows_say(tmp_path: Path, action: str, key: str, says: str) -> None:
    """A term that was changed by hand no longer goes with the others, or with its seq."""
    with auditring.open(tmp_path) as log, log.session() as session:
        session.read("orders", 0, 1, 1)
    assert verify.check(tmp_path).complete
    (path,) = tmp_path.glob("events/*/*.parquet")
    changed(path, action, key, 1)
    found = [finding for finding in verify.check(tmp_path).wrong if finding.kind is Kind.UNBALANCED]
    assert any(says in finding.text for finding in found), found


def test_verify_holds_a_sinks_terms_against_its_files(tmp_path: Path) -> None:
    """What lies before the cursor that a row names is what the files before it hold."""
    sinks = (ParquetSink(rotation=Rotation(rows=10)),)
    with auditring.open(tmp_path, sinks=sinks, balance=3600) as log, log.session() as session:
        for offset in range(25):
            session.read("orders", 0, offset, offset)
        log.flush(PATIENCE)
    assert verify.check(tmp_path).complete
    path = max(tmp_path.glob("events/*/*.parquet"))
    changed(path, "auditring.SinkBalance", "delivered", -1)
    changed(path, "auditring.SinkBalance", "pending", 1)
    (finding,) = verify.check(tmp_path).wrong
    assert "rows and 0 merged into them lie before seq" in finding.text


def test_terms_that_go_back_are_told() -> None:
    """Of one process, and of each sink by itself."""
    rows = [
        Balance(1, "auditring.Balance", None, {"offered": 5}),
        Balance(2, "auditring.SinkBalance", "parquet", {"cursor": 9}),
        Balance(3, "auditring.SinkBalance", "jsonl", {"cursor": 2}),
        Balance(4, "auditring.Balance", None, {"offered": 4}),
    ]
    assert [seq for seq, _ in backwards(rows)] == [4]


def _settled(value: Callable[[], int]) -> int:
    """A number once it has been the same at many looks."""
    seen, same = value(), 0
    deadline = time.monotonic() + PATIENCE
    while same < 30:
        assert time.monotonic() < deadline, "it never settles"
        time.sleep(0.02)
        now = value()
        seen, same = (seen, same + 1) if now == seen else (now, 0)
    return seen

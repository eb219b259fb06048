"""Threads that share logs, sessions and all that belongs to them: what holds without a GIL, and so with one."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import auditring
from auditring import EventConflict, Keep, LogClosed, Policy, Rule, SessionClosed, WhenFull, kafka
from auditring.verify import check
from crowds import in_threads
from sealed_rows import rows_of

THREADS = 8


def reads_by_thread(root: Path, session: str | None = None) -> Counter[int]:
    """How many reads each thread's partition has, of one session or all."""
    only = [("action", "=", "Read"), *([("session", "=", session)] if session else [])]
    tables = (pq.read_table(path, columns=["partition"], filters=only) for path in root.glob("events/*/*.parquet"))
    return Counter(partition for table in tables for partition in table["partition"].to_pylist())


def complete(root: Path) -> None:
    """Nothing is missing, doubled or damaged."""
    report = check(root)
    assert report.complete, report.findings


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has a GIL")
def test_the_core_wants_no_gil_and_has_a_lane_for_each_processor(tmp_path: Path) -> None:
    """Importing it does not switch the GIL on, as it would if the module did not say that it can do without."""
    program = (
        "import auditring, sys\n"
        "with auditring.open(sys.argv[1], sinks=()) as log:\n"
        "    print(sys._is_gil_enabled(), log._live().core.lanes)"
    )
    # What else is imported may want one; that would be told of by a warning.
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False", str(min(len(os.sched_getaffinity(0)), 8))], done.stderr


def test_a_log_loads_nothing_that_may_bring_the_gil_back(tmp_path: Path) -> None:
    """Compression is loaded where something is compressed; clients and commands where they are used."""
    program = (
        "import auditring, auditring.sinks, sys\n"
        "with auditring.open(sys.argv[1], retention=auditring.Retention(max_bytes=1 << 40)) as log:\n"
        "    log.session().read('orders', 0, 1, 2)\n"
        "print([name for name in ('zstandard', 'confluent_kafka', 'duckdb', 'click') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n", done.stderr


def test_threads_share_sessions_whose_context_changes(tmp_path: Path) -> None:
    """Each thread's rows stay in its order within a session, and no row has parts of two contexts."""
    each = 400
    with auditring.open(tmp_path, when_full=WhenFull(wait=None)) as log:
        sessions = [log.session(id=f"s-{number}", authority="decision") for number in range(3)]
        brokers = [session.broker("b:1") for session in sessions]
        plugins = [session.plugin(filter="f", namespace="com.example") for session in sessions]
        used = log.declare("com.example.Used", object_ref=("com.example.offset",), context=("thread",))

        def emit(number: int) -> None:
            for offset in range(each):
                session = sessions[offset % 3]
                if number == 0:
                    session.update(client_id=f"c-{offset}", context={"n": f"c-{offset}"})
                    session.client_sasl_auth_success(f"u-{offset}", mechanism="PLAIN")
                elif number % 2:
                    session.read("orders", number, offset, offset)
                    brokers[offset % 3].write("orders", number, offset, offset, reason="the slow way" * (offset % 2))
                else:
                    used(plugins[offset % 3], str(offset), str(number))

        in_threads(THREADS, emit)
        log.flush(30)
        stats = log.stats()
        assert stats.in_ring == stats.dropped == stats.refused == 0
        assert stats.balanced, stats
    order = defaultdict(list)
    for row in rows_of(tmp_path):
        context = json.loads(row["context"] or "{}")
        assert row["client_id"] == context.get("n"), row
        if row["action"] in {"Read", "Write"}:
            order[row["action"], row["partition"], row["session"]].append(row["first_offset"])
        elif row["action"] == "com.example.Used":
            offset = json.loads(row["object_ref"])["com.example.offset"]
            order["Used", context["thread"], row["session"]].append(int(offset))
    assert len(order) == 3 * (2 * 4 + 3)
    for (_, _, session), offsets in order.items():
        assert offsets == list(range(int(session.removeprefix("s-")), each, 3))
    complete(tmp_path)


def test_a_session_that_one_thread_closes_ends_for_all(tmp_path: Path) -> None:
    """`ClientClose` is its last row, a call that returned has its row, and one that raised has none."""
    with auditring.open(tmp_path, when_full=WhenFull(wait=None)) as log:
        for turn in range(4):
            session = log.session(id=f"s-{turn}")
            returned = Counter[int]()
            under_way = threading.Semaphore(0)

            def emit(number: int, session: auditring.Session = session, returned: Counter[int] = returned) -> None:
                if number == 0:
                    for _ in range(THREADS - 1):
                        under_way.acquire()  # noqa: B023 - joined before the next turn
                    session.close()
                    return
                try:
                    for offset in range(10**9):
                        session.read("orders", number, offset, offset, reason="the slow way" if number % 2 else None)
                        returned[number] = offset + 1
                        if offset == 3:
                            under_way.release()  # noqa: B023 - joined before the next turn
                except SessionClosed:
                    pass

            in_threads(THREADS, emit)
            log.flush(30)
            assert reads_by_thread(tmp_path, f"s-{turn}") == returned
    tables = [pq.read_table(path, columns=["session", "seq", "action"]) for path in tmp_path.glob("events/*/*.parquet")]
    rows = pa.concat_tables(tables).sort_by("seq").to_pylist()
    last = {row["session"]: row["action"] for row in rows if row["session"]}
    assert last == {f"s-{turn}": "ClientClose" for turn in range(4)}
    complete(tmp_path)


def test_a_log_that_is_closed_while_threads_emit_has_what_it_accepted(tmp_path: Path) -> None:
    """Every call that returned is a row; every other one raised `LogClosed` or `SessionClosed`."""
    for turn in range(3):
        root = tmp_path / str(turn)
        returned = Counter[int]()
        under_way = threading.Semaphore(0)
        log = auditring.open(root, when_full=WhenFull(wait=None))
        shared = log.session()

        def emit(
            number: int,
            log: auditring.AuditLog = log,
            shared: auditring.Session = shared,
            returned: Counter[int] = returned,
        ) -> None:
            if number == 0:
                for _ in range(THREADS - 1):
                    under_way.acquire()  # noqa: B023 - joined before the next turn
                log.close()
                return
            try:
                own = log.session()
                for offset in range(10**9):
                    (own if offset % 2 else shared).read("orders", number, offset, offset)
                    returned[number] = offset + 1
                    if offset == 3:
                        under_way.release()  # noqa: B023 - joined before the next turn
            except (LogClosed, SessionClosed):
                pass

        in_threads(THREADS, emit)
        assert reads_by_thread(root) == returned
        complete(root)


def test_what_is_off_for_a_while_is_counted_to_the_last_call(tmp_path: Path) -> None:
    """Kept, left out by a sink behind the change, or counted at the call: together they are all calls."""
    each = 1_000
    off = Policy(rules=[Rule(action="Read", keep=Keep.OFF)])
    with auditring.open(tmp_path, when_full=WhenFull(wait=None)) as log:
        session = log.session()

        def emit(number: int) -> None:
            if number == 0:
                for _ in range(3):
                    log.set_policy(off, timeout=60)
                    log.set_policy(Policy(), timeout=60)
                return
            for offset in range(each):
                session.read("orders", number, offset, offset)

        in_threads(THREADS, emit)
        log.set_policy(off, timeout=60)
        in_threads(THREADS, lambda number: emit(number) if number else None)
        log.flush(30)
        stats = log.stats()
        assert stats.off >= (THREADS - 1) * each
        filtered = stats.sinks["parquet"].filtered
    assert stats.off + filtered + reads_by_thread(tmp_path).total() == 2 * (THREADS - 1) * each
    complete(tmp_path)


def test_an_event_is_declared_once_by_whoever_comes_first(tmp_path: Path) -> None:
    """All who declare it alike have it; those who say otherwise are told so."""
    with auditring.open(tmp_path) as log:
        refused = Counter[str]()

        def declare(number: int) -> None:
            for turn in range(20):
                fields = ("a", "b") if number % 2 else ("a",)
                try:
                    log.declare(f"com.example.E{turn}", context=fields)(log, "x")
                except EventConflict:
                    refused[f"E{turn}"] += 1

        in_threads(THREADS, declare)
        assert refused == {f"E{turn}": THREADS // 2 for turn in range(20)}
    assert len([row for row in rows_of(tmp_path) if row["action"].startswith("com.example.")]) == 20 * THREADS // 2


def test_a_tap_is_shown_a_buffer_that_another_thread_writes_to(tmp_path: Path) -> None:
    """It reads whatever is there, gives up on what is no request, and nothing worse happens."""
    data = bytearray(b"\x00\x00\x00\x10" + bytes(60)) * 50
    with auditring.open(tmp_path) as log:
        taps = [kafka.Tap(log.session(id=f"s-{number}")) for number in range(THREADS - 1)]

        def run(number: int) -> None:
            for turn in range(200):
                if number == 0:
                    data[turn % len(data)] = turn % 256
                    data[:] = bytes(reversed(data))
                else:
                    taps[number - 1].from_client(data)
                    taps[number - 1].from_broker(memoryview(data))

        in_threads(THREADS, run)
        for tap in taps:
            tap.close()
    complete(tmp_path)

"""The benches measure what they say: their own checks hold, at sizes that take no time. No time is asserted."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import jars

BENCHES = Path(__file__).parents[1] / "benches"


def run(program: str) -> str:
    """Runs a program that finds the benches' modules, in a process of its own."""
    # kafka-python reads its schemas in a way that Python 3.11 alone does not like.
    old = [f"-Wignore:{name}_text is deprecated:DeprecationWarning" for name in ("open", "read")]
    done = subprocess.run(
        [sys.executable, "-W", "error", *old, "-c", program],
        cwd=BENCHES,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_timed_calls_record_what_they_should() -> None:
    """Every way to emit is called a few times, off the clock, and nothing is lost."""
    run("import emit_cost; emit_cost.measure(rounds=2, calls=20)")


def test_lanes_are_measured_by_bursts_that_are_all_accounted_for() -> None:
    """In one process and in two, by threads that begin at the same instant."""
    said = run("import lanes; print([len(rates) for rates in lanes.measure(rounds=2, events=50).values()])")
    assert said == "[2, 2, 2, 2]\n"


def test_every_row_of_a_flood_is_counted_in_the_files() -> None:
    """DuckDB finds all of them and no gap; the same table written again has as many rows."""
    said = run("import end_to_end; [one] = end_to_end.measure(rounds=1, events=2_000); print(one.again.rows)")
    assert int(said) > 2_000


def test_a_flood_of_json_lines_is_compared_with_its_own_bytes() -> None:
    """The bare loop writes exactly what the sink wrote."""
    said = run("import jsonl_rate; [one] = jsonl_rate.measure(rounds=1, events=2_000); print(one.size)")
    assert int(said) > 2_000 * 100


def test_what_sinks_cost_is_measured_while_they_work() -> None:
    """Every kind at once, one away and one slow: nothing is dropped, and who is away has nothing."""
    said = run(
        "import all_sinks, pathlib, tempfile\n"
        # Long enough that those who are there have something by then, whatever else the machine does.
        "all_sinks.PARTIAL_CLOSE = 15.0\n"
        "for sinks in (False, True):\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        at = pathlib.Path(folder, 'audit')\n"
        "        print(all_sinks.emit(at, sinks=sinks, seconds=1.0, rate=2_000)['events'])\n"
    )
    assert all(int(events) >= 1_000 for events in said.split())


def test_who_waits_for_the_disk_is_counted_in_the_lines() -> None:
    """Of every event that was waited for there is a line, whoever shared the wait; the bare loop wrote its bytes."""
    run(
        "import durability, pathlib, tempfile\n"
        "for interval in (None, 0.0, 0.01):\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        at = pathlib.Path(folder)\n"
        "        assert durability.wait(at / 'audit', waiters=4, seconds=0.1, interval=interval).p50 > 0\n"
        "        assert durability.bare(at, seconds=0.05).rate > 0\n"
    )
    run("import durability; durability.measure_floods(rounds=1, events=2_000)")


def test_the_questions_are_answered_right() -> None:
    """What who-touched adds up is what was emitted."""
    said = run("import query_time; print(len(query_time.measure(events=5_000, times=1)))")
    assert int(said) == 4


def test_every_event_under_every_kind_of_rule_is_accounted_for() -> None:
    """By the log and by DuckDB, and of a consumer that reads on every offset; whatever that takes."""
    said = run("import policy_kinds; print(len(policy_kinds.measure(events=3_000)))")
    assert int(said) >= 8
    run(
        "import policy_kinds, tempfile, pathlib\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    reads, rows = policy_kinds.consumer(pathlib.Path(folder, 'audit'), 0.2, partitions=3)\n"
        "assert reads == 60 > rows"
    )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the bench looks there whether the tail is ready")
def test_every_event_that_a_tail_follows_has_its_line() -> None:
    """In every form, and of the few that are wanted no more and no less."""
    said = run("import tail_rate; print(len(tail_rate.measure(rate=20_000, seconds=0.2)))")
    assert int(said) == 3


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("loguru", "msgspec", "opentelemetry", "orjson", "structlog")),
    reason="the peers come with `make bench`",
)
def test_every_peer_writes_what_it_should() -> None:
    """Before anything is timed, and all of it afterwards."""
    run("import peer_cost; peer_cost.measure(rounds=2)")


def test_a_tap_makes_the_rows_that_are_timed() -> None:
    """In one piece and in chunks; decoders of other makes find the same in the same bytes."""
    run("import kafka_tap; kafka_tap.measure(rounds=2, calls=40)")


def test_what_the_tax_is_measured_with_is_all_audited() -> None:
    """Through one proxy before a real broker: each record of the clients with a tap has its row, and no other."""
    jars.require_java()
    said = run("import kafka_tax; print(kafka_tax.report(rounds=1, scale=0.01).text)")
    assert "1 interleaved rounds" in said


def test_a_section_that_is_not_there_is_named() -> None:
    """The command says which there are."""
    done = subprocess.run(
        [sys.executable, str(BENCHES / "run.py"), "--only", "emits"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no section 'emits'" in done.stderr


def test_scrapes_are_measured_beside_what_they_must_not_disturb() -> None:
    """Log and directory tell of the same events; every turn is there, watched and not, by scope and not."""
    run("import scrape; scrape.scrapes(5_000, 2)")
    assert run("import scrape; print(len(scrape.crowded(300)))") == "4\n"
    said = run("import scrape; quiet, noisy, count = scrape.watched(3, 50_000); print(len(quiet), len(noisy))")
    assert said == "3 3\n"
    assert run("import scrape; print([len(each) for each in scrape.scoped(1, 1_000)])") == "[1, 1]\n"

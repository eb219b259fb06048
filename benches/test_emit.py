"""For pytest-benchmark, to compare one build with another: `pytest benches --benchmark-only --benchmark-autosave`.

The ratios that README shows come from `run.py`, which measures in turns; here each case is timed for itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The modules beside this one are no package.
sys.path.insert(0, str(Path(__file__).parent))

import auditring
import emit_cost
from auditring import Keep
from logs import authenticated, drained, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditring import AuditLog

CALLS = 8_000
"""In one timed round: what fits into the ring before the pump wakes."""
ROUNDS = 100


@pytest.fixture(scope="module", autouse=True)
def _right() -> None:
    emit_cost.check()


@pytest.fixture(scope="module")
def log() -> Iterator[AuditLog]:
    """A log without sinks."""
    with opened() as one:
        yield one


def timed(benchmark: Any, log: AuditLog, call: Callable[[int], None]) -> None:  # noqa: ANN401 - the plugin has no types
    """Times `call(CALLS)`, with the ring empty before each round, and checks that nothing was lost."""
    before = log.stats()

    def setup() -> tuple[tuple[int], dict[str, Any]]:
        drained(log)
        return (CALLS,), {}

    benchmark.extra_info["calls in a round"] = CALLS
    benchmark.pedantic(call, setup=setup, rounds=ROUNDS)
    after = log.stats()
    assert after.balanced
    assert after.offered - before.offered >= ROUNDS * CALLS
    assert after.dropped == after.refused == 0


def test_read(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """Five fields by position."""
    session = authenticated(log)

    def call(times: int) -> None:
        for _ in range(times):
            session.read("orders", 3, 1000, 1099, 42)

    timed(benchmark, log, call)


def test_read_by_keyword(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """Five fields by name."""
    session = authenticated(log)

    def call(times: int) -> None:
        for _ in range(times):
            session.read(topic="orders", partition=3, first_offset=1000, last_offset=1099, client_correlation_id=42)

    timed(benchmark, log, call)


def test_read_of_a_broker(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """The same by a broker's handle, whose rows say which."""
    broker = authenticated(log).broker(emit_cost.SERVER, node_id=5)

    def call(times: int) -> None:
        for _ in range(times):
            broker.read("orders", 3, 1000, 1099, 42)

    timed(benchmark, log, call)


def test_declared(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """An event of the host's own, declared once."""
    session, key_used = authenticated(log), emit_cost.declared(log)

    def call(times: int) -> None:
        for _ in range(times):
            key_used(session, "kek-7", "AES", "256")

    timed(benchmark, log, call)


def test_denied(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """A protected event, with the status that the catalog gives it."""
    session = authenticated(log)

    def call(times: int) -> None:
        for _ in range(times):
            session.operation_denied("WRITE", "Topic", "salaries")

    timed(benchmark, log, call)


def test_http_request(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """What the ASGI middleware emits."""
    session = authenticated(log)

    def call(times: int) -> None:
        for _ in range(times):
            session.http_request("GET", "/v1/items/7", 200, 512, 1_000_000, "alice", "req-00000007")

    timed(benchmark, log, call)


def test_free_form(benchmark: Any, log: AuditLog) -> None:  # noqa: ANN401
    """An event that the catalog does not know."""
    session = authenticated(log)

    def call(times: int) -> None:
        for _ in range(times):
            session.emit("com.example.kms.KeyUsed", resource="kek-7")

    timed(benchmark, log, call)


def test_off(benchmark: Any) -> None:  # noqa: ANN401
    """Turned off: counted, not recorded."""
    with opened(read=Keep.OFF) as log:
        session = authenticated(log)

        def call(times: int) -> None:
            for _ in range(times):
                session.read("orders", 3, 1000, 1099, 42)

        timed(benchmark, log, call)
        assert log.stats().off >= ROUNDS * CALLS


def test_nothing_kept(benchmark: Any) -> None:  # noqa: ANN401
    """`open(None)`: what auditing costs where there is none."""
    with auditring.open(None) as log:
        session = authenticated(log)

        def call(times: int) -> None:
            for _ in range(times):
                session.read("orders", 3, 1000, 1099, 42)

        timed(benchmark, log, call)

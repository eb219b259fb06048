"""What DuckDB says of the audit at the end, and whether the clients were told the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditring.demo.kafka.settings import TOPIC

if TYPE_CHECKING:
    import duckdb

    from auditring.demo.kafka.seen import Offsets, Seen

# Rows of a partition whose offsets touch or overlap are one run of them.
_OFFSETS = """
    WITH touched AS (
      SELECT *, coalesce(first_offset > 1 + max(last_offset) OVER earlier, true) AS gap
      FROM events WHERE action = '{action}' AND outcome = 'success' AND resource = '{topic}'
      WINDOW earlier AS (PARTITION BY principal, partition ORDER BY first_offset, seq
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
    runs AS (
      SELECT *, count_if(gap) OVER (PARTITION BY principal, partition ORDER BY first_offset, seq) AS run FROM touched)
    SELECT principal, partition, min(first_offset) AS first_offset, max(last_offset) AS last_offset,
           sum(records)::BIGINT AS records, sum(count)::BIGINT AS reads, sum(bytes)::BIGINT AS bytes
    FROM runs GROUP BY principal, partition, run ORDER BY ALL"""

ANSWERS = {
    f"Who read {TOPIC}, and exactly which offsets?": _OFFSETS.format(action="Read", topic=TOPIC),
    "Who was refused what?": """
    SELECT principal, operation, resource, status, authority, count(*) AS times
    FROM events WHERE action = 'OperationDenied' GROUP BY ALL ORDER BY ALL""",
    "Who logged in, and who did not?": """
    SELECT principal, attempted_principal, mechanism, outcome, count(*) AS connections
    FROM events WHERE category = 'authentication' GROUP BY ALL ORDER BY outcome DESC, principal""",
    "And who did how much, by whose word?": """
    SELECT principal, action, authority, outcome, sum(events_total)::BIGINT AS events,
           sum(records)::BIGINT AS records, sum(bytes)::BIGINT AS bytes
    FROM events WHERE category IN ('authorization', 'data') GROUP BY ALL ORDER BY ALL""",
}

_REFUSED = "SELECT principal, operation, resource FROM events WHERE action = 'OperationDenied'"
# A login that its client broke off, as one does that ends, is a failure by another status.
_GUESSED = """
    SELECT attempted_principal, count(*) FROM events
    WHERE action = 'ClientSaslAuthFailure' AND status = 'SaslAuthenticationFailed' GROUP BY ALL"""


def agreement(connection: duckdb.DuckDBPyConnection, seen: Seen) -> dict[str, bool]:
    """Facts, and whether they hold."""
    read, written = (_offsets(connection, action) for action in ("Read", "Write"))
    refused = set(connection.execute(_REFUSED).fetchall())
    guessed = dict(connection.execute(_GUESSED).fetchall())
    got, acknowledged = seen.read, seen.written
    guesses = seen.failed_logins
    return {
        f"{got.records:,} records given to bob: the audit has their offsets as read, and no others": (
            read == got.offsets != set()
        ),
        f"{acknowledged.records:,} records acknowledged to alice: the audit has their offsets, and no others": (
            written == acknowledged.offsets != set()
        ),
        f"{_list(seen.refused)} refused: the audit has that, and no other refusal": refused == seen.refused,
        f"{guesses.total()} wrong password: the audit has that failed login, and no other": guessed == guesses,
    }


def _offsets(connection: duckdb.DuckDBPyConnection, action: str) -> Offsets:
    rows: list[tuple[Any, ...]] = connection.execute(_OFFSETS.format(action=action, topic=TOPIC)).fetchall()
    return {(row[0], row[1], row[2], row[3]) for row in rows}


def _list(refused: set[tuple[str, str, str]]) -> str:
    return " and ".join(f"{who}'s {operation} of {topic}" for who, operation, topic in sorted(refused))

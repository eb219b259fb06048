"""Saved questions: what one asks an audit log again and again, as SQL over the view `events`.

A question is text and parameters; values never become part of the text. What must always hold: totals are sums of
`events_total`, so they are right for merged and for sampled rows, and only the primary tap is counted, or one event
that was seen at two places in the chain would count twice.

    >>> from auditring import query, questions
    >>> con = query.connect("audit/")                                      # doctest: +SKIP
    >>> questions.who_touched("payments").on(con).show()                   # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import duckdb

__all__ = ["Bounds", "Question", "denied", "logins", "timeline", "who_touched", "who_touched_offset"]


@dataclass(frozen=True, slots=True)
class Question:
    """SQL and the values of its `$parameters`."""

    sql: str
    parameters: Mapping[str, object]

    def on(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """Put the question to a connection of `auditring.query.connect`."""
        return con.sql(self.sql, params=dict(self.parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From when (included) until when (excluded), at which tap, and how many rows; `None` is no bound.

    Without a `tap` the primary one counts alone.
    """

    since: datetime | None = None
    until: datetime | None = None
    tap: str | None = None
    limit: int | None = None


LONGEST_WINDOW_SECONDS = 300
"""No row stands for more time than this, whatever the policy merges."""

_ALWAYS = Bounds()

_WHO_TOUCHED = """
SELECT principal, action, operation, outcome, authority, origin,
       sum(events_total)::BIGINT AS events,
       sum(records * weight)::BIGINT AS records,
       sum(bytes * weight)::BIGINT AS bytes,
       min("time") AS first_seen,
       max(coalesce(end_time, "time")) AS last_seen
FROM events
WHERE {where}
GROUP BY ALL
ORDER BY events DESC, last_seen DESC, principal, action, operation, outcome, authority, origin
{limit}
"""

# The last ones, told in the order in which they happened.
_ROWS = """
FROM (
  SELECT {columns}, process, seq
  FROM events
  WHERE {where}
  ORDER BY "time" DESC, process DESC, seq DESC
  {limit}
)
SELECT {columns}
ORDER BY "time", process, seq
"""


def who_touched(resource: str, bounds: Bounds = _ALWAYS) -> Question:
    """Who did what to a resource, how often, and when first and last; refusals are among it."""
    return _question(_WHO_TOUCHED, ["resource = $resource"], {"resource": resource}, bounds)


def who_touched_offset(topic: str, partition: int, offset: int, bounds: Bounds = _ALWAYS) -> Question:
    """Every read or write of a range that holds this one offset of this partition.

    Sampling leaves ranges out: only with `Keep.ALL` is silence an answer.
    """
    where = ["resource = $resource", "partition = $partition", "first_offset <= $offset", "last_offset >= $offset"]
    values = {"resource": topic, "partition": partition, "offset": offset}
    columns = (
        '"time", principal, action, first_offset, last_offset, "count", weight, outcome, peer_ip, client_id, session, '
        "client_correlation_id, event_id"
    )
    return _question(_ROWS, where, values, bounds, columns)


def denied(bounds: Bounds = _ALWAYS) -> Question:
    """What was refused, to whom, and by what reason."""
    columns = (
        '"time", principal, action, operation, resource_type, resource, status, reason, origin, peer_ip, client_id, '
        "session, event_id"
    )
    return _question(_ROWS, ["outcome = 'denied'"], {}, bounds, columns)


def logins(bounds: Bounds = _ALWAYS, *, failed: bool = False) -> Question:
    """Who authenticated, how, from where; with `failed` only who tried in vain, and as whom."""
    where = ["category = 'authentication'"]
    if failed:
        where.append("outcome IN ('failure', 'denied')")
    columns = (
        '"time", principal, attempted_principal, mechanism, outcome, status, reason, authority, peer_ip, client_id, '
        "session, event_id"
    )
    return _question(_ROWS, where, {}, bounds, columns)


def timeline(principal: str, bounds: Bounds = _ALWAYS) -> Question:
    """All that one principal did, and who tried to pass for it, in order."""
    columns = (
        '"time", action, outcome, operation, resource_type, resource, partition, first_offset, last_offset, "count", '
        "status, attempted_principal, peer_ip, session, event_id"
    )
    where = ["(principal = $principal OR attempted_principal = $principal)"]
    return _question(_ROWS, where, {"principal": principal}, bounds, columns)


def _question(
    template: str, where: list[str], values: dict[str, object], bounds: Bounds, columns: str = ""
) -> Question:
    if bounds.since is not None:
        # A merged row counts as long as it lasts, which is never longer than the longest window. The bound on `time`
        # is what lets DuckDB leave out files and row groups.
        where.append(f'"time" >= $since - INTERVAL {LONGEST_WINDOW_SECONDS} SECOND')
        where.append('coalesce(end_time, "time") >= $since')
        values["since"] = bounds.since
    if bounds.until is not None:
        where.append('"time" < $until')
        values["until"] = bounds.until
    if bounds.tap is None:
        where.append("at_primary_tap(process, tap)")
    else:
        where.append("tap = $tap")
        values["tap"] = bounds.tap
    limit = ""
    if bounds.limit is not None:
        limit = "LIMIT $limit"
        values["limit"] = bounds.limit
    return Question(template.format(where=" AND ".join(where), limit=limit, columns=columns), values)

"""Saved questions: what one asks an audit log again and again, as SQL over the view `events`.

A question is text and parameters; values never become part of the text. What must always hold: totals are sums of
`events_total`, so they are right for merged and for sampled rows, and only the primary tap is counted, or one event
that was seen at two places in the chain would count twice. Where the sums of whole files answer instead of their rows
(`auditring.rollup`), the answer is the same.

    >>> from auditring import query, questions
    >>> con = query.connect("audit/")                                      # doctest: +SKIP
    >>> questions.who_touched("payments").on(con).show()                   # doctest: +SKIP
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import duckdb

__all__ = [
    "OF_PRINCIPALS",
    "Bounds",
    "Question",
    "denied",
    "hashed",
    "keys_used",
    "logins",
    "session",
    "spikes",
    "statement",
    "timeline",
    "who_touched",
    "who_touched_offset",
]


@dataclass(frozen=True, slots=True)
class Question:
    """SQL and the values of its `$parameters`."""

    sql: str
    parameters: Mapping[str, object]

    def on(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """Put the question to a connection of `auditring.query.connect`."""
        return con.sql(self.sql, params=dict(self.parameters))

    def asked(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """Put the question to a connection, which then has the answer, to be fetched at once."""
        return con.execute(self.sql, dict(self.parameters))


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

OF_PRINCIPALS = """list_has_any($principals, list_concat(
        [principal, 'User:' || principal, attempted_principal, 'User:' || attempted_principal],
        coalesce(principals, []),
        list_transform(coalesce(principals, []), lambda one: substr(one, instr(one, ':') + 1))))"""
"""What one of `$principals` did, or who tried to pass for it. Each is a name or `Type:name`, and is met also where a
session has proven several."""

# The end of a row is never before its time, so the greater of two maxima is the greatest end. Where no row has an end
# of its own, which is most of the time, two maxima cost less than a value chosen for every row.
_TOUCHES = """
  SELECT principal, action, operation, outcome, authority, origin,
         sum(events_total) AS events, sum(records * weight) AS records, sum(bytes * weight) AS bytes,
         min("time") AS first_seen, greatest(max(end_time), max("time")) AS last_seen
  FROM {source}
  WHERE {where}
  GROUP BY ALL
"""
# The same of whole files, as they have added it up themselves.
_ROLLED = """
  UNION ALL
  SELECT principal, action, operation, outcome, authority, origin,
         events, records, bytes, first_seen, last_seen
  FROM auditring_touched
  WHERE {tap}
"""
# A bound without a zone, or a date, is what DuckDB takes it for on this connection; what it does not take, it says.
_TAKEN = "SELECT $resource::VARCHAR, epoch_us($since::TIMESTAMPTZ), epoch_us($until::TIMESTAMPTZ)"
_WHO_TOUCHED = """
SELECT principal, action, operation, outcome, authority, origin,
       sum(events)::BIGINT AS events, sum(records)::BIGINT AS records, sum(bytes)::BIGINT AS bytes,
       min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM ({touches})
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

# A hash is like nothing else, so wherever it stands in a text it is meant.
_OF_HASHES = """(
    list_has_any({0}, [principal, attempted_principal, peer_ip, client_id, resource, reason])
    OR len(list_filter({0}, lambda one: contains(coalesce(object_ref, '') || coalesce(context, '')
                                                 || array_to_string(coalesce(principals, []), ' '), one))) > 0)"""

# A plugin's event names what it used in `object_ref`, such as {"com.example.kek": "kek-7"}.
_KEYS_USED = """
SELECT action, entry.key AS key_type, entry.value AS key, principal, outcome, filter,
       sum(events_total)::BIGINT AS events,
       min("time") AS first_seen,
       greatest(max(end_time), max("time")) AS last_seen
FROM (
  SELECT *, unnest(map_entries(object_ref::JSON::MAP(VARCHAR, VARCHAR))) AS entry
  FROM events
  WHERE {where}
)
GROUP BY ALL
ORDER BY events DESC, last_seen DESC, action, key_type, key, principal, outcome, filter
{limit}
"""

# The first 64 bits of an address of IPv6: its groups, with those that `::` stands for, less leading zeros and less the
# zero groups at the end, which the mask's `::` stands for. One that wraps an address of IPv4 is that address.
_GROUPS = r"""
list_transform(
  (list_concat(
     string_split(split_part(peer_ip, '::', 1), ':'),
     list_resize(CAST([] AS VARCHAR[]), if(contains(peer_ip, '::'),
       8 - len(string_split(split_part(peer_ip, '::', 1), ':')) - len(string_split(split_part(peer_ip, '::', 2), ':')),
       0), '0'),
     string_split(split_part(peer_ip, '::', 2), ':')))[1:4],
  lambda part: lower(coalesce(nullif(ltrim(part, '0'), ''), '0')))
"""
_NETWORK = rf"""
CASE
  WHEN contains(peer_ip, '/') THEN peer_ip
  WHEN regexp_full_match(peer_ip, '(::[fF]{{{{4}}}}:)?(\d+\.){{{{3}}}}\d+')
    THEN regexp_extract(peer_ip, '(\d+\.\d+\.\d+)\.\d+$', 1) || '.0/24'
  WHEN contains(peer_ip, ':')
    THEN regexp_replace(array_to_string({_GROUPS}, ':'), '(^|:)0(:0)*$', '') || '::/64'
  ELSE peer_ip
END
"""
# What the library says where a log is closed, or a handle let go of, while a connection is open: of the proxy, and not
# of a client that fails.
_NOT_ENDED_BY_US = """
NOT (action IN ('ClientClose', 'BrokerClose')
     AND coalesce(status, '') IN ('ProxyShutdown', 'SessionAbandoned', 'BrokerAbandoned'))
"""
_SPIKES = """
SELECT time_bucket(INTERVAL 5 MINUTE, "time") AS bucket,
       {network} AS network,
       coalesce(sum(events_total) FILTER (outcome = 'failure'), 0)::BIGINT AS failures,
       coalesce(sum(events_total) FILTER (outcome = 'denied'), 0)::BIGINT AS denials,
       count(DISTINCT peer_ip) AS addresses,
       count(DISTINCT coalesce(attempted_principal, principal)) AS principals
FROM events
WHERE {where}
GROUP BY ALL
ORDER BY failures + denials DESC, bucket DESC, network
{limit}
"""


def who_touched(resource: str, bounds: Bounds = _ALWAYS) -> Question:
    """Who did what to a resource, how often, and when first and last; refusals are among it."""
    where, values = _bounded(["resource = $resource"], {"resource": resource}, bounds)
    return _WhoTouched(*_touched("events", where, values, bounds), resource, where, bounds)


@dataclass(frozen=True, slots=True)
class _WhoTouched(Question):
    """Reads of each file what it has added up itself, and rows only where that does not answer."""

    resource: str
    where: str
    bounds: Bounds

    def on(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """As of any question; the answer is that of the moment of the call."""
        bound = self._bound(con)
        if bound is None:
            return super(_WhoTouched, self).on(con)  # by name: a class with slots is made anew by the decorator
        # What a relation reads is looked up when it is fetched, and the sums of these files go with this moment's rows.
        return con.from_arrow(con.sql(bound.sql, params=dict(bound.parameters)).to_arrow_table())

    def asked(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """As of any question."""
        bound = self._bound(con)
        return super(_WhoTouched, self).asked(con) if bound is None else bound.asked(con)

    def _bound(self, con: duckdb.DuckDBPyConnection) -> Question | None:
        """Over the rows of the files that are left, and the sums of the others; `None` where rows alone can answer."""
        # Whoever only reads a question's text need not have DuckDB.
        from auditring import query, touched  # noqa: PLC0415

        files = query.sealed(con)
        if files is None:
            return None
        given = {"resource": self.resource, "since": self.bounds.since, "until": self.bounds.until}
        ((resource, since_us, until_us),) = con.execute(_TAKEN, given).fetchall()
        looked = touched.look(files, resource, since_us, until_us)
        con.register("auditring_touched", looked.sums)
        rolled = _ROLLED.format(tap=_at_tap(self.bounds))
        source = f"({query.rows(looked.unread)})"
        return Question(*_touched(source, self.where, self.parameters, self.bounds, rolled))


def _touched(
    source: str, where: str, values: Mapping[str, object], bounds: Bounds, rolled: str = ""
) -> tuple[str, Mapping[str, object]]:
    touches = _TOUCHES.format(source=source, where=where) + rolled
    return _WHO_TOUCHED.format(touches=touches, limit=_limit(bounds)), values


def who_touched_offset(topic: str, partition: int, offset: int, bounds: Bounds = _ALWAYS) -> Question:
    """Every read or write of a range that holds this one offset of this partition.

    A row without a last offset is of its first one. Sampling leaves ranges out: only with `Keep.ALL` is silence an
    answer.
    """
    # Not with coalesce(): bounds on the bare columns are what lets DuckDB leave out files and row groups.
    ends = "(last_offset >= $offset OR first_offset = $offset)"
    where = ["resource = $resource", "partition = $partition", "first_offset <= $offset", ends]
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
    """All that one principal did, and who tried to pass for it, in order.

    It is a name or `Type:name`, and is met also where its session has proven others beside it.
    """
    columns = (
        '"time", action, outcome, operation, resource_type, resource, partition, first_offset, last_offset, "count", '
        "status, principal, attempted_principal, peer_ip, session, event_id"
    )
    return _question(_ROWS, [OF_PRINCIPALS], {"principals": [principal]}, bounds, columns)


def session(identity: str, bounds: Bounds = _ALWAYS) -> Question:
    """All that happened in one session, in order, and what filters did because of one of its requests."""
    columns = (
        '"time", principal, action, outcome, operation, resource_type, resource, partition, first_offset, last_offset, '
        '"count", weight, status, reason, origin, filter, initiator, server, peer_ip, event_id'
    )
    # Looking for the words first spares most rows from being parsed.
    cause = "(contains(context, 'causeSession') AND context ->> '$.causeSession' = $session)"
    return _question(_ROWS, [f"(session = $session OR {cause})"], {"session": identity}, bounds, columns)


def keys_used(bounds: Bounds = _ALWAYS, *, action: str | None = None) -> Question:
    """Which keys (or other things named in `object_ref`) plugins used, for whom, how often, and when first and last.

    With `action` only the events of that name, such as `com.example.kms.KeyUsed`.
    """
    where, values = ["category = 'plugin'", "object_ref IS NOT NULL"], dict[str, object]()
    if action is not None:
        where.append("action = $action")
        values["action"] = action
    return _question(_KEYS_USED, where, values, bounds)


def spikes(bounds: Bounds = _ALWAYS) -> Question:
    """Failures and denials of five minutes each, by the clients' network, the most first.

    A network is 24 bits of an address of IPv4, and 64 of one of IPv6. A connection that the proxy itself ended is no
    failure of a client's.
    """
    where = ["outcome IN ('failure', 'denied')", _NOT_ENDED_BY_US]
    return _question(_SPIKES.replace("{network}", _NETWORK), where, {}, bounds)


def hashed(hashes: Sequence[str], bounds: Bounds = _ALWAYS) -> Question:
    """All rows in which one of these keyed hashes stands, wherever it does, in order."""
    columns = (
        '"time", action, outcome, principal, attempted_principal, peer_ip, client_id, operation, resource_type, '
        'resource, partition, first_offset, last_offset, "count", weight, status, session, event_id'
    )
    return _question(_ROWS, [_OF_HASHES.format("$hashes")], {"hashes": list(hashes)}, bounds, columns)


def statement(hashes: Sequence[str]) -> str:
    """The same as a statement with the hashes in it. Raises `ValueError` for what is no hash."""
    for one in hashes:
        if re.fullmatch(r"hmac_[0-9a-f]{8}_[0-9a-f]{32}", one) is None:
            raise ValueError(f"{one!r} is no keyed hash")
    where = " ".join(_OF_HASHES.format(list(hashes)).split())
    return f"SELECT * FROM events WHERE {where} ORDER BY time"  # noqa: S608 - of hexadecimal digits, as was just seen


def _question(
    template: str, where: list[str], values: dict[str, object], bounds: Bounds, columns: str = ""
) -> Question:
    condition, values = _bounded(where, values, bounds)
    return Question(template.format(where=condition, limit=_limit(bounds), columns=columns), values)


def _bounded(where: list[str], values: dict[str, object], bounds: Bounds) -> tuple[str, dict[str, object]]:
    """The condition of a question, and its parameters, with those of the bounds."""
    where, values = list(where), dict(values)
    if bounds.since is not None:
        # A merged row counts as long as it lasts, which is never longer than the longest window. The bound on `time`
        # is what lets DuckDB leave out files and row groups.
        where.append(f'"time" >= $since - INTERVAL {LONGEST_WINDOW_SECONDS} SECOND')
        where.append('coalesce(end_time, "time") >= $since')
        values["since"] = bounds.since
    if bounds.until is not None:
        where.append('"time" < $until')
        values["until"] = bounds.until
    where.append(_at_tap(bounds))
    if bounds.tap is not None:
        values["tap"] = bounds.tap
    if bounds.limit is not None:
        values["limit"] = bounds.limit
    return " AND ".join(where), values


def _at_tap(bounds: Bounds) -> str:
    return "at_primary_tap(process, tap)" if bounds.tap is None else "tap = $tap"


def _limit(bounds: Bounds) -> str:
    return "" if bounds.limit is None else "LIMIT $limit"

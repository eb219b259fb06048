"""`auditring explain --against DIR`: what a policy would make of what was recorded, rule by rule.

Rows are grouped by what the rules ask for, and each group is judged once, by the core. What must always hold: every
recorded row is counted under exactly one rule, or under none; and what cannot be known from rows (what was left out
before, which rows a sample would take) is said, and never guessed at.
"""

from __future__ import annotations

import dataclasses
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from auditring import _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    import duckdb

    from auditring.policy import Policy

__all__ = ["Line", "Replay", "as_json", "replay", "show"]

_COLUMNS: Final = {
    "authority": "authority",
    "origin": "origin",
    "filter": "filter",
    "tap": "tap",
    "resource": "resource",
    "principal": "principals",
    "virtual_cluster": "virtual_cluster",
    "peer": "peer_ip",
}
"""What a rule may ask for beside action, category and outcome, and where rows have it."""
_LOOKED_AT: Final = (
    "authority",
    "origin",
    "status",
    "filter",
    "tap",
    "resource",
    "principal",
    "virtual_cluster",
    "peer",
)
_CHUNK: Final = 50_000
_TICK: Final = 0.2

_QUERY: Final = """
SELECT action, category, outcome, {keys}, count(*) AS rows, CAST(sum("count" * weight) AS HUGEINT) AS events
FROM events {where} GROUP BY ALL
"""


@dataclasses.dataclass(slots=True)
class Line:
    """What one rule would do, in rows that are there and in the events that they stand for."""

    whose: str
    """`log` or `sink`."""
    rule: int | None
    """Counted from 1; `None`: what no rule matches."""
    keep: str
    one_in: int = 1
    rows: int = 0
    """Rows that are there now."""
    events: int = 0
    """Events that they stand for."""

    @property
    def kept(self) -> float:
        """Rows that there would be; of a sample the share that is to be expected."""
        return {"off": 0.0, "sample": self.events / self.one_in}.get(self.keep, float(self.events))

    @property
    def sampled_out(self) -> float:
        """Events that a sample would leave out."""
        return self.events - self.kept if self.keep == "sample" else 0.0

    @property
    def left_out(self) -> int:
        """Events that the rule would leave out."""
        return self.events if self.keep == "off" else 0

    @property
    def merged(self) -> bool:
        """Whether it would merge events, how many into one row is not known from rows."""
        return self.keep not in {"all", "off", "sample"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a policy would make of what was recorded."""

    lines: Sequence[Line]
    kinds: int
    """Kinds of rows that the rules tell apart."""
    bytes_per_row: float | None
    """Of the sealed files; `None` where there is none."""
    unseen: dict[str, int]
    """Events that are in no row, by why: what the policy would make of them nobody can tell."""

    @property
    def rows(self) -> int:
        """Rows that are there."""
        return sum(line.rows for line in self.lines)

    @property
    def events(self) -> int:
        """Events that they stand for."""
        return sum(line.events for line in self.lines)

    @property
    def kept(self) -> float:
        """Rows that there would be."""
        return sum(line.kept for line in self.lines)

    def size(self, rows: float) -> int | None:
        """What so many rows take, by what they take today."""
        return None if self.bytes_per_row is None else round(rows * self.bytes_per_row)


def replay(directory: Path, policy: Policy, own: Policy | None, since: datetime | None) -> Replay:
    """Judges everything that is in rows. Raises what `auditring.query.connect` raises."""
    from auditring import query

    con = query.connect(directory)
    # Its bar would stand between the lines of the answer; ours shows the same.
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    asked = {
        name
        for one in (policy, own)
        if one is not None
        for rule in one.rules
        for name in _COLUMNS
        if getattr(rule, name) is not None
    }
    keys = ", ".join(_key(name, asked) for name in _LOOKED_AT)
    where = "" if since is None else "WHERE time >= $since"
    log, sink = _forms(policy, own, asked)
    lines: dict[tuple[bool, int | None, str, int], Line] = {}
    kinds = 0
    with _progress(con) as told:
        found = con.execute(_QUERY.format(keys=keys, where=where), {} if since is None else {"since": since})
        while groups := found.fetchmany(_CHUNK):
            judged = _core.judge(log, sink, [(group[:6], group[6:12]) for group in groups])
            for group, answer in zip(groups, judged, strict=True):
                whose, rule, keep, one_in = answer
                if answer not in lines:
                    number = None if rule is None else rule + 1
                    lines[answer] = Line("sink" if whose else "log", number, keep, one_in)
                lines[answer].rows += group[12]
                lines[answer].events += int(group[13])
            kinds += len(groups)
            told(kinds)
    order = sorted(lines.values(), key=lambda line: (line.whose == "log", line.rule is None, line.rule or 0, line.keep))
    return Replay(lines=order, kinds=kinds, bytes_per_row=_bytes_per_row(directory), unseen=_unseen(directory))


def _forms(policy: Policy, own: Policy | None, asked: set[str]) -> tuple[bytes, bytes | None]:
    """Both policies as a log keeps them: rows have the hashes of what is hashed, so a rule must ask for those.

    The key is read only where a rule asks for what is redacted. Raises `ConfigError`.
    """
    from auditring.redaction import read_key, reference

    redact = policy.redact if asked & {one.field for one in policy.redact} else ()
    where = reference(redact)
    key = None if where is None else read_key(where)
    log = policy.kept(seed=0, redact=redact, key=key)
    return log, None if own is None else own.kept(seed=0, redact=redact, key=key)


def _key(name: str, asked: set[str]) -> str:
    """A thing to group by: the column where a rule asks for it, else the same for all."""
    if name == "status":
        return "status IS NOT NULL AS status_given"
    column = _COLUMNS[name]
    kind = "VARCHAR[]" if name == "principal" else "VARCHAR"
    return f'"{column}"' if name in asked else f"NULL::{kind} AS no_{name}"


def _bytes_per_row(directory: Path) -> float | None:
    import pyarrow.parquet as pq

    from auditring.sealed import list_sealed

    rows = size = 0
    for file in list_sealed(directory.absolute())[0]:
        try:
            rows += pq.read_metadata(file.path).num_rows
            size += file.path.stat().st_size
        except FileNotFoundError:  # retention or compaction has removed it since
            continue
    return size / rows if rows else None


def _unseen(directory: Path) -> dict[str, int]:
    """What today's policies, and losses, have left out: known by number alone."""
    unseen = dict.fromkeys(("off", "dropped", "refused", "sampled_out", "filtered_out"), 0)
    for process in _core.outside(str(directory.absolute())):
        table = process["sinks"].get("parquet", {})
        for name in unseen:
            unseen[name] += process.get(name, 0) + table.get(name, 0)
    return unseen


@contextmanager
def _progress(con: duckdb.DuckDBPyConnection) -> Iterator[Any]:
    """Shows how far it is: one line on a terminal's standard error, and elsewhere nothing."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    done = threading.Event()
    with Status("reading", console=console) as status:

        def look() -> None:
            while not done.wait(_TICK):
                share = con.query_progress()
                if share > 0:
                    status.update(f"reading: {share:.0f} %")

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield lambda kinds: status.update(f"{kinds:,} kinds of events judged")
        finally:
            done.set()
            thread.join()


def as_json(found: Replay, policies: dict[str, Policy]) -> dict[str, object]:
    """The answer for scripts."""
    return {
        "rows": found.rows,
        "events": found.events,
        "kinds": found.kinds,
        "would_be_rows": round(found.kept),
        "bytes_per_row": found.bytes_per_row,
        "bytes": found.size(found.rows),
        "would_be_bytes": found.size(found.kept),
        "not_in_rows": found.unseen,
        "rules": [
            {
                "policy": line.whose,
                "rule": line.rule,
                "says": _said(line, policies),
                "keep": line.keep,
                "one_in": line.one_in,
                "rows": line.rows,
                "events": line.events,
                "would_be_rows": round(line.kept),
                "at_most": line.merged,
                "sampled_out": round(line.sampled_out),
                "left_out": line.left_out,
                "bytes": found.size(line.rows),
                "would_be_bytes": found.size(line.kept),
            }
            for line in found.lines
        ],
    }


def show(found: Replay, policies: dict[str, Policy]) -> None:
    """A table of the rules, what it comes to, and what is not in it."""
    from auditring.cli.output import write_table

    rows = [
        [
            f"{line.whose} {line.rule}" if line.rule is not None else "no rule",
            line.rows,
            line.events,
            round(line.kept),
            round(line.sampled_out),
            line.left_out,
            found.size(line.kept),
            _said(line, policies),
        ]
        for line in found.lines
    ]
    columns = ["rule", "rows now", "events", "rows then", "sampled out", "left out", "bytes then", "says"]
    write_table(columns, rows, title="What the policy would make of what is recorded")
    click.echo(_sum(found))
    if any(line.merged for line in found.lines):
        click.echo("Where a rule merges events, `rows then` is the most that there can be.")
    if any(line.keep == "sample" for line in found.lines):
        click.echo("Of a sample the expected share is shown; first reads and writes are kept beside it.")
    left = {name: n for name, n in found.unseen.items() if n}
    if left:
        told = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in left.items())
        click.echo(
            f"Not in any row, and so not in this table: {told}. What was sampled out is stood for by weights; of the "
            "rest nobody can tell what the policy would make."
        )


def _sum(found: Replay) -> str:
    now, then = found.size(found.rows), found.size(found.kept)
    size = "" if now is None or then is None else f", about {now:,} and {then:,} bytes (at today's bytes a row)"
    return f"{found.rows:,} rows now, {round(found.kept):,} then{size}."


def _said(line: Line, policies: dict[str, Policy]) -> str:
    """The rule as it is written in code."""
    if line.rule is None:
        return "kept" if line.keep == "all" else "requests are off unless a rule keeps them"
    return repr(policies[line.whose].rules[line.rule - 1])

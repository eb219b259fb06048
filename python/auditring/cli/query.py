"""`auditring query DIR …`: SQL, or a saved question, over everything that a directory holds."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditring.cli import output
from auditring.cli.asked import Asked, bounded, shown
from auditring.cli.errors import Complaint, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from auditring.questions import Question

__all__ = ["command"]

_CHUNK = 10_000
_SNAPSHOTS = 200
"""Snapshots that are taken for one answer while retention deletes files."""


class Questions(click.Group):
    """Saved questions by name; whatever else follows the directory is SQL."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no saved question is a slip of the pen; a phrase is SQL."""
        first = args[0]
        if first not in self.commands and (first == "-" or re.search(r"\s", first)):
            return "sql", sql, args
        if first not in self.commands:
            ctx.fail(f"No saved question {first!r}, and no SQL either; {suggestion(first, self.commands)}")
        return super().resolve_command(ctx, args)


@click.group("query", cls=Questions, no_args_is_help=True, subcommand_metavar="SQL | QUESTION [ARGS]...")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--sealed-only", is_flag=True, help="Leave out what is not in a finished Parquet file yet.")
@click.pass_context
def command(ctx: click.Context, directory: Path, *, sealed_only: bool) -> None:
    """Ask an audit directory, also while it is being written: SQL over the view `events`, or a saved question.

    \b
    Who touched the topic payments, and who held this one record in hand?
      auditring query audit/ who-touched payments
      auditring query audit/ who-touched payments --partition 3 --offset 1050
    What was refused in the last two hours? As CSV for a spreadsheet?
      auditring query audit/ denied --since 2h
      auditring query audit/ denied --since 2026-11-01 --format csv
    Who could not log in, what did alice do, and what happened in this one session?
      auditring query audit/ logins --failed
      auditring query audit/ timeline alice
      auditring query audit/ session 6f1c2d0e-4b8a-4c55-9f0e-0d6a52b1c7aa
    Which encryption keys were used, for whom? From which networks do failures and denials pile up?
      auditring query audit/ keys-used --since 7d
      auditring query audit/ spikes --since 1d
    Anything as a Parquet file, to go on with it elsewhere?
      auditring query audit/ timeline alice --format parquet --output alice.parquet
    Anything else, in SQL (`-` reads it from standard input):
      auditring query audit/ "SELECT principal, sum(events_total) FROM events GROUP BY ALL"
      auditring query audit/ "DESCRIBE events"

    An event that stands for many has them in `events_total`: sum that, do not count rows. Times are UTC.
    """
    ctx.obj = Asked(directory, include_fresh=not sealed_only)


@command.command("who-touched")
@click.argument("topic")
@click.option("--partition", type=click.IntRange(min=0), help="Together with --offset: who held this one record.")
@click.option("--offset", type=click.IntRange(min=0))
@bounded
@click.pass_obj
def who_touched(asked: Asked, topic: str, partition: int | None, offset: int | None) -> None:
    """Who did what to TOPIC (or any other resource), how often, and when first and last.

    \b
    auditring query audit/ who-touched payments --since 7d
    auditring query audit/ who-touched payments --partition 3 --offset 1050
    auditring query audit/ who-touched /v1/items --format json
    """
    from auditring import questions

    if (partition is None) != (offset is None):
        raise click.UsageError("--partition and --offset go together: one record has both.")
    if partition is None or offset is None:
        answer(asked, questions.who_touched(topic, asked.bounds))
    else:
        answer(asked, questions.who_touched_offset(topic, partition, offset, asked.bounds))


@command.command()
@bounded
@click.pass_obj
def denied(asked: Asked) -> None:
    """What was refused, to whom, and by what reason.

    \b
    auditring query audit/ denied --since 2h
    """
    from auditring import questions

    answer(asked, questions.denied(asked.bounds))


@command.command()
@click.option("--failed", is_flag=True, help="Only who tried in vain, and as whom.")
@bounded
@click.pass_obj
def logins(asked: Asked, *, failed: bool) -> None:
    """Who authenticated, how, and from where.

    \b
    auditring query audit/ logins --failed --since 1d
    """
    from auditring import questions

    answer(asked, questions.logins(asked.bounds, failed=failed))


@command.command()
@click.argument("principal")
@bounded
@click.pass_obj
def timeline(asked: Asked, principal: str) -> None:
    """All that PRINCIPAL (alice or User:alice) did, in order, and every attempt to pass for it.

    \b
    auditring query audit/ timeline alice --since 2026-11-23T14:00 --until 2026-11-23T15:00
    """
    from auditring import questions

    answer(asked, questions.timeline(principal, asked.bounds))


@command.command()
@click.argument("identity", metavar="ID")
@bounded
@click.pass_obj
def session(asked: Asked, identity: str) -> None:
    """All that happened in the session ID, in order, and what filters did because of its requests.

    \b
    auditring query audit/ session 6f1c2d0e-4b8a-4c55-9f0e-0d6a52b1c7aa
    """
    from auditring import questions

    answer(asked, questions.session(identity, asked.bounds))


@command.command("keys-used")
@click.option("--action", metavar="NAME", help="Only events of this name, such as com.example.kms.KeyUsed.")
@bounded
@click.pass_obj
def keys_used(asked: Asked, *, action: str | None) -> None:
    """Which keys, or other objects, plugins say that they used: for whom, how often, when first and last.

    A key is what a plugin's event names in object_ref: {"com.example.kek": "kek-7"} is the key kek-7 of type
    com.example.kek.

    \b
    auditring query audit/ keys-used --since 7d
    auditring query audit/ keys-used --action com.example.kms.KeyUsed --format csv
    """
    from auditring import questions

    answer(asked, questions.keys_used(asked.bounds, action=action))


@command.command()
@bounded
@click.pass_obj
def spikes(asked: Asked) -> None:
    """Failures and denials in buckets of five minutes, by network (/24 of IPv4, /64 of IPv6), the most first.

    \b
    auditring query audit/ spikes --since 1d
    auditring query audit/ spikes --since 2026-11-23 --until 2026-11-24 --limit 20
    """
    from auditring import questions

    answer(asked, questions.spikes(asked.bounds))


@click.command("sql")
@click.argument("text", metavar="SQL")
@shown
@click.pass_obj
def sql(asked: Asked, text: str) -> None:
    """One SQL statement over the view `events`."""
    from auditring.questions import Question

    answer(asked, Question(sys.stdin.read() if text == "-" else text, {}))


def answer(asked: Asked, question: Question) -> None:
    """Give the answer to a question; whatever DuckDB or the directory has against it becomes one line."""
    import duckdb

    from auditring.exceptions import AuditError

    output.check(asked.form, asked.target)
    try:
        con = connected(asked)
        seen = answered(asked, con, question)
    except BrokenPipeError:
        raise
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    except duckdb.Error as error:
        raise Complaint(first_paragraph(error)) from error
    if seen is not None and seen == asked.most:
        click.echo(f"{seen} rows, as many as the limit allows; --limit 0 shows all.", err=True)


def answered(asked: Asked, con: duckdb.DuckDBPyConnection, question: Question) -> int | None:
    """Give the answer; a file may have been compacted or have come to its end since, which the next snapshot tells."""
    import duckdb

    from auditring import query

    for _ in range(_SNAPSHOTS):
        try:
            return give(asked, con, question)
        except duckdb.IOException:
            query.refresh(con)
    return give(asked, con, question)


def give(asked: Asked, con: duckdb.DuckDBPyConnection, question: Question) -> int | None:
    """Write an answer where it was asked for; returns how many rows it had, if they were counted."""
    if asked.form == "parquet" and asked.target is not None:
        relation = question.on(con)
        if relation is None:  # what DuckDB gives for a statement that is no query; its stub does not know
            raise Complaint("this statement has no rows to write")
        output.write_parquet(asked.target, relation if asked.most is None else relation.limit(asked.most))
        return None
    result = question.asked(con)
    rows = Rows(result, asked.most)
    columns = [str(column[0]) for column in result.description or []]
    with output.opened(asked.target) as out:
        output.write(asked.form, columns, rows, out)
    return rows.seen


def connected(asked: Asked) -> duckdb.DuckDBPyConnection:
    """Connect, with warnings as lines on standard error."""
    from auditring import query

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", query.QueryWarning)
        con = query.connect(asked.directory, include_fresh=asked.include_fresh)
    for warning in caught:
        click.echo(f"Note: {warning.message}.", err=True)
    # It would be drawn into the answer.
    con.execute("SET enable_progress_bar = false")
    return con


def first_paragraph(error: duckdb.Error) -> str:
    """DuckDB's message without the drawing of where in the text it points."""
    return " ".join(str(error).split("\n\n")[0].split())


class Rows:
    """The rows of a result, a chunk at a time, at most so many."""

    def __init__(self, result: duckdb.DuckDBPyConnection, most: int | None) -> None:
        self._result = result
        self._most = most
        self.seen = 0

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        while self.seen != self._most and (rows := self._result.fetchmany(self._chunk())):
            self.seen += len(rows)
            yield from rows

    def _chunk(self) -> int:
        return _CHUNK if self._most is None else min(_CHUNK, self._most - self.seen)

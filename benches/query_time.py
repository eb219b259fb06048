"""How long DuckDB takes to say who touched a topic, over many events on disk."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from auditring import query, questions
from flood import flooded
from tables import Report, Target, table
from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from auditring.questions import Question

EVENTS = 50_000_000
_TOPICS = (
    "SELECT resource, count(*) AS events FROM events WHERE action IN ('Read', 'Write') "
    "GROUP BY resource ORDER BY events DESC"
)


def _timed(run: Callable[[], object], times: int) -> Spread:
    run()
    spent = []
    for _ in range(times):
        start = perf_counter()
        run()
        spent.append(perf_counter() - start)
    return Spread.of(spent)


def _ask(connection: duckdb.DuckDBPyConnection, question: Question) -> Callable[[], object]:
    return lambda: question.on(connection).fetchall()


def measure(*, events: int, times: int) -> list[tuple[str, Spread]]:
    """Floods a directory, counts what is in it, and asks."""
    with TemporaryDirectory() as folder:
        directory = Path(folder, "audit")
        flood = flooded(directory, events=events)
        found = [("`connect`", _timed(lambda: query.connect(directory).close(), times))]
        with query.connect(directory) as connection:
            topics = dict(connection.execute(_TOPICS).fetchall())
            assert sum(topics.values()) == flood.events, topics
            hot, cold = max(topics, key=topics.__getitem__), min(topics, key=topics.__getitem__)
            for name in (hot, cold):
                question = questions.who_touched(name)
                assert sum(row[6] for row in question.on(connection).fetchall()) == topics[name]
                share = topics[name] / flood.events
                found.append(
                    (f"`who-touched`, a topic of {share:.1%} of the events", _timed(_ask(connection, question), times))
                )
            offset = questions.who_touched_offset(hot, 3, 1_500_000)
            found.append(("`who-touched --partition --offset`", _timed(_ask(connection, offset), times)))
        return found


def report(*, quick: bool = False) -> Report:
    """The table."""
    events = EVENTS // 50 if quick else EVENTS
    found = measure(events=events, times=3 if quick else 9)
    slowest = max(spread.median for name, spread in found if name.startswith("`who-touched`,"))
    return Report(
        "query",
        f"{events:,} events on disk, in the page cache; median (quartiles) of the seconds.\n\n"
        + table(("question", "seconds"), [(name, spread.text(3)) for name, spread in found]),
        [Target(f"`who-touched` one topic of {events:,} events", slowest, 1, unit="s", digits=2)],
    )

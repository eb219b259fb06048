"""What the demo shows at its end: DuckDB's answers, the size of the files, and whether the counts agree."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

from rich.text import Text

from auditring.cli.output import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb
    from rich.console import Console


def answers(console: Console, connection: duckdb.DuckDBPyConnection, questions: Mapping[str, str]) -> None:
    """Prints each question, its SQL and what DuckDB says."""
    for question, sql in questions.items():
        console.print()
        console.print(Text(question, style="bold"))
        console.print(Text(indent(dedent(sql).strip(), "  "), style="dim"), soft_wrap=True)
        result = connection.execute(sql)
        write_table([str(column[0]) for column in result.description or ()], result.fetchall())


def files(directory: Path) -> Iterator[tuple[str, int]]:
    """The tables under `directory`, by path, with their size in bytes."""
    for path in sorted(directory.glob("events/**/*.parquet")):
        yield str(path.relative_to(directory)), path.stat().st_size


def sizes(console: Console, directory: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Prints the size of the files, and what that is per row."""
    found = list(files(directory))
    (rows,) = connection.execute("SELECT count(*) FROM events").fetchone() or (0,)
    console.print()
    for name, size in found:
        console.print(Text(f"{name}  {size:,} bytes"), soft_wrap=True)
    total = sum(size for _, size in found)
    console.print(f"{rows:,} rows in {total:,} bytes: {total / max(rows, 1):.1f} bytes a row", highlight=False)
    console.print()


def whole(connection: duckdb.DuckDBPyConnection, stats: dict[str, Any]) -> dict[str, bool]:
    """Whether the rows are all that the log says it has; `stats` are the last of a log that has closed."""
    counts = "count(*), count(DISTINCT seq), max(seq) - min(seq) + 1"
    rows, distinct, span = connection.execute(f"SELECT {counts} FROM events").fetchone() or (0, 0, 0)  # noqa: S608 - constants
    return {
        f"{rows:,} rows numbered without a gap": rows == distinct == span,
        f"{stats['journaled']:,} journaled, {rows:,} rows in the files": stats["journaled"] == rows,
        "the balance holds to the last event": stats["balanced"],
    }


def verdicts(console: Console, facts: Mapping[str, bool]) -> bool:
    """Prints facts that have been checked; returns whether all hold."""
    for fact, holds in facts.items():
        verdict(console, fact, holds=holds)
    return all(facts.values())


def verdict(console: Console, fact: str, *, holds: bool) -> None:
    """Prints a fact that has been checked."""
    mark = Text("✓ " if holds else "✗ ", style="bold green" if holds else "bold red")
    console.print(mark + Text(fact), soft_wrap=True)

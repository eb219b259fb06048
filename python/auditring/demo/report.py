"""What the demo shows at its end: DuckDB's answers, the size of the files, and whether the counts agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from auditring.cli.output import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb
    from rich.console import Console

ANSWERS = {
    "Who touched the salaries?": """
        SELECT principal, outcome, operation, count(DISTINCT resource) AS routes, count(*) AS requests
        FROM events WHERE resource LIKE '/v1/salaries%'
        GROUP BY ALL ORDER BY requests DESC, principal""",
    "What was denied?": """
        SELECT principal, status, operation, regexp_extract(resource, '^/v1/[a-z]+') AS route,
               count(*) AS requests, count(DISTINCT session) AS sessions
        FROM events WHERE outcome = 'denied' GROUP BY ALL ORDER BY requests DESC, principal, status, route""",
    "And who did how much?": """
        SELECT principal, count(DISTINCT session) AS sessions, count(*) AS requests,
               count(*) FILTER (outcome = 'denied') AS denied, count(*) FILTER (outcome = 'failure') AS failed,
               sum(bytes) AS bytes, round(quantile_cont(duration_ns, 0.95) / 1e6, 1) AS p95_ms
        FROM events WHERE action = 'HttpRequest' GROUP BY ALL ORDER BY requests DESC, principal""",
}


def answers(console: Console, connection: duckdb.DuckDBPyConnection) -> None:
    """Prints each question, its SQL and what DuckDB says."""
    for question, sql in ANSWERS.items():
        console.print()
        console.print(Text(question, style="bold"))
        console.print(Text(_dedented(sql), style="dim"), soft_wrap=True)
        result = connection.execute(sql)
        write_table([str(column[0]) for column in result.description or ()], result.fetchall())


def files(directory: Path) -> Iterator[tuple[str, int]]:
    """The tables under `directory`, by path, with their size in bytes."""
    for path in sorted(directory.glob("events/**/*.parquet")):
        yield str(path.relative_to(directory)), path.stat().st_size


def sizes(console: Console, directory: Path, rows: int) -> None:
    """Prints the size of the files, and what that is per row."""
    found = list(files(directory))
    console.print()
    for name, size in found:
        console.print(Text(f"{name}  {size:,} bytes"), soft_wrap=True)
    total = sum(size for _, size in found)
    console.print(f"{rows:,} rows in {total:,} bytes: {total / max(rows, 1):.1f} bytes a row", highlight=False)


def verdict(console: Console, fact: str, *, holds: bool) -> None:
    """Prints a fact that has been checked."""
    console.print(Text("✓ " if holds else "✗ ", style="bold green" if holds else "bold red") + Text(fact))


def _dedented(sql: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in sql.strip().splitlines())

"""Answers as a table to read, CSV to compute with, JSON to pass on, or Parquet to go on with.

Rows stream, but not into a table.

What must always hold: a file that was asked for appears when it is complete, and is never seen half-written.
"""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Literal

from auditring.cli.errors import Complaint
from auditring.cli.text import csv_cell, json_text, plain, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import duckdb
    from rich.console import Console

__all__ = ["FORMATS", "Format", "check", "opened", "write", "write_parquet"]

Format = Literal["table", "csv", "json", "parquet"]

FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")

_WIDE = 100_000
"""Columns that nothing needs to fit into, when no terminal is there to fit."""


def check(form: Format, target: Path | None) -> None:
    """Complain, before anything is asked, about a form that cannot be printed."""
    if form == "parquet" and target is None:
        raise Complaint("Parquet is not for the screen: say where with --output FILE")


@contextmanager
def opened(target: Path | None) -> Iterator[IO[str] | None]:
    """The file to write to, which gets its name at the end; `None` is standard output."""
    if target is None:
        yield None
        return
    with _beside(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_parquet(target: Path, answer: duckdb.DuckDBPyRelation) -> None:
    """Write an answer as one Parquet file, with the types that DuckDB gives it and the values as they are."""
    with _beside(target) as temporary:
        # What cannot be written is found here, or DuckDB would complain about a name that nobody has asked for.
        temporary.touch()
        temporary.unlink()
        answer.write_parquet(str(temporary), compression="zstd")


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A name in the same directory, which becomes the target's where all goes well; an error names the target."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if error.errno is None or str(error.filename) != str(temporary):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        # Where there is no directory there is nothing to remove, and nothing is to hide why.
        with suppress(OSError):
            temporary.unlink()


def write(
    form: Format,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    out: IO[str] | None = None,
    *,
    title: str | None = None,
) -> None:
    """Write an answer, to standard output where no file is given; `title` stands above a table alone."""
    if form == "csv":
        write_csv(columns, rows, out)
    elif form == "json":
        write_json(columns, rows, out)
    else:
        write_table(columns, rows, title, out)


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]], out: IO[str] | None = None) -> None:
    """Write CSV with a head, for programs and spreadsheets; on a terminal acting characters are shown."""
    out = out or sys.stdout
    safe = visible_cell if out.isatty() else csv_cell
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe(column) for column in columns])
    writer.writerows([safe(cell) for cell in row] for row in rows)


def visible_cell(value: object) -> object:
    """A CSV cell for a terminal."""
    cell = csv_cell(value)
    return visible(cell) if isinstance(cell, str) else cell


def write_json(columns: Sequence[str], rows: Iterable[Sequence[object]], out: IO[str] | None = None) -> None:
    """Write one array with an object a line, keys in the order of the columns."""
    out = out or sys.stdout
    before = "[\n"
    for row in rows:
        out.write(before + json_text(dict(zip(columns, row, strict=True))))
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, out: IO[str] | None = None
) -> None:
    """Write a table for people; a row that is too wide for the terminal becomes a block of its own."""
    from rich.console import Console

    console = Console(file=out, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=out, highlight=False, markup=False, emoji=False, width=_WIDE)
    cells = [[table_cell(cell) for cell in row] for row in rows]
    if title:
        console.print(title, style="bold")
    if not cells:
        console.print("No rows.", style="dim")
    elif console.is_terminal and _width(columns, cells) > console.width:
        _blocks(console, columns, cells)
    else:
        _grid(console, columns, cells)


def table_cell(value: object) -> tuple[str, bool]:
    """What a cell shows, and whether it is a number."""
    if value is None:
        return "", False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    shown = plain(value)
    return visible(shown if isinstance(shown, str) else json_text(shown)), number


def _width(columns: Sequence[str], cells: Sequence[Sequence[tuple[str, bool]]]) -> int:
    from rich.cells import cell_len

    widest = [max(cell_len(row[at][0]) for row in cells) for at in range(len(columns))]
    return sum(max(cell_len(column), width) + 2 for column, width in zip(columns, widest, strict=True))


def _grid(console: Console, columns: Sequence[str], cells: Sequence[Sequence[tuple[str, bool]]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    widths: list[int] = []
    for at, column in enumerate(columns):
        numeric = all(number or not text for text, number in (row[at] for row in cells))
        width = max(len(visible(column)), *(len(row[at][0]) for row in cells)) if numeric else 0
        widths.append(width)
        # Nothing is cut, and what is not cut is not justified either: numbers are padded here.
        table.add_column(Text(visible(column).rjust(width)), no_wrap=True, overflow="ignore")
    for row in cells:
        table.add_row(*(Text(text.rjust(width)) for (text, _), width in zip(row, widths, strict=True)))
    console.print(table)


def _blocks(console: Console, columns: Sequence[str], cells: Sequence[Sequence[tuple[str, bool]]]) -> None:
    from rich.text import Text

    margin = max(len(column) for column in columns)
    for number, row in enumerate(cells, start=1):
        console.print(f"── {number} ", style="dim")
        for column, (text, _) in zip(columns, row, strict=True):
            if text:
                console.print(Text.assemble((f"{visible(column):<{margin}}  ", "cyan"), text), soft_wrap=True)

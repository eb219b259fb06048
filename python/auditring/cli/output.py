"""Answers as a table to read, CSV to compute with, or JSON to pass on. Rows stream, except into a table."""

from __future__ import annotations

import csv
import sys
from typing import IO, TYPE_CHECKING, Literal

from auditring.cli.text import csv_cell, json_text, plain, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

__all__ = ["FORMATS", "Format", "write"]

Format = Literal["table", "csv", "json"]
Rows = "Iterable[Sequence[object]]"

FORMATS: tuple[Format, ...] = ("table", "csv", "json")

_WIDE = 100_000
"""Columns that nothing needs to fit into, when no terminal is there to fit."""


def write(form: Format, columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Write an answer to standard output; `title` stands above a table alone."""
    writers: dict[Format, Callable[[Sequence[str], Iterable[Sequence[object]]], None]] = {
        "csv": write_csv,
        "json": write_json,
    }
    if form == "table":
        write_table(columns, rows, title)
    else:
        writers[form](columns, rows)


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


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Write a table for people; a row that is too wide for the terminal becomes a block of its own."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_WIDE)
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
    for at, column in enumerate(columns):
        numeric = all(number or not text for text, number in (row[at] for row in cells))
        table.add_column(Text(visible(column)), justify="right" if numeric else "left", no_wrap=True, overflow="ignore")
    for row in cells:
        table.add_row(*(Text(text) for text, _ in row))
    console.print(table)


def _blocks(console: Console, columns: Sequence[str], cells: Sequence[Sequence[tuple[str, bool]]]) -> None:
    from rich.text import Text

    margin = max(len(column) for column in columns)
    for number, row in enumerate(cells, start=1):
        console.print(f"── {number} ", style="dim")
        for column, (text, _) in zip(columns, row, strict=True):
            if text:
                console.print(Text.assemble((f"{visible(column):<{margin}}  ", "cyan"), text), soft_wrap=True)

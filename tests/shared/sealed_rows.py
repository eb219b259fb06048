"""What tests read back: the rows of a log's sealed files, and its JSON lines."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

__all__ = ["lines_of", "rows_of", "whole_lines"]


def rows_of(root: Path, *actions: str) -> list[dict[str, Any]]:
    """The rows of these actions, or all, in order."""
    wanted = [("action", "in", list(actions))] if actions else None
    tables = [pq.read_table(path, filters=wanted) for path in root.glob("events/*/*.parquet")]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["seq"])


def lines_of(root: Path, folder: str = "jsonl") -> list[dict[str, Any]]:
    """Every line of the files in a folder of the directory, by seq."""
    lines = [json.loads(line) for path in root.glob(f"{folder}/*.jsonl") for line in whole_lines(path)]
    return sorted(lines, key=lambda line: line["seq"])


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; one whose end is not there yet is being written at this moment."""
    return path.read_bytes().rpartition(b"\n")[0].splitlines()

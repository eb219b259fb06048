"""What tests read back: the rows of a log's sealed files."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

__all__ = ["rows_of"]


def rows_of(root: Path, *actions: str) -> list[dict[str, Any]]:
    """The rows of these actions, or all, in order."""
    rows = [row for path in root.glob("events/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted((row for row in rows if not actions or row["action"] in actions), key=lambda row: row["seq"])

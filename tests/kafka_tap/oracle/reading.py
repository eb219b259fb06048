"""The rows of a log as the test compares them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from auditring.query import connect

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.rows import Row

COLUMNS = (
    "action, outcome, status, reason, authority, tap, principal, attempted_principal, mechanism, operation, "
    "resource_type, resource, partition, first_offset, last_offset, records, bytes, api, client_correlation_id, "
    "server_correlation_id, duration_ns, server, node_id, object_ref, context"
)


def rows(root: Path) -> dict[str, dict[int | None, list[Row]]]:
    """What the log holds, by session and the client's id of the request; what is null is left out."""
    found: dict[str, dict[int | None, list[Row]]] = {}
    with connect(root) as con:
        relation = con.sql(
            f"SELECT session, {COLUMNS} FROM events WHERE category NOT IN ('lifecycle', 'connection') "
            "AND action NOT LIKE 'auditring.%Balance' ORDER BY seq"
        )
        for values in relation.fetchall():
            row: Row = {name: value for name, value in zip(relation.columns, values, strict=True) if value is not None}
            for column in ("object_ref", "context"):
                if column in row:
                    row[column] = json.loads(row[column])
            assert (row.pop("server"), row.pop("node_id")) == ("10.0.0.5:9092", 5)
            if "duration_ns" in row:
                row["answered"] = row.pop("duration_ns") >= 0
            found.setdefault(row.pop("session"), {}).setdefault(row.get("client_correlation_id"), []).append(row)
    return found


def everything(root: Path) -> bytes:
    """All columns of all rows, as text."""
    with connect(root) as con:
        return json.dumps(con.sql("SELECT * FROM events").fetchall(), default=str, ensure_ascii=False).encode()

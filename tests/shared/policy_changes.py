"""Policies that are changed to and fro, and what of a log's rows shows which was in force."""

from typing import Any

from auditring import Keep, Policy, Rule

__all__ = ["NO_READS", "NO_WRITES", "PATIENCE", "kinds"]

PATIENCE = 60.0
NO_READS = Policy(rules=[Rule(action="Read", keep=Keep.OFF)])
NO_WRITES = Policy(rules=[Rule(action="Write", keep=Keep.OFF)])


def kinds(rows: list[dict[str, Any]], *actions: str) -> list[tuple[str, Any]]:
    """Which of these actions, and on what, in order."""
    return [(row["action"], row["resource"]) for row in rows if row["action"] in actions]

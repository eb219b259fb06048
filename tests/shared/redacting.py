"""What tests of redaction share: a key, fields hashed by it, and where a value is still to be seen."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auditring import Hash, Redact, _core, query
from auditring.cli.commands import auditring as command_line
from auditring.redaction import read_key

__all__ = ["KEY", "ON_DISK", "PATIENCE", "hash_of", "hashing", "leaks", "rows", "run"]

PATIENCE = 60.0
KEY = "0123456789abcdef0123456789abcdef"
ON_DISK = pytest.mark.skipif(not _core.in_memory("/dev/shm"), reason="a log that redacts needs tmpfs")  # noqa: S108 - where rings lie


def hashing(*fields: str, key: str = "env:AUDIT_KEY") -> tuple[Redact, ...]:
    """These fields hashed."""
    return tuple(Redact(field, Hash(key)) for field in fields)


def hash_of(value: str, field: str = "principal") -> str:
    """What stands for a value."""
    return read_key("env:AUDIT_KEY").hash(field, value)[0]


def rows(root: Path) -> list[dict[str, Any]]:
    """Every row, by column, in order."""
    with query.connect(root) as con:
        answer = con.sql("SELECT * FROM events ORDER BY seq")
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


def leaks(root: Path, secret: str) -> list[str]:
    """Where under a directory a text stands as it is."""
    files = [path for path in root.rglob("*") if path.is_file()]
    found = [str(path) for path in files if secret.encode() in path.read_bytes()]
    return found + [str(path) for path in files if secret in path.name]


def run(*arguments: str, standard_input: str | None = None) -> str:
    """What `auditring hash` says."""
    done = CliRunner().invoke(command_line, ["hash", *arguments], input=standard_input)
    assert done.exit_code == 0, done.output
    return done.output

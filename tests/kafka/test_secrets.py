"""After all the others: what was planted went through the proxies to the broker, and was kept by none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import auditring
from auditring import query
from harness import planted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def told(audit: Path) -> bytes:
    """All that DuckDB reads in an audit directory, of journal and compressed pages: every column of every row."""
    with query.connect(audit) as con:
        return "\n".join(row for (row,) in con.execute("SELECT events::VARCHAR FROM events").fetchall()).encode()


def files(folder: Path) -> Iterator[Path]:
    """All that the proxies wrote: audit directories with rings and journals, output, errors; not their settings."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "proxy.toml":
            yield path


@pytest.mark.usefixtures("broker")
def test_the_search_finds_what_is_there(folder: Path, users: str, tmp_path: Path) -> None:
    """Records in the broker's own log, passwords where they were given; and in a table, though its pages are packed."""
    with open(users, "rb") as given:  # noqa: PTH123 - the fixture is a string, as TOML wants it
        assert planted.found_in(given.read())
    assert any(planted.found_in(path.read_bytes()) for path in (folder / "broker" / "data").rglob("*.log"))
    with auditring.open(tmp_path / "audit") as log, log.session() as session:
        session.read(f"topic-{planted.key(0).decode()}", 0)
    assert planted.found_in(told(tmp_path / "audit"))


def test_nothing_planted_was_kept(folder: Path) -> None:
    """Passwords, tokens, salted passwords, keys and values of records: in no file, no table, no journal, no ring."""
    proxies = folder / "proxies"
    directories = sorted(proxies.glob("*/audit"))
    if len(directories) < 2:
        pytest.skip("the tests that plant something did not run")
    found = [(path, planted.found_in(path.read_bytes())) for path in files(proxies)]
    assert [(path, secrets) for path, secrets in found if secrets] == []
    for directory in directories:
        assert planted.found_in(told(directory)) == [], directory

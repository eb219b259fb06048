"""The questions of `docs/queries.md`: each runs in plain DuckDB over a real directory, and its answer is right."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "queries.md"
SECTION = re.compile(r"^## (\d+)\. .*?$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUESTIONS = {int(number): SQL.findall(text) for number, text in SECTION.findall(PAGE.read_text())}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's own program has run, beside the page's own sample of a broker's log."""
    folder = tmp_path_factory.mktemp("queries")
    shutil.copy(PAGE.parent / "broker-requests.log", folder)
    (program,) = PYTHON.findall(PAGE.read_text())
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=folder, check=True)
    return folder


def answers(folder: Path, number: int) -> list[list[dict[str, Any]]]:
    """The answers to a question: nothing but DuckDB, in the folder that the paths of the page begin at."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with duckdb.connect() as con:
            found = []
            for sql in QUESTIONS[number]:
                result = con.execute(sql)
                columns = [str(column[0]) for column in result.description or []]
                found.append([dict(zip(columns, row, strict=True)) for row in result.fetchall()])
            return found
    finally:
        os.chdir(before)


def answer(folder: Path, number: int, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of the first answer."""
    return [tuple(row[column] for column in columns) for row in answers(folder, number)[0]]


def test_there_are_twelve_questions_and_none_needs_anything_of_ours() -> None:
    """Each in the files alone."""
    assert list(QUESTIONS) == list(range(1, 13))
    for texts in QUESTIONS.values():
        assert texts
        assert all("'audit/events/**/*.parquet'" in text for text in texts)


def test_1_who_touched_a_topic(asked: Path) -> None:
    """Two principals, and one of them twice."""
    assert answer(asked, 1, "principal", "action", "events") == [("alice", "Read", 2), ("eve", "Read", 1)]


def test_2_who_held_this_record(asked: Path) -> None:
    """Ranges of any length, also one of which only the first offset is known."""
    held = answer(asked, 2, "principal", "first_offset", "last_offset")
    assert held == [("alice", 1000, 1099), ("eve", 1050, None)]


def test_3_what_was_refused(asked: Path) -> None:
    """With a code for machines and a reason for people."""
    refused = answer(asked, 3, "principal", "operation", "resource", "status", "reason")
    assert refused == [("eve", "READ", "salaries", "AuthorizationFailed", "no ACL allows it")]


def test_4_what_one_principal_did(asked: Path) -> None:
    """From the login on."""
    actions = ["ClientSaslAuthSuccess", "OperationDenied", "Read", "com.example.kms.KeyUsed", "ClientClose"]
    assert answer(asked, 4, "action") == [(action,) for action in actions]


def test_5_networks_with_failures(asked: Path) -> None:
    """The page's program may run across the border of two buckets."""
    rows = answer(asked, 5, "network", "failures", "denials", "names_tried")
    assert {network for network, *_ in rows} == {"10.6.6.0/24"}
    assert sum(failures or 0 for _, failures, *_ in rows) == 4
    assert sum(denials or 0 for *_, denials, _ in rows) == 1


def test_6_keys_used(asked: Path) -> None:
    """By each principal."""
    assert answer(asked, 6, "kek", "principal", "times") == [("kek-7", "alice", 1), ("kek-7", "eve", 1)]


def test_7_a_request_of_the_broker_finds_its_client(asked: Path) -> None:
    """A request of somebody else's connection stays without one."""
    found = answer(asked, 7, "api_key", "broker_ms", "principal", "resource", "first_offset", "node_id")
    assert found == [("FETCH", 500.91, None, None, None, None), ("FETCH", 1.62, "alice", "payments", 1100, 5)]


def test_8_who_guessed_and_got_in(asked: Path) -> None:
    """With the addresses that were used for it."""
    assert answer(asked, 8, "principal", "peer_ip", "failures", "tried_from") == [("eve", "10.6.6.7", 4, ["10.6.6.6"])]


def test_9_how_sessions_end(asked: Path) -> None:
    """Those that never logged in belong to nobody."""
    assert sorted(answer(asked, 9, "who", "sessions")) == [("alice", 1), ("eve", 1), ("nobody", 4)]


def test_10_how_much_was_read(asked: Path) -> None:
    """Exact where all was kept, and about right where it was sampled."""
    eu, us = answer(asked, 10, "instance", "topic", "rows", "events", "bytes")
    assert eu == ("proxy-eu-1", "payments", 3, 3, 162_901)
    assert us[:2] == ("proxy-us-1", "metrics")
    rows, events, size = us[2:]
    # 300 first reads with weight 1; of the 600 others those of about one session in a hundred, with weight 100.
    assert (events - 300) % 200 == 0
    assert rows == 300 + (events - 300) // 100
    assert size == events * 100


def test_11_nothing_is_missing(asked: Path) -> None:
    """Every number is accounted for, also where rows were sampled out."""
    summary, gaps = answers(asked, 11)
    assert [row["unaccounted_for"] for row in summary] == [0, 0]
    assert sorted(row["sampled_out"] > 0 for row in summary) == [False, True]
    assert gaps == []


def test_12_nothing_was_lost(asked: Path) -> None:
    """So there is no row."""
    assert answers(asked, 12) == [[]]

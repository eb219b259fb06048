"""`docs/guarantees.md`: each of its lines names a test, and the tests that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
NAMED = re.compile(r"`((?:tests|rust)/[\w/.-]+\.(?:py|rs))::(\w+)`")
LINE = re.compile(r"^\| (?!what happens)(?!---).*\|$", re.MULTILINE)


def lines() -> list[str]:
    """The lines of all tables behind the first heading that speaks of faults."""
    return LINE.findall(PAGE.read_text().partition("## By fault")[2])


@pytest.mark.parametrize("named", sorted(set(NAMED.findall(PAGE.read_text()))), ids="::".join)
def test_a_test_that_is_named_is_there(named: tuple[str, str]) -> None:
    """A function of that name in that file; what a torture does in each of its rounds stands in one, too."""
    path, test = named
    begins = r"^(?:async )?def" if path.endswith(".py") else r"^ *fn"
    assert re.search(rf"{begins} {test}\(", (ROOT / path).read_text(), re.MULTILINE), named


def test_every_line_names_a_test_or_says_why_there_is_none() -> None:
    """What nothing shows is no guarantee; a lost disk alone cannot be tested."""
    found = lines()
    assert len(found) > 40
    without = [line for line in found if not NAMED.search(line)]
    assert [line.split("|")[1].strip() for line in without] == ["the disk is lost"], without

"""Events counted by columns of their sessions: the sum over all values is what is counted without them."""

import gc
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import Keep
from auditring.exceptions import ConfigError
from auditring.metrics import DirectoryCollector
from deadlines import until
from scrapes import scraped, value

TWO = {"vc": "virtual_cluster", "door": "listener"}


def events(scrape: dict[Any, float], action: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The counts of an action by its further labels."""
    found = {}
    for (name, labels), n in scrape.items():
        if name == "auditring_events_total" and dict(labels)["action"] == action and n:
            found[tuple(pair for pair in labels if pair[0] not in {"action", "outcome"})] = n
    return found


def test_the_sum_over_scopes_is_the_whole(tmp_path: Path) -> None:
    """What has no scope, and what is off, stands under the empty value; past the limit all others are other."""
    with auditring.open(tmp_path, label_scopes=TWO, label_scope_limit=2, write=Keep.OFF) as log:
        doors: list[tuple[str | None, tuple[str, int] | None]] = [
            ("a", ("10.0.0.1", 1)),
            ("a", None),
            ("b", None),
            ("other", None),
            (None, None),
        ]
        for vc, door in doors:
            with log.session(virtual_cluster=vc, local=door) as session:
                session.read("t", 0, 0, 0)
                session.write("t", 0, 0, 0)
                session.broker("10.1.1.1:9092").read("t", 0, 0, 0)
        log.flush(30)
        gc.collect()
        for collector in (log.collector(), DirectoryCollector(tmp_path)):
            seen = scraped(collector)
            assert events(seen, "Read") == {
                (("door", "10.0.0.1:1"), ("vc", "a")): 2,
                (("vc", "a"),): 2,
                (("door", "other"), ("vc", "other")): 4,
                (): 2,
            }
            assert events(seen, "Write") == {(): 5}
            stats = log.stats()
            for (action, outcome), n in stats.actions.items():
                assert sum(events(seen, action).values()) >= n, (action, outcome)
            folded = sum(n for (*_, values), n in stats.scoped.items() if values is None)
            assert value(seen, "scope_folded_total") == folded > 0


def test_a_scope_is_what_the_session_says_when_it_happens(tmp_path: Path) -> None:
    """What is learnt late counts from then on; a server is that of the broker's connection alone."""
    with auditring.open(tmp_path, label_scopes={"to": "server"}) as log, log.session() as session:
        session.read("t", 0, 0, 0)
        session.broker("10.1.1.1:9092").read("t", 0, 0, 0)
        log.flush(30)
        assert events(scraped(log.collector()), "Read") == {(): 1, (("to", "10.1.1.1:9092"),): 1}


def test_scopes_outlive_segments_and_the_process(tmp_path: Path) -> None:
    """Each segment names contexts anew, and the totals know the names when the journal has gone."""
    with auditring.open(tmp_path, label_scopes=TWO, segment_age=0.001) as log, log.session(virtual_cluster="a") as one:
        for number in range(5):
            one.read("t", 0, number, number)
            log.flush(30)
    seen = scraped(DirectoryCollector(tmp_path))
    assert events(seen, "Read") == {(("vc", "a"),): 5}
    assert value(seen, "processes", state="gone") == 1


def test_logs_with_other_labels_add_up(tmp_path: Path) -> None:
    """A label that a process does not have is empty there, which for Prometheus is the same as none."""
    for scopes in (None, {"vc": "virtual_cluster"}, {"tenant": "virtual_cluster"}):
        with auditring.open(tmp_path, label_scopes=scopes) as log, log.session(virtual_cluster="a") as session:
            session.read("t", 0, 0, 0)
    seen = events(scraped(DirectoryCollector(tmp_path)), "Read")
    assert seen == {(): 1, (("vc", "a"),): 1, (("tenant", "a"),): 1}


@pytest.mark.parametrize(
    ("scopes", "limit", "said"),
    [
        ({"vc": "virtual_clutser"}, 100, "did you mean 'virtual_cluster'"),
        ({"who": "principal"}, 100, "unknown key 'principal'"),
        ({"action": "listener"}, 100, "events have it"),
        ({"instance": "listener"}, 100, "every target"),
        ({"__vc": "listener"}, 100, "no label"),
        ({"v-c": "listener"}, 100, "no label"),
        ({"a": "listener", "b": "listener"}, 100, "same column"),
        (["listener"], 100, "each with its column"),
        ({}, 0, "label_scope_limit"),
        ({}, True, "label_scope_limit"),
        ({}, 9000, "label_scope_limit"),
    ],
)
def test_a_mistake_is_an_error_before_anything_is_touched(tmp_path: Path, scopes: Any, limit: Any, said: str) -> None:  # noqa: ANN401 - mistakes of any type
    """Columns that clients could fill at will are none to count by."""
    with pytest.raises(ConfigError, match=said):
        auditring.open(tmp_path / "audit", label_scopes=scopes, label_scope_limit=limit)
    assert not (tmp_path / "audit").exists()


def test_names_of_scopes_that_are_taken_away_are_put_back(tmp_path: Path) -> None:
    """Or rows would count once more, without their scope."""
    with auditring.open(tmp_path, label_scopes={"vc": "virtual_cluster"}) as log:
        with log.session(virtual_cluster="a") as session:
            session.read("t", 0, 0, 0)
        log.flush(30)
        (file,) = tmp_path.glob("journal/*/scopes")
        file.unlink()
        until(file.exists)
        with log.session(virtual_cluster="b") as session:
            session.read("t", 0, 0, 0)
        log.flush(30)
        assert events(scraped(DirectoryCollector(tmp_path)), "Read") == {(("vc", "a"),): 1, (("vc", "b"),): 1}
        assert "scopes was deleted, and put back" in str(log.health())

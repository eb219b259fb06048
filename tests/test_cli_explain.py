"""`auditring explain`: which rule decides, and why none before it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditring.cli.commands import auditring as command_line
from policies import METRICS


def explain(path: Path, *arguments: str) -> str:
    """What the command says."""
    done = CliRunner().invoke(command_line, ["explain", "--policy", str(path), *arguments])
    assert done.exit_code in {0, 2}, done.output
    return done.output


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A policy in a file."""
    path = tmp_path / "policy.toml"
    path.write_text(METRICS)
    return path


def test_explain_says_which_rule_decides_and_why_none_before_it(toml: Path) -> None:
    """A line for each rule that was asked, and what becomes of the event."""
    off = explain(toml, "--action", "Read", "--resource", "metrics.cpu", "--principal", "svc-a")
    assert "rule 1  YES" in off
    assert "It is left out: rule 1 of the log's policy says so. Counted as filtered." in off
    sampled = explain(toml, "--action", "Read", "--resource", "orders", "--principal", "svc-a", "--peer", "10.1.2.3")
    assert "rule 1  no   resource is not metrics.* or heartbeat" in sampled
    assert "rule 2  YES" in sampled
    assert "kept with weight 100, or sampled out, all of one session together" in sampled
    elsewhere = explain(toml, "--action", "Read", "--principal", "svc-a", "--peer", "192.168.0.1")
    assert "rule 2  no   peer is not 10.0.0.0/8 or 2001:db8::/32" in elsewhere
    assert "It is kept, with weight 1: no rule says otherwise." in elsewhere


def test_explain_tells_what_is_redacted_and_meets_exact_values_of_it(tmp_path: Path) -> None:
    """No key is needed for it, and none is read."""
    path = tmp_path / "redacting.toml"
    path.write_text(
        "[[rule]]\naction = 'Read'\nprincipal = 'noisy'\nkeep = 'off'\n"
        "[[redact]]\nfield = 'principal'\nhow = 'hash'\nkey = 'env:NO_SUCH_KEY'\n"
    )
    told = explain(path, "--action", "Read", "--principal", "noisy")
    assert "Redacted before it is journaled: principal (hash)." in told
    assert "It is left out: rule 1" in told


def test_explain_tells_of_protection_of_requests_and_of_what_the_call_refuses(tmp_path: Path) -> None:
    """Why a wide rule does not apply; and that an action that is off is refused before it costs anything."""
    path = tmp_path / "wide.toml"
    path.write_text("[[rule]]\nkeep = 'off'\n")
    assert "kept, with weight 1: denials are always kept" in explain(path, "--action", "OperationDenied")
    assert "failures are always kept" in explain(path, "--action", "Read", "--status")
    assert "requests are off unless a rule keeps them. The emit call itself" in explain(
        path, "--action", "RequestIngress"
    )
    assert "The emit call itself refuses it, counted as off." in explain(path, "--action", "Write")
    own = tmp_path / "own.toml"
    own.write_text("[[rule]]\naction = 'ClientAccept'\nkeep = 'sample'\none_in = 9\nby = 'event'\n")
    path.write_text("[[rule]]\naction = 'Read'\nkeep = 'off'\n")
    both = explain(path, "--sink-policy", str(own), "--action", "ClientAccept")
    assert "weight 9, or sampled out, each event for itself: rule 1 of the sink's policy says so" in both
    said = json.loads(explain(path, "--sink-policy", str(own), "--action", "Read", "--json"))
    assert (said["decides"], said["keep"], said["policies"]["log"]["refused"]) == ("log", "off", True)


def test_explain_tells_of_windows(tmp_path: Path) -> None:
    """What is merged with what, for how long, and why a wide rule does not apply to what cannot be."""
    path = tmp_path / "merging.toml"
    path.write_text(
        "[[rule]]\nkeep = 'coalesce'\nwindow = '500ms'\n[[rule]]\nkeep = 'first'\nwindow = 1\nby = 'resource'\n"
    )
    assert "It is one row with those of the next 0.5 s whose offsets follow it: rule 1" in explain(
        path, "--action", "Read", "--resource", "orders"
    )
    other = explain(path, "--action", "OperationAllowed", "--resource", "orders")
    assert "rule 1  no   only Read and Write are coalesced" in other
    assert "the first of its action and outcome and resource in 1 s, else one row with all others: rule 2" in other
    assert "denials are always kept" in explain(path, "--action", "OperationDenied")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--action", "Raed"), 'there is no action "Raed"'),
        (("--action", "Read", "--outcome", "fine"), 'there is no outcome "fine"'),
        (("--action", "Read", "--peer", "here"), "which is no address"),
    ],
)
def test_explain_complains_about_what_cannot_be(toml: Path, arguments: tuple[str, ...], says: str) -> None:
    """In one line, with status 2."""
    assert says in explain(toml, *arguments)


def test_explain_complains_about_a_policy_that_cannot_be(tmp_path: Path) -> None:
    """It names the file, the rule, and what was probably meant."""
    path = tmp_path / "policy.toml"
    assert "No such file" in explain(path, "--action", "Read")
    path.write_text("[[rule]]\nacton = 'Read'\nkeep = 'off'\n")
    assert "policy.toml: rule 1: Rule: unknown key 'acton'; did you mean 'action'?" in explain(path, "--action", "Read")

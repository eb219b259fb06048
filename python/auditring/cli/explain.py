"""`auditring explain`: which rule of a policy decides about an event, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditring.cli.asked import time_of
from auditring.cli.errors import Complaint
from auditring.cli.text import json_text, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from auditring.policy import Policy, Rule

__all__ = ["command"]

_PATH = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    ("--category", "CATEGORY", "Its category; the catalog's, or plugin for an event of your own."),
    ("--outcome", "OUTCOME", "How it ended: success, failure, denied, allowed or forwarded; the catalog's default."),
    ("--authority", "WORD", "decision or witness; the catalog's default."),
    ("--origin", "WORD", "client, filter or proxy."),
    ("--filter", "NAME", "Which filter."),
    ("--tap", "NAME", "Where in the chain."),
    ("--resource", "NAME", "What was touched; of data the topic."),
    ("--virtual-cluster", "NAME", "The virtual cluster."),
    ("--peer", "ADDRESS", "The client's address."),
)


def _event(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each thing that a rule may ask an event for."""
    for name, metavar, text in reversed(_OPTIONS):
        function = click.option(name, metavar=metavar, help=text)(function)
    return function


@click.command("explain")
@click.option("--policy", "path", metavar="FILE", type=_PATH, required=True, help="The log's policy, as TOML.")
@click.option("--sink-policy", "own", metavar="FILE", type=_PATH, help="A sink's own policy, as TOML.")
@click.option("--action", metavar="NAME", help="What happened: Read, OperationAllowed, com.example.Own.")
@_event
@click.option("--principal", "principals", metavar="NAME", multiple=True, help="Who: a user's name, or Type:name.")
@click.option("--status", is_flag=True, help="The call carries a status: it failed, unless --outcome says denied.")
@click.option(
    "--against",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Instead of one event: everything that is recorded there, rule by rule.",
)
@click.option("--since", metavar="TIME", callback=time_of, help="With --against: only what happened from then on.")
@click.option("--json", "as_json", is_flag=True, help="One object, for scripts.")
def command(
    path: Path,
    own: Path | None,
    against: Path | None,
    since: datetime | None,
    *,
    as_json: bool,
    principals: tuple[str, ...],
    **event: Any,  # noqa: ANN401 - words and a flag, as the options say
) -> None:
    """Which rule decides about an event, why none before it does, and what becomes of the event.

    \b
    Would a metrics scraper's reads be rows?
      auditring explain --policy policy.toml --action Read --resource metrics.cpu --principal svc-a
    And in a sink that keeps less?
      auditring explain --policy policy.toml --sink-policy kafka.toml --action Read --resource orders
    Is a denial ever left out?
      auditring explain --policy policy.toml --action OperationDenied --resource orders
    What would a new policy have made of the last week?
      auditring explain --policy new.toml --against audit/ --since 7d

    The first rule that matches decides. What is not said is not there, and a rule that names it does not match. Nothing
    is opened but the files. docs/policy.md says what rules can say.
    """
    given = [name for name, value in {**event, "principal": principals}.items() if value]
    if against is not None and given:
        raise Complaint(f"--{given[0].replace('_', '-')} is of one event, and --against of all that are recorded")
    if against is None and (event["action"] is None or since is not None):
        raise Complaint("say which event with --action, or --against DIR for all that are recorded")
    read = {whose: policy_in(file) for whose, file in (("log", path), ("sink", own)) if file is not None}
    if against is not None:
        replayed(against, read, since, as_json=as_json)
        return
    asked = {**event, "principals": [one if ":" in one else f"User:{one}" for one in principals]}
    said = [(whose, policy, explained(policy, asked)) for whose, policy in read.items()]
    log = said[0][2]
    whose, _, decisive = said[-1] if log["keep"] != "off" and said[-1][2]["rule"] is not None else said[0]
    if as_json:
        policies = {name: answer for name, _, answer in said}
        click.echo(json_text({"decides": whose, "keep": decisive["keep"], "policies": policies}))
        return
    click.echo(heading(asked, log))
    for line in redactions(said[0][1]):
        click.echo(line)
    for name, policy, answer in said:
        click.echo(f"\nThe {name}'s policy:")
        for line in reasons(policy, answer, last=name == said[-1][0]):
            click.echo(line)
    click.echo(f"\n{verdict(decisive, whose)}")


def policy_in(file: Path) -> Policy:
    """The policy in a file."""
    from auditring.exceptions import ConfigError
    from auditring.policy import Policy

    try:
        return Policy.from_toml(file)
    except (ConfigError, OSError) as error:
        raise Complaint(f"{file}: {error.strerror if isinstance(error, OSError) else error}") from error


def replayed(directory: Path, policies: dict[str, Policy], since: datetime | None, *, as_json: bool) -> None:
    """What the policies would make of everything that is recorded."""
    import warnings

    try:
        from auditring.cli import against
        from auditring.query import QueryWarning
    except ImportError as error:
        raise Complaint(str(error)) from error
    from auditring.exceptions import AuditError

    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", QueryWarning)
            found = against.replay(directory, policies["log"], policies.get("sink"), since)
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    for warning in warned:
        click.echo(f"Note: {warning.message}", err=True)
    if as_json:
        click.echo(json_text(against.as_json(found, policies)))
    else:
        against.show(found, policies)


def explained(policy: Policy, event: Mapping[str, object]) -> dict[str, Any]:
    """What the core says of an event."""
    from auditring import _core

    try:
        return _core.explain(policy.journaled(seed=0), event)
    except ValueError as error:
        raise Complaint(str(error)) from error


def heading(event: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    """The event, with what the catalog says of it."""
    facts = {**event, **{name: taken[name] for name in ("category", "outcome", "authority", "origin")}}
    facts["principal"] = ", ".join(facts.pop("principals"))
    action = facts.pop("action")
    facts["status"] = "given" if facts["status"] else None
    return visible(f"{action}: " + ", ".join(f"{name} {value}" for name, value in facts.items() if value))


def redactions(policy: Policy) -> Iterator[str]:
    """What is done to values before any rule is asked; an exact value is met all the same."""
    if policy.redact:
        told = ", ".join(f"{one.field} ({one.how.form()['how']})" for one in policy.redact)
        yield visible(f"Redacted before it is journaled: {told}. Rules and rows have what is left.")


def reasons(policy: Policy, answer: Mapping[str, Any], *, last: bool) -> Iterator[str]:
    """A line for each rule up to the one that decides."""
    for number, (kind, text) in enumerate(answer["rules"], start=1):
        rule = policy.rules[number - 1]
        yield visible(f"  rule {number}  no   {_why(rule, kind, text):<34}  {rule!r}")
    if answer["rule"] is not None:
        rule = policy.rules[answer["rule"]]
        yield visible(f"  rule {answer['rule'] + 1}  YES  {'every condition is met':<34}  {rule!r}")
    elif not policy.rules:
        yield "  there is no rule"
    else:
        yield "  no rule matches" + ("" if last else "; the next policy is asked")


def _why(rule: Rule, kind: str, text: str) -> str:
    if kind == "protected":
        return text
    if kind == "request":
        return "it names neither action nor category, which requests need"
    if kind == "apart":
        return "only Read and Write are coalesced"
    wanted = getattr(rule, text)
    return f"{text} is not {' or '.join(wanted)}"


def seconds(answer: Mapping[str, Any]) -> str:
    """A window, as it was written."""
    return f"{answer['window_ns'] / 1e9:g} s"


def verdict(answer: Mapping[str, Any], whose: str) -> str:
    """What becomes of the event, in one or two sentences."""
    rule = f"rule {answer['rule'] + 1} of the {whose}'s policy" if answer["rule"] is not None else "no rule"
    match answer["keep"]:
        case "all":
            because = answer["protected"] or f"{rule} says so"
            if answer["rule"] is None and answer["protected"] is None:
                because = "no rule says otherwise"
            return f"It is kept, with weight 1: {because}."
        case "off":
            because = f"{rule} says so" if answer["rule"] is not None else "requests are off unless a rule keeps them"
            # A sink's policy is never asked by the call.
            refused = whose == "log" and answer["refused"]
            where = "The emit call itself refuses it, counted as off" if refused else "Counted as filtered"
            return f"It is left out: {because}. {where}."
        case "coalesce":
            return (
                f"It is one row with those of the next {seconds(answer)} whose offsets follow it: {rule} says so. "
                "A session's first Read and first Write on a resource are rows of their own, as is what has no offsets."
            )
        case "first":
            kind = " and ".join(["action", "outcome", *answer["by"]])
            return (
                f"It is kept where it is the first of its {kind} in {seconds(answer)}, else one row with all others: "
                f"{rule} says so. A session's first Read and first Write on a resource are rows of their own."
            )
    story = ", ".join(answer["by"])
    what = f"all of one {' and '.join(answer['by'])} together" if story else "each event for itself"
    return (
        f"It is kept with weight {answer['one_in']}, or sampled out, {what}: {rule} says so. "
        "A session's first Read and first Write on a resource are kept with weight 1."
    )

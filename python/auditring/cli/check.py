"""`auditring check FILE`: what a deployment's configuration says, whether it could work, and what would happen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditring.cli.errors import Complaint
from auditring.cli.text import json_text, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditring.checking import Finding, Report
    from auditring.checking.kept import Kind

__all__ = ["command"]

_MARKS = {"ok": "ok   ", "note": "NOTE ", "wrong": "WRONG"}
_WIDTH = 100
_KEPT = "kept"


@click.command("check")
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--no-probe", is_flag=True, help="Ask no sink whether it can be written to.")
@click.option("--json", "as_json", is_flag=True, help="One object, for scripts.")
def command(file: Path | None, *, no_probe: bool, as_json: bool) -> None:
    """What a configuration says, whether it could work here, and what would happen if something went wrong.

    \b
    auditring check auditring.toml               before a proxy is started with it
    auditring check auditring.toml --no-probe    in a place from where the sinks cannot be reached
    auditring check auditring.toml --json        for scripts

    Without FILE it is the one that AUDITRING_CONFIG names, else what the environment says alone. Each sink is asked for
    real, secrets are read and never shown, and nothing is changed. Run it as the user that the proxy runs as. Ends
    with 0 where all is well, with 1 where something is wrong here and now, and with 2 where this is no configuration.
    """
    from auditring.checking import check
    from auditring.exceptions import AuditError, DeploymentError

    try:
        report = check(file, probe=not no_probe)
    except DeploymentError as error:
        if as_json:
            click.echo(json_text({"well": False, "mistakes": list(error.mistakes)}))
            sys.exit(2)
        raise Complaint(visible_lines(str(error))) from error
    except (AuditError, OSError) as error:
        if as_json:
            click.echo(json_text({"well": False, "mistakes": [str(error)]}))
            sys.exit(2)
        raise Complaint(visible_lines(str(error))) from error
    if as_json:
        click.echo(json_text(as_object(report)))
    else:
        for line in lines(report):
            click.echo(line)
    sys.exit(0 if report.well else 1)


def visible_lines(text: str) -> str:
    """A text of several lines, safe to look at."""
    return "\n".join(map(visible, text.split("\n")))


def lines(report: Report) -> Iterator[str]:
    """The report, for people."""
    deployment = report.deployment
    yield visible(f"{deployment.path or 'The environment'}: audit directory {deployment.root}")
    yield "\nWhat is said, and where"
    for key, value, origin in said(report):
        yield visible(f"  {key:<28} {value:<32} {origin}".rstrip())
    for sink in report.sinks:
        words = ["required" if sink.required else "not required", f"run by the {sink.by}"]
        yield ""
        yield visible(f"Sink {sink.name} ({sink.kind}; {', '.join(words)}) has")
        yield from kept(sink.kept)
    yield "\nWhat was found"
    for finding in report.findings:
        yield visible(f"  {_MARKS[finding.level]}  {finding.what}: {finding.text}")
    yield "\nWhat would happen"
    for when, then in report.consequences:
        yield visible(f"  If {when}: {then}.")
    if report.digest is not None:
        yield f"\nProxyStartup will have configurationDigest {report.digest}."
    wrong = sum(finding.level == "wrong" for finding in report.findings)
    yield f"\n{'All is well.' if not wrong else f'{wrong} thing(s) are wrong.'}"


def said(report: Report) -> Iterator[tuple[str, str, str]]:
    """Each key with its value and where it comes from, the sinks' too; references are shown, secrets are not."""
    from auditring.deployment.keys import KEYS

    deployment = report.deployment
    for name, key in KEYS.items():
        if name in deployment.settings:
            setting = deployment.settings[name]
            yield name, _shown(setting.value), setting.origin
        elif key.default and not name.startswith(("agent.", "metrics.")):
            yield name, key.default.replace("`", "").replace('"', ""), "default"
    for one in deployment.configured or ():
        for name, setting in one.settings.items():
            yield f"sink {one.sink.name}: {name}", _shown(setting.value), setting.origin


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    text = json_text(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def kept(kinds: Iterable[Kind]) -> Iterator[str]:
    """What a sink has, a line for all that fare alike."""
    from auditring.checking.kept import said as words

    groups: dict[str, dict[str, list[str]]] = {}
    unless: dict[str, list[str]] = {}
    for kind in kinds:
        groups.setdefault(words(kind), {}).setdefault(kind.action, []).append(kind.outcome)
        for rule in kind.unless:
            unless.setdefault(rule, []).append(kind.action)
    for verdict, actions in groups.items():
        if verdict == _KEPT:
            continue
        yield f"  {verdict}:"
        yield from _wrapped([f"{action} ({', '.join(outcomes)})" for action, outcomes in actions.items()])
    whole = sum(len(outcomes) for outcomes in groups.get(_KEPT, {}).values())
    yield f"  {_KEPT}: {'all others' if len(groups) > 1 else 'everything'}, {whole} kinds of events"
    for rule, names in unless.items():
        yield visible(f"  but for {', '.join(dict.fromkeys(names))}: {rule}")


def _wrapped(words: list[str]) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(", ".join(words), _WIDTH, initial_indent="    ", subsequent_indent="    ")


def as_object(report: Report) -> dict[str, Any]:
    """The report, for scripts."""
    import dataclasses

    deployment = report.deployment
    return {
        "well": report.well,
        "file": None if deployment.path is None else str(deployment.path),
        "sha256": deployment.sha256,
        "configuration_digest": report.digest,
        "directory": str(deployment.root),
        "settings": [{"key": key, "value": value, "origin": origin} for key, value, origin in said(report)],
        "sinks": [dataclasses.asdict(sink) for sink in report.sinks],
        "findings": [_finding(one) for one in report.findings],
        "consequences": [{"when": when, "then": then} for when, then in report.consequences],
        "waiting": dataclasses.asdict(report.waiting),
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {"level": finding.level, "what": finding.what, "text": finding.text}

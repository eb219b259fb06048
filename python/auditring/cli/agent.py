"""`auditring agent DIR`: the sinks of every process of a directory, in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from auditring.redaction import RedactionKey
    from auditring.sinks.base import Sink

__all__ = ["command"]


@click.command("agent")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The proxies' auditring.toml: the directory, and those of its sinks that [agent] names.",
)
@click.option(
    "--sink",
    "kinds",
    metavar="KIND",
    multiple=True,
    help="A sink by its kind, with its own defaults: parquet, jsonl, … Once for each; by default parquet.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve the metrics of all processes there, as `auditring metrics` does; 127.0.0.1:9464 is this machine alone.",
)
@click.option(
    "--key",
    "keys",
    metavar="REF",
    multiple=True,
    help="Where the key is by which proxies hash values, env:NAME or file:/path: for those that die. Once for each.",
)
@click.option("--once", is_flag=True, help="Bring all that is there now to the sinks, and end.")
@click.option("--quiet", is_flag=True, help="Say nothing but what is wrong.")
def command(
    directory: Path | None,
    config: Path | None,
    kinds: tuple[str, ...],
    listen: str | None,
    keys: tuple[str, ...],
    *,
    once: bool,
    quiet: bool,
) -> None:
    """Drive the sinks of every process of DIR on this host, so that the processes themselves need not.

    \b
    auditring.open("audit/", sinks=(), agent_sinks=("parquet", "jsonl"))    in each proxy
    auditring agent audit/ --sink parquet --sink jsonl                     beside them
    auditring agent --config auditring.toml                                the same, configured

    A proxy that is opened so pays for ring and journal alone. Its journal is kept for the sinks of agent_sinks from
    the first event on, whether or not an agent runs; without agent_sinks= it is kept from when the agent first sees
    it, and until then up to the journal's budget. New processes are followed within a second. Those that die are
    recovered, and their journals removed when every sink has all of it. What a proxy drives itself is left to it; and a
    sink changes hands while both run: log.release_sink("parquet"), log.attach_sink(ParquetSink()).

    Run it as the user that the proxies run as. It may be stopped (SIGTERM: every sink commits what it has) or killed at
    any moment, and loses nothing: the next one goes on at the cursors. A second agent on DIR waits, and takes over.
    Under systemd use deploy/systemd/auditring-agent.service, in containers see deploy/container/.

    The status is 0 if all that was taken is safe, 1 if a sink could not commit (with --once: if anything is left that
    could not be brought to a sink), 2 if DIR cannot be an audit directory. What was not brought to a sink waits in the
    journal.
    """
    from auditring.agent import Agent
    from auditring.exceptions import AuditError
    from auditring.redaction import read_key

    logging.basicConfig(
        stream=sys.stderr, format="%(levelname)s %(message)s", level=logging.WARNING if quiet else logging.INFO
    )
    try:
        read = [read_key(key) for key in keys]
        if config is None:
            if directory is None:
                raise Complaint("which directory? give DIR, or --config FILE")
            root, chosen = directory, _sinks(kinds or ("parquet",))
        else:
            if directory is not None or kinds:
                raise Complaint("--config says which directory and which sinks: leave DIR and --sink out")
            root, chosen, key, said = _configured(config)
            read += [] if key is None else [key]
            listen = listen or said
        agent = Agent(root.absolute(), chosen, keys=read, listen=listen)
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    try:
        done = agent.run(once=once)
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    sys.stdout.flush()
    sys.stderr.flush()
    if not done:
        # A sink may be in a call that never comes back; its thread must not keep the process.
        os._exit(1)


def _sinks(kinds: tuple[str, ...]) -> list[Sink]:
    """The sinks of these kinds, each with its own defaults."""
    from auditring.sinks.registry import load

    if len(set(kinds)) < len(kinds):
        raise Complaint("a sink is named twice; one of a kind is all that an agent has by --sink")
    made: list[Sink] = []
    for kind in kinds:
        try:
            made.append(load(kind)())
        except TypeError as error:
            raise Complaint(
                f"a sink of kind {kind!r} cannot be had by its kind alone ({error}): say what it needs in a file, and "
                "give that with --config"
            ) from error
    return made


def _configured(path: Path) -> tuple[Path, list[Sink], RedactionKey | None, str | None]:
    """What a deployment leaves to its agent: directory, sinks, the key by which its proxies hash, where it listens."""
    from auditring.deployment import load
    from auditring.redaction import read_key, reference

    deployment = load(path)
    chosen = list(deployment.agent_sinks)
    if not chosen:
        raise Complaint(f"{path} leaves no sink to an agent: say which in its table [agent], sinks = true")
    policy = deployment.log.get("policy")
    where = None if policy is None else reference(policy.redact)
    return deployment.root, chosen, None if where is None else read_key(where), deployment.agent.listen

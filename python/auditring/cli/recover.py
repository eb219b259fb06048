"""`auditring recover DIR`: what processes that died had accepted becomes rows, without a proxy that is started anew."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditring.cli.errors import Complaint

if TYPE_CHECKING:
    from auditring.recovery import Recovered

__all__ = ["command"]


@click.command("recover")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    metavar="REF",
    multiple=True,
    help="Where the key is by which values are hashed, env:NAME or file:/path. Once for each that was in force.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a process, one a line.")
def command(directory: Path, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Recover every process of DIR that has died: killed, crashed, or gone with its machine.

    \b
    auditring recover audit/                     then `auditring verify audit/`
    auditring recover audit/ --json | jq .salvage
    auditring recover audit/ --key env:AUDIT_KEY         where the policy hashes

    `auditring.open` does the same for its directory; this is for one that no proxy will open soon. Run it as the user
    that the proxy runs as. A process that lives is left alone, and two that recover at once do not disturb each other.

    Every event that a call had returned for was in the dead process's ring, and becomes a row. The last row of its
    journal says what was found (auditring.Recovered); what is gone is told by rows before it (auditring.EventsLost).
    Parquet files and JSON lines are brought to the end; rows of other sinks wait in the journal for a proxy with them.

    What a policy hashes stands in the ring as it was. Without the key of the proxy that died such values are left out
    of its last rows, for good; so give it with --key.

    The status is 0 if everything is recovered, 1 if something could not be, or a sink is still behind, 2 if DIR is no
    audit directory.
    """
    from auditring.exceptions import AuditError
    from auditring.recovery import recover
    from auditring.redaction import read_key

    try:
        read = [read_key(key) for key in keys]
        results = recover(directory, keys=read, done=_as_json if as_json else _as_text)
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    if not results and not as_json:
        click.echo("Nobody to recover: every process here lives, or ended as it should.")
    sys.exit(any(result.failed is not None or result.behind for result in results))


def _as_json(result: Recovered) -> None:
    click.echo(json.dumps(dataclasses.asdict(result)))


def _as_text(result: Recovered) -> None:
    who = f" ({result.instance} on {result.host})" if result.instance else ""
    click.echo(f"{result.process}{who}")
    found = result.salvage
    if found is not None:
        ring = "there is no ring left to be trusted" if found.ring_gone else f"{found.rows:,} events out of its ring"
        click.echo(f"  {ring}; {found.torn:,} calls had not returned")
        for name, count in (
            ("could not be read", found.unreadable),
            ("were in a part of the journal that is gone", found.journal_gone),
            ("had been dropped for want of room", found.dropped),
        ):
            if count:
                click.echo(f"  {count:,} {name}")
        if found.unhashed:
            click.echo(
                f"  {found.unhashed:,} of its rows lack what the policy hashes, for good: its key was not given (--key)"
            )
    elif result.instance:
        click.echo("  its journal had ended" + ("; only sinks were behind" if result.followed else ""))
    if result.failed is not None:
        click.echo(f"  failed: {result.failed}")
    if result.behind:
        click.echo(f"  still behind: {', '.join(result.behind)}; the rows wait in its journal")
    elif not result.followed:
        click.echo("  it had no sinks; its journal stays, and `auditring query` reads it there")
    elif result.failed is None:
        click.echo("  all of it is in its sinks")

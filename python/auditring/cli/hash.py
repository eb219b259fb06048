"""`auditring hash`: what stands in the log for a value that was hashed, and where."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path

import click

from auditring.cli.asked import Asked, bounded
from auditring.cli.errors import Complaint

__all__ = ["command"]


class _Finder(click.Command):
    """A command whose options say how an answer looks, which they tell to what is asked."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Have something to tell it to before the first option is read."""
        ctx.obj = Asked(Path(), include_fresh=True)
        return super().parse_args(ctx, args)


@click.command("hash", cls=_Finder, no_args_is_help=True)
@click.argument("value")
@click.option(
    "--key",
    "keys",
    metavar="REF",
    multiple=True,
    required=True,
    help="Where the key is, env:NAME or file:/path. Once for each key that was in force, to find a value under all.",
)
@click.option(
    "--field",
    metavar="FIELD",
    help="What the value is: peer, principal, client_id, resource, reason, context.<key> or object_ref.<key>. By "
    "default a peer where it is an address, else a principal.",
)
@click.option("--in", "directory", metavar="DIR", type=click.Path(path_type=Path), help="Find it there.")
@click.option("--sql", "as_sql", is_flag=True, help="Give the SQL that finds it in the view events.")
@bounded
@click.pass_obj
def command(
    asked: Asked, value: str, keys: tuple[str, ...], field: str | None, directory: Path | None, *, as_sql: bool
) -> None:
    """What stands in the log for VALUE where the policy hashes it; - reads VALUE from standard input.

    \b
    What is alice called in the log, and what did she do?
      auditring hash alice --key env:AUDIT_KEY
      auditring hash alice --key env:AUDIT_KEY --in audit/ --since 2h
    The key was changed in May; ask for both:
      auditring hash alice --key file:/run/secrets/audit.key --key file:/run/secrets/audit.old.key --in audit/
    An address, in whatever way it is written, and one of a topic, without a trace in the shell's history:
      auditring hash ::ffff:10.0.0.7 --key env:AUDIT_KEY
      auditring hash - --field resource --key env:AUDIT_KEY < name.txt
    The statement, to go on with it in a query of your own:
      auditring hash alice --key env:AUDIT_KEY --sql

    A hash is hmac_<key id>_<32 digits>: the first half of HMAC-SHA-256 in hexadecimal, which other tools make too:
    printf %s alice | openssl dgst -sha256 -hmac "$AUDIT_KEY". docs/redaction.md has the rest.
    """
    if value == "-":
        value = sys.stdin.read().removesuffix("\n")
    if as_sql and directory is not None:
        raise click.UsageError("--sql gives a statement, --in the rows that it finds; ask for one of them.")
    hashes = [one for key in keys for one in hashed(field or _guessed(value), value, key)]
    # A `Type:name` has a hash of its name, which is found wherever it stands.
    names = [one.rpartition(":")[2] for one in hashes]
    if directory is not None:
        from auditring import questions
        from auditring.cli.query import answer

        asked.directory = directory
        answer(asked, questions.hashed(names, asked.bounds))
    elif as_sql:
        from auditring import questions

        click.echo(questions.statement(names))
    else:
        for one in dict.fromkeys(hashes):
            click.echo(one)


def hashed(field: str, value: str, reference: str) -> list[str]:
    """What stands for a value, by one key."""
    from auditring.exceptions import ConfigError
    from auditring.redaction import read_key

    try:
        return read_key(reference).hash(field, value)
    except (ConfigError, ValueError) as error:
        raise Complaint(str(error)) from error


def _guessed(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return "principal"
    return "peer"

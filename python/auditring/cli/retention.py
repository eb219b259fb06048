"""`auditring retention DIR`: what a retention would delete now, and what it has deleted; nothing is touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditring import written
from auditring.cli.errors import Complaint
from auditring.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]


def _size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> object:
    """Bytes as people give them: 500M, 10GiB."""
    return _read(written.size, ctx, parameter, value)


def _span(ctx: click.Context, parameter: click.Parameter, value: str | None) -> object:
    """Seconds as people give them: 12h, 30d."""
    return _read(written.span, ctx, parameter, value)


def _read(
    read: Callable[[str, object], object], ctx: click.Context, parameter: click.Parameter, value: str | None
) -> object:
    try:
        return read(str(parameter.name), value)
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


@click.command("retention")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--max-bytes", metavar="SIZE", callback=_size, help="The most that DIR may take: 500M, 10G.")
@click.option("--max-age", metavar="SPAN", callback=_span, help="How old a file's newest event may be: 12h, 30d.")
@click.option("--min-free", metavar="SIZE", callback=_size, help="What is to be free on the disk: 5G.")
def command(directory: Path, *, max_bytes: int | None, max_age: float | None, min_free: int | None) -> None:
    """What retention would delete from DIR now, in its order, and what it has deleted. Nothing is touched.

    \b
    auditring retention audit/                         what is there, what may go, what has gone
    auditring retention audit/ --max-bytes 10G         what would go at this limit
    auditring retention audit/ --max-age 30d --min-free 5G

    A file may go when its sink's cursor is past all of it. What deletes is a log that was opened with
    auditring.open(…, retention=Retention(…)).
    """
    from auditring import ledger
    from auditring.cli.output import write_table
    from auditring.config import Retention
    from auditring.directory import require
    from auditring.exceptions import AuditError
    from auditring.retention import plan, survey

    root = directory.absolute()
    limits = {"max_bytes": max_bytes, "max_age": max_age, "min_free": min_free}
    try:
        require(root)
        seen = survey(root)
        accounts, wrong = ledger.load_all(root)
        click.echo(f"{seen.used:,} bytes used, {seen.free:,} free; {seen.deletable:,} may be deleted")
        if any(limit is not None for limit in limits.values()):
            retention = Retention.from_mapping(limits)
            rows = [[one.file, one.bytes, cause] for one, cause in plan(seen, retention)]
            write_table(["file", "bytes", "why"], rows, title="Would go now")
    except (AuditError, OSError) as error:
        raise Complaint(str(error)) from error
    gone = [
        [process, kind, account.files, account.rows, account.bytes, account.chain]
        for process, of in accounts.items()
        for kind, account in of.items()
    ]
    if gone:
        write_table(["process", "kind", "files", "rows", "bytes", "chain"], gone, title="Deleted so far")
    if wrong:
        raise Complaint("; ".join(wrong))

"""`auditring schema`: what a line or a row of the log may have, for validators, tables, and people."""

from __future__ import annotations

import sys
from typing import Literal

import click

__all__ = ["command"]

Form = Literal["json-schema", "arrow"]


@click.command("schema")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json-schema", "arrow"]),
    default="json-schema",
    show_default=True,
    help="The schema of a JSON line, or the columns of the table.",
)
def command(form: Form) -> None:
    """What the log says is an API, and this is its schema: of JSON lines, or of the table's columns.

    \b
    Keep the schema beside an archive; check a file against it:
      auditring schema > event.schema.json
      check-jsonschema --schemafile event.schema.json line.json
    Which columns are there, of which types, meaning what?
      auditring schema --format arrow

    The schema is JSON Schema, draft 2020-12, and has every member that a line can have. Later versions only add to it:
    the newest takes every line that was ever written. docs/compatibility.md says what may change.
    """
    if form == "arrow":
        write_columns()
    else:
        write_json_schema()


def write_json_schema() -> None:
    """Write the JSON Schema as it is shipped."""
    from auditring.schema import json_schema_text

    sys.stdout.write(json_schema_text())


def write_columns() -> None:
    """Write a table of the columns, in their order."""
    import pyarrow as pa

    from auditring import _core
    from auditring.cli.output import write_table

    schema = pa.schema(_core.schema())
    rows = [
        [column["name"], str(schema.field(column["name"]).type), "" if column["required"] else "yes", column["doc"]]
        for column in _core.columns()
    ]
    write_table(["column", "type", "null", "meaning"], rows, title=f"Columns, schema version {_core.SCHEMA_VERSION}")

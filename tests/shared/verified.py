"""Logs that tests of `verify` damage by hand, and what it then says against them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

import auditring
from auditring import Rotation, verify
from auditring.cli.commands import auditring as command
from auditring.sealed import list_sealed
from auditring.sinks import JsonlSink, ParquetSink
from auditring.verify import Finding, Kind

__all__ = [
    "ROWS",
    "Change",
    "files",
    "kinds",
    "lines_of",
    "rewritten",
    "run",
    "said",
    "span",
    "the_only",
    "written",
    "wrong",
]

ROWS = 40
"""Rows of a file."""

Change = Callable[[pa.Table], pa.Table]


def written(path: Path, *, events: int = 150, **options: object) -> str:
    """A closed log of several files; its process."""
    sinks = (ParquetSink(rotation=Rotation(rows=ROWS)), JsonlSink(rotation=Rotation(rows=ROWS)))
    with auditring.open(path, **{"instance": "proxy-1", "sinks": sinks, **options}, balance=None) as log:  # type: ignore[arg-type]
        with log.session(id="s", authority="decision") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            for offset in range(events):
                session.read("payments", offset % 3, offset, offset, 1)
            session.operation_denied("WRITE", "Topic", "salaries")
        return log.process


def files(audit: Path) -> list[Path]:
    """The Parquet files, in their order."""
    return [file.path for file in list_sealed(audit)[0]]


def span(path: Path) -> tuple[int, int]:
    """The range in a file's name."""
    first, last = path.stem.rsplit("-", 2)[1:]
    return int(first), int(last)


def wrong(audit: Path, *, fast: bool = False, living: str = "") -> list[Finding]:
    """What speaks against a log; whatever it is, reading it changes nothing and ends without an exception."""
    before = {path: path.stat().st_mtime_ns for path in audit.rglob("*") if living not in path.parts}
    report = verify.check(audit, fast=fast)
    assert {path: path.stat().st_mtime_ns for path in audit.rglob("*") if living not in path.parts} == before
    assert report.complete is not bool(report.wrong)
    return list(report.wrong)


def the_only(found: list[Finding]) -> tuple[Kind, int | None, int | None]:
    """Kind and range of the one thing that is wrong."""
    (finding,) = found
    return finding.kind, finding.first_seq, finding.last_seq


def kinds(found: list[Finding]) -> set[Kind]:
    """Of what kinds the findings are."""
    return {finding.kind for finding in found}


def said(path: Path) -> dict[str, str]:
    """What a file's metadata says."""
    return {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}


def rewritten(path: Path, change: Change = lambda table: table, to: Path | None = None, **metadata: object) -> None:
    """Write a file anew, whole and well-formed, with other rows or other metadata."""
    keep = {key: value for key, value in said(path).items() if key != "ARROW:schema"}
    keep |= {f"auditring.{key}": str(value) for key, value in metadata.items()}
    table = change(pq.read_table(path)).replace_schema_metadata(None)
    with pq.ParquetWriter(to or path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(keep)


def run(*arguments: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(command, ["verify", *(str(argument) for argument in arguments)])


def lines_of(audit: Path) -> list[Path]:
    """The files of lines, in their order."""
    return sorted(audit.glob("jsonl/*.jsonl"))

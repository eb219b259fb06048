"""The commands by name. A command's module is imported when it is run, so `--help` is quick and wants no extra.

Every module offers `command`, and leaves imports that cost something to the moment when it runs.
"""

from __future__ import annotations

from importlib import import_module

import click

from auditring.cli.errors import missing, suggestion

SUMMARIES = {
    "agent": "Drive the sinks of every process of a directory, in a process of its own.",
    "check": "What a configuration says, whether it could work here, and what would happen.",
    "demo": "Audit a real Kafka proxy while clients use it, then ask DuckDB who read what.",
    "explain": "Which rule of a policy decides about an event, and why.",
    "hash": "What stands in the log for a value that was hashed, and where.",
    "metrics": "What all processes of a directory add up to, for Prometheus.",
    "query": "Ask an audit directory: SQL, or a saved question.",
    "recover": "End the journals of processes that died, and bring their rows to the sinks.",
    "retention": "What retention would delete, and what it has deleted.",
    "schema": "What lines and rows may have: a JSON Schema, or the table's columns.",
    "sink": "How far each sink is; and to forget one that nobody configures any more.",
    "stats": "The balance of every process that writes, or wrote, to a directory.",
    "tail": "Watch what happens in an audit directory, as it happens.",
    "verify": "Whether anything is missing, doubled, damaged or foreign.",
}


class Commands(click.Group):
    """A group that knows its commands by name and summary, and imports the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in the order of the alphabet."""
        return sorted(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in SUMMARIES:
            ctx.fail(f"No command {cmd_name!r}; {suggestion(cmd_name, SUMMARIES)}")
        command: click.Command = import_module(f"auditring.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a package that is not there is asked for by the extra that brings it."""
        try:
            return super().invoke(ctx)
        except ImportError as error:
            known = missing(error)
            if known is error:
                raise
            raise known from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the summaries without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="auditring", prog_name="auditring")
def auditring() -> None:
    """A flight recorder for proxies: who did what to which resource, when, with what outcome.

    \b
    auditring demo                               see it work
    auditring query audit/ who-touched payments  ask what it has seen
    auditring tail -f audit/                     watch it happen
    auditring stats audit/                       see where every event is
    auditring verify audit/                      see that nothing is missing
    """

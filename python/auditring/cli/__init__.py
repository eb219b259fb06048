"""The command `auditring`.

One file a command, each imported only when it is asked for; what the library needs must never depend on what is here.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what is missing for it."""
    try:
        from auditring.cli.commands import auditring
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit("auditring: the command line needs two more packages: pip install 'auditring[cli,query]'")
    auditring(prog_name="auditring")

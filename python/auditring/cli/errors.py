"""What a command says when it cannot do what was asked: one line that names the cause and the way out."""

import difflib
from collections.abc import Collection

import click

__all__ = ["Complaint", "missing", "suggestion"]

# What a command may lack, and the extra that brings it.
_EXTRAS = {
    "duckdb": "query",
    "pytz": "query",
    "rich": "cli",
    "confluent_kafka": "demo",
    "httpx": "demo",
    "kio": "demo",
    "uvicorn": "demo",
}


class Complaint(click.ClickException):
    """A mistake of the person at the keyboard, or a state that they can mend. Ends the command with status 2."""

    exit_code = 2


def missing(error: ImportError) -> Exception:
    """What to say about a package that is not there: which extra brings it, or the error itself."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        package = (getattr(cause, "name", None) or "").partition(".")[0]
        if package in _EXTRAS:
            return Complaint(f"this needs {package}: pip install 'auditring[{_EXTRAS[package]}]'")
        cause = cause.__cause__
    return error


def suggestion(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, or all that there are."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}."

"""Records handed to the handlers that `logging` has for them, so that a handler that fails is noticed.

`Handler.emit` never raises: it calls `handleError`, which prints, or is silent. What must always hold: for the time of
one record, and under the handler's own lock, that call is taken down here instead, so records of other threads never
meet it; and a forked child, in which nobody takes it away again, falls back to what the handler would have done.
"""

import functools
import logging
import os
import re
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

__all__ = ["flush", "hand_over", "handlers_of", "on_one_line"]

_ACTING: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON lets stand and that would end a line, drive a terminal or turn text round."""


def handlers_of(logger: logging.Logger) -> Iterator[logging.Handler]:
    """The handlers that a logger's records come to: its own and, as far as it propagates, those above it."""
    at: logging.Logger | None = logger
    while at is not None:
        # A copy: another thread may be changing them.
        yield from tuple(at.handlers)
        at = at.parent if at.propagate else None


def hand_over(logger: logging.Logger, record: logging.LogRecord, used: set[logging.Handler]) -> None:
    """Gives a record to every handler that wants its level, and adds those to `used`.

    Raises the first handler's error, when all have had the record; `LookupError` where there is no handler at all.
    """
    passed = logger.filter(record)
    if not passed:
        return
    if isinstance(passed, logging.LogRecord):
        record = passed
    failed: BaseException | None = None
    nobody = True
    for handler in handlers_of(logger):
        nobody = False
        if record.levelno >= handler.level:
            used.add(handler)
            failed = _handed(handler, record) or failed
    if nobody:
        raise LookupError(
            f"no handler takes what {logger.name} logs: give it or a logger above it one, a NullHandler if nobody "
            "shall have it, or turn it off (except_)"
        )
    if failed is not None:
        raise failed


def flush(handler: logging.Handler) -> None:
    """Has a handler hand on what it holds back. Raises its error."""
    with _Noticing(handler) as noticed:
        handler.flush()
    if noticed.errors:
        raise noticed.errors[0]


def _handed(handler: logging.Handler, record: logging.LogRecord) -> BaseException | None:
    """Gives a record to one handler; what it failed by.

    Text that a stream's encoding does not have would fail for ever: then JSON's own escapes are in its place.
    """
    error = _tried(handler, record)
    if isinstance(error, UnicodeError) and isinstance(record.msg, str) and not record.msg.isascii():
        plain, record.msg = record.msg, _escaped(record.msg)
        try:
            error = _tried(handler, record)
        finally:
            record.msg = plain
    return error


def _tried(handler: logging.Handler, record: logging.LogRecord) -> BaseException | None:
    try:
        with _Noticing(handler) as noticed:
            handler.handle(record)
    except Exception as error:  # noqa: BLE001 - a third party's handler may raise whatever it likes
        return error
    return noticed.errors[0] if noticed.errors else None


def _escaped(text: str) -> str:
    """JSON text in ASCII: a character that is not is in JSON only within a string."""
    return "".join(one if one.isascii() else _escape(one) for one in text)


def on_one_line(text: str) -> str:
    """JSON text in which no character acts on whoever looks at it: such are in JSON's own escapes, so it says the same.

    What a client calls itself comes to terminals, and to tools that know more ends of lines than one.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return _ACTING.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class _Noticing:
    """Holds a handler's lock, and takes down what it, and the one that it feeds, tell `handleError`."""

    __slots__ = ("_chain", "_own", "_process", "errors")

    def __init__(self, handler: logging.Handler) -> None:
        self.errors: list[BaseException] = []
        self._process = os.getpid()
        self._chain = [handler]
        # A `MemoryHandler` keeps records, and gives them to its target when it sees fit.
        while isinstance(target := getattr(self._chain[-1], "target", None), logging.Handler):
            if target in self._chain:
                break
            self._chain.append(target)
        self._own: list[object] = []

    def __enter__(self) -> Self:
        for handler in self._chain:
            handler.acquire()
            self._own.append(handler.__dict__.get("handleError"))
            handler.__dict__["handleError"] = functools.partial(self.note, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler, own in zip(reversed(self._chain), reversed(self._own), strict=True):
            if own is None:
                handler.__dict__.pop("handleError", None)
            else:
                handler.__dict__["handleError"] = own
            handler.release()

    def note(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        """What stands in for `handleError`."""
        known = type(handler).handleError
        if os.getpid() != self._process:
            known(handler, record)
            return
        self.errors.append(sys.exc_info()[1] or RuntimeError(f"{handler!r} failed"))
        # Those that come with Python close their sockets here; the base class would only print.
        if known is not logging.Handler.handleError:
            known(handler, record)

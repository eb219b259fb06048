"""What checks play through: a log that a sink follows, what is emitted into it, and the account at the end."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import auditring
from auditring.open_logs import forget
from auditring.testing.between import Between, Given, Hook, _nothing
from auditring.testing.rules import RuleBroken

if TYPE_CHECKING:
    from auditring.testing.conformance import SinkConformance

__all__ = ["PATIENCE", "account", "emit", "followed", "settled"]

PATIENCE: Final = 30.0
_SHOWN: Final = 3


@contextlib.contextmanager
def followed(
    kit: "SinkConformance",
    rule: str,
    folder: Path,
    hook: Hook = _nothing,
    **settings: Any,  # noqa: ANN401 - those of `open`
) -> Iterator[auditring.AuditLog]:
    """A log that the kit's sink follows, closed at the end; a sink that keeps it from closing breaks the rule."""
    sink = settings.pop("sink", None) or Between(kit.make_sink(folder), Given(folder), hook)
    sinks = (sink, *settings.pop("beside", ()))
    log = auditring.open(folder / "audit", sinks=sinks, instance="conformance", **{"balance": None, **settings})
    try:
        yield log
        try:
            log.close(PATIENCE)
        except auditring.CloseIncomplete as error:
            raise RuleBroken(rule, f"the log could not be closed: {error}") from error
    finally:
        if not log.closed or log._running is not None:  # noqa: SLF001 - the kit is of the library
            with contextlib.suppress(auditring.AuditError, OSError):  # what went wrong before says more
                log.close(1.0)
            forget(log)


def emit(log: auditring.AuditLog, rows: int, *, name: str = "s") -> None:
    """Somewhat more than `rows` rows of several kinds, with text of every sort."""
    with log.session(
        id=f"{name}-{os.getpid()}", peer=("192.0.2.7", 40112), virtual_cluster="payments", authority="decision"
    ) as session:
        session.client_sasl_auth_success("zo\u00eb \U0001f510", mechanism="SCRAM-SHA-256")
        for i in range(rows):
            session.read("orders", i % 3, i, i)
            if i % 20 == 0:
                session.operation_denied("WRITE", "Topic", "salaries", reason='line\nbreak, "quotes", tab\t')
    log.emit("com.example.conformance.Thing", context={"text": "x" * 3000})


def settled(log: auditring.AuditLog, rule: str) -> None:
    """Waits until the sink has everything, safe; a failure of it breaks the rule."""
    try:
        log.flush(PATIENCE)
    except (auditring.SinkError, TimeoutError) as error:
        raise RuleBroken(rule, f"the sink did not take what it was given: {error}") from error


def account(
    kit: "SinkConformance", folder: Path, rule: str, *, in_order: bool = False, without: frozenset[str] = frozenset()
) -> None:
    """Holds what is at the destination against what the sink was given."""
    given, delivered = Given(folder).ids(), list(kit.delivered(folder))
    times, there = Counter(given), Counter(delivered)
    if not given:
        raise RuleBroken(rule, "the sink was given no rows at all")
    if missing := [one for one in times if one not in there and one not in without]:
        raise RuleBroken(rule, f"{_several(missing)} of {len(times)} never arrived")
    if strange := [one for one in there if one not in times]:
        raise RuleBroken(rule, f"{_several(strange)} arrived that were never given")
    if kept := [one for one in without if one in there]:
        raise RuleBroken(rule, f"{_several(kept)} arrived that had been left out")
    if doubled := [one for one, n in there.items() if n > (1 if kit.exactly_once else times[one])]:
        often = "once, as `exactly_once` promises" if kit.exactly_once else "as often as they were given"
        raise RuleBroken(rule, f"{_several(doubled)} arrived more than {often}")
    if in_order:
        for process in {one.partition(":")[0] for one in times}:
            wanted = [one for one in times if one.startswith(process)]
            found = [one for one in there if one.startswith(process)]
            if wanted != found:
                first = next(i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b)
                raise RuleBroken(rule, f"{found[first]} arrived where {wanted[first]} was given")


def _several(ids: list[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{len(ids)} rows ({shown}{', …' if len(ids) > _SHOWN else ''})"

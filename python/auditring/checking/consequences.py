"""What would happen when a sink is away, when disk or ring are full; and how much could wait, for how long.

Figures are of settings and of a rate that a busy proxy has; they are for a person to see the order of, not a promise.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from auditring.checking.words import count, size, span
from auditring.config import Durability, WhenFull
from auditring.deployment import Deployment
from auditring.probing import required
from auditring.sinks import Sink

__all__ = ["Waiting", "consequences", "in_order", "waiting"]

_ROW: Final = 200
"""Bytes that an event takes in the journal, about."""
_RECORD: Final = 256
"""And in the ring, with its session's context."""
_RATE: Final = 20_000
"""Events a second."""
_JOURNAL: Final = 4 << 30
_RING: Final = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """How much can wait for a sink that is away, in each process."""

    bytes: int
    events: int
    seconds: float
    """At the rate that is said."""
    rate: int


def waiting(deployment: Deployment) -> Waiting:
    """What the journal has room for."""
    budget = journal_bytes(deployment)
    return Waiting(budget, budget // _ROW, budget / _ROW / _RATE, _RATE)


def journal_bytes(deployment: Deployment) -> int:
    """The journal's budget."""
    return int(deployment.log.get("journal_bytes", _JOURNAL))


def ring_bytes(deployment: Deployment) -> int:
    """The ring's size."""
    return int(deployment.log.get("ring_bytes", _RING))


def consequences(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """What would happen, by what is the matter."""
    arguments = deployment.open_arguments()
    full = WhenFull.by_class(arguments.get("when_full"))
    for one, classes in _alike(full).items():
        yield "the ring is full", f"an emit of a {' or '.join(classes)} event {_emits(one)}"
    ring = ring_bytes(deployment)
    yield (
        "the disk is full, or the journal cannot be written",
        (
            f"events wait in the ring ({size(ring)}, about {count(ring / _RECORD)} of them, "
            f"{span(ring / _RECORD / _RATE)} at {_RATE:,}/s); when that is full, what is said of a full ring holds. "
            "Sealed files and the journal stay as they are"
        ),
    )
    left = waiting(deployment)
    waits = f"{size(left.bytes)}, about {count(left.events)} events, {span(left.seconds)} at {left.rate:,}/s"
    sinks = deployment.sinks
    names = required(in_order(deployment), arguments.get("required"))
    for sink in sinks:
        whose = "the agent" if deployment.of_agent(sink.name) else "the log"
        then = (
            "it is required, so the ring fills, and what is said of a full ring holds"
            if sink.name in names
            else "the oldest are let go for this sink alone, counted as lost to it, with a row that says so"
        )
        starts = "the proxy starts all the same; " if _unasked(sink, arguments) else ""
        yield (
            f"sink {sink.name} is away",
            (
                f"{starts}{whose} tries again for ever, and its rows wait in the journal of each process ({waits}); "
                f"then {then}"
            ),
        )
    if apart := [sink.name for sink in deployment.agent_sinks]:
        yield "the agent is away", f"rows for {' and '.join(apart)} wait in the journal of each process ({waits})"
    yield (
        "the process is killed",
        "what was accepted is in ring and journal, and the next opener or the agent brings it to the sinks",
    )
    yield "power is lost", _power(arguments)
    if arguments.get("lock_policy"):
        yield (
            "somebody changes the policy",
            "a running log refuses, and has a row of the attempt; the file is read at start alone",
        )
    else:
        yield "somebody changes this file", "nothing, before the proxy starts again: it is read at start alone"


def in_order(deployment: Deployment) -> list[Sink]:
    """The log's own first, as `open` has them."""
    return sorted(deployment.sinks, key=lambda sink: deployment.of_agent(sink.name))


def _unasked(sink: Sink, arguments: Mapping[str, Any]) -> bool:
    """Whether nobody asks the sink before the log is begun."""
    probe = arguments.get("probe")
    return sink.remote if probe is None else not probe if isinstance(probe, bool) else sink.name not in probe


def _alike(full: Mapping[str, WhenFull]) -> dict[WhenFull, Sequence[str]]:
    found: dict[WhenFull, list[str]] = {}
    for name, one in full.items():
        found.setdefault(one, []).append(name)
    return dict(found)


def _emits(full: WhenFull) -> str:
    wait, raises = full.boundary
    if wait is None:
        return "waits for room for ever, without the GIL"
    then = (
        "raises AuditUnavailable, for the proxy to refuse the request"
        if raises
        else "returns, and the event is lost: counted, with a row that says so, and health goes bad"
    )
    return f"waits {span(wait)} at most, without the GIL, and then {then}" if wait else then


def _power(arguments: Mapping[str, Any]) -> str:
    durability = arguments.get("durability", Durability.PROCESS)
    if durability.interval is None:
        return "what the kernel had not yet written is gone, typically the last seconds; sealed files are safe"
    return f"what was accepted in the last {span(durability.interval)} may be gone"

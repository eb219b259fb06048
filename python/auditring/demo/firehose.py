"""Reads and Writes as a Kafka proxy emits them: many sessions, a few hot topics, offsets that advance.

What must always hold: the same seed gives the same events; of one topic-partition the Writes follow each other without
a gap, and so do the Reads, however long it runs; the loop builds nothing per event but the two offsets.
"""

from __future__ import annotations

from itertools import accumulate, product
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from auditring._core import Session
    from auditring.log import AuditLog

SESSIONS = 200
TOPICS = 50
PARTITIONS = 12
BLOCK = 65_536
"""Events that are worked out beforehand; the next block has the same ones, further on in their partitions."""

_AREAS = (
    "orders",
    "payments",
    "shipping",
    "customers",
    "inventory",
    "pricing",
    "fraud",
    "search",
    "billing",
    "returns",
)
_KINDS = ("events", "commands", "changes", "snapshots", "dlq")
# Partitions that one request is about: a producer sends what it has got, a consumer fetches all that it is assigned.
_FETCHED = (1, 2, 4, 8, 12)
_PRODUCED = (1, 1, 2, 4)
_ZIPF = 1.1


# One event of a block: emit, topic, partition, the slot where its offsets advance, first and last offset counted from
# the block's start, correlation id. A plain tuple: the interpreter unpacks a named one by its iterator, which would
# cost the loop a fifth.
Call: TypeAlias = "tuple[Callable[..., Any], str, int, int, int, int, int]"
Arguments: TypeAlias = tuple[str, int, int, int, int]


class Firehose:
    """An endless stream of events over `sessions`."""

    def __init__(self, sessions: Sequence[Session], *, seed: int = 0, block: int = BLOCK) -> None:
        """`block` bounds the memory (about 200 bytes an event) and how often a block begins anew."""
        draw = Random(seed)  # noqa: S311 - a reproducible load, no secret
        slots = TOPICS * PARTITIONS * 2
        self._bases = [draw.randrange(1_000_000) for _ in range(slots)]
        self._spans = [0] * slots
        self._calls = self._block(sessions, draw, block)
        self._at = 0

    def _block(self, sessions: Sequence[Session], draw: Random, size: int) -> list[Call]:
        names = [f"{area}.{kind}" for kind, area in product(_KINDS, _AREAS)][:TOPICS]
        weights = list(accumulate(1 / rank**_ZIPF for rank in range(1, TOPICS + 1)))
        emits = [(session.read, session.write) for session in sessions]
        correlations = [draw.randrange(1_000) for _ in sessions]
        spans = self._spans
        calls: list[Call] = []
        while len(calls) < size:
            # One Produce or Fetch: one session, one topic, some of its partitions, one correlation id.
            who = draw.randrange(len(sessions))
            topic = draw.choices(range(TOPICS), cum_weights=weights)[0]
            write = draw.random() < 0.5  # noqa: PLR2004 - even
            emit = emits[who][write]
            correlations[who] += 1
            partitions = draw.sample(range(PARTITIONS), draw.choice(_PRODUCED if write else _FETCHED))
            for partition in sorted(partitions)[: size - len(calls)]:
                slot = (topic * PARTITIONS + partition) * 2 + write
                records = draw.randint(1, 20)
                first = spans[slot]
                spans[slot] += records
                calls.append((emit, names[topic], partition, slot, first, first + records - 1, correlations[who]))
        return calls

    def emit(self, count: int) -> None:
        """Emits the next `count` events."""
        while count > 0:
            calls = self._calls[self._at : self._at + count]
            bases = self._bases
            for emit, topic, partition, slot, first, last, correlation in calls:
                base = bases[slot]
                emit(topic, partition, base + first, base + last, correlation)
            count -= len(calls)
            self._at += len(calls)
            if self._at == len(self._calls):
                self._bases = [base + span for base, span in zip(bases, self._spans, strict=True)]
                self._at = 0

    def arguments(self) -> list[tuple[Callable[..., Any], Arguments]]:
        """The first block as ready calls, for loops that must cost nothing but the event: `emit(*arguments)`."""
        bases = self._bases
        return [
            (emit, (topic, partition, bases[slot] + first, bases[slot] + last, correlation))
            for emit, topic, partition, slot, first, last, correlation in self._calls
        ]


def open_sessions(log: AuditLog, stack: ExitStack, count: int = SESSIONS) -> list[Session]:
    """`count` authenticated clients, each on a connection of its own; they end with `stack`."""
    sessions = []
    for number in range(count):
        session = stack.enter_context(
            log.session(
                peer=(f"10.1.{number // 250}.{number % 250 + 1}", 40_000 + number),
                local=("10.0.0.9", 9092),
                virtual_cluster="payments" if number % 3 else "analytics",
                client_id=f"service-{number % 40:02}",
                authority="witness",
            )
        )
        session.client_sasl_auth_success(f"service-{number % 40:02}", mechanism="SCRAM-SHA-256")
        sessions.append(session)
    return sessions

"""Stories that a log is told (sessions, events, policies that change), and what must become of each event.

The judgement is written anew, from docs/policy.md, and shares nothing with the one in Rust. What must always hold:
every operation offers at most one event, and which comes next depends on the story alone, so that a story that was
broken off can be read again as far as it went.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from auditring import Policy, Rule, SinkError

__all__ = [
    "KINDS",
    "PATIENCE",
    "RING",
    "TOPICS",
    "Change",
    "Close",
    "Event",
    "Events",
    "Flush",
    "Step",
    "Teller",
    "judge",
]

PATIENCE = 60.0
RING = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - the ring makes its file with O_EXCL, mode 0600
TOPICS = ("orders", "orders.dlq", "metrics.cpu")
DECLARED = "com.example.kms.KeyUsed"
_JUMP = 3
_RECORDS = 2
_PARTITIONS = 2


@dataclass(frozen=True)
class Events:
    """Some events of one kind: of which session, on which topic, and whether their offsets follow each other."""

    session: int
    kind: str
    topic: int
    times: int
    touching: bool


@dataclass(frozen=True)
class Close:
    """The connection ends; the next event of its number is on a new one."""

    session: int


@dataclass(frozen=True)
class Change:
    """Another policy; `waits`: until all that was told is in the journal, so that the old one judges it."""

    policy: Policy
    waits: bool


@dataclass(frozen=True)
class Flush:
    """All sinks are safe."""


Step = Events | Close | Change | Flush


@dataclass
class Event:
    """What was offered, and the policies of which one judged it."""

    action: str
    category: str
    session: str
    peer: str
    virtual_cluster: str
    principal: str | None
    policies: list[Policy]
    outcome: str = "success"
    status: str | None = None
    resource: str | None = None
    partition: int | None = None
    offsets: tuple[int, int] | None = None
    reason: str | None = None

    @property
    def protected(self) -> bool:
        """What no rule leaves out, but for blind spots."""
        always = self.category in {"authentication", "administration"} or self.outcome in {"denied", "failure"}
        return always or self.status is not None


def _meets(rule: Rule, event: Event) -> bool:
    for name in ("action", "category", "outcome", "resource", "principal", "virtual_cluster"):
        wanted, value = getattr(rule, name), getattr(event, name)
        if wanted is not None and not (value is not None and any(fnmatchcase(value, one) for one in wanted)):
            return False
    wanted = getattr(rule, "peer")  # noqa: B009 - made a tuple of texts, whatever was given
    return wanted is None or any(ipaddress.ip_address(event.peer) in ipaddress.ip_network(one) for one in wanted)


def _applies(policy: Policy, rule: Rule, event: Event) -> bool:
    if event.category == "request" and rule.action is None and rule.category is None:
        return False
    if rule.keep.kind == "coalesce" and event.action not in {"Read", "Write"}:
        return False
    return rule.keep.kind == "all" or policy.allow_blind_spots or not event.protected


def _first(policy: Policy, event: Event) -> str | None:
    rules = (rule for rule in policy.rules if _meets(rule, event) and _applies(policy, rule, event))
    return next((rule.keep.kind for rule in rules), None)


def judge(event: Event, own: Policy | None = None) -> set[str]:
    """What may become of an event: one word, where it is known which policy judged it."""
    found = set()
    for log in event.policies:
        otherwise = "off" if event.category == "request" and not event.protected else "all"
        of_log = _first(log, event) or otherwise
        of_own = None if own is None else _first(own, event)
        found.add("off" if of_log == "off" else of_own or of_log)
    return found


def _connection(number: int) -> tuple[str, str]:
    """Address and virtual cluster of a session."""
    return f"10.{number}.0.7", "analytics" if number else "payments"


# For each kind of events: action, category, outcome, status; whether it has offsets, and whether it names a topic.
KINDS: dict[str, tuple[str, str, str, str | None, bool, bool]] = {
    "read": ("Read", "data", "success", None, True, True),
    "write": ("Write", "data", "success", None, True, True),
    "blank": ("Read", "data", "success", None, False, True),
    "error": ("Read", "data", "failure", "NOT_LEADER", False, True),
    "delete": ("Delete", "data", "success", None, False, True),
    "allowed": ("OperationAllowed", "authorization", "allowed", None, False, True),
    "denied": ("OperationDenied", "authorization", "denied", "TOPIC_AUTHORIZATION_FAILED", False, True),
    "created": ("CreateTopics", "administration", "success", None, False, True),
    "refused": ("ClientSaslAuthFailure", "authentication", "failure", "SASL_AUTHENTICATION_FAILED", False, False),
    "declared": (DECLARED, "plugin", "success", None, False, False),
    "free": ("com.example.Noted", "plugin", "success", None, False, True),
    "request": ("RequestIngress", "request", "success", None, False, False),
    "login": ("ClientSaslAuthSuccess", "authentication", "success", None, False, False),
}


@dataclass
class _Client:
    """One connection, as far as the story goes; its handle is there once the operation was called."""

    id: str
    number: int
    principal: str | None = None
    handle: Any = None


@dataclass
class Teller:
    """Tells a story to a log; `events` are those that were offered, in order."""

    policy: Policy
    """In force."""
    events: list[Event] = field(default_factory=list)
    _unsettled: int = 0
    """From here on it is not known whether events are in the journal."""
    _clients: dict[int, _Client] = field(default_factory=dict)
    _opened: int = 0
    _offsets: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    _declared: Any = None

    def operations(self, log: Any, steps: Sequence[Step]) -> Iterator[Callable[[], None]]:  # noqa: ANN401 - none where the story is only read again
        """Each is to be called before the next is asked for; what it offers is the last of `events`."""
        yield lambda: self._declare(log)
        for step in steps:
            match step:
                case Events():
                    yield from self._some(log, step)
                case Close(number):
                    yield from self._close(number)
                case Change(policy, waits):
                    if waits:
                        yield lambda: _settle(log)
                        self._unsettled = len(self.events)
                    for event in self.events[self._unsettled :]:
                        event.policies.append(policy)
                    yield partial(_change, log, policy)
                    self.policy, self._unsettled = policy, len(self.events)
                case Flush():
                    yield lambda: _flush(log)
        for number in list(self._clients):
            yield from self._close(number)

    def _declare(self, log: Any) -> None:  # noqa: ANN401 - as above
        self._declared = log.declare(DECLARED)

    def _note(self, client: _Client, kind: tuple[str, str, str, str | None], **said: Any) -> Event:  # noqa: ANN401 - the fields of an event
        action, category, outcome, status = kind
        peer, virtual_cluster = _connection(client.number)
        event = Event(
            action, category, client.id, peer, virtual_cluster, client.principal, [self.policy],
            outcome=outcome, status=status, **said,
        )  # fmt: skip
        event.reason = f"event {len(self.events)}" if event.protected else None
        self.events.append(event)
        return event

    def _close(self, number: int) -> Iterator[Callable[[], None]]:
        client = self._clients.pop(number, None)
        if client is not None:
            self._note(client, ("ClientClose", "connection", "success", None))
            yield lambda: client.handle.close()  # noqa: PLW0108 - there is no handle before the story is told

    def _some(self, log: Any, step: Events) -> Iterator[Callable[[], None]]:  # noqa: ANN401 - as above
        if step.session not in self._clients:
            self._opened += 1
            client = self._clients[step.session] = _Client(f"s{step.session}-{self._opened}", step.session)
            self._note(client, ("ClientAccept", "connection", "success", None))
            yield lambda: _open(log, client)
        client = self._clients[step.session]
        action, category, outcome, status, ranged, named = KINDS[step.kind]
        if step.kind == "login":
            client.principal = f"svc-{step.topic}"
        for time in range(step.times):
            partition = time % _PARTITIONS if category == "data" else None
            offsets = self._range(client, action, step, partition or 0) if ranged else None
            # A partition is one of a topic, so that it can be told apart also where the topic is redacted.
            place = None if partition is None else step.topic * _PARTITIONS + partition
            resource = TOPICS[step.topic] if named else None
            kind = action, category, outcome, status
            event = self._note(client, kind, resource=resource, partition=place, offsets=offsets)
            yield partial(self._offer, client, step.kind, event)

    def _range(self, client: _Client, action: str, step: Events, partition: int) -> tuple[int, int]:
        at = client.id, action, step.topic * _PARTITIONS + partition
        first = self._offsets[at] + (0 if step.touching else _JUMP)
        self._offsets[at] = first + _RECORDS
        return first, first + _RECORDS - 1

    def _offer(self, client: _Client, kind: str, event: Event) -> None:  # noqa: C901 - a call for each kind
        session, topic, said = client.handle, event.resource, {"reason": event.reason} if event.reason else {}
        first, last = event.offsets or (None, None)
        match kind:
            case "read" | "write":
                emit = session.read if kind == "read" else session.write
                emit(topic, event.partition, first, last, len(said), records=_RECORDS, bytes=10)
            case "blank":
                session.read(topic, event.partition)
            case "error":
                session.read(topic, event.partition, outcome="failure", status=event.status, **said)
            case "delete":
                session.delete(topic, event.partition)
            case "allowed":
                session.operation_allowed("READ", "Topic", topic)
            case "denied":
                session.operation_denied("READ", "Topic", topic, **said)
            case "created":
                session.create_topics(topic, **said)
            case "refused":
                session.client_sasl_auth_failure("mallory", mechanism="PLAIN", **said)
            case "declared":
                self._declared(session)
            case "free":
                session.emit(event.action, resource=topic)
            case "request":
                session.request_ingress("FETCH")
            case _:
                session.client_sasl_auth_success(event.principal, mechanism="PLAIN", **said)


def _open(log: Any, client: _Client) -> None:  # noqa: ANN401 - as above
    peer, virtual_cluster = _connection(client.number)
    client.handle = log.session(
        id=client.id, peer=(peer, 40_000), virtual_cluster=virtual_cluster, client_id="reader", authority="decision"
    )


def _change(log: Any, policy: Policy) -> None:  # noqa: ANN401 - as above
    log.set_policy(policy)


def _settle(log: Any) -> None:  # noqa: ANN401 - as above
    log._live().journaled(PATIENCE)  # noqa: SLF001 - into the journal, and no further


def _flush(log: Any) -> None:  # noqa: ANN401 - as above
    """Also through failures: each ends a flush, and none ends the sink."""
    for _ in range(20):
        try:
            log.flush(PATIENCE)
        except SinkError:
            continue
        return
    raise AssertionError("a sink never comes to an end")

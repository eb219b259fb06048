"""What an event costs the thread that emits it: the stages of a Read, and the ways to call it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import auditring
import stages
from auditring import Keep
from logs import READ, ROW, authenticated, drained, opened, rows
from tables import Report, Target, table
from timing import Samples, Subject, interleave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditring import AuditLog, DeclaredEvent

EMPTY = stages.STAGES[0][1]
WHOLE = "`Session.read`, whole"
OFF = "… turned off (`Keep.OFF`)"
KEYWORDS = "… all five by keyword"
NOWHERE = "… into `open(None)`"
TWO = "… two sessions in turns"
DRAINING = "… 100 times as many without a pause, while the pump drains"
ROOMY = "… as many into a ring that is big enough"
ON_DISK = "… with the ring in the audit directory, as in a container"
BROKER = "`Broker.read`, whole"
DENIED = "`operation_denied`, three fields"
ALLOWED = "`operation_allowed`, three fields"
DECLARED = "a declared event, three fields"
FREE = "`emit` of a free-form event"

NAME = "com.example.kms.KeyUsed"
SERVER = "10.0.0.5:9092"
_BY_KEYWORD = "(topic='orders', partition=3, first_offset=1000, last_offset=1099, client_correlation_id=42)"


def declared(log: AuditLog) -> DeclaredEvent:
    """An event of three fields."""
    return log.declare(NAME, object_ref=("com.example.kek",), context=("alg", "bits"))


def check() -> None:
    """Asserts that the calls which are timed record what they should, and that what is off is counted."""
    with TemporaryDirectory() as folder:
        with auditring.open(folder) as log, authenticated(log) as session, session.broker(SERVER, node_id=5) as broker:
            broker.read("orders", 3, 1000, 1099, 42)
            declared(log)(session, "kek-7", "AES", "256")
        (read,) = rows(Path(folder), ", ".join(["principal", "server", "node_id", *ROW]), "action = 'Read'")
        assert read == ("alice", SERVER, 5, *ROW.values())
        (used,) = rows(Path(folder), "principal, object_ref, context", f"action = '{NAME}'")
        assert used == ("alice", '{"com.example.kek":"kek-7"}', '{"alg":"AES","bits":"256"}')
    with TemporaryDirectory() as folder:
        with auditring.open(folder) as log, authenticated(log) as session:
            session.read("orders", 3, 1000, 1099, 42)
            session.read(topic="orders", partition=3, first_offset=1000, last_offset=1099, client_correlation_id=42)
        expected = [("alice", "payments", *ROW.values())] * 2
        columns = ", ".join(["principal", "virtual_cluster", *ROW])
        assert rows(Path(folder), columns, "action = 'Read'") == expected
    with opened(read=Keep.OFF) as log, authenticated(log) as session:
        for _ in range(3):
            session.read("orders", 3, 1000, 1099, 42)
        assert log.stats().off == 3
    assert stages.load().copied("orders", 3, 1000, 1099, 42) is None


def subjects(stack: ExitStack, calls: int) -> tuple[list[Subject], list[AuditLog]]:
    """Everything that is compared, and the logs that must have counted it all afterwards."""
    made = stages.load()
    found = [Subject(label, f"s.{name}{READ}", {"s": made}, calls, after=made.reset) for name, label in stages.STAGES]

    def log(**settings: object) -> AuditLog:
        return stack.enter_context(opened(**settings))

    plain, off, roomy, on_disk = log(), log(read=Keep.OFF), log(ring_bytes=256 << 20), log(ring_dir=None)
    nowhere = stack.enter_context(auditring.open(None))
    session, other = authenticated(plain), authenticated(plain)
    one = {"s": session}
    broker = {"b": session.broker(SERVER, node_id=5, local="10.0.0.9:40112")}
    key_used = {**one, "key_used": declared(plain)}
    many = 100 * calls

    def drain() -> None:
        drained(plain)

    found += [
        Subject(WHOLE, f"s.read{READ}", one, calls, after=drain),
        Subject(KEYWORDS, f"s.read{_BY_KEYWORD}", one, calls, after=drain),
        Subject(TWO, f"s.read{READ}; t.read{READ}", {**one, "t": other}, calls // 2, each=2, after=drain),
        Subject(OFF, f"s.read{READ}", {"s": authenticated(off)}, calls),
        Subject(NOWHERE, f"s.read{READ}", {"s": authenticated(nowhere)}, calls),
        Subject(DRAINING, f"s.read{READ}", one, many, after=drain),
        Subject(ROOMY, f"s.read{READ}", {"s": authenticated(roomy)}, many, after=lambda: drained(roomy)),
        Subject(ON_DISK, f"s.read{READ}", {"s": authenticated(on_disk)}, many, after=lambda: drained(on_disk)),
        Subject(BROKER, f"b.read{READ}", broker, calls, after=drain),
        Subject(DENIED, "s.operation_denied('WRITE', 'Topic', 'salaries')", one, calls, after=drain),
        Subject(ALLOWED, "s.operation_allowed('WRITE', 'Topic', 'salaries')", one, calls, after=drain),
        Subject(DECLARED, "key_used(s, 'WRITE', 'Topic', 'salaries')", key_used, calls, after=drain),
        Subject(FREE, "s.emit('com.example.kms.KeyUsed', resource='kek-7')", one, calls // 4, after=drain),
    ]
    return found, [plain, off, roomy, on_disk]


def measure(*, rounds: int, calls: int) -> Samples:
    """Checks, then times, then checks that nothing was lost meanwhile."""
    check()
    with ExitStack() as stack:
        compared, logs = subjects(stack, calls)
        samples = interleave(compared, rounds)
        for log in logs:
            stats = log.stats()
            assert stats.balanced, stats
            assert stats.dropped == stats.refused == 0, stats
        assert logs[1].stats().off >= rounds * calls
    return samples


def report(*, quick: bool = False) -> Report:
    """The two tables."""
    samples = measure(rounds=20 if quick else 100, calls=2_000 if quick else 8_000)
    names: Sequence[str] = [label for _, label in stages.STAGES]
    ways = [WHOLE, BROKER, KEYWORDS, TWO, OFF, NOWHERE, DRAINING, ROOMY, ON_DISK, ALLOWED, DENIED, DECLARED, FREE]

    def lines(chosen: Sequence[str]) -> list[tuple[str, str, str]]:
        return [(name, samples.spread(name).text(), samples.ratio(name, EMPTY).text(2)) for name in chosen]

    head = ("one call, five arguments", "ns", "times an empty one")
    text = "\n\n".join(
        (
            f"Median (quartiles) of the rounds; the loop itself ({samples.loop.text()} ns) is subtracted.",
            table(head, lines([*names, WHOLE])),
            table(("the ways to call it", *head[1:]), lines(ways)),
        )
    )
    return Report(
        "emit",
        text,
        [
            Target("a five-field Read, times an empty call", samples.ratio(WHOLE, EMPTY).median, 3.0, digits=2),
            Target("a Read that is off, times an empty call", samples.ratio(OFF, EMPTY).median, 1.5, digits=2),
            Target("a declared event, times a built-in", samples.ratio(DECLARED, ALLOWED).median, 1.2, digits=2),
            Target("a broker's Read, times the session's", samples.ratio(BROKER, WHOLE).median, 1.1, digits=2),
        ],
    )

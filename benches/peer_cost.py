"""A Read beside the usual ways to write an event down, in the same rounds."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import emit_cost
from logs import READ, authenticated, drained, opened
from peers import PEERS, Peer
from tables import Report, Target, table
from timing import Samples, Subject, interleave

READ_CALL = "auditring, `Session.read`"
_TRIED = 3


def check(peer: Peer) -> None:
    """Asserts that a peer writes what it should."""
    peer.subject.timer().timeit(_TRIED)
    peer.subject.after()
    assert peer.written() == _TRIED, peer.subject.name


def measure(*, rounds: int) -> tuple[Samples, list[str]]:
    """Checks, times, and checks that everything is there. Returns the peers' names, too."""
    emit_cost.check()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        peers = []
        for make in PEERS:
            peer = make(folder)
            stack.callback(peer.close)
            check(peer)
            peers.append(peer)
        log = stack.enter_context(opened())
        ours = Subject(READ_CALL, f"s.read{READ}", {"s": authenticated(log)}, after=lambda: drained(log))
        samples = interleave([ours, *(peer.subject for peer in peers)], rounds)
        for peer in peers:
            warm_up = min(peer.subject.calls, 1_000)
            assert peer.written() == _TRIED + warm_up + rounds * peer.subject.calls, peer.subject.name
        stats = log.stats()
        assert stats.balanced, stats
        assert stats.dropped == stats.refused == 0, stats
        return samples, [peer.subject.name for peer in peers]


def report(*, quick: bool = False) -> Report:
    """The table."""
    samples, names = measure(rounds=10 if quick else 60)
    ratios = {name: samples.ratio(name, READ_CALL) for name in names}
    lines = [
        (name, samples.spread(name).text(0), "" if name == READ_CALL else ratios[name].text())
        for name in (READ_CALL, *names)
    ]

    def target(start: str, bound: float) -> Target:
        name = next(name for name in names if name.startswith(start))
        return Target(f"{name}: times a Read", ratios[name].median, bound, least=True)

    return Report(
        "peers",
        "Median (quartiles) of the rounds, the loop subtracted.\n\n"
        + table(("one event, all fields", "ns", "times a Read"), lines),
        [target("`deque", 4), target("orjson", 15), target("`logging`, file", 100)],
    )

"""The checks of `SinkConformance`, one a rule: each a real log, a real follower, and something that goes wrong."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

import auditring
from auditring import _core
from auditring.exceptions import SinkRejected
from auditring.policy import Keep, Policy, Rule
from auditring.sinks.base import RowBatch, SinkContext, policy_of
from auditring.testing.between import Between, Given
from auditring.testing.rules import RuleBroken
from auditring.testing.scenes import PATIENCE, account, emit, followed, settled

if TYPE_CHECKING:
    from auditring.testing.conformance import SinkConformance

_ROWS: Final = 300
_BACKLOG: Final = 10_000
_COMMITS: Final = 40
_SOON: Final = 10.0
_ASKED: Final = 0.1
_STATE: Final = 4096
_GROWTH: Final = 64
_WINDOW: Final = 0.1
_FAULTS: Final = (
    [("after", "write")],
    [("before", "commit")],
    [("after", "commit")],
    [("before", "write"), ("before", "start")],
    [("after", "write"), ("after", "start")],
)


def order(kit: "SinkConformance", folder: Path) -> None:
    """Three checkpoints of a healthy log."""
    with followed(kit, "order", folder) as log:
        for part in range(3):
            emit(log, _ROWS, name=f"s{part}")
            settled(log, "order")
    account(kit, folder, "order", in_order=True)


def windows(kit: "SinkConformance", folder: Path) -> None:
    """A policy that merges over windows, and one that leaves out whole batches."""
    rules = [
        Rule(action="Read", keep=Keep.COALESCE(window=_WINDOW)),
        Rule(action="Write", keep=Keep.SAMPLE(one_in=1_000_000_000)),
    ]
    with followed(kit, "windows", folder, policy=Policy(rules=rules, seed=1)) as log:
        for _ in range(2):
            # Denials come at once, reads behind them, when their window ends.
            emit(log, _ROWS)
            settled(log, "windows")
        with log.session(id="s") as session:
            settled(log, "windows")
            for i in range(_ROWS):
                session.write("orders", 0, i, i)
            settled(log, "windows")
    account(kit, folder, "windows")


class _Unreadable:
    """A batch of which nothing can be read."""

    def __init__(self, batch: RowBatch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the batch
        value = getattr(self._batch, name)
        if callable(value):
            raise OSError(5, "this batch cannot be read; a sink lets that out")
        return value


class _Misread(Between):
    """Hands over a batch that cannot be read, once."""

    took: list[str]
    armed: threading.Event

    def write(self, batch: RowBatch) -> int:
        if batch.rows and self.armed.is_set() and not self.took:
            self.took.append("raised")
            self.inner.write(_Unreadable(batch))  # type: ignore[arg-type]  # which is the point
            self.took[:] = ["returned"]
        return super().write(batch)

    def fresh(self) -> "_Misread":
        other = super().fresh()
        other.took, other.armed = self.took, self.armed
        return other


def errors(kit: "SinkConformance", folder: Path) -> None:
    """A batch that raises from whatever is asked of it: `write` must not come back from that."""
    sink = _Misread(kit.make_sink(folder), Given(folder))
    sink.took, sink.armed = [], threading.Event()
    with followed(kit, "errors", folder, sink=sink) as log:
        emit(log, _ROWS)
        settled(log, "errors")
        sink.armed.set()
        emit(log, _ROWS)
        _settled_at_last(log, "errors")
    if sink.took != ["raised"]:
        raise RuleBroken("errors", "`write` returned although it could read none of the rows")
    account(kit, folder, "errors")


def retry(kit: "SinkConformance", folder: Path) -> None:
    """Failures of `start`, `write` and `commit`, before the sink has done its work and after."""
    failing: list[tuple[str, str]] = []

    def hook(when: str, call: str, what: object) -> None:
        del what
        if failing and failing[0] == (when, call):
            failing.pop(0)
            raise OSError(5, f"{when} {call}")

    with followed(kit, "retry", folder, hook) as log:
        for faults in _FAULTS:
            emit(log, _ROWS)
            settled(log, "retry")
            failing += faults
            deadline = time.monotonic() + PATIENCE
            while failing:
                emit(log, 20)
                with contextlib.suppress(auditring.SinkError, TimeoutError):
                    log.flush(1.0)
                if time.monotonic() > deadline:
                    raise RuleBroken("retry", f"the sink did not come to {failing[0]} any more")
            _settled_at_last(log, "retry")
    account(kit, folder, "retry")


def poison(kit: "SinkConformance", folder: Path) -> None:
    """A row that is rejected before the sink has it: the batch comes again, with a hole."""
    poisoned: set[int] = set()
    armed = threading.Event()

    def hook(when: str, call: str, what: Any) -> None:  # noqa: ANN401 - by call
        if (when, call) != ("before", "write") or not armed.is_set() or not what.rows:
            return
        seqs = pa.record_batch(what).column("seq").to_pylist()
        if not poisoned:
            poisoned.add(seqs[len(seqs) // 2])
        if bad := poisoned.intersection(seqs):
            raise SinkRejected("a row that nobody takes", bad)

    with followed(kit, "poison", folder, hook) as log:
        emit(log, _ROWS)
        settled(log, "poison")
        armed.set()
        emit(log, _ROWS)
        settled(log, "poison")
        name = kit.make_sink(folder).name
        lost = dict(log.stats().sinks[name].lost)
        without = frozenset(f"{log.process}:{seq}" for seq in poisoned)
    if lost != {"rejected": 1}:
        raise RuleBroken("poison", f"one row was rejected, and {lost} are lost")
    account(kit, folder, "poison", without=without)


def slow(kit: "SinkConformance", folder: Path) -> None:
    """A sink that does not come back, while another goes on; then it gets everything at once."""
    opened, waiting = threading.Event(), threading.Event()

    def hook(when: str, call: str, what: object) -> None:
        del what
        if (when, call) == ("before", "write"):
            waiting.set()
            opened.wait(PATIENCE)

    beside = auditring.sinks.JsonlSink(folder / "beside", name="kit-beside")
    try:
        with followed(kit, "slow", folder, hook, beside=(beside,)) as log:
            try:
                emit(log, _BACKLOG)
                # One that waits for full batches is given what there is.
                with contextlib.suppress(TimeoutError):
                    log.flush(_ASKED)
                if not waiting.wait(PATIENCE):
                    raise RuleBroken("slow", "the sink was never given anything")
                _wait(lambda: log.stats().sinks["kit-beside"].pending == 0, "slow", "another sink did not go on")
            finally:
                opened.set()
            settled(log, "slow")
    finally:
        opened.set()
    account(kit, folder, "slow")


def state(kit: "SinkConformance", folder: Path) -> None:
    """Many commits: what each returns is small, and stays so."""
    sizes: list[int] = []
    wrong: list[str] = []

    def hook(when: str, call: str, what: object) -> None:
        if (when, call) != ("after", "commit"):
            return
        if not isinstance(what, bytes):
            wrong.append(f"`commit` returned {what!r}, which is no bytes")
        elif len(what) > _STATE:
            wrong.append(f"the state has {len(what)} bytes")
        else:
            sizes.append(len(what))

    with contextlib.suppress(RuleBroken), followed(kit, "state", folder, hook) as log:
        for _ in range(_COMMITS):
            emit(log, 10)
            settled(log, "state")
    if wrong:
        raise RuleBroken("state", wrong[0])
    if not sizes or sizes[-1] > min(sizes[:_COMMITS]) + _GROWTH:
        raise RuleBroken("state", f"the state grew from commit to commit: {sizes} bytes")
    account(kit, folder, "state")


def interested(kit: "SinkConformance", folder: Path) -> None:
    """Every action of the catalog by every outcome, asked several times; and what is declined does not come."""
    sink = kit.make_sink(folder)
    kinds = [(a["name"], o) for a in _core.actions() for o in ("success", "failure", "denied", "allowed", "forwarded")]
    first = {kind: sink.interested(*kind) for kind in kinds}
    for again in (sink, sink.fresh(), kit.make_sink(folder)):
        for kind, answer in first.items():
            if again.interested(*kind) is not answer:
                raise RuleBroken("interested", f"{kind} is wanted at one time and not at another")
    with followed(kit, "interested", folder) as log:
        emit(log, _ROWS)
        settled(log, "interested")
    account(kit, folder, "interested")


def fresh(kit: "SinkConformance", folder: Path) -> None:
    """Two logs in one directory, of one template, at the same time."""
    template = kit.make_sink(folder)
    other = template.fresh()
    if other is template:
        raise RuleBroken("fresh", "`fresh` returned the object itself")
    for name in ("name", "batching", "checkpoint", "remote"):
        if getattr(other, name) != getattr(template, name):
            raise RuleBroken("fresh", f"`{name}` of a fresh one is {getattr(other, name)!r}")
    if type(other) is not type(template) or policy_of(other) != policy_of(template):
        raise RuleBroken("fresh", "a fresh one is of another class, or has another policy")
    sink = Between(template, Given(folder))
    with followed(kit, "fresh", folder, sink=sink) as one, followed(kit, "fresh", folder, sink=sink) as two:
        for part in range(3):
            emit(one, _ROWS, name=f"one-{part}")
            emit(two, _ROWS, name=f"two-{part}")
            settled(one, "fresh")
            settled(two, "fresh")
    account(kit, folder, "fresh")


class _Keeps(Between):
    """Keeps the batches that it hands over."""

    batches: list[RowBatch]

    def write(self, batch: RowBatch) -> int:
        self.batches.append(batch)
        return super().write(batch)

    def fresh(self) -> "_Keeps":
        other = super().fresh()
        other.batches = self.batches
        return other


def close(kit: "SinkConformance", folder: Path) -> None:
    """A log that is closed with rows on their way; then a sink that is closed without a commit."""
    first, second = folder / "first", folder / "second"
    first.mkdir()
    second.mkdir()
    threads = set(threading.enumerate())
    keeps = _Keeps(kit.make_sink(first), Given(first))
    keeps.batches = []
    with followed(kit, "close", first, sink=keeps) as log:
        emit(log, _ROWS)
    account(kit, first, "close")
    context = SinkContext(
        root=second / "audit",
        process=log.process,
        instance="conformance",
        host="localhost",
        schema_version=_core.SCHEMA_VERSION,
    )
    context.root.mkdir(mode=0o700)
    for commits in (False, True):
        sink = Between(kit.make_sink(second), Given(second)).fresh()
        sink.open(context)
        sink.start(b"")
        for batch in keeps.batches:
            sink.write(batch)
        if commits:
            sink.commit()
        sink.close()
    account(kit, second, "close")
    # Who has read what was delivered may let go of a file a moment later, as Arrow's own threads do.
    _gone("open", lambda: sorted(_open_below(folder)))
    # And a thread that has been told to end may need that moment.
    _gone("running", lambda: [one.name for one in set(threading.enumerate()) - threads if one.is_alive()])


def _gone(what: str, left: Callable[[], list[str]]) -> None:
    """Waits until nothing is left, which may take a moment."""
    deadline = time.monotonic() + _SOON
    while names := left():
        if time.monotonic() > deadline:
            raise RuleBroken("close", f"still {what} after `close`: {', '.join(names)}")
        time.sleep(0.02)


def outage(kit: "SinkConformance", folder: Path) -> bool:
    """The destination goes away with rows on their way, and comes back. Whether there is a way to make it go."""
    away = kit.outage(folder)
    if away is None:
        return False
    name = kit.make_sink(folder).name
    with followed(kit, "outage", folder) as log:
        emit(log, _ROWS)
        settled(log, "outage")
        with away:
            emit(log, _ROWS)
            # Somebody who waits makes the follower commit at once.
            with contextlib.suppress(auditring.SinkError, TimeoutError):
                log.flush(PATIENCE)
            stats = log.stats().sinks[name]
            if not stats.failures and not stats.pending:
                raise RuleBroken("outage", "the sink said that it had taken what the destination never saw")
        _settled_at_last(log, "outage")
    account(kit, folder, "outage")
    return True


def _settled_at_last(log: auditring.AuditLog, rule: str) -> None:
    """`settled` for a sink that may still be failing."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            log.flush(PATIENCE)
        except auditring.SinkError as error:
            if time.monotonic() > deadline:
                raise RuleBroken(rule, f"the sink went on failing: {error}") from error
        except TimeoutError as error:
            raise RuleBroken(rule, f"the sink did not go on: {error}") from error
        else:
            return


def _wait(holds: Callable[[], bool], rule: str, otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise RuleBroken(rule, otherwise)
        time.sleep(0.005)


def _open_below(folder: Path) -> set[str]:
    """Files under a folder that this process has open, where the system tells; those of the log itself stay a while."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        with contextlib.suppress(OSError):  # the one that lists them
            found.add(str(fd.readlink()).removesuffix(" (deleted)"))
    own = f"{os.sep}journal{os.sep}"
    return {
        one for one in found if one.startswith(f"{folder}{os.sep}") and own not in one and not one.endswith(".ring")
    }

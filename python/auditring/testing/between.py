"""What stands between a follower and the sink that is tested: it takes down every call, and may make one fail.

What must always hold: what was given is known however the process ends, so a line goes into a file before the sink has
the batch; and the sink sees the calls of a follower and no others.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from auditring.policy import Policy  # noqa: TC001 - as everywhere here: imports are plain
from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext, hurry, policy_of, unhurry

__all__ = ["Between", "Given", "Hook"]

Hook = Callable[[str, str, Any], None]
"""Called with `before` or `after`, the call's name, and its argument or result; may raise, or not come back."""


def _nothing(when: str, call: str, what: object) -> None:
    """Lets everything pass."""


class Given:
    """The account of what a sink was given and what it promised, in a file that outlives the process."""

    def __init__(self, folder: Path) -> None:
        """The account of a test that has this folder."""
        self._path = folder / ".given"

    def add(self, **said: object) -> None:
        """Takes something down, in one write."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(said).encode() + b"\n")
        finally:
            os.close(fd)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Everything so far."""
        if self._path.exists():
            for line in self._path.read_bytes().splitlines():
                yield json.loads(line)

    def ids(self) -> list[str]:
        """Every `event_id` in the order in which it was given, as often as it was."""
        return [one for said in self if said["call"] == "write" for one in said["ids"]]

    def committed(self, *, last: bool = False) -> set[str]:
        """Those that a `commit` has said to be safe. `last`: also one behind which nothing was taken down."""
        safe: set[str] = set()
        open_: dict[str, list[str]] = {}
        asked: dict[str, list[str]] = {}
        for said in self:
            ids = open_.setdefault(said["of"], [])
            if said["call"] == "start":
                ids.clear()
                asked[said["of"]] = []
            elif said["call"] == "write":
                ids += said["ids"]
            elif said["call"] == "commit":
                asked[said["of"]] = list(ids)
            elif said["call"] == "committed":
                safe.update(asked.pop(said["of"], ()))
                ids.clear()
        return safe.union(*asked.values()) if last else safe


class Between(Sink):
    """The sink under test, seen by its follower through this."""

    def __init__(self, inner: Sink, given: Given, hook: Hook = _nothing) -> None:
        """`inner` is the template, or one that `fresh` made of it."""
        self.inner = inner
        self.name = inner.name
        self.batching: Batching = inner.batching
        self.remote = inner.remote
        self.policy: Policy | None = policy_of(inner)
        self._given = given
        self._hook = hook
        self._process = ""
        if hasattr(inner, "missing"):
            self.missing = inner.missing

    @property
    def checkpoint(self) -> Checkpoint:
        """The sink's own."""
        return self.inner.checkpoint

    def fresh(self) -> Self:
        """Another of the sink's, seen in the same way."""
        return type(self)(self.inner.fresh(), self._given, self._hook)

    def interested(self, action: str, outcome: str) -> bool:
        """The sink's answer."""
        return self.inner.interested(action, outcome)

    def probe(self, root: Path) -> None:
        """The sink's."""
        self.inner.probe(root)

    def open(self, context: SinkContext) -> None:
        """The sink's, which thereby learns whose rows it gets."""
        self._process = context.process
        self.inner.open(context)

    def start(self, state: bytes) -> None:
        """Takes down that all that was not committed is to be undone."""
        self._given.add(call="start", of=self._process)
        self._called("start", state, self.inner.start)

    def write(self, batch: RowBatch) -> int:
        """Takes down which rows the sink is given."""
        seqs = pa.record_batch(batch).column("seq").to_pylist() if batch.rows else []
        self._hook("before", "write", batch)
        self._given.add(call="write", of=self._process, ids=[f"{self._process}:{seq}" for seq in seqs])
        size = self.inner.write(batch)
        self._hook("after", "write", size)
        return size

    def commit(self) -> bytes:
        """Takes down that what was given is to be safe, and that it is, when the sink has said so."""
        self._hook("before", "commit", None)
        self._given.add(call="commit", of=self._process)
        state = self.inner.commit()
        # At once: whatever else is done here would give a thread of the sink the time to keep a promise that it broke.
        self._hook("after", "commit", state)
        self._given.add(call="committed", of=self._process)
        return state

    def hurry(self) -> None:
        """The sink's."""
        hurry(self.inner)

    def unhurry(self) -> None:
        """The sink's."""
        unhurry(self.inner)

    def close(self) -> None:
        """The sink's."""
        self._hook("before", "close", None)
        self.inner.close()
        self._given.add(call="closed", of=self._process)

    def forked(self) -> None:
        """The sink's."""
        self.inner.forked()

    def _called(self, name: str, what: object, call: Callable[[Any], None]) -> None:
        self._hook("before", name, what)
        call(what)
        self._hook("after", name, None)

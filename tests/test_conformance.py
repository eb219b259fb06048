"""The conformance kit: right sinks pass it, and every wrong one is caught by the check of the rule that it breaks."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from auditring import exceptions
from auditring.sinks import JsonlSink, ParquetSink, RowBatch, Sink
from auditring.testing import RULES, RuleBroken, SinkConformance, rules
from filing import FilingSink, filed, ids_of
from sealed_rows import lines_of

ROOT = Path(__file__).parents[1]


class Filing(SinkConformance):
    """What the wrong ones below do right."""

    exactly_once = True
    sink: ClassVar[type[FilingSink]] = FilingSink

    def make_sink(self, folder: Path) -> Sink:
        """Files in a folder of their own."""
        return self.sink(folder / "filed")

    def delivered(self, folder: Path) -> list[str]:
        """Every id in a file."""
        return filed(folder / "filed")

    @contextlib.contextmanager
    def outage(self, folder: Path) -> Iterator[None]:
        """A file that tells it to fail."""
        (folder / "filed" / "away").touch()
        yield
        (folder / "filed" / "away").unlink()


class TestFilingSink(Filing):
    """The sink that the wrong ones are made of."""


class TestJsonlSink(SinkConformance):
    """Our lines."""

    exactly_once = True

    def make_sink(self, folder: Path) -> Sink:  # noqa: ARG002 - it writes into the audit directory
        """As it comes."""
        return JsonlSink()

    def delivered(self, folder: Path) -> list[str]:
        """The lines' own ids."""
        return [line["eventId"] for line in lines_of(folder / "audit")]


class TestParquetSink(SinkConformance):
    """Our tables."""

    exactly_once = True

    def make_sink(self, folder: Path) -> Sink:  # noqa: ARG002 - it writes into the audit directory
        """As it comes."""
        return ParquetSink()

    def delivered(self, folder: Path) -> list[str]:
        """Process and seq of all rows, file by file in the order of their ranges."""
        paths = sorted((folder / "audit").glob("events/*/*.parquet"), key=lambda path: path.name)
        tables = [pq.read_table(path, columns=["process", "seq"]).to_pylist() for path in paths]
        return [f"{row['process']}:{row['seq']}" for table in tables for row in table]


# Each wrong sink is wrong in one thing.


class Reorders(FilingSink):
    """The last of a batch first."""

    def put(self, ids: list[str]) -> int:
        return super().put(ids[::-1])


class TrustsSeqs(FilingSink):
    """Takes a row with a lesser seq than the one before it for one that it has."""

    def write(self, batch: RowBatch) -> int:
        greatest, ids = -1, []
        for one in ids_of(batch, self.process):
            seq = int(one.rpartition(":")[2])
            if seq > greatest:
                greatest = seq
                ids.append(one)
        return self.put(ids)


class Swallows(FilingSink):
    """Goes on when a batch is bad."""

    def write(self, batch: RowBatch) -> int:
        with contextlib.suppress(OSError):
            ids = ids_of(batch, self.process)
            return self.put(ids)
        return 0

    def put(self, ids: list[str]) -> int:
        try:
            return super().put(ids)
        except OSError as error:
            # Only that: what is away it tells of.
            raise exceptions.SinkError(str(error)) from error


class NeverUndoes(FilingSink):
    """Leaves what a failed attempt has left."""

    def start(self, state: bytes) -> None:
        if self.fd < 0:
            super().start(state)


class SkipsHoles(FilingSink):
    """Takes a batch with a loss for a bad one."""

    def write(self, batch: RowBatch) -> int:
        return 0 if batch.lost else super().write(batch)


class DropsWhenBusy(FilingSink):
    """Has room for so many rows in a checkpoint."""

    room = 5000

    def start(self, state: bytes) -> None:
        super().start(state)
        self.room = type(self).room

    def write(self, batch: RowBatch) -> int:
        ids = ids_of(batch, self.process)[: self.room]
        self.room -= len(ids)
        return self.put(ids)

    def commit(self) -> bytes:
        self.room = type(self).room
        return super().commit()


class Remembers(FilingSink):
    """Keeps every offset that it ever had in its state."""

    def start(self, state: bytes) -> None:
        self.offsets = state.split(b",")
        super().start(self.offsets[-1])

    def commit(self) -> bytes:
        self.offsets.append(super().commit())
        return b",".join(one for one in self.offsets if one)


class Wavers(FilingSink):
    """Wants reads every other time."""

    asked = 0

    def interested(self, action: str, outcome: str) -> bool:
        del outcome
        if action == "Read":
            self.asked += 1
        return self.asked % 2 == 0


class IsItsOwnFresh(FilingSink):
    """One object for all."""

    def fresh(self) -> "IsItsOwnFresh":
        return self


class Leaks(FilingSink):
    """Lets go of nothing at the end."""

    def close(self) -> None:
        """Holds on."""


class LosesWhatIsAway(FilingSink):
    """Takes rows for delivered that could not be."""

    def put(self, ids: list[str]) -> int:
        with contextlib.suppress(OSError):
            return super().put(ids)
        return 0


class ForgetsOnRestart(FilingSink):
    """A new one begins from nothing."""

    def start(self, state: bytes) -> None:
        known = self.fd >= 0
        super().start(state)
        if not known and state:
            self.size = 0
            os.ftruncate(self.fd, 0)


class AcknowledgesEarly(FilingSink):
    """Says that rows are safe when they are in memory; the next call writes them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.taken: list[str] = []
        self.promised: list[str] = []

    def spill(self) -> None:
        """Keeps the promise."""
        if self.fd >= 0 and self.promised:
            self.put(self.promised)
            self.promised = []

    def start(self, state: bytes) -> None:
        self.spill()
        self.taken = []
        path = self.folder / f"{self.process}.ids"
        super().start(str(min(int(state or b"0"), path.stat().st_size if path.exists() else 0)).encode())

    def write(self, batch: RowBatch) -> int:
        if (self.folder / "away").exists():
            raise OSError(5, "the destination is away")
        self.spill()
        ids = ids_of(batch, self.process)
        self.taken += ids
        return len(ids)

    def commit(self) -> bytes:
        self.spill()
        self.promised, self.taken = self.taken, []
        return str(self.size + sum(len(one) + 1 for one in self.promised)).encode()

    def close(self) -> None:
        self.spill()
        super().close()

    def forked(self) -> None:
        self.promised = []
        super().forked()


class LeavesItToAThread(AcknowledgesEarly):
    """The same with a thread that is quick to do what was promised, but not before the commit has returned."""

    def commit(self) -> bytes:
        state = super().commit()
        threading.Timer(0.02, self.spill).start()
        return state


class IsHonestEveryOtherTime(AcknowledgesEarly):
    """The same but for every second commit."""

    commits = 0

    def commit(self) -> bytes:
        state = super().commit()
        self.commits += 1
        if self.commits % 2 == 0:
            self.spill()
        return state


class WritesToItsParents(FilingSink):
    """Says farewell in a forked child, over the parent's rows."""

    def forked(self) -> None:
        os.ftruncate(self.fd, 0)
        super().forked()


WRONG: dict[str, type[FilingSink]] = {
    "order": Reorders,
    "windows": TrustsSeqs,
    "errors": Swallows,
    "retry": NeverUndoes,
    "poison": SkipsHoles,
    "slow": DropsWhenBusy,
    "state": Remembers,
    "interested": Wavers,
    "fresh": IsItsOwnFresh,
    "close": Leaks,
    "outage": LosesWhatIsAway,
    "restart": ForgetsOnRestart,
    "acknowledgement": AcknowledgesEarly,
    "fork": WritesToItsParents,
}
EARLY: tuple[type[FilingSink], ...] = (LeavesItToAThread, IsHonestEveryOtherTime)
"""Further ones that acknowledge too early."""
for _sink in (*WRONG.values(), *EARLY):
    # Named in this module, where a process that a check starts finds them.
    globals()[f"Of{_sink.__name__}"] = type(f"Of{_sink.__name__}", (Filing,), {"sink": _sink, "__module__": __name__})


def kit_of(sink: type[FilingSink]) -> Filing:
    """The kit for a wrong one."""
    kit: Filing = globals()[f"Of{sink.__name__}"]()
    return kit


def test_every_rule_has_a_check_a_wrong_sink_and_a_section_of_the_page() -> None:
    """None is only said."""
    checks = {name.removeprefix("test_") for name in dir(SinkConformance) if name.startswith("test_")}
    assert set(RULES) == checks == set(WRONG)
    headings = re.findall(r"^#+ (.+)$", (ROOT / rules.PAGE).read_text(), re.MULTILINE)
    assert set(RULES) <= set(headings)


@pytest.mark.parametrize("rule", RULES)
def test_a_wrong_sink_is_caught_by_the_check_of_its_rule(rule: str, tmp_path: Path) -> None:
    """And the message says which rule it is, and where it is written."""
    with pytest.raises(RuleBroken, match=rf"{re.escape(RULES[rule])} \(docs/sinks\.md#{rule}\)") as caught:
        getattr(kit_of(WRONG[rule]), f"test_{rule}")(tmp_path)
    assert caught.value.rule == rule


@pytest.mark.parametrize("sink", EARLY)
def test_an_early_acknowledgement_is_caught_however_soon_it_is_true(sink: type[FilingSink], tmp_path: Path) -> None:
    """The process dies in the very moment, and not of one commit alone."""
    with pytest.raises(RuleBroken, match="rows are gone"):
        kit_of(sink).test_acknowledgement(tmp_path)


@pytest.mark.parametrize("rule", RULES)
def test_a_wrong_sink_is_caught_by_no_other_check(rule: str, tmp_path: Path) -> None:
    """Here by those that take a moment; all by all takes minutes, and comes to the same."""
    for other in sorted({"order", "errors", "interested", "close"} - {rule}):
        folder = tmp_path / other
        folder.mkdir()
        getattr(kit_of(WRONG[rule]), f"test_{other}")(folder)

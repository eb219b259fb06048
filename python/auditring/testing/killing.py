"""The checks that need a process to die or to fork: played by `host`, looked at from here."""

from pathlib import Path
from typing import TYPE_CHECKING

from auditring.recovery import recover
from auditring.testing.between import Between, Given
from auditring.testing.host import play
from auditring.testing.rules import RuleBroken
from auditring.testing.scenes import account

if TYPE_CHECKING:
    from auditring.testing.conformance import SinkConformance


def restart(kit: "SinkConformance", folder: Path) -> None:
    """`kill -9` between two commits; then another process brings the rest."""
    play(kit, "restart", "restart", folder)
    _acknowledged(kit, folder)
    (result,) = recover(folder / "audit", sinks=(Between(kit.make_sink(folder), Given(folder)),))
    if result.failed is not None or result.behind:
        raise RuleBroken("restart", f"the sink could not go on from its state: {result.failed}")
    account(kit, folder, "restart")


def acknowledgement(kit: "SinkConformance", folder: Path) -> None:
    """`kill -9` in the moment in which `commit` returns; of two, for a sink may do well every other time."""
    for scene in ("second", "third"):
        own = folder / scene
        own.mkdir()
        play(kit, "acknowledgement", scene, own)
        # The last one returned, or the process would not have died of it.
        _there(kit, own, Given(own).committed(last=True))


def fork(kit: "SinkConformance", folder: Path) -> None:
    """A fork with rows on their way: both go on, each with a sink of its own."""
    play(kit, "fork", "fork", folder)
    account(kit, folder, "fork")


def _acknowledged(kit: "SinkConformance", folder: Path) -> None:
    """All that a commit has promised is there now, before anybody goes on."""
    _there(kit, folder, Given(folder).committed())


def _there(kit: "SinkConformance", folder: Path, safe: set[str]) -> None:
    there = set(kit.delivered(folder))
    if not safe:
        raise RuleBroken("acknowledgement", "nothing was committed")
    if early := safe - there:
        raise RuleBroken(
            "acknowledgement",
            f"`commit` returned, the process was killed, and {len(early)} of {len(safe)} rows are gone",
        )

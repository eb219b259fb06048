"""The directory at one moment, while processes write to it.

What must always hold is the order: cursors are read first, then what the journals still hold, then the files are
listed, then the counters are read once more. What a cursor has passed is then in the list, or missing; what is in the
list and behind the first counters is within the second ones.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from auditring import _core, ledger
from auditring.stats import balance
from auditring.verify.report import Finding, Kind, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditring.stats import Equation

__all__ = ["Moment", "SinkStanding", "Standing"]

_NEVER = 2**63 - 1
"""A time that no row reaches: a reader who wants only later ones decodes none."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SinkStanding:
    """How far a sink has come, or where it stood when it was forgotten, and what has become of the rows up to there."""

    cursor: int
    delivered: int
    merged: int
    sampled_out: int
    filtered_out: int
    lost: int
    forgotten: int = 0
    """Rows that it lacked when somebody forgot it (`auditring sink forget`); it gets no more."""
    required: bool = True

    @classmethod
    def of(cls, sink: Mapping[str, Any]) -> SinkStanding:
        """From what the core says."""
        terms = ("delivered", "merged", "sampled_out", "filtered_out")
        forgotten = sink["lost"].get("forgotten", 0)
        return cls(
            cursor=sink["reached"],
            **{term: sink[term] for term in terms},
            lost=sum(sink["lost"].values()) - forgotten,
            forgotten=forgotten,
            required=sink["required"],
        )


_NOWHERE = SinkStanding(cursor=0, delivered=0, merged=0, sampled_out=0, filtered_out=0, lost=0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One process, as its journal or its totals show it."""

    instance: str
    state: State
    next_seq: int
    """All that it has journaled lies before it."""
    sinks: Mapping[str, SinkStanding]
    terms: Mapping[str, int]
    """The counters by name, as they were when the cursors were read."""
    events_lost: int
    """What the counters say was dropped or lost."""
    gone: tuple[tuple[int, int], ...]
    """Ranges that the journal does not hold, or cannot give."""
    equations: tuple[Equation, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """All processes that have left counters, and all files."""

    standings: Mapping[str, Standing]
    tables: tuple[Path, ...]
    lines: tuple[Path, ...]
    findings: tuple[Finding, ...]
    accounts: Mapping[str, Mapping[ledger.Kind, ledger.Account]]
    """What retention has deleted, by process."""

    @classmethod
    def take(cls, root: Path) -> Moment:
        """Look at everything once, in the order that makes it exact."""
        findings: list[Finding] = []
        before = _outside(root, findings)
        gone = _gone(root, findings)
        # `**` also finds what lies in no folder of a date, as a reader's own glob would.
        tables = _plain(root, findings, "events", "**/*.parquet")
        lines = _plain(root, findings, "jsonl", "*.jsonl") + _plain(root, findings, "jsonl/closed", "*.jsonl.zst")
        # After the files were listed: what goes is in the ledger before it goes.
        accounts, damaged = ledger.load_all(root)
        findings += [Finding(kind=Kind.UNREADABLE, text=f"what retention deleted: {text}") for text in damaged]
        after = _outside(root, [])
        standings = {
            process: _standing(before.get(process), after.get(process), gone.get(process, ()))
            for process in before.keys() | after.keys()
        }
        return cls(standings, tables, tuple(sorted(lines)), tuple(findings), accounts)


def _plain(root: Path, findings: list[Finding], folder: str, pattern: str) -> tuple[Path, ...]:
    """The plain files of a folder that is one: a link is not followed, and a pipe would keep its reader waiting."""
    strange: list[Path] = []
    plain: list[Path] = []
    steps = [root / folder, *(root / folder).parents]
    links = [step for step in steps[: steps.index(root)] if step.is_symlink()]
    if links:
        strange.append(links[-1])
    else:
        for path in sorted((root / folder).glob(pattern)):
            (strange if path.is_symlink() or not path.is_file() else plain).append(path)
    for path in strange:
        shown = path.relative_to(root)
        text = f"{shown}: it is no plain file or folder, and was not looked at"
        findings.append(Finding(kind=Kind.FOREIGN, text=text, path=shown))
    return tuple(plain)


def _outside(root: Path, findings: list[Finding]) -> dict[str, dict[str, Any]]:
    try:
        unreadable: list[tuple[Path, str]] = []
        processes = _core.outside(str(root), unreadable=unreadable)
        for path, why in unreadable:
            text = f"counters of {path.name} cannot be read, so its end is not known: {why}"
            findings.append(Finding(kind=Kind.JOURNAL, text=text))
        return {process["process"]: process for process in processes}
    except OSError as error:
        text = f"counters of journals and totals cannot be read, so no end of a process is known: {error}"
        findings.append(Finding(kind=Kind.JOURNAL, text=text))
        return {}


def _gone(root: Path, findings: list[Finding]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Read every journal, with its checksums and without decoding a row, up to what was in it when it was opened."""
    gone: dict[str, list[tuple[int, int]]] = {}
    try:
        journals = _core.Tail(str(root), since_ns=_NEVER)
        journals.last(0)
    except OSError as error:
        findings.append(Finding(kind=Kind.JOURNAL, text=f"a journal cannot be read: {error}"))
        return {}
    for process, first, last in journals.missed():
        gone.setdefault(process, []).append((first, last))
    return {process: tuple(ranges) for process, ranges in gone.items()}


def _standing(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, gone: tuple[tuple[int, int], ...]
) -> Standing:
    # A process that was born meanwhile has promised nothing yet when the cursors were read.
    said = before or after or {}
    born = before is None
    state = State.WRITING if said["alive"] or born else State.LEFT if said["pid"] is not None else State.CLOSED
    later = after or said
    return Standing(
        instance=said["instance"],
        state=state,
        next_seq=said["next_seq"] if state is State.CLOSED else max(said["next_seq"], later["next_seq"]),
        sinks={name: _NOWHERE if born else SinkStanding.of(sink) for name, sink in said["sinks"].items()},
        terms={name: n for name, n in said.items() if isinstance(n, int)},
        events_lost=said["dropped"] + sum(said["lost"].values()),
        gone=gone,
        equations=balance(said),
    )

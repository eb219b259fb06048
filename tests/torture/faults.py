"""Every system call fails: which one, with which error, at which use, in whose hands, once and for a while.

    python tests/torture/faults.py [--short | --seconds 600] [--seed S] [--only open/fsync]

Prints a matrix: for each call and error, and each use of it, what became of a fault that is over with it, and of one
that lasts:

    ok      nothing was to be said of it: done without, or tried again at once
    seen    `health()` and an event have named the cause while it lasted
    raised  `open` has said so, naming the path, and the next one was not disturbed
    again   `close` has said what is missing, and closing again has brought it there
    ·       the call is not made so often
    FAIL    what must hold did not; the seed does it again

The same seed makes the same choices; what threads do meanwhile is not in its power.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from fault_cells import Cell, matrix
from fault_rig import UNUSED, Rig

FAIL = "FAIL"
SHORT = 30.0


class Matrix:
    """What became of each cell."""

    def __init__(self) -> None:
        """Nothing is known."""
        self.results: dict[Cell, str] = {}
        self._unused: dict[tuple[str, str, str], int] = {}

    def unused(self, cell: Cell) -> bool:
        """Whether the call is known not to be made so often."""
        return cell.use >= self._unused.get((cell.place, cell.call, cell.path), cell.use + 1)

    def note(self, cell: Cell, result: str) -> None:
        """Takes down a result."""
        self.results[cell] = result
        if result == UNUSED:
            key = cell.place, cell.call, cell.path
            self._unused[key] = min(self._unused.get(key, cell.use), cell.use)

    def print(self) -> None:
        """The table: a line for each call and error."""
        rows: dict[tuple[str, str, str], list[Cell]] = {}
        for cell in matrix():
            if cell in self.results:
                rows.setdefault(cell.row, []).append(cell)
        print(f"{'where':8} {'call':25} {'error':7} use: once, lasting")
        for (place, call, error), cells in rows.items():
            uses: dict[int, list[str]] = {}
            for cell in cells:
                uses.setdefault(cell.use, []).append(self.results[cell])
            said = "  ".join(f"{use:>2}: {', '.join(results):<14}" for use, results in uses.items())
            print(f"{place:8} {call:25} {error:7} {said}".rstrip())


def main() -> int:
    """All cells, or as many as there is time for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--seconds", type=float, help="a sample, drawn by the seed, for so long")
    parser.add_argument("--short", action="store_const", dest="seconds", const=SHORT, help=f"for {SHORT:.0f} s")
    parser.add_argument("--only", default="", help="cells whose name begins so, as in pump/write/ENOSPC/1+")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    cells = [cell for cell in matrix() if cell.name.startswith(given.only)]
    if given.seconds is not None:
        random.Random(seed).shuffle(cells)
    print(f"faults: {len(cells)} cells{', a sample' if given.seconds is not None else ''}, seed {seed}", flush=True)
    began, seen, failed = time.monotonic(), Matrix(), []
    rig = Rig()
    for done, cell in enumerate(cells, 1):
        if given.seconds is not None and time.monotonic() - began > given.seconds:
            break
        if seen.unused(cell):
            seen.note(cell, UNUSED)
            continue
        try:
            seen.note(cell, rig.run(cell, hash_of(seed, cell)))
        except Exception:  # noqa: BLE001 - whatever it is, the others are tried too
            traceback.print_exc(limit=-3)
            print(f"{cell.name} failed: --seed {seed} --only {cell.name}", flush=True)
            seen.note(cell, FAIL)
            failed.append(cell)
            rig.end(keep=True)
            rig = Rig()
        if done % 50 == 0:
            print(f"{done} of {len(cells)} cells, {len(failed)} failed, {time.monotonic() - began:.0f} s", flush=True)
    rig.end()
    seen.print()
    counts = Counter(seen.results.values())
    told = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    print(f"{len(seen.results)} cells, seed {seed}, {time.monotonic() - began:.0f} s: {told}")
    return 1 if failed else 0


def hash_of(seed: int, cell: Cell) -> int:
    """A seed for the choices within a cell."""
    return random.Random(f"{seed}/{cell.name}").getrandbits(32)


if __name__ == "__main__":
    sys.exit(main())

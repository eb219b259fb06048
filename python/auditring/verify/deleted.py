"""What retention has deleted of a process: by its ledger, and by the rows that are still there and tell of it.

What must always hold: the ledger is believed where it is there, for only it has sums; rows tell of ranges alone, and of
what the ledger has lost. A file that was about to go and is still there has not gone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from auditring.ledger import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from auditring.ledger import Kind
    from auditring.verify.rows import Deletion

__all__ = ["Deleted", "deleted"]


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    """What has gone of one process and one kind of file."""

    account: Account
    waiting: tuple[str, ...] = ()
    """Files of which it was told that they go, and which are still there."""
    unlisted: int = 0
    """Files that only rows tell of: the ledger does not."""

    @property
    def end(self) -> int:
        """The seq behind all that has gone; 0 where nothing has."""
        return self.account.ranges[-1][1] + 1 if self.account.ranges else 0


def deleted(root: Path, kind: Kind, accounts: Mapping[Kind, Account], rows: Iterable[Deletion]) -> Deleted:
    """Puts together what ledger and rows say of one process."""
    account = accounts.get(kind, Account())
    waiting: dict[str, None] = {}
    if (pending := account.pending) is not None:
        if (root / pending.file).exists():
            waiting[pending.file] = None
        else:
            account = account.gone(pending, told=False)
    folder = "events/" if kind == "parquet" else "jsonl/"
    unlisted: dict[str, Deletion] = {}
    for row in rows:
        if not row.file.startswith(folder):
            continue
        if (root / row.file).exists():
            waiting[row.file] = None
        elif not account.covers(row.first_seq, row.last_seq):
            unlisted[row.file] = row
    if unlisted:
        ranges = sorted({*account.ranges, *((row.first_seq, row.last_seq) for row in unlisted.values())})
        account = dataclasses.replace(account, files=account.files + len(unlisted), exact=False, ranges=tuple(ranges))
    return Deleted(account, tuple(waiting), len(unlisted))

"""Retention: the oldest sealed files go when the audit directory takes too much, or holds what is too old.

```
survey      what takes how much, and which files may go: the cursors are asked first, then the files are listed
contents    what a file held: rows, range, times, digest
stages      how near a limit is that deleting cannot keep
keeper      the thread: one file after the other, each told of before it goes
```

What must always hold: only who holds the lock `retention/lock` deletes, whoever else has the directory open; a file
goes only when its sink's cursor is past all of it; and it is in the ledger, durably, and in a row, before it goes.
"""

from auditring.retention.keeper import Keeper
from auditring.retention.survey import Candidate, Survey, plan, survey

__all__ = ["Candidate", "Keeper", "Survey", "plan", "survey"]

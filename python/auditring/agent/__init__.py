"""The agent: the sinks of every process of an audit directory on this host, in a process of its own.

```
agent.py      the loop: who is there, who has come, who has died; one look at everybody twice a second
process.py    one process and its sinks: followed while it lives, adopted when it has died, removed when all have it
adopter.py    what takes its time (recovery, the end of a journal), in a thread of its own
single.py     one agent a directory: the second waits, and takes over
notify.py     what systemd is told
```

What must always hold: a sink is driven by whoever has its lock, and nothing is known here that is not in the directory;
so an agent may be stopped or killed at any moment, and started on any directory of its host, and loses nothing. Nobody
waits for another: each sink of each process has a thread of its own, and who cannot be followed is tried again.
"""

from auditring.agent.agent import Agent, Status

__all__ = ["Agent", "Status"]

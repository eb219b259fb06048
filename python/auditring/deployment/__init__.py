"""A deployment's configuration: `auditring.toml` and the environment, for everything that `auditring.open` takes.

```
keys        the table of keys, from which all else comes
file        the file's words                      ┐
environment the variables' words                  ├─▶ settings ─▶ reading, sinks ─▶ loading: a Deployment
forms       what a value may be, and means        ┘
literals    no secret stands in plain sight
```

What must always hold: one precedence (argument, environment, file, default); nothing is evaluated and nothing is read
again; and all that is wrong is said at once, with its place.
"""

from auditring.deployment.loading import Agent, Deployment, Metrics, load
from auditring.deployment.opened import open_from

__all__ = ["Agent", "Deployment", "Metrics", "load", "open_from"]

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

from auditring.deployment.keys import variable
from auditring.deployment.loading import Agent, Deployment, Metrics, load
from auditring.deployment.opened import open_from
from auditring.deployment.settings import Setting
from auditring.deployment.sinks import Configured

__all__ = ["Agent", "Configured", "Deployment", "Metrics", "Setting", "load", "open_from", "variable"]

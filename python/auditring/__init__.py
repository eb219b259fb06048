"""auditring: a flight recorder for proxies.

```python
import auditring

with auditring.open("audit/", instance="proxy-eu-1") as log, log.session(peer=("192.0.2.7", 40112)) as session:
    session.read("orders", 3, 1000, 1099)
```

`open` and what it takes and returns are here; `auditring.sinks`, `auditring.query`, `auditring.asgi`, and
`auditring.deployment` with `open_from` load when they are first used.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from auditring._interpreter import is_main

if sys.platform not in {"linux", "darwin"}:
    raise ImportError(f"auditring runs on Linux and macOS; its ring is not available on {sys.platform}")

if not is_main():
    # The core would not even fail here: its import would wait for ever.
    raise ImportError("auditring works in the main interpreter alone; in a sub-interpreter it is not available")

from auditring._core import Authorizer, Broker, Plugin, Session
from auditring.config import Durability, Exempt, Retention, Rotation, Then, WhenFull
from auditring.exceptions import (
    AuditError,
    AuditUnavailable,
    CloseIncomplete,
    ConfigError,
    DeploymentError,
    EventConflict,
    EventTableFull,
    JournalError,
    LogClosed,
    PolicyLocked,
    SessionClosed,
    SinkError,
    SinkRejected,
)
from auditring.log import AuditLog, DeclaredEvent
from auditring.opening import open  # noqa: A004 - the public name: auditring.open
from auditring.policy import Keep, Policy, PolicyDiff, Rule
from auditring.redaction import Drop, Hash, Redact, Truncate
from auditring.secrets import Secret
from auditring.stats import Health, Problem, SinkStats, Stats

if TYPE_CHECKING:
    from auditring.deployment import open_from

__all__ = [
    "AuditError",
    "AuditLog",
    "AuditUnavailable",
    "Authorizer",
    "Broker",
    "CloseIncomplete",
    "ConfigError",
    "DeclaredEvent",
    "DeploymentError",
    "Drop",
    "Durability",
    "EventConflict",
    "EventTableFull",
    "Exempt",
    "Hash",
    "Health",
    "JournalError",
    "Keep",
    "LogClosed",
    "Plugin",
    "Policy",
    "PolicyDiff",
    "PolicyLocked",
    "Problem",
    "Redact",
    "Retention",
    "Rotation",
    "Rule",
    "Secret",
    "Session",
    "SessionClosed",
    "SinkError",
    "SinkRejected",
    "SinkStats",
    "Stats",
    "Then",
    "Truncate",
    "WhenFull",
    "open",
    "open_from",
]

_ROOMS = frozenset({"asgi", "deployment", "exposition", "metrics", "query", "sinks"})


def __getattr__(name: str) -> object:
    """Loads a room of the package when somebody enters it."""
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "open_from":
        return importlib.import_module(f"{__name__}.deployment").open_from
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

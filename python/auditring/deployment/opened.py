"""A log as a deployment's file and environment say it."""

import inspect
import os
from typing import Any, Final

from auditring import opening
from auditring.config import unknown_key
from auditring.deployment.loading import load
from auditring.log import AuditLog

__all__ = ["open_from"]

_SHORT: Final = ("read", "write", "request", "seed")


_File = str | os.PathLike[str] | None


def open_from(file: _File = None, /, **overrides: Any) -> AuditLog:  # noqa: ANN401 - as of `open`
    """Opens a log as a configuration file says, and records `ProxyStartup`.

    `file`: the configuration, by default the one that `AUDITRING_CONFIG` names, else the environment alone.
    `overrides`: what `auditring.open` takes, which wins over variables, as those win over the file. The file is read
    once: whoever changes it later changes nothing of a log that is open.

    Raises what `auditring.open` does; `DeploymentError` has all that is wrong with file and environment.
    """
    known = inspect.signature(opening.open).parameters
    for name in overrides:
        if name not in known:
            raise unknown_key("open_from", name, known)
    given = load(file).open_arguments()
    # One policy, in one way or the other: whoever gives one has not to know how the file says it.
    if overrides.get("policy") is not None:
        given = {name: value for name, value in given.items() if name not in _SHORT}
    elif any(overrides.get(name) is not None for name in _SHORT):
        given.pop("policy", None)
    return opening.open(**{**given, **overrides})

"""By what else metrics count events, beside action and outcome: `label_scopes`, checked.

A label costs a series for each of its values and each kind of event, in every scrape and in Prometheus' memory: so only
columns can be labels whose values the proxy's own configuration bounds, and there is a limit all the same.
"""

import re
from collections.abc import Mapping
from typing import Final

from auditring import _core
from auditring.config import unknown_key
from auditring.exceptions import ConfigError

__all__ = ["check_scopes"]

_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = {
    "action": "the events have it already",
    "outcome": "the events have it already",
    "instance": "Prometheus gives it to every target",
    "job": "Prometheus gives it to every target",
    "le": "buckets of histograms have it",
    "quantile": "summaries have it",
}
_MOST: Final = 8191
"""The journal's cells have 13 bits for a scope."""


def check_scopes(scopes: object, limit: object) -> list[tuple[str, str]]:
    """Labels, each with its column, in the order of the labels. Raises `ConfigError`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MOST:
        raise ConfigError(f"label_scope_limit: a whole number from 1 to {_MOST}, not {limit!r}")
    if scopes is None:
        return []
    if not isinstance(scopes, Mapping):
        raise ConfigError(f"label_scopes: labels, each with its column, not {type(scopes).__name__}")
    columns = _core.scope_columns()
    for label, column in scopes.items():
        if not isinstance(label, str) or _LABEL.fullmatch(label) is None:
            raise ConfigError(f"label_scopes: {label!r} is no label: letters, digits and '_', and not '__' in front")
        if label in _TAKEN:
            raise ConfigError(f"label_scopes: {label!r} cannot be a label: {_TAKEN[label]}")
        if column not in columns:
            raise unknown_key(f"label_scopes: {label}", column, columns)
    if len(set(scopes.values())) < len(scopes):
        raise ConfigError("label_scopes: two labels show the same column")
    return sorted(scopes.items())

"""Names for the types of the values that an event takes."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

__all__ = ["Authority", "ContextMap", "Dialect", "Outcome", "Scalar", "Text"]

Authority: TypeAlias = Literal["decision", "witness"]
"""Whether this process decided it, or saw it decided elsewhere."""

Outcome: TypeAlias = Literal["success", "failure", "denied", "allowed", "forwarded"]
"""How it ended. `forwarded` is for what has no answer to see."""

Dialect: TypeAlias = Literal["kroxylicious-v1"]
"""Whose names lines give to actions, where not our own: those of the Kroxylicious proposal for audit logging."""

Scalar: TypeAlias = str | bytes | int | float | bool
"""A value of a context map."""

ContextMap: TypeAlias = Mapping[str, Scalar | Sequence[Scalar]]
"""Details of an event: flat."""

Text: TypeAlias = str | bytes
"""Text off the wire: what cannot be text is replaced and marked, what is too long is cut and marked."""

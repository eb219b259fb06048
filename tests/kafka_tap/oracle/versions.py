"""Every version that the tap claims to read."""

from __future__ import annotations

from typing import NamedTuple

from auditring.kafka import APIS


class Version(NamedTuple):
    """One version of one API."""

    key: int
    name: str
    version: int


CLAIMED = tuple(Version(api.key, api.name, version) for api in APIS for version in range(api.first, api.last + 1))
# What clients prove who they are with is a conversation of its own.
SASL = {"SaslHandshake", "SaslAuthenticate"}

"""Who is who, and what the proxy of the demo is told: three files, as a person would write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

TOPIC: Final = "orders"


class Login(NamedTuple):
    """How somebody logs in."""

    name: str
    mechanism: str
    password: str


ALICE: Final = Login("alice", "SCRAM-SHA-256", "alice-s3cr3t")
BOB: Final = Login("bob", "PLAIN", "bob-s3cr3t")
CAROL: Final = Login("carol", "SCRAM-SHA-256", "carol-s3cr3t")
MALLORY: Final = Login("bob", "PLAIN", "guessed-s3cr3t")
"""Somebody who says that he is bob."""

_PROXY = """
[log]
directory = {directory}
instance = "demo-proxy"
primary_tap = "client"

[clusters.shop]
bootstrap = {bootstrap}
taps = ["client"]
acl = "acl.toml"
sasl = {{ mode = "terminate", users = "users.toml" }}
{rename}
"""

_ACL = """
[[allow]]
principals = ["alice"]
operations = ["WRITE"]
topics = ["orders"]

[[allow]]
principals = ["bob"]
operations = ["READ"]
topics = ["orders"]

[[allow]]                   # that there are orders is no secret
principals = ["carol"]
operations = ["DESCRIBE"]
topics = ["orders"]
"""


def write(folder: Path, *, directory: Path, bootstrap: str, called: str) -> Path:
    """Writes them; returns the one that names the others. `called` is the topic's name on the cluster."""
    users = "".join(f"{one.name} = {_toml(one.password)}\n" for one in (ALICE, BOB, CAROL))
    (folder / "users.toml").write_text(f"[users]\n{users}")
    (folder / "acl.toml").write_text(_ACL)
    rename = "" if called == TOPIC else f"rename = {{ {TOPIC} = {_toml(called)} }}"
    proxy = folder / "proxy.toml"
    proxy.write_text(
        _PROXY.format(directory=_toml(str(directory.absolute())), bootstrap=_toml(bootstrap), rename=rename)
    )
    return proxy


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

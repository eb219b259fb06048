"""What can be configured, and the reading of it: frozen values that are checked when they are made.

A value that exists can be used. Whatever is wrong in the file is one error that names the place; it never shows a
value that may be a secret.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auditring.config import unknown_key
from auditring.exceptions import ConfigError
from kafka_proxy.reading import read

Mechanism = Literal["PLAIN", "SCRAM-SHA-256"]
TapName = Literal["client", "broker"]


_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:@/,\[\]]+):([0-9]{1,5})")
MOST_PORT = (1 << 16) - 1


def address(where: str, text: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets."""
    found = _ADDRESS.fullmatch(text)
    if not found or not 0 < int(found[2]) <= MOST_PORT:
        # Not the text: people write user:password@ in front of a host.
        raise ConfigError(f"{where}: host:port with a port from 1 to {MOST_PORT}, and nothing else")
    return found[1].strip("[]"), int(found[2])


def _listening(where: str, port: int) -> None:
    if not 0 <= port <= MOST_PORT:
        raise ConfigError(f"{where}: 0 (any) to {MOST_PORT}, not {port}")


@dataclass(frozen=True, kw_only=True)
class Log:
    """Where the audit goes, and what of it is kept."""

    directory: Path
    instance: str | None = None
    primary_tap: TapName | None = None
    """The one that totals count; needed where a cluster has two, and every cluster with taps has it."""
    requests: bool = False
    """Also the events of category request: every request that comes, and each that the proxy makes or answers."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A port of the proxy that leads to one broker, which advertises it."""

    port: int
    address: str
    node_id: int | None = None

    def __post_init__(self) -> None:
        _listening("port", self.port)
        address("address", self.address)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """TLS ends here; with `client_auth = "required"` clients prove themselves by a certificate of `client_ca`."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_auth: Literal["none", "required"] = "none"

    def __post_init__(self) -> None:
        if (self.client_auth == "required") != (self.client_ca is not None):
            raise ConfigError('tls: client_auth = "required" and client_ca go together')


@dataclass(frozen=True, kw_only=True)
class Sasl:
    """Who checks a client's credentials: the proxy (`terminate`), or the broker while the proxy looks on."""

    mode: Literal["terminate", "pass-through"]
    mechanisms: tuple[Mechanism, ...] = ("PLAIN", "SCRAM-SHA-256")
    users: Path | None = None

    def __post_init__(self) -> None:
        if (self.mode == "terminate") != (self.users is not None):
            raise ConfigError('sasl: mode = "terminate" and users go together')
        if not self.mechanisms:
            raise ConfigError("mechanisms: at least one, or nobody can log in")


@dataclass(frozen=True, kw_only=True)
class UpstreamTls:
    """TLS to the brokers."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class UpstreamSasl:
    """The proxy's own credentials at the brokers."""

    mechanism: Mechanism
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A request of the proxy's own on every connection, every so many seconds."""

    interval: float

    def __post_init__(self) -> None:
        if not self.interval > 0:
            raise ConfigError("probe.interval: more than 0")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One virtual cluster.

    Either its `brokers` advertise the proxy's ports, one each; or it has a `bootstrap` to start from and the proxy
    rewrites the addresses in what the brokers answer: node N gets port `broker_ports` + N, or any where that is 0.
    """

    host: str = "127.0.0.1"
    advertised_host: str | None = None
    brokers: tuple[Broker, ...] = ()
    bootstrap: str | None = None
    port: int = 0
    broker_ports: int = 0
    taps: tuple[TapName, ...] = ("client",)
    """None at all, `[]`, has to be said: nothing of what clients do with data is recorded then."""
    tls: Tls | None = None
    sasl: Sasl | None = None
    upstream_tls: UpstreamTls | None = None
    upstream_sasl: UpstreamSasl | None = None
    acl: Path | None = None
    rename: dict[str, str] = field(default_factory=dict)
    probe: Probe | None = None

    def __post_init__(self) -> None:
        if bool(self.brokers) == bool(self.bootstrap):
            raise ConfigError(
                "a cluster has either brokers (they advertise the proxy's ports) or a bootstrap to rewrite"
            )
        _listening("port", self.port)
        _listening("broker_ports", self.broker_ports)
        if self.bootstrap:
            address("bootstrap", self.bootstrap)
            if self.advertised_host is None and self.host in {"", "0.0.0.0", "::"}:  # noqa: S104 - refused
                raise ConfigError("advertised_host: clients cannot be told to connect to every address")
        if self.upstream_sasl and self.sasl and self.sasl.mode == "pass-through":
            raise ConfigError(
                "upstream_sasl: with sasl.mode = pass-through the clients log in at the broker themselves"
            )
        if self.probe and self.sasl and self.sasl.mode == "pass-through":
            raise ConfigError("probe: with sasl.mode = pass-through the connection is the client's to log in on")
        if self.acl and self.sasl and self.sasl.mode == "pass-through":
            raise ConfigError("acl: with sasl.mode = pass-through the proxy has no proof of who the client is")
        if self.acl and not self.sasl and not (self.tls and self.tls.client_ca):
            raise ConfigError(
                'acl: without sasl.mode = "terminate" or tls.client_ca the proxy has no proof of who the client is'
            )
        if len(set(self.rename.values()) | set(self.rename)) != 2 * len(self.rename):
            raise ConfigError("rename: a name can be on one side of one line only")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole file."""

    log: Log
    clusters: dict[str, Cluster]
    drain: float = 5.0
    """How many seconds requests in flight have to be answered when the proxy stops."""

    def __post_init__(self) -> None:
        if not self.clusters:
            raise ConfigError("clusters: at least one")
        primary = self.log.primary_tap
        for name, cluster in self.clusters.items():
            taps = " and ".join(dict.fromkeys(cluster.taps))
            if primary and cluster.taps and primary not in cluster.taps:
                raise ConfigError(
                    f"log.primary_tap: {primary}, but clusters.{name}.taps has {taps}: nothing would count"
                )
            if not primary and len(set(cluster.taps)) > 1:
                raise ConfigError(f"log.primary_tap is missing: clusters.{name}.taps has {taps}, all would count twice")


def load(path: Path | str) -> Config:
    """The configuration in the TOML file at `path`; paths in it are relative to where it lies.

    Raises `ConfigError` and `OSError`.
    """
    path = Path(path)
    return read(Config, toml(path), str(path), path.parent)


def table(path: Path, name: str) -> dict[str, object]:
    """The one table of a TOML file that has no other."""
    values = toml(path)
    for key in values:
        if key != name:
            raise unknown_key(str(path), key, [name])
    found = values.get(name)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a table [{name}]")
    return found


def toml(path: Path) -> dict[str, object]:
    """What the TOML file says."""
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # Not the error's text where it could show a line: a password may stand in it.
        raise ConfigError(f"{path}: no TOML ({str(error)[:200]})") from None

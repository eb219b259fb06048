"""`auditring.open`: every setting checked before anything is touched, and what `ProxyStartup` tells of them."""

import getpass
import hashlib
import json
import os
import platform
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from auditring.config import Durability, Exempt, Retention, Seconds, WhenFull, check_durability, positive, seconds
from auditring.exceptions import ConfigError
from auditring.handover import named
from auditring.log import AuditLog
from auditring.policy import Keep, Policy, drawn_seed, shorthand
from auditring.policy.form import check_windows
from auditring.probing import Probe
from auditring.probing import probe as probed
from auditring.probing import required as waited_for
from auditring.redaction import RedactionKey, check_ring, read_key, reference
from auditring.scoping import check_scopes
from auditring.sinks import ParquetSink, Sink
from auditring.sinks.base import digest_of, policy_of, traffic_of

__all__ = ["open"]

_LANES: int | None = None
"""How many lanes a ring has, where that is not the core's to say: for tests, where one thread runs at a time."""
_LEAST_RING: Final = 1 << 20
"""A ring takes a sixteenth of itself in one record: below this an event of the catalog's caps would find no room."""
_MOST_RING: Final = 1 << 30
"""The most that a lane has, and on an interpreter with a GIL the ring is one."""
_SINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def open(  # noqa: A001, PLR0913 - the public name: auditring.open; every setting has its own
    path: str | os.PathLike[str] | None,
    *,
    instance: str | None = None,
    primary_tap: str | None = None,
    sinks: Sequence[Sink] | None = None,
    agent_sinks: Collection[str | Sink] = (),
    required: Collection[str] | None = None,
    probe: Probe = None,
    policy: Policy | None = None,
    read: Keep | None = None,
    write: Keep | None = None,
    request: Keep | None = None,
    seed: int | None = None,
    lock_policy: bool = False,
    when_full: WhenFull | Mapping[str, WhenFull] | None = None,
    durability: Durability = Durability.PROCESS,
    ring_bytes: int = 16 << 20,
    ring_dir: str | os.PathLike[str] | None = None,
    journal_bytes: int = 4 << 30,
    segment_bytes: int = 64 << 20,
    segment_age: Seconds = 10.0,
    balance: Seconds | None = 60.0,
    retention: Retention | None = None,
    exempt: Sequence[Exempt] = (),
    label_scopes: Mapping[str, str] | None = None,
    label_scope_limit: int = 100,
) -> AuditLog:
    """Opens a log in directory `path` and records `ProxyStartup`; `None` makes a log that keeps nothing.

    A second `open` of one directory, in this process or another, is a further writer with its own ring.

    `instance`: which proxy this is, by default the host's name. `primary_tap`: the one tap that metrics count.
    `sinks`: by default one `ParquetSink`. `agent_sinks`: those that `auditring agent` drives, by name, or as sinks
    where they have policies of their own: the journal is kept for them from the first row on, whether or not an agent
    runs yet; with `sinks=()` this process pays for ring and journal alone. `required`: the names of those for which
    the log would rather stop than go on without them, by default the first table sink, else the first: when the journal
    is full for their sake `when_full` speaks, while for the others rows are let go, counted. `probe`: which sinks are
    asked, before anything is begun, whether they can be written to: `True` is all, `False` none, by default those on
    this machine.
    `policy`: what is kept, by default everything but category `request`. `read`,
    `write`, `request` and `seed` are short for one: how much of the data events to keep; `Keep.ALL` to record every
    protocol request that passes; the seed of the sample, by default drawn. `lock_policy`: whether `AuditLog.set_policy`
    is refused. `when_full`: for both classes of events, or
    by class (`droppable`, `protected`). `ring_bytes`: a power of two from 1 MiB; on a free-threaded interpreter several
    lanes share them, each with 1 MiB at least.
    `ring_dir`: by default tmpfs where that outlives the process. `journal_bytes`: the most that the journal may take
    on disk. `segment_bytes`, `segment_age`: when the journal begins a new file. `durability`: what an accepted event
    survives, by default the death of the process. `balance`: how often rows say how the
    balance stands, at most, and once at the end; `None` is never. `retention`: when sealed files of
    the directory are deleted; `None` is never. `exempt`: what auditors of other processes write to Kafka, which taps of
    this one do not audit, but count; of its own sinks, and of those given in `agent_sinks`, that is known.
    `label_scopes`: by what else the metrics count events: labels, each with the column that it shows
    (`virtual_cluster`, `listener`, `server`); past `label_scope_limit` combinations of values all others are counted as
    `other`.

    Raises `ConfigError` and `SinkError` before anything is touched, and `OSError`.
    """
    full = WhenFull.by_class(when_full)
    for name, value in (("ring_bytes", ring_bytes), ("journal_bytes", journal_bytes), ("segment_bytes", segment_bytes)):
        positive(name, value)
    if ring_bytes & (ring_bytes - 1) or not _LEAST_RING <= ring_bytes <= _MOST_RING:
        raise ConfigError(f"ring_bytes: a power of two, {_LEAST_RING} to {_MOST_RING}, not {ring_bytes}")
    check_durability(durability)
    if seconds("balance", balance) == 0:
        raise ConfigError("balance: 0 would write rows all the time; None is never")
    _check_paths(path=path, ring_dir=ring_dir)
    if path is not None:
        _check_ring_dir(ring_dir, Path(path))
    chosen = _checked(sinks)
    apart = _checked([*chosen, *named(agent_sinks)])[len(chosen) :]
    owned = [(sink, policy_of(sink)) for sink in chosen]
    policy = _policy(policy, read=read, write=write, request=request, seed=seed)
    drawn = drawn_seed()
    where = reference(policy.redact)
    key = None if where is None else read_key(where)
    if path is not None:
        check_ring(policy.redact, ring_dir)
    journaled = policy.kept(seed=drawn, redact=policy.redact, key=key)
    # Without a seed of its own a sink samples as the log does: two sinks of the same rules keep the same rows.
    seed = drawn if policy.seed is None else policy.seed
    host = socket.gethostname()
    settings: dict[str, Any] = {
        "instance": host if instance is None else instance,
        "host": host,
        "policy": journaled,
        "sinks": [
            (sink.name, b"" if own is None else _kept(sink, own, policy, journaled, seed, key))
            for sink, own in [*owned, *((sink, policy_of(sink)) for sink in apart)]
        ],
        "by_agent": [sink.name for sink in apart],
        "required": waited_for([*chosen, *apart], required),
        "primary_tap": primary_tap,
        "ring_dir": None if ring_dir is None else os.fspath(ring_dir),
        "ring_bytes": ring_bytes,
        **{name: one.boundary for name, one in full.items()},
        "journal_bytes": journal_bytes,
        "segment_bytes": segment_bytes,
        "segment_seconds": _span("segment_age", segment_age),
        "power_seconds": durability.interval,
        "balance_seconds": seconds("balance", balance),
    }
    if not isinstance(lock_policy, bool):
        raise ConfigError(f"lock_policy: True or False, not {lock_policy!r}")
    if not isinstance(retention, Retention | None):
        raise ConfigError(f"retention: a Retention, not {retention!r}")
    if isinstance(exempt, Exempt) or not all(isinstance(one, Exempt) for one in exempt):
        raise ConfigError(f"exempt: a sequence of Exempts, not {exempt!r}")
    said = {**settings, "policy": _said(policy, policy, key), "lock_policy": lock_policy}
    said["sinks"] = [
        [sink.name, type(sink).__qualname__, repr(None) if own is None else _said(own, policy, key)]
        + ([] if (digest := digest_of(sink)) is None else [digest])
        for sink, own in [*owned, *((sink, policy_of(sink)) for sink in apart)]
    ]
    scopes = check_scopes(label_scopes, label_scope_limit)
    # What was not said is not in the digest, which so stays what it was before it could be.
    more = {
        "retention": retention,
        "exempt": list(exempt) or None,
        "label_scopes": [scopes, label_scope_limit] if scopes else None,
    }
    said |= {name: repr(value) for name, value in more.items() if value is not None}
    said = {name: value for name, value in said.items() if name != "by_agent" or apart}
    settings["startup"] = _startup(said, durability)
    settings["exempt"] = (*exempt, *(one for sink in apart for one in traffic_of(sink, elsewhere=True)))
    settings["key"] = key
    settings["lanes"] = _LANES
    settings["label_scopes"] = scopes
    settings["label_scope_limit"] = label_scope_limit
    root = None if path is None else Path(path).absolute()
    probed(chosen, probe, root)
    return AuditLog(root, chosen, settings, lock_policy=lock_policy, redact=policy.redact, retention=retention)


def _check_paths(**paths: str | os.PathLike[str] | None) -> None:
    """Raises where one is empty: what an unset variable gives would be the working directory."""
    for name, path in paths.items():
        if path is not None and not os.fspath(path):
            raise ConfigError(f"{name}: an empty path names no directory; '.' is the working directory")


def _check_ring_dir(ring_dir: str | os.PathLike[str] | None, path: Path) -> None:
    """Raises where no ring could be made: the core makes the journal's folder first, and would leave it behind."""
    if ring_dir is None or (not path.exists() and path.absolute().is_relative_to(Path(ring_dir).absolute())):
        return
    if not Path(ring_dir).is_dir():
        raise ConfigError(f"ring_dir: {os.fspath(ring_dir)!r} is no directory; the ring is made in one that is there")
    if not os.access(ring_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"ring_dir: {os.fspath(ring_dir)!r} cannot be written to by this user")


def _span(name: str, value: Seconds | None) -> float:
    """A span that there must be, in seconds."""
    span = seconds(name, value)
    if span is None:
        raise ConfigError(f"{name}: None is no span of time")
    return span


def _kept(sink: Sink, own: Policy, policy: Policy, journaled: bytes, seed: int, key: RedactionKey | None) -> bytes:
    """A sink's own policy as its journal keeps it, held against the log's, whose form is `journaled`."""
    if own.redact:
        raise ConfigError(f"sinks: the policy of {sink.name!r} redacts, which only the log's can; put it into policy=")
    try:
        form = own.kept(seed=seed, redact=policy.redact, key=key)
    except ConfigError as error:
        raise ConfigError(f"sinks: {sink.name!r}: {error}") from error
    check_windows(journaled, form, f"sinks: the policy of {sink.name!r}")
    return form


def _said(policy: Policy, log: Policy, key: RedactionKey | None) -> str:
    """A policy as it goes into the digest of the settings: with redactions as the journal has it.

    What rules name may be what is redacted, and a digest of it could be tried out.
    """
    return policy.kept(seed=0, redact=log.redact, key=key).decode() if log.redact else repr(policy)


def _policy(policy: Policy | None, **short: Any) -> Policy:  # noqa: ANN401 - checked by what they are short for
    """What `open` was given, in one way or the other."""
    if policy is None:
        return shorthand(**short)
    if not isinstance(policy, Policy):
        raise ConfigError(f"policy: a Policy, not {policy!r}")
    for name, value in short.items():
        if value is not None:
            raise ConfigError(f"{name}: not beside policy=, which says it all; put it into the policy")
    return policy


def _startup(said: Mapping[str, object], durability: Durability) -> list[tuple[str, str]]:
    """What `ProxyStartup` tells beside what the core knows: under whom and on what this runs, and with which settings.

    The digest is of what was asked for, so that it is the same at every start that asks for the same.
    """
    system = os.uname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return [
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("platform", f"{system.sysname} {system.release} {system.machine}"),
        ("user", user),
        ("durability", str(durability)),
        ("configuration_digest", hashlib.sha256(canonical).hexdigest()),
    ]


def _checked(sinks: Sequence[object] | None) -> tuple[Sink, ...]:
    given: object = sinks
    if isinstance(given, Sink) or not isinstance(given, Iterable | None):
        raise ConfigError(f"sinks: a sequence of sinks, not {sinks!r}; of one: sinks=(sink,)")
    chosen = (ParquetSink(),) if sinks is None else tuple(sinks)
    return tuple(_named_apart(chosen))


def _named_apart(sinks: Iterable[object]) -> Iterator[Sink]:
    names = set()
    for sink in sinks:
        if not isinstance(sink, Sink):
            raise ConfigError(f"sinks: {sink!r} is no auditring.sinks.Sink; derive its class from that")
        if not isinstance(policy_of(sink), Policy | None):
            raise ConfigError(f"sinks: the policy of {sink.name!r} is a Policy, not {policy_of(sink)!r}")
        if _SINK_NAME.fullmatch(sink.name) is None:
            raise ConfigError(f"sinks: the name {sink.name!r} cannot name a file; letters, digits, '-' and '_'")
        if sink.name in names:
            raise ConfigError(f"sinks: two are named {sink.name!r}")
        names.add(sink.name)
        yield sink

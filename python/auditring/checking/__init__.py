"""What a deployment would do, before it does it: each sink asked for real, each place looked at, each policy explained.

What must always hold: nothing of a running deployment is changed and nothing is left behind, but what a sink's own
probe does; and whatever is said is of the very settings that `auditring.open_from` would open with.
"""

import dataclasses
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from auditring import opening
from auditring.checking import places
from auditring.checking.consequences import Waiting, consequences, in_order, journal_bytes, ring_bytes, waiting
from auditring.checking.findings import Finding, Level, note, ok, wrong
from auditring.checking.kept import Kind, kinds
from auditring.checking.secrets import readable
from auditring.deployment import Deployment, load
from auditring.exceptions import ConfigError
from auditring.policy import Policy
from auditring.probing import required
from auditring.redaction import check_ring
from auditring.sinks import Sink
from auditring.sinks.base import policy_of

__all__ = ["Finding", "Kind", "Level", "Report", "SinkReport", "check"]


_OF_THE_PROCESS: Final = {"log": "only the proxy itself can tell: lines go to whatever handlers its logging has"}
"""Kinds of which nothing can be found out elsewhere."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SinkReport:
    """One sink, as it would run."""

    name: str
    kind: str
    required: bool
    by: str
    """`log`, or `agent`."""
    kept: tuple[Kind, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that was found out."""

    deployment: Deployment
    findings: tuple[Finding, ...]
    sinks: tuple[SinkReport, ...]
    consequences: tuple[tuple[str, str], ...]
    waiting: Waiting
    digest: str | None
    """As `ProxyStartup` will have it; `None` where the log could not be opened."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return all(one.level != "wrong" for one in self.findings)


def check(
    path: str | os.PathLike[str] | None = None, *, probe: bool = True, environ: Mapping[str, str] | None = None
) -> Report:
    """Reads a deployment and looks at all that it needs. `probe`: whether its sinks are asked.

    Raises `DeploymentError` where it cannot be read, and `ConfigError` where no log could be opened with it.
    """
    deployment = load(path, environ=environ)
    sinks = deployment.sinks
    policy, digest, found = _opened(deployment)
    findings = [*found, *_looked_at(deployment)]
    names = required(in_order(deployment), deployment.log.get("required"))
    kinds_of = dict(zip((sink.name for sink in sinks), _kinds(deployment), strict=True))
    for sink in sinks:
        if not probe:
            findings.append(note(f"sink {sink.name}", "was not asked"))
        elif kinds_of[sink.name] in _OF_THE_PROCESS:
            findings.append(note(f"sink {sink.name}", _OF_THE_PROCESS[kinds_of[sink.name]]))
        else:
            findings.append(_asked(sink, deployment.root))
    return Report(
        deployment=deployment,
        findings=tuple(findings),
        sinks=tuple(
            SinkReport(
                name=sink.name,
                kind=kinds_of[sink.name],
                required=sink.name in names,
                by="agent" if deployment.of_agent(sink.name) else "log",
                kept=tuple(kinds(policy, policy_of(sink))),
            )
            for sink in sinks
        ),
        consequences=tuple(consequences(deployment)),
        waiting=waiting(deployment),
        digest=digest,
    )


def _kinds(deployment: Deployment) -> list[str]:
    return ["parquet"] if deployment.configured is None else [one.kind for one in deployment.configured]


def _opened(deployment: Deployment) -> tuple[Policy, str | None, list[Finding]]:
    """The policy that would be in force, and the digest of the settings: by a log that keeps nothing."""
    secrets = list(readable(deployment))
    arguments = deployment.open_arguments()
    if any(one.level == "wrong" for one in secrets):
        # The log's redactions want their key, so no log can be opened; its rules can be told all the same.
        return deployment.log.get("policy") or Policy(), None, secrets
    try:
        with opening.open(**{**arguments, "path": None}) as log:
            return log.policy, log.configuration_digest, secrets
    except ConfigError as error:
        said = deployment.settings.get(str(error).partition(":")[0])
        raise error if said is None else ConfigError(f"{said.origin}, {error}") from error


def _looked_at(deployment: Deployment) -> Iterator[Finding]:
    if deployment.path is not None:
        yield places.configuration_file(deployment.path)
    yield places.audit_directory(deployment.root)
    yield from places.room(deployment.root, journal_bytes(deployment), deployment.log.get("retention"))
    ring_dir: Path | None = deployment.log.get("ring_dir")
    policy: Policy | None = deployment.log.get("policy")
    redact = () if policy is None else policy.redact
    yield places.ring(deployment.root, ring_dir, ring_bytes(deployment), redacts=bool(redact))
    try:
        check_ring(redact, ring_dir)
    except ConfigError as error:
        yield wrong("ring", str(error))
    yield from places.clock()


_PATIENCE: Final = 30.0
"""Seconds that a sink has to say whether it can be written to: more than the longest that one of ours waits."""


def _asked(sink: Sink, root: Path) -> Finding:
    """Whether rows could be written, as the sink itself finds out: in a thread that is left where it hangs."""
    what = f"sink {sink.name}"
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            sink.probe(root)
        except BaseException as error:  # noqa: BLE001 - a sink that somebody else wrote raises what it likes
            raised.append(error)

    began = time.monotonic()
    thread = threading.Thread(target=ask, name=f"auditring-check-{sink.name}", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    # In this order: one that has ended has said what it raised.
    if thread.is_alive():
        return wrong(what, f"has not said within {_PATIENCE:g} s whether it can be written to; a log may wait as long")
    if raised:
        return wrong(what, f"cannot be written to: {type(raised[0]).__name__}: {raised[0]}")
    return ok(what, f"can be written to; it said so within {(time.monotonic() - began) * 1000:.0f} ms")

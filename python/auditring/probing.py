"""Before a log is begun: which sinks the journal waits for, and whether they could be written to at all.

What must always hold: nothing is made and nothing is claimed here, so a log that cannot be opened for a sink's sake
leaves no trace; and a sink on another machine keeps nobody from starting who has not asked for that.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from auditring.config import unknown_key
from auditring.exceptions import ConfigError, SinkError
from auditring.sinks.base import Sink

__all__ = ["Probe", "probe", "required"]

Probe = bool | Collection[str] | None
"""Which sinks `open` asks: all, none, those of these names; `None`: those that are not remote."""


def required(sinks: Sequence[Sink], names: Collection[str] | None) -> list[str]:
    """The sinks for which the log stops at the journal's budget: by default the first table sink, else the first."""
    if names is None:
        table = next((sink for sink in sinks if sink.batching.tables), next(iter(sinks), None))
        return [] if table is None else [table.name]
    _check("required", names, sinks)
    return [sink.name for sink in sinks if sink.name in names]


def probe(sinks: Sequence[Sink], which: Probe, root: Path | None) -> None:
    """Asks the sinks whether rows could be written under `root`; `None`: only checks `which`.

    Raises `ConfigError`, and `SinkError` that names the sink and the cause.
    """
    if not isinstance(which, bool | None):
        _check("probe", which, sinks)
    if root is None:
        return
    for sink in sinks:
        wanted = which if isinstance(which, bool) else not sink.remote if which is None else sink.name in which
        if not wanted:
            continue
        try:
            sink.probe(root)
        except Exception as error:
            raise SinkError(f"sink {sink.name!r} cannot be written to: {type(error).__name__}: {error}") from error


def _check(setting: str, names: Collection[str], sinks: Sequence[Sink]) -> None:
    known = [sink.name for sink in sinks]
    if isinstance(names, str | bytes) or not isinstance(names, Collection):
        raise ConfigError(f"{setting}: a collection of sinks' names, not {names!r}")
    for name in names:
        if name not in known:
            raise unknown_key(setting, name, known)

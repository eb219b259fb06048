"""A deployment, whole: from a file, the environment, and what holds where neither says anything.

What must always hold: it is read once, and never again while a log that was opened from it runs; all that is wrong is
told at once; and the same words come to the same settings.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from auditring.deployment import file as files
from auditring.deployment.environment import by_name, tell_unknown
from auditring.deployment.keys import CONFIG, KEYS, SHORT
from auditring.deployment.literals import references, resolved
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.reading import Reader, arguments
from auditring.deployment.settings import SINKS, Setting, Source, flat
from auditring.deployment.sinks import Configured, sinks_of
from auditring.sinks import Sink

__all__ = ["Agent", "Deployment", "Metrics", "load", "made"]

_ENVIRONMENT: Final = "the environment"
_AGENT: Final = "agent."
_TABLES: Final = ("policy.redact",)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """What the agent beside the proxy does."""

    sinks: bool | tuple[str, ...] = False
    """Which sinks it runs: all, none, those of these names. The proxy opens its log without them."""
    listen: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """How what is counted is told."""

    listen: str | None = None
    label_scopes: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deployment:
    """All that a deployment says, read and checked key by key."""

    path: Path | None
    """The file; `None` where the environment said everything."""
    root: Path
    """The audit directory."""
    configured: tuple[Configured, ...] | None
    """Its sinks; `None` is the default, one of tables."""
    agent: Agent
    metrics: Metrics
    settings: Mapping[str, Setting]
    """Each value as it was said, and where, by key."""
    references: tuple[tuple[str, str], ...]
    """Where its secrets are: `env` or `file`, and which."""
    sha256: str | None
    """Of the file's bytes."""
    log: Mapping[str, Any]
    """What `auditring.open` takes, but for directory and sinks."""

    @property
    def sinks(self) -> tuple[Sink, ...] | None:
        """All sinks, the agent's too; `None` is the default."""
        return None if self.configured is None else tuple(one.sink for one in self.configured)

    def of_agent(self, name: str) -> bool:
        """Whether the agent runs the sink of this name."""
        return self.agent.sinks if isinstance(self.agent.sinks, bool) else name in self.agent.sinks

    def open_arguments(self) -> dict[str, Any]:
        """What to call `auditring.open` with: `auditring.open(**deployment.open_arguments())`."""
        given: dict[str, Any] = {"path": self.root, **self.log}
        if self.sinks is None and self.agent.sinks is not True:
            return given
        mine = [sink for sink in self.sinks or () if not self.of_agent(sink.name)]
        given["sinks"] = tuple(mine)
        for name in ("required", "probe"):
            # The agent's are the agent's to wait for, and to ask.
            if isinstance(given.get(name), tuple):
                given[name] = tuple(one for one in given[name] if not self.of_agent(one))
        return given


def load(path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None) -> Deployment:
    """Reads a deployment. `None`: the file that `AUDITRING_CONFIG` names, else the environment alone.

    `environ`: the environment, by default the process's. Raises `DeploymentError`, which is a `ConfigError` and has all
    that is wrong.
    """
    variables = os.environ if environ is None else environ
    named = os.fspath(path) if path is not None else variables.get(CONFIG) or None
    mistakes = Mistakes()
    if named is None:
        said = files.File({}, Source(_ENVIRONMENT, {}), None)
        return made(said, None, variables, mistakes)
    where = Path(named).absolute()
    return made(files.read(where, mistakes), where, variables, mistakes)


def made(said: files.File, path: Path | None, environ: Mapping[str, str], mistakes: Mistakes) -> Deployment:
    """A deployment of what a file says. Raises `DeploymentError`."""
    source = said.source
    base = Path.cwd() if path is None else path.parent
    mistakes_of_file = len(mistakes.found)
    tree = dict(said.tree)
    tables = tree.pop(SINKS, None)
    variables = by_name(environ, mistakes)
    places = list(references([*said.tree.values(), *(one.value for one in variables.settings.values())]))
    named = {name for scheme, name in places if scheme == "env"}
    tell_unknown(variables, {*named, *(one.text for one in variables.sinks if one.rest[-1] == "env")}, mistakes)
    settings = _overlaid(flat(tree, source, mistakes), variables.settings)
    for name in _TABLES:
        if name in settings:
            settings[name] = dataclasses.replace(settings[name], value=resolved(settings[name].value, base))
    reader = Reader(settings, KEYS, source, base, mistakes)
    log = arguments(reader)
    configured = sinks_of(tables, source, variables.sinks, base, mistakes)
    if "path" not in settings and not (mistakes_of_file and said.sha256 is None):
        mistakes.add("path", "is missing: the audit directory has to be said")
    mistakes.told(str(path or _ENVIRONMENT))
    # A sink that the default says is nobody's to hand over but by name.
    agent = {"sinks": any(name.startswith(_AGENT) for name in settings), **reader.group("agent")}
    return Deployment(
        path=path,
        root=log.pop("path"),
        configured=configured,
        agent=Agent(**agent),
        metrics=Metrics(**reader.group("metrics")),
        settings=settings,
        references=tuple(_places(settings, configured)),
        sha256=said.sha256,
        log=log,
    )


def _overlaid(file: Mapping[str, Setting], environment: Mapping[str, Setting]) -> dict[str, Setting]:
    """The environment's words over the file's; a table that is said in a word is said whole."""
    whole = tuple(f"{table}." for table, name in SHORT.items() if name in environment)
    kept = {name: one for name, one in file.items() if not (whole and name.startswith(whole))}
    merged = {**kept, **environment}
    return {name: merged[name] for name in KEYS if name in merged}


def _places(settings: Mapping[str, Setting], configured: tuple[Configured, ...] | None) -> Iterator[tuple[str, str]]:
    for name in _TABLES:
        yield from references(settings[name].value if name in settings else None)
    for one in configured or ():
        yield from one.references

"""A deployment, whole: from a file, the environment, and what holds where neither says anything.

What must always hold: it is read once, and never again while a log that was opened from it runs; all that is wrong is
told at once; and the same words come to the same settings.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from auditring.config import unknown_key
from auditring.deployment import file as files
from auditring.deployment.environment import by_name, tell_unknown
from auditring.deployment.keys import CONFIG, KEYS, SHORT
from auditring.deployment.literals import ADVICE, hidden, references, resolved, secrets_in
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.reading import Reader, arguments
from auditring.deployment.settings import SINKS, Setting, Source, flat
from auditring.deployment.sinks import Configured, sinks_of
from auditring.sinks import ParquetSink, Sink

__all__ = ["Agent", "Deployment", "Metrics", "load", "made"]

_ENVIRONMENT: Final = "the environment"
_AGENT: Final = "agent."
_TABLES: Final = ("policy.redact",)
_NAMING: Final = ("agent.sinks", "probe", "required")
"""What names sinks."""


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
    """Where `auditring metrics --config` serves it."""


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
    def sinks(self) -> tuple[Sink, ...]:
        """All sinks, the agent's too."""
        return (ParquetSink(),) if self.configured is None else tuple(one.sink for one in self.configured)

    @property
    def agent_sinks(self) -> tuple[Sink, ...]:
        """Those that the agent runs."""
        return tuple(sink for sink in self.sinks if self.of_agent(sink.name))

    def of_agent(self, name: str) -> bool:
        """Whether the agent runs the sink of this name."""
        return self.agent.sinks if isinstance(self.agent.sinks, bool) else name in self.agent.sinks

    def open_arguments(self) -> dict[str, Any]:
        """What to call `auditring.open` with: `auditring.open(**deployment.open_arguments())`."""
        given: dict[str, Any] = {"path": self.root, **self.log}
        if self.configured is None and not self.agent.sinks:
            return given
        given["sinks"] = tuple(sink for sink in self.sinks if not self.of_agent(sink.name))
        if apart := self.agent_sinks:
            given["agent_sinks"] = apart
            if isinstance(given.get("probe"), tuple):
                # The agent's are the agent's to ask.
                given["probe"] = tuple(name for name in given["probe"] if not self.of_agent(name))
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
    _refuse_secrets(tree, source, mistakes)
    variables = by_name(environ, mistakes)
    places = list(references([*said.tree.values(), *(one.value for one in variables.settings.values())]))
    named = {name for scheme, name in places if scheme == "env"}
    tell_unknown(variables, {*named, *(one.text for one in variables.sinks if one.rest[-1] == "env")}, mistakes)
    for name, one in variables.settings.items():
        _refuse_secrets({name: one.value}, Source(one.origin, {}), mistakes)
    settings = {
        name: dataclasses.replace(one, value=hidden(one.value))
        for name, one in _overlaid(flat(tree, source, mistakes), variables.settings).items()
    }
    for name in _TABLES:
        if name in settings:
            settings[name] = dataclasses.replace(settings[name], value=resolved(settings[name].value, base))
    reader = Reader(settings, KEYS, source, base, mistakes)
    log = arguments(reader)
    configured = sinks_of(tables, source, variables.sinks, base, mistakes)
    if "path" not in settings and not (mistakes_of_file and said.sha256 is None):
        mistakes.add("path", "is missing: the audit directory has to be said")
    names = {"parquet"} if configured is None else {one.sink.name for one in configured}
    # Of a sink that is a mistake itself nothing more is said.
    names |= {str(one.get("name", one.get("kind"))) for one in _each(tables)}
    for key in _NAMING:
        if isinstance(said_names := reader.values.get(key), tuple):
            for name in said_names:
                if name not in names:
                    mistakes.add("", unknown_key(reader.place(key), name, names))
    mistakes.told(str(path or _ENVIRONMENT))
    agent = {"sinks": any(name.startswith(_AGENT) for name in settings), **reader.group("agent")}
    return Deployment(
        path=path,
        root=log.pop("path"),
        configured=configured,
        agent=Agent(**agent),
        metrics=Metrics(listen=reader.group("metrics").get("listen")),
        settings=settings,
        references=tuple(_places(settings, configured)),
        sha256=said.sha256,
        log=log,
    )


def _each(tables: object) -> Iterator[Mapping[str, object]]:
    """What of a list of tables are tables."""
    yield from (one for one in tables if isinstance(one, Mapping)) if isinstance(tables, list) else ()


def _refuse_secrets(tree: Mapping[str, Any], source: Source, mistakes: Mistakes) -> None:
    """What stands anywhere in plain sight; that the key may be nobody's is said beside it."""
    for key in secrets_in(tree):
        mistakes.add(source.place(key, *key.split(".")), f"is a secret in plain sight; {ADVICE}")


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

"""Log lines: canonical JSON through `logging`, to whatever handlers the host has.

```
auditring.audit                             give this one a handler and a level
auditring.audit.OperationDenied             a logger an action
auditring.audit.com.example.kms.KeyUsed     a plugin's is package-qualified, as its action is
```

What must always hold: a row is done with only when every handler that wants its level has taken it; a handler that
fails is the sink's failure, so the row comes again (each at least once), and what had gone well before is not repeated
as long as the process lives. A logger that was disabled, or has no handler, is a failure too, and no silence. The
number of loggers is bounded, because `logging` never lets go of one: beyond it rows come through the nearest above.

What cannot be noticed: a level that `logging` is configured with turns rows off as it does every record, and a handler
that loses records without a word (a `SocketHandler` whose peer is gone) has taken them as far as anybody can see.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, get_args

from auditring.config import unknown_key
from auditring.exceptions import ConfigError, SinkError
from auditring.policy import Policy
from auditring.sinks._handlers import flush, hand_over, handlers_of, on_one_line
from auditring.sinks._levels import LogAt, level_of, levels
from auditring.sinks._loggers import ROOT, logger_of, made
from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext
from auditring.types import Dialect

__all__ = ["LogAt", "LoggingSink"]

_MOST_KINDS: Final = 10_000
_NS: Final = 1_000_000_000


class LoggingSink(Sink):
    """A record an event; its message is the canonical JSON, its time the event's.

    A record has `event_id`, `action`, `category`, `outcome`, `session` and `virtual_cluster` as attributes of its own.
    """

    batching = Batching(rows=1024, partial=True, linger=0.03)

    def __init__(
        self,
        *,
        name: str = "log",
        log_at: str | int = "INFO",
        except_: Sequence[LogAt] = (),
        structured: bool = False,
        dialect: Dialect | None = None,
        checkpoint: Checkpoint | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`log_at`: the level of all events but those of `except_`, of which the first that matches decides.

        A level is a name or a number; `"OFF"` logs nothing. `structured`: records have the whole event, as a
        dictionary, in `auditring`. `dialect`: whose names actions have in the JSON, by default our own.
        `checkpoint`: by default 64 MiB or a second. `policy`: what this sink keeps, by default what the log keeps.
        """
        if dialect is not None and dialect not in get_args(Dialect):
            raise ConfigError(f"dialect: there is no {dialect!r}; known: {', '.join(get_args(Dialect))}")
        if isinstance(except_, LogAt | str) or not all(isinstance(rule, LogAt) for rule in except_):
            raise ConfigError(f"except_: a sequence of LogAt, not {except_!r}")
        if not isinstance(structured, bool):
            raise ConfigError(f"structured: True or False, not {structured!r}")
        self.name = name
        self.policy = policy
        self._log_at = level_of("log_at", log_at)
        self._except = tuple(except_)
        self._structured = structured
        self._dialect = dialect
        self._limits = checkpoint or Checkpoint(bytes=64 << 20, age=1.0)
        self._kinds: dict[tuple[str, str], int | None] = {}
        self._handed: set[int] = set()
        """Rows since the last commit that every handler has taken."""
        self._used: set[logging.Handler] = set()

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """A sink as it stands in TOML: `log_at = "INFO"`, `except = [{ log_at = "OFF", action = "Read" }]`."""
        known = ("name", "log_at", "except", "structured", "dialect", "checkpoint", "policy")
        for key in values:
            if key not in known:
                raise unknown_key("log", key, known)
        given: dict[str, Any] = dict(values)
        rules = given.pop("except", ())
        if isinstance(rules, str | bytes | Mapping) or not isinstance(rules, Sequence):
            raise ConfigError(f"log.except: a list of tables, not {rules!r}")
        return cls(**given, except_=[LogAt.from_mapping(rule) for rule in rules])

    @property
    def checkpoint(self) -> Checkpoint:
        """The limits given."""
        return self._limits

    def interested(self, action: str, outcome: str) -> bool:
        """Whether there is a level for it; what `logging` itself is configured to drop may change, and comes."""
        return self._level(action, outcome) is not None

    def probe(self, root: Path) -> None:
        """Looks whether any logger of ours is enabled and has a handler. Raises `SinkError`."""
        del root
        ours = made()
        wanted = {level for level in (self._log_at, *(rule.level for rule in self._except)) if level is not None}
        enabled = [one for one in ours if any(one.isEnabledFor(level) for level in wanted)]
        if wanted and not enabled:
            at = logging.getLevelName(ours[0].getEffectiveLevel())
            raise SinkError(f"{ROOT} is at level {at}, above all that would be logged: set it, or a child's, lower")
        if wanted and not any(any(handlers_of(one)) for one in enabled):
            raise SinkError(f"no handler takes what {ROOT} logs: configure logging first")

    def open(self, context: SinkContext) -> None:
        """Takes whose rows they are."""
        self._process = context.process

    def start(self, state: bytes) -> None:
        """Nothing can be undone; what was handed over is not handed over again."""

    def write(self, batch: RowBatch) -> int:
        """Hands a record of each row to the handlers. Raises `SinkError`, or what one of them raised."""
        size = 0
        for line, seq, time_ns, action, category, outcome, session, cluster in batch.records(self._dialect):
            size += len(line)
            level = self._level(action, outcome)
            if level is None or seq in self._handed:
                continue
            logger = logger_of(action)
            if logger.disabled:
                raise SinkError(
                    f"the logger {logger.name} was disabled, as a configuration of logging does to those it does not "
                    f"name: name {ROOT} in it, or set disable_existing_loggers to false"
                )
            if not logger.isEnabledFor(level):
                continue
            text = on_one_line(line.decode())
            record = logger.makeRecord(logger.name, level, "(audit)", 0, text, (), None)
            record.__dict__.update(
                event_id=f"{self._process}:{seq}",
                action=action,
                category=category,
                outcome=outcome,
                session=session,
                virtual_cluster=cluster,
            )
            if self._structured:
                record.__dict__["auditring"] = json.loads(text)
            _date(record, time_ns)
            hand_over(logger, record, self._used)
            self._handed.add(seq)
        return size

    def commit(self) -> bytes:
        """Has every handler pass on what it may hold back; one that cannot is given all of it again."""
        try:
            for handler in self._used:
                flush(handler)
        except BaseException:
            self._handed.clear()
            raise
        self._handed.clear()
        self._used.clear()
        return b""

    def close(self) -> None:
        """Handlers are the host's."""

    def _level(self, action: str, outcome: str) -> int | None:
        try:
            return self._kinds[action, outcome]
        except KeyError:
            level = levels(self._log_at, self._except, action, outcome)
            # Names come from plugins, without end.
            if len(self._kinds) < _MOST_KINDS:
                self._kinds[action, outcome] = level
            return level


def _date(record: logging.LogRecord, time_ns: int) -> None:
    """Gives a record the time of its event, as `logging` would have made it."""
    seconds, rest = divmod(time_ns, _NS)
    now = record.created
    record.created = time_ns / _NS
    # Rounding may have carried it into the next second.
    record.msecs = float(rest // 1_000_000) if int(record.created) == seconds else 0.0
    record.relativeCreated += (record.created - now) * 1000

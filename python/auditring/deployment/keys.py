"""The table of keys: everything that a deployment may say, each once.

From it come what a file may have, the variables of the environment, the page of the documentation, the annotated
example, and what `auditring check` tells. What must always hold: whatever `auditring.open` takes has a key here, of the
same name; the settings of a kind of sink are that kind's own.
"""

import dataclasses
from typing import Final

from auditring.deployment.forms import (
    COUNT,
    DURABILITY,
    LISTEN,
    NAMES,
    PATH,
    PROBE,
    SIZE,
    SPAN,
    SWITCH,
    TABLE,
    TABLES,
    TEXT,
    Form,
    span_or,
    words,
)

__all__ = ["CONFIG", "ELSEWHERE", "IGNORED", "KEYS", "PREFIX", "SHORT", "SINK", "Key", "variable"]

PREFIX: Final = "AUDITRING_"
CONFIG: Final = "AUDITRING_CONFIG"
"""The variable that names the file."""
IGNORED: Final = {
    "AUDITRING_ARGS": "what the agent's systemd unit calls it with; see agent.md",
    "AUDITRING_CLOCK": "forces the fallback of the clock; see operations.md",
    "AUDITRING_BENCH_*": "our own benchmarks",
    "AUDITRING_DIR": "the directory that this unit gives it",
    "AUDITRING_EXAMPLES": "our own tests",
    "AUDITRING_KILLS_*": "our own tests",
    "AUDITRING_TEST_*": "our own tests",
}
"""Variables that are no configuration of a deployment, and so are passed over; a star is any end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One thing that a deployment may say."""

    name: str
    """With dots, as the tables of the file have it."""
    form: Form
    default: str
    """What holds where nobody says it; for people."""
    doc: str


def variable(name: str) -> str:
    """The variable of the environment that says the same as a key."""
    return PREFIX + name.upper().replace(".", "__")


_ALIKE: Final = ("as `when_full.wait`", "as `when_full.then`")


def _key(name: str, form: Form, default: str, doc: str) -> Key:
    return Key(name=name, form=form, default=default, doc=doc)


def _keep(name: str, default: str, what: str) -> tuple[Key, ...]:
    return (
        _key(
            f"{name}.keep", words("all", "off", "sample", "coalesce", "first"), default, f"How much of {what} is kept."
        ),
        _key(f"{name}.one_in", COUNT, "", "Of a sample: one in how many."),
        _key(f"{name}.by", NAMES, "", 'Of `sample` and `first`: what makes events alike; `["session", "resource"]`.'),
        _key(f"{name}.window", SPAN, "", "Of `coalesce` and `first`: how long a row gathers."),
    )


def _when_full(table: str, of: str, wait: str, then: str) -> tuple[Key, ...]:
    return (
        _key(f"{table}.wait", span_or("forever"), wait, f"How long an emit call waits for room in the ring{of}."),
        _key(f"{table}.then", words("drop", "raise"), then, f"What it does when the wait is over{of}."),
    )


def _policy(table: str, whose: str) -> tuple[Key, ...]:
    return (
        _key(f"{table}.seed", COUNT, "drawn", f"Of the samples of {whose} policy: the same seed keeps the same."),
        _key(f"{table}.allow_blind_spots", SWITCH, "`false`", "Whether rules apply to protected events, too."),
        _key(f"{table}.rule", TABLES, "none", f"The rules of {whose} policy; see policy.md."),
    )


KEYS: Final = {
    key.name: key
    for key in (
        _key("path", PATH, "", "The audit directory. It must be said."),
        _key("instance", TEXT, "the host's name", "Which proxy this is."),
        _key("primary_tap", TEXT, "none", "The one tap that metrics and totals count."),
        _key("durability", DURABILITY, '`"process"`', "What an accepted event survives: see operations.md."),
        _key(
            "required",
            NAMES,
            "the first table sink, else the first",
            "Sinks without which the log would rather stop than go on.",
        ),
        _key("probe", PROBE, "those on this machine", "Which sinks are asked at start whether they can be written to."),
        _key("lock_policy", SWITCH, "`false`", "Whether the policy can be changed while the log is open."),
        *_keep("read", '`"all"`', "`Read`"),
        *_keep("write", '`"all"`', "`Write`"),
        _key("request.keep", words("all", "off"), '`"off"`', "Whether every protocol request is kept."),
        _key("seed", COUNT, "drawn", "Of the samples of `read` and `write`."),
        _key("ring_bytes", SIZE, '`"16 MiB"`', "The ring's size: a power of two from 1 MiB."),
        _key("ring_dir", PATH, "tmpfs", "Where the ring lies."),
        _key("journal_bytes", SIZE, '`"4 GiB"`', "The most that the journal may take: how much can wait for a sink."),
        _key("segment_bytes", SIZE, '`"64 MiB"`', "When the journal begins a new file, by its size,"),
        _key("segment_age", SPAN, '`"10 s"`', "and by its age."),
        _key("balance", span_or("never"), '`"1 min"`', "How often rows say how the balance stands."),
        *_when_full("when_full", "", '`"50 ms"`', '`"drop"`'),
        *_when_full("when_full.droppable", ", for data, requests and plugins that went well", *_ALIKE),
        *_when_full("when_full.protected", ", for all else", *_ALIKE),
        _key("retention.max_bytes", SIZE, "no limit", "The most that the audit directory may take."),
        _key("retention.max_age", SPAN, "no limit", "When a sealed file goes: its newest event is older."),
        _key("retention.min_free", SIZE, "no limit", "The least that is to be free on the directory's disk."),
        _key(
            "exempt",
            TABLES,
            "none",
            "What auditors elsewhere write to Kafka, and taps here do not audit: see kafka.md.",
        ),
        *_policy("policy", "the log's"),
        _key("policy.redact", TABLES, "none", "Values that never reach the disk; see redaction.md."),
        _key("agent.sinks", PROBE, "`true`", "Which sinks the agent runs; the proxy opens without them."),
        _key("agent.listen", LISTEN, "nowhere", "Where the agent serves the metrics of all processes."),
        _key(
            "metrics.listen",
            LISTEN,
            "nowhere",
            "Where `auditring metrics` serves what this directory's processes count.",
        ),
        _key("metrics.label_scopes", TABLE, "none", 'Labels beside action and outcome: `{ vc = "virtual_cluster" }`.'),
        _key(
            "metrics.label_scope_limit",
            COUNT,
            "`100`",
            "How many combinations of their values there are, past which all others are `other`.",
        ),
    )
}
"""By name; what is said of a sink is in `SINK`."""

ELSEWHERE: Final = {
    "agent_sinks": "agent.sinks",
    "label_scopes": "metrics.label_scopes",
    "label_scope_limit": "metrics.label_scope_limit",
    "sinks": "sink",
}
"""Parameters of `auditring.open` that a file says under another name."""

SINK: Final = {
    key.name: key
    for key in (
        _key("kind", TEXT, "", "Which kind of sink this is: ours, or one that a package brings. It must be said."),
        _key("name", TEXT, "the kind's", "Names its cursor, its metrics and its health."),
        *_policy("policy", "the sink's own"),
    )
}
"""What every `[[sink]]` may have, beside the settings of its kind."""

SHORT: Final = {name.removesuffix(".keep"): name for name in KEYS if name.endswith(".keep")}
"""Tables that may be said in a word: `read = "off"` is `read.keep = "off"`."""

"""Writes what is made from the code.

From the catalog: methods of handles (`_core.pyi`) and log (`log_events.py`), the page `docs/events.md`, and the schema
of a line. From the tap: the table of `docs/kafka.md`. From the keys of a deployment: that of `docs/configuration.md`.

`python docs/generate.py` writes, `--check` only tells whether anything differs (exit code 1).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from auditring import _core
from auditring.deployment.keys import CONFIG, IGNORED, KEYS, PREFIX, SINK, Key, variable
from auditring.kafka import APIS
from auditring.schema import json_schema_text

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "auditring" / "_core.pyi"
LOG = ROOT / "python" / "auditring" / "log_events.py"
PAGE = ROOT / "docs" / "events.md"
KAFKA = ROOT / "docs" / "kafka.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "python" / "auditring" / "event.schema.json"
HANDLES = ("session", "broker", "authorizer")
BEGIN = "    # --- {} methods: made from rust/event/catalog.toml by docs/generate.py ---\n"
END = "    # --- end ---\n"
TABLE_BEGIN = "<!-- made from the code by docs/generate.py -->\n"
TABLE_END = "<!-- end -->\n"
COMMON = """\
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
"""
NAMES = ("outcome", "status", "reason", "authority", "tap", "object_ref", "context")
MODULE = '''\
"""The events of a log that no session has. Made from `rust/event/catalog.toml` by `docs/generate.py`; not to be edited.

What proxy or filters do on their own account, with no client in sight or because of one (`cause`), must never look like
a client's doing: its origin is `proxy`, or `filter` where one is named.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from auditring._core import Session
from auditring.types import Authority, ContextMap, Outcome, Text

__all__ = ["LogEvents"]


class LogEvents(ABC):
    """The methods of a log that are actions of the catalog."""

    @abstractmethod
    def _record(self, action: str, /, **fields: Any) -> None:  # noqa: ANN401 - the fields are the catalog's
        """Records one event."""
'''
HEAD = """\
# The events

Made from `rust/event/catalog.toml` by `python docs/generate.py`. Columns and formats: [reading](reading.md).

Every method takes its fields by position or keyword, and `outcome`, `status`, `reason`, `authority`, `tap`,
`object_ref` and `context` by keyword. A status without an outcome means `failure`, and every failure and denial has a
status: where a call names none, the one that is said here. An outcome that contradicts the action's name, and a status
beside an outcome that is neither, are a `ValueError`; so is a key of `object_ref` or `context` that a field of the
event has already. Where an event has no authority of its own the session's holds; an authentication without either is a
`ValueError`.

What a log itself has as a method belongs to no session: its origin is `proxy`, or `filter` with `filter=`; `cause=`
names the session whose request was the cause, where there is one (`context.causeSession`). Events of category `request`
are off unless the log is opened with `request=Keep.ALL`.

Secrets (passwords, SASL payloads, HMACs of tokens, keys and values of records) have no field to go into.
"""


def kind(field: dict[str, Any]) -> str:
    """The field's type as a stub says it."""
    if field["words"]:
        words = ", ".join(f'"{word}"' for word in field["words"])
        return f"Literal[{words}]"
    return "Text" if field["type"] == "str" else "int"


def bounds(field: dict[str, Any]) -> str:
    """The field's limits."""
    if field["words"]:
        return " or ".join(f"`{word}`" for word in field["words"])
    return f"at most {field['cap']} bytes" if field["type"] == "str" else f"{field['min']} to {field['max']}"


def signature(action: dict[str, Any]) -> str:
    """The head of one method, up to the keywords that every event takes."""
    lines = [f"    def {action['method']}(\n        self,\n"]
    lines.extend(
        f"        {field['name']}: {kind(field)}{'' if field['required'] else ' | None = None'},\n"
        for field in action["fields"]
    )
    return "".join(lines) + COMMON


def docstring(action: dict[str, Any]) -> str:
    """What a method says of itself."""
    return f'        """{action["doc"]}\n\n        Action `{action["name"]}`.\n        """\n'


def stub(action: dict[str, Any]) -> str:
    """One method of a handle."""
    return f"{signature(action)}    ) -> None:\n{docstring(action)}"


def is_own(action: dict[str, Any]) -> bool:
    """Whether a log's method is what proxy or filters do on their own account."""
    return bool(action["session"])


def log_method(action: dict[str, Any]) -> str:
    """One method of the log."""
    names = [field["name"] for field in action["fields"]]
    extra = ""
    if is_own(action):
        extra = "" if "filter" in names else "        filter: Text | None = None,\n"
        extra += "        cause: Session | str | None = None,\n"
        names += [name for name in ("filter", "cause") if name not in names]
    passed = "".join(f"            {name}={name},\n" for name in [*names, *NAMES])
    body = f'        self._record(\n            "{action["name"]}",\n{passed}        )\n'
    return f"\n{signature(action)}{extra}    ) -> None:\n{docstring(action)}{body}"


def where(field: dict[str, Any]) -> str:
    """Where a field's value is found."""
    return f"`{field['key']}`" if field["target"] == "column" else f"`{field['target']}`: `{field['key']}`"


def section(action: dict[str, Any]) -> str:
    """One action on the page."""
    authority = f", authority `{action['authority']}`" if action["authority"] else ""
    handles = [handle for handle in ("session", "broker", "authorizer", "log") if action[handle]]
    how = f"Method `{action['method']}` of {', '.join(handles)}" if handles else "Made by the library"
    text = [
        f"\n## {action['name']}\n\n{action['doc']}\n\n",
        f"{how}; category `{action['category']}`, scope {action['scope']}, outcome `{action['outcome']}`{authority}, ",
        f"origin `{action['origin']}`, {action['stability']}, code {action['code']}.",
    ]
    if action["outcomes"]:
        text.append(
            f" Its outcome is {' or '.join(f'`{outcome}`' for outcome in action['outcomes'])}, and nothing else."
        )
    defaults = {word: action[f"{word}_status"] for word in ("failure", "denied") if action[f"{word}_status"]}
    if defaults:
        text.append(f" Status {', '.join(f'`{status}` ({word})' for word, status in defaults.items())}.")
    if action["kroxylicious"]:
        theirs = action["kroxylicious"]
        called = "the operation's own name" if theirs == "{operation}" else f"`{theirs}`"
        text.append(f" In dialect `kroxylicious-v1`: {called}.")
    if action["constants"]:
        text.append(f" Always {', '.join(f'`{name}` = `{value}`' for name, value in action['constants'])}.")
    text.append("\n")
    if action["fields"]:
        text.append("\n| field | type | | column | |\n|---|---|---|---|---|\n")
    for field in action["fields"]:
        need = "required" if field["required"] else ""
        text.append(
            f"| `{field['name']}` | {field['type']}, {bounds(field)} | {need} | {where(field)} | {field['doc']} |\n"
        )
    return "".join(text)


def stubs(old: str, actions: list[dict[str, Any]]) -> str:
    """`_core.pyi` with each handle's methods as the catalog has them."""
    for handle in HANDLES:
        before, rest = old.split(BEGIN.format(handle))
        after = rest.split(END, 1)[1]
        methods = "".join(stub(action) for action in actions if action[handle])
        old = before + BEGIN.format(handle) + methods + END + after
    return old


def kafka(old: str) -> str:
    """The page of Kafka with the table of what the tap reads."""
    rows = "".join(
        f"| {api.name} | {api.key} | {api.first}–{api.last} | {api.events} |\n"  # noqa: RUF001 - a range's dash
        for api in APIS
    )
    return between(old, f"| API | key | versions | events |\n|---|---|---|---|\n{rows}")


def between(old: str, table: str) -> str:
    """A page with another table between its marks."""
    before, rest = old.split(TABLE_BEGIN)
    after = rest.split(TABLE_END, 1)[1]
    return f"{before}{TABLE_BEGIN}\n{table}{TABLE_END}{after}"


def configuration(old: str) -> str:
    """The page of the configuration with the table of its keys and variables."""

    def row(key: Key, named: str) -> str:
        return f"| `{key.name}` | `{named}` | {key.form.what} | {key.default} | {key.doc} |\n"

    rows = "".join(row(key, variable(name)) for name, key in KEYS.items())
    rows += "".join(
        row(Key(name=f"sink.{name}", form=key.form, default=key.default, doc=key.doc), f"{PREFIX}SINK__<name>__{end}")
        for name, key in SINK.items()
        if (end := variable(name).removeprefix(PREFIX))
    )
    ignored = "".join(f"- `{name}`: {why}\n" for name, why in IGNORED.items())
    return between(
        old,
        f"`{CONFIG}` names the file.\n\n| key | variable | a value is | by default | |\n|---|---|---|---|---|\n{rows}\n"
        f"Passed over, because they are no configuration of a deployment:\n\n{ignored}\n",
    )


def texts() -> dict[Path, str]:
    """What each file should say."""
    actions = _core.actions()
    return {
        STUB: stubs(STUB.read_text(), actions),
        LOG: MODULE + "".join(log_method(action) for action in actions if action["log"]),
        KAFKA: kafka(KAFKA.read_text()),
        CONFIGURATION: configuration(CONFIGURATION.read_text()),
        PAGE: HEAD + "".join(section(action) for action in actions),
        SCHEMA: json_schema_text(),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    check = parser.parse_args().check
    stale = [path for path, text in texts().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the catalog says; run python docs/generate.py\n")
        else:
            path.write_text(texts()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())

"""Writes what is made from the catalog: the session's methods in `_core.pyi`, and the page `docs/events.md`.

`python docs/generate.py` writes, `--check` only tells whether anything differs (exit code 1).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from auditring import _core

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "auditring" / "_core.pyi"
PAGE = ROOT / "docs" / "events.md"
BEGIN = "    # --- made from rust/event/catalog.toml by docs/generate.py ---\n"
END = "    # --- end ---\n"
COMMON = """\
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
"""
HEAD = """\
# The events

Made from `rust/event/catalog.toml` by `python docs/generate.py`. Columns and formats: [reading](reading.md).

Every method takes its fields by position or keyword, and `outcome`, `status`, `reason`, `authority`, `tap`,
`object_ref` and `context` by keyword. A status without an outcome means `failure`. Where an event has no authority of
its own the session's holds; an authentication without either is a `ValueError`.
"""


def kind(field: dict[str, Any]) -> str:
    """The field's type as a stub says it."""
    return "Text" if field["type"] == "str" else "int"


def bounds(field: dict[str, Any]) -> str:
    """The field's limits."""
    return f"at most {field['cap']} bytes" if field["type"] == "str" else f"{field['min']} to {field['max']}"


def stub(action: dict[str, Any]) -> str:
    """One method."""
    lines = [f"    def {action['method']}(\n        self,\n"]
    lines.extend(
        f"        {field['name']}: {kind(field)}{'' if field['required'] else ' | None = None'},\n"
        for field in action["fields"]
    )
    lines.append(COMMON)
    lines.append(f'        """{action["doc"]}\n\n        Action `{action["name"]}`.\n        """\n')
    return "".join(lines)


def section(action: dict[str, Any]) -> str:
    """One action on the page."""
    authority = f", authority `{action['authority']}`" if action["authority"] else ""
    how = f"Method `{action['method']}`" if action["method"] else "Made by the library"
    text = [
        f"\n## {action['name']}\n\n{action['doc']}\n\n",
        f"{how}; category `{action['category']}`, scope {action['scope']}, outcome `{action['outcome']}`{authority}, ",
        f"{action['stability']}, code {action['code']}.\n",
    ]
    if action["fields"]:
        text.append("\n| field | type | | |\n|---|---|---|---|\n")
    for field in action["fields"]:
        need = "required" if field["required"] else ""
        text.append(f"| `{field['name']}` | {field['type']}, {bounds(field)} | {need} | {field['doc']} |\n")
    return "".join(text)


def texts() -> dict[Path, str]:
    """What each file should say."""
    actions = _core.actions()
    old = STUB.read_text()
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    methods = "".join(stub(action) for action in actions if action["method"])
    return {
        STUB: before + BEGIN + methods + END + after,
        PAGE: HEAD + "".join(section(action) for action in actions),
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

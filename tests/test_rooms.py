"""The arrows between the rooms: who may know whom, in the manifests of crates and the imports of Python modules."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "auditring"

CRATES: dict[str, set[str]] = {
    "ring": set(),
    "event": set(),
    "policy": {"event"},
    "journal": {"event"},
    "flow": {"ring", "event", "policy", "journal"},
    "kafka": {"event"},
    "fuzz": {"ring", "event", "policy", "journal", "flow"},
    "core": {"ring", "event", "policy", "journal", "flow", "kafka"},
}

VALUES = {"config", "exceptions", "policy", "redaction", "sealed", "secrets", "stats", "types", "written"}
"""Modules that hold values: everybody may know them."""

MODULES: dict[str, set[str]] = {
    "exceptions": set(),
    "forking": set(),
    "directory": {"exceptions"},
    "ledger": set(),
    "sealed": set(),
    "secrets": {"config", "exceptions"},
    "stats": set(),
    "types": set(),
    "health": {"stats"},
    "written": {"exceptions"},
    "config": {"exceptions", "written"},
    "policy_diff": set(),
    "policy": {"_core", "config", "exceptions", "policy_diff", "redaction", "written"},
    "redaction": {"_core", "config", "exceptions", "secrets"},
    "sinks": {"_core", "rollup", "sinks"} | VALUES,
    "threads": set(),
    "outage": set(),
    "timing": {"stats"},
    "scoping": {"_core", "config", "exceptions"},
    "tally": {"sinks"},
    "follower": {"_core", "forking", "health", "outage", "sinks", "tally", "threads", "timing"} | VALUES,
    "pump": {"_core", "health", "threads"} | VALUES,
    "metrics": {"_core", "directory", "metrics"} | VALUES,
    "exposition": {"exceptions"},
    "rollup": {"_core"},
    "touched": {"rollup", "sealed"},
    "questions": {"query", "touched"},
    "schema": {"_core"},
    "kafka": {"_core"},
    "query": {"_core", "directory", "exceptions", "sealed"},
    "tail": {"_core", "directory", "questions", "sealed", "types"},
    "verify": {"_core", "directory", "ledger", "rollup", "sealed", "stats", "verify"},
    "retention": {"_core", "health", "ledger", "retention", "sinks", "threads", "verify"} | VALUES,
    "asgi": {"_core", "exceptions", "log"},
    "recovery": {"_core", "directory", "follower", "health", "redaction", "sinks", "threads"},
    "agent": {"_core", "agent", "exposition", "follower", "health", "metrics", "sinks", "threads"} | VALUES,
    "handover": {"health", "sinks", "threads"} | VALUES,
    "watch": {"follower", "health", "ledger", "sinks", "threads"} | VALUES,
    "driving": {"_core", "follower", "handover", "health", "sinks"} | VALUES,
    "looking": {"_core", "driving", "health"},
    "running": {
        *("_core", "directory", "driving", "follower", "health", "looking"),
        *("pump", "recovery", "retention", "sinks", "watch"),
        *VALUES,
    },
    "log_events": {"_core"} | VALUES,
    "open_logs": set(),
    "log": {"_core", "log_events", "metrics", "open_logs", "running", "sinks"} | VALUES,
    "probing": {"sinks"} | VALUES,
    "opening": {"handover", "log", "probing", "scoping", "sinks"} | VALUES,
    "testing": {"_core", "log", "open_logs", "recovery", "sinks", "testing"} | VALUES,
    "deployment": {"deployment", "exposition", "log", "opening", "scoping", "sinks"} | VALUES,
    "checking": {"_core", "checking", "deployment", "directory", "opening", "probing", "sinks"} | VALUES,
    "_interpreter": set(),
    "__init__": {"_core", "_interpreter", "deployment", "log", "opening", "sinks"} | VALUES,
}

EVERYTHING = {"__main__", "cli", "demo"}
"""Rooms that may know everybody, and that nobody may know."""


def crate_dependencies(manifest: dict[str, object]) -> set[str]:
    """Our crates that a manifest names, whatever for."""
    names: set[str] = set()
    for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
        table = manifest.get(kind, {})
        assert isinstance(table, dict)
        names |= {name.removeprefix("auditring-") for name in table if name.startswith("auditring-")}
    return names


@pytest.mark.parametrize("room", [path.parent.name for path in sorted(ROOT.glob("rust/*/Cargo.toml"))])
def test_a_crate_knows_only_the_rooms_below_it(room: str) -> None:
    """Every crate stands in the table, and its manifest names no other of ours."""
    manifest = tomllib.loads((ROOT / "rust" / room / "Cargo.toml").read_text())
    assert crate_dependencies(manifest) <= CRATES[room]


def test_unsafe_code_lives_in_two_places() -> None:
    """Only the ring, and the boundary's one room, lift the workspace's ban on unsafe code."""
    allowed = Path("rust/core/src/ffi")
    for path in sorted(ROOT.glob("rust/*/**/*.rs")):
        place = path.relative_to(ROOT)
        if place.parts[1] == "ring" or place.is_relative_to(allowed):
            continue
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("//")]
        assert not [line for line in code if "unsafe {" in line or "unsafe fn" in line or "unsafe impl" in line], place


def room_of(path: Path) -> str:
    """The room that a file of the package belongs to: its module, or its folder."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def known_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, for types alone too; a package is one room."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("auditring.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who knows whom"
            parts = (node.module or "").split(".")
            if parts[0] == "auditring":
                rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return rooms - {room_of(path)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_knows_only_the_rooms_below_it(path: Path) -> None:
    """Every module stands in the table, and imports nothing of ours beyond it."""
    room = room_of(path)
    if room in EVERYTHING:
        return
    assert room in MODULES, f"{room} is a new room: say in the table, and in docs/architecture.md, whom it may know"
    assert known_rooms(path) <= MODULES[room]

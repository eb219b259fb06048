"""Sinks by kind: ours without any metadata, those of packages by their entry points, and nobody's by accident."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from auditring import ConfigError
from auditring.sinks import JsonlSink, ParquetSink, registry

ROOT = Path(__file__).parents[1]
SINK = """\
from auditring.sinks import Sink

class OwnSink(Sink):
    def __init__(self, *, name="own", policy=None):
        self.name, self.policy = name, policy

    def open(self, context): ...
    def start(self, state): ...
    def write(self, batch): return 0
    def commit(self): return b""
    def close(self): ...
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Install":
    """What `pip install` leaves of a package that brings sinks."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return Install(tmp_path)


class Install:
    """Packages in a folder that is on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, points: dict[str, str], *, source: str = SINK) -> None:
        """A package of this name and its entry points."""
        (self.folder / f"{name}.py").write_text(source)
        told = self.folder / f"{name}-1.2.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"{kind} = {value}" for kind, value in points.items()]
        (told / "entry_points.txt").write_text("\n".join(["[auditring.sinks]", *lines, ""]))


def test_our_own_kinds_need_no_metadata_and_are_those_of_the_manifest() -> None:
    """The table in the code and the entry points say the same."""
    manifest = tomllib.loads((ROOT / "pyproject.toml").read_text())
    points = manifest["project"]["entry-points"]["auditring.sinks"]
    assert points == dict(registry.OURS)
    assert registry.load("parquet") is ParquetSink
    assert registry.load("jsonl") is JsonlSink
    assert set(registry.OURS) <= set(registry.kinds())


def test_a_kind_that_nobody_knows_is_an_error_with_a_suggestion() -> None:
    """Also where nothing is near."""
    with pytest.raises(ConfigError, match=r"no sink kind 'parqet'; did you mean 'parquet'\?"):
        registry.load("parqet")
    with pytest.raises(ConfigError, match=r"no sink kind 'x'; known: .*jsonl.*parquet"):
        registry.load("x")


def test_a_package_brings_a_kind(install: Install) -> None:
    """It is known by its name, and loaded when it is asked for."""
    install("sinks_of_theirs", {"theirs": "sinks_of_theirs:OwnSink"})
    assert "theirs" in registry.kinds()
    assert "sinks_of_theirs" not in sys.modules
    assert registry.load("theirs").__qualname__ == "OwnSink"


def test_a_broken_package_breaks_nobody_who_does_not_ask_for_it(install: Install) -> None:
    """Then the error names the package and the cause."""
    install("sinks_broken", {"broken": "sinks_broken:OwnSink"}, source="import no_such_module_at_all\n")
    install("sinks_lacking", {"lacking": "sinks_lacking:Nothing"})
    install("sinks_function", {"function": "sinks_function:make"}, source="def make(): ...\n")
    install("sinks_half", {"half": "sinks_half:Half"}, source="class Half:\n    def open(self, context): ...\n")
    install("sinks_script", {"script": "sinks_script:OwnSink"}, source="raise SystemExit(3)\n")
    assert {"broken", "lacking", "function", "half", "script"} <= set(registry.kinds())
    assert registry.load("parquet") is ParquetSink
    with pytest.raises(ConfigError, match=r"'broken' of sinks_broken 1\.2 .*ModuleNotFoundError.*no_such_module"):
        registry.load("broken")
    with pytest.raises(ConfigError, match=r"sinks_script 1\.2 .*SystemExit: 3"):
        registry.load("script")
    with pytest.raises(ConfigError, match=r"sinks_lacking 1\.2 .*AttributeError"):
        registry.load("lacking")
    with pytest.raises(ConfigError, match=r"sinks_function 1\.2 .* is no class"):
        registry.load("function")
    with pytest.raises(ConfigError, match=r"sinks_half 1\.2 .*has no start and no write and no commit and no close"):
        registry.load("half")


def test_two_packages_of_one_kind_are_an_error_that_names_both(install: Install) -> None:
    """Neither wins, and ours neither; whoever asks for another kind is not concerned."""
    install("sinks_first", {"twice": "sinks_first:OwnSink", "parquet": "sinks_first:OwnSink"})
    install("sinks_second", {"twice": "sinks_second:OwnSink"})
    with pytest.raises(ConfigError, match=r"'twice' is claimed by sinks_\w+ 1\.2 and sinks_\w+ 1\.2") as caught:
        registry.load("twice")
    assert "sinks_first" in str(caught.value)
    assert "sinks_second" in str(caught.value)
    with pytest.raises(ConfigError, match=r"'parquet' is claimed by auditring and sinks_first 1\.2"):
        registry.load("parquet")
    assert registry.load("jsonl") is JsonlSink


def test_who_does_not_configure_a_deployment_loads_nothing_of_it() -> None:
    """`import auditring` is of what a host needs."""
    program = (
        "import sys, auditring\n"
        "assert not {'auditring.deployment', 'auditring.sinks.registry', 'confluent_kafka'} & set(sys.modules)\n"
        "assert auditring.open_from is auditring.deployment.open_from\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_of_a_third_party_is_imported_for_a_list_of_kinds(install: Install) -> None:
    """In a process of its own, whose imports nobody else has made."""
    install("sinks_loud", {"loud": "sinks_loud:OwnSink"}, source="raise SystemExit('imported')\n")
    program = (
        "import sys\nfrom auditring.sinks import registry\n"
        "assert 'loud' in registry.kinds()\nregistry.load('parquet')\n"
        "assert not {'sinks_loud', 'confluent_kafka'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join([str(install.folder), str(ROOT / "python")]), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr

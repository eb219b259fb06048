"""Compiles `stages.c` for the interpreter that runs, and loads it: the empty method, and the stages of a Read."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

STAGES = (
    ("empty", "an empty method"),
    ("parsed", "+ five arguments read and checked"),
    ("stamped", "+ clock"),
    ("claimed", "+ claim and commit in a ring"),
    ("copied", "+ context and fields copied"),
)
"""The methods, each doing one thing more than the one before, and what they are called in a table."""


def load() -> Any:  # noqa: ANN401 - the type is made in C
    """Returns an instance of `Stages`. Raises `CalledProcessError` when there is no working C compiler."""
    with tempfile.TemporaryDirectory() as folder:
        spec = _compiled(Path(folder))
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.Stages()


def _compiled(folder: Path) -> ModuleSpec:
    source = Path(__file__).with_suffix(".c")
    target = folder / f"stages_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = [
        *shlex.split(os.environ.get("CC", "cc")),
        "-O2",
        "-shared",
        "-fPIC",
        f"-I{sysconfig.get_path('include')}",
    ]
    if sys.platform == "darwin":
        command += ["-undefined", "dynamic_lookup"]
    subprocess.run([*command, str(source), "-o", str(target)], check=True)  # noqa: S603 - our own source
    spec = importlib.util.spec_from_file_location("stages_native", target)
    assert spec is not None
    return spec

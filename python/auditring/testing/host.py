"""A process of its own for a check that ends it, with what to do as JSON in its arguments.

What must always hold: it dies where the scene says, by `SIGKILL`, so nothing of it is flushed, closed or tidied up.
"""

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditring.testing.rules import RuleBroken
from auditring.testing.scenes import PATIENCE, emit, followed

if TYPE_CHECKING:
    from auditring.testing.conformance import SinkConformance

__all__ = ["main", "play"]

_ROWS: Final = 300


def play(kit: "SinkConformance", rule: str, scene: str, folder: Path) -> None:
    """Plays a scene with the kit's sink in another process, and waits for its end."""
    of = type(kit)
    if "<locals>" in of.__qualname__:
        raise TypeError(
            f"{of.__qualname__}: some checks start a process, which has to find the class: put it at the top"
        )
    file = getattr(sys.modules[of.__module__], "__file__", None)
    said = {"file": file, "of": of.__qualname__, "path": sys.path, "scene": scene, "rule": rule, "folder": str(folder)}
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-c", f"from {__name__} import main; main()", json.dumps(said)],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    expected = 0 if scene == "fork" else -signal.SIGKILL
    if done.returncode != expected:
        raise RuleBroken(rule, f"the process ended with status {done.returncode}:\n{done.stdout}{done.stderr}")


def _until_killed_in_a_checkpoint(kit: "SinkConformance", folder: Path) -> None:
    """Dies with a first checkpoint committed, and rows of a second one written."""
    commits = 0

    def hook(when: str, call: str, what: object) -> None:
        nonlocal commits
        del what
        if (when, call) == ("before", "commit"):
            commits += 1
            if commits > 1:
                os.kill(os.getpid(), signal.SIGKILL)

    with followed(kit, "restart", folder, hook) as log:
        emit(log, _ROWS)
        log.flush(PATIENCE)
        emit(log, _ROWS)
        log.flush(PATIENCE)


def _until_killed_by_a_commit(kit: "SinkConformance", folder: Path, last: int) -> None:
    """Dies in the moment in which this `commit` returns."""
    commits = 0
    # Nothing else runs between the return and the end, or a thread of the sink could do meanwhile what it had promised.
    sys.setswitchinterval(PATIENCE)

    def hook(when: str, call: str, what: object) -> None:
        nonlocal commits
        del what
        if (when, call) == ("after", "commit"):
            commits += 1
            if commits >= last:
                os.kill(os.getpid(), signal.SIGKILL)

    with followed(kit, "acknowledgement", folder, hook) as log:
        for _ in range(last):
            emit(log, _ROWS)
            log.flush(PATIENCE)


def _until_both_have_closed(kit: "SinkConformance", folder: Path) -> None:
    """Forks with rows on their way; the child emits and closes its copy, then the parent goes on."""
    with followed(kit, "fork", folder) as log:
        emit(log, _ROWS)
        log.flush(PATIENCE)
        emit(log, _ROWS)
        if (child := os.fork()) == 0:
            status = 1
            try:
                emit(log, _ROWS)
                log.close(PATIENCE)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            raise RuleBroken("fork", f"the child ended with status {os.waitstatus_to_exitcode(status)}")
        emit(log, _ROWS)


_SCENES: Final[Mapping[str, Callable[[Any, Path], None]]] = {
    "restart": _until_killed_in_a_checkpoint,
    "second": functools.partial(_until_killed_by_a_commit, last=2),
    "third": functools.partial(_until_killed_by_a_commit, last=3),
    "fork": _until_both_have_closed,
}


def main() -> None:
    """Plays the scene that the arguments name."""
    said: dict[str, Any] = json.loads(sys.argv[1])
    sys.path[:] = said["path"]
    spec = importlib.util.spec_from_file_location(Path(said["file"]).stem, said["file"])
    if spec is None or spec.loader is None:
        raise ImportError(f"{said['file']} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    of: Any = module
    for name in said["of"].split("."):
        of = getattr(of, name)
    _SCENES[said["scene"]](of(), Path(said["folder"]))

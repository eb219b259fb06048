"""The proxy of the examples, as a process of its own with an audit directory of its own.

What must hold after every one, whatever the test was about: it ended well, it said nothing on standard error, no secret
was in its ring, and its log is whole.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness import planted
from harness.audit import Audit
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from harness.clients import Settings

_ROOT: Final = Path(__file__).resolve().parents[3]


class Proxy:
    """`start`ed with the tables of its TOML file; lies in `folder`."""

    def __init__(self, folder: Path, **tables: Any) -> None:
        """`clusters` maps a virtual cluster's name to its settings."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.audit = Audit(folder / "audit")
        self.err = folder / "proxy.err"
        self.out = folder / "proxy.out"
        self._config = folder / "proxy.toml"
        self._config.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in tables.items()))
        self._names = list(tables["clusters"])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it serves."""
        python_path = os.pathsep.join([str(_ROOT / "examples"), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-W", "error", "-m", "kafka_proxy", str(self._config)]
        with self.out.open("wb") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, "PYTHONPATH": python_path}
            )
        until(lambda: all(self._serves(name) for name in self._names), "the proxy serves")

    def address(self, cluster: str | None = None) -> str:
        """Where the clients of a virtual cluster, by default the first, begin."""
        name = cluster or self._names[0]
        found = re.search(rf"^{re.escape(name)}: (\S+)$", self.out.read_text(), re.MULTILINE)
        assert found, f"the proxy did not say where {name} is"
        return found[1]

    def client(self, cluster: str | None = None, **settings: Any) -> Settings:
        """Settings of a confluent-kafka client; `a.b` is spelled `a_b`."""
        return {"bootstrap.servers": self.address(cluster)} | {
            key.replace("_", "."): value for key, value in settings.items()
        }

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> Audit:
        """Ends it well; what it recorded."""
        process, self._process = self._process, None
        assert process is not None
        assert process.poll() is None, f"the proxy ended by itself:\n{self.err.read_text()}"
        ring = self._ring(process.pid).read_bytes()
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        assert planted.found_in(ring) == []
        assert (code, self.err.read_text()) == (0, "")
        self.audit.whole()
        return self.audit

    def recorded(self, where: str, rows: int = 1) -> Audit:
        """The audit while the proxy runs, as soon as so many rows are there that `where` chooses."""
        until(lambda: len(self.audit.rows("seq", where=where)) >= rows, f"{rows} row(s) where {where}")
        return self.audit

    def kill(self) -> None:
        """Ends it as nothing should; its ring stays behind."""
        process, self._process = self._process, None
        assert process is not None
        ring = self._ring(process.pid)
        process.kill()
        process.wait(PATIENCE)
        assert planted.found_in(ring.read_bytes()) == []

    @staticmethod
    def _ring(pid: int) -> Path:
        """The file that a process has its ring mapped from, in shared memory or beside the journal."""
        maps = Path(f"/proc/{pid}/maps").read_text()
        files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.endswith(".ring")}
        assert len(files) == 1, f"which is the ring? {files}"
        return Path(files.pop())

    def _serves(self, name: str) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._process = None
            raise AssertionError(f"the proxy ended by itself:\n{self.err.read_text()}")
        return f"{name}: " in self.out.read_text()


def _toml(value: object) -> str:
    """Plain values as TOML, tables inline; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)

"""What systemd is told by an agent, and by which unit it runs it."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from agent_rig import AgentProcess, HostProcess
from deadlines import until

ANALYZE = shutil.which("systemd-analyze")
UNIT = Path(__file__).parent.parent / "deploy" / "systemd" / "auditring-agent.service"


def test_systemd_hears_when_it_is_ready_how_it_is_and_when_it_ends(tmp_path: Path) -> None:
    """READY, a status in words, the watchdog's sign of life, and STOPPING, in that order."""
    path = tmp_path / "audit"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(0)
    host = HostProcess("host", path)
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    agent = AgentProcess(path, env=env)
    heard: list[str] = []

    def hears(text: str) -> bool:
        try:
            while True:
                heard.append(listener.recv(4096).decode())
        except BlockingIOError:
            return any(text in one for one in heard)

    until(lambda: hears("READY=1"))
    until(lambda: hears("STATUS=1 processes, 0 dead, 2 sinks"))
    until(lambda: hears("WATCHDOG=1"))
    assert agent.stop() == 0
    assert hears("STOPPING=1")
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    host.close()
    listener.close()


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not here")
def test_the_unit_is_one_that_systemd_takes_and_calls_safe(tmp_path: Path) -> None:
    """No directive is unknown, and what the service could do beside its work is taken from it."""
    unit = tmp_path / UNIT.name
    # The command need not be installed where the tests run.
    unit.write_text(UNIT.read_text().replace("/opt/auditring/bin/auditring", "/bin/true"))
    checked = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    judged = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout

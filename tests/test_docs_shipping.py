"""`docs/shipping.md`: its rsyslog configuration, as it stands there, before a real rsyslogd."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import Rotation
from auditring.sinks import JsonlSink
from deadlines import until

PAGE = Path(__file__).parents[1] / "docs" / "shipping.md"
ROWS = 2000


@pytest.fixture
def rsyslogd() -> str:
    """The program with its modules; CI must have both."""
    modules = [*Path("/usr/lib").glob("*/rsyslog/omrelp.so"), *Path("/usr/lib").glob("rsyslog/omrelp.so")]
    for found in (shutil.which("rsyslogd"), "/usr/sbin/rsyslogd"):
        if found is not None and Path(found).exists() and modules:
            return found
    assert os.environ.get("CI") != "true", "CI has rsyslogd: `make ci-tools`"
    pytest.skip("no rsyslogd with RELP here: apt-get install rsyslog rsyslog-relp")


class Ends:
    """The page's two ends, with this test's paths and port, each with a folder in which it remembers."""

    def __init__(self, rsyslogd: str, folder: Path) -> None:
        self._rsyslogd = rsyslogd
        self._folder = folder
        self.gathered = folder / "gathered.jsonl"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        sender, receiver = re.findall(r"^```conf\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self._configure("sender", sender, {
            "/srv/proxy/audit": str(folder / "audit"),
            'target="siem.example.com" port="2514"': f'target="127.0.0.1" port="{port}"',
            'action.resumeInterval="5"': 'action.resumeInterval="1"',
        })  # fmt: skip
        self._configure("receiver", receiver, {
            'type="imrelp" port="2514"': f'type="imrelp" address="127.0.0.1" port="{port}"',
            "/var/log/audit/auditring.jsonl": str(self.gathered),
        })  # fmt: skip

    @contextlib.contextmanager
    def running(self, name: str, ends: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """One end, from its start to its end."""
        folder = self._folder / name
        command = [self._rsyslogd, "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
        with (folder / "log").open("ab") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                yield
                assert process.poll() is None, (folder / "log").read_text()
            finally:
                process.send_signal(ends)
                process.wait(90)
                (folder / "pid").unlink(missing_ok=True)

    def ids(self) -> Counter[str]:
        """How often each event has come; whatever is no whole line of JSON fails."""
        if not self.gathered.exists():
            return Counter()
        whole = self.gathered.read_bytes().rpartition(b"\n")[0]
        return Counter(json.loads(line)["eventId"] for line in whole.splitlines())

    def _configure(self, name: str, text: str, ours: dict[str, str]) -> None:
        for said, mine in ours.items():
            assert text.count(said) == 1, said
            text = text.replace(said, mine)
        (self._folder / name).mkdir()
        (self._folder / name / "rsyslog.conf").write_text(f'global(workDirectory="{self._folder / name}")\n{text}')


@pytest.fixture
def ends(rsyslogd: str, tmp_path: Path) -> Ends:
    """Neither runs yet."""
    return Ends(rsyslogd, tmp_path)


def emitted(log: auditring.AuditLog, rows: int) -> None:
    """Reads, denials with a reason in other scripts, and events as long as they come."""
    with log.session(authority="decision") as session:
        for i in range(rows):
            session.read("orders", 0, i, i)
            if i % 100 == 0:
                session.operation_denied("WRITE", "Topic", "salaries", reason='\u00e9\t"\\\n' * 1000)
                log.emit("com.example.Long", context={f"k{key}": '"' * 10_000 for key in range(20)})
    log.flush(30)


def test_rotation_and_a_restart_lose_nothing_and_double_nothing(ends: Ends, tmp_path: Path) -> None:
    """Each event arrives once: rotations while it reads, its restart, and rotations while it is down."""
    sink = JsonlSink(rotation=Rotation(rows=ROWS // 4))
    with (
        auditring.open(tmp_path / "audit", sinks=(sink,), balance=None) as log,
        ends.running("receiver"),
    ):
        with ends.running("sender"):
            emitted(log, ROWS)
            until(lambda: ends.ids().total() >= ROWS)
            emitted(log, ROWS)
        emitted(log, ROWS)
        with ends.running("sender"):
            emitted(log, ROWS)
            log.close(30)
            written = ids_in(tmp_path / "audit")
            until(lambda: ends.ids().total() >= len(written))
    assert len(list((tmp_path / "audit" / "jsonl").glob("*.jsonl"))) > 12
    assert len(written) > 4 * ROWS
    assert max(map(len, ends.gathered.read_bytes().splitlines())) > 1 << 13
    assert ends.ids() == Counter(written)


def test_a_receiver_that_is_killed_costs_nothing(ends: Ends, tmp_path: Path) -> None:
    """Nothing is missing when it is back; what was not acknowledged may be there twice."""
    with auditring.open(tmp_path / "audit", sinks=(JsonlSink(),), balance=None) as log, ends.running("sender"):
        with ends.running("receiver", signal.SIGKILL):
            emitted(log, ROWS)
            until(lambda: ends.ids().total() >= ROWS // 2)
        emitted(log, ROWS)
        with ends.running("receiver"):
            emitted(log, ROWS)
            log.close(30)
            written = ids_in(tmp_path / "audit")
            until(lambda: set(ends.ids()) >= set(written))
    assert set(ends.ids()) == set(written)


def ids_in(root: Path) -> list[str]:
    """The ids of all lines."""
    lines: list[dict[str, Any]] = [
        json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()
    ]
    return [line["eventId"] for line in lines]

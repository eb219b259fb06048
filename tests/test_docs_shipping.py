"""`docs/shipping.md`: its rsyslog configuration, as it stands there, before a real rsyslogd."""

import contextlib
import json
import os
import re
import shutil
import socketserver
import subprocess
import threading
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


class Receiver(socketserver.ThreadingTCPServer):
    """Takes lines."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        lines = self.lines

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                lines.extend(self.rfile)

        super().__init__(("127.0.0.1", 0), Handler)

    def ids(self) -> Counter[str]:
        """How often each event came; whatever is no whole line of JSON fails."""
        return Counter(json.loads(line)["eventId"] for line in list(self.lines))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Runs meanwhile."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def rsyslogd() -> str:
    """The program; CI must have it."""
    for found in (shutil.which("rsyslogd"), "/usr/sbin/rsyslogd"):
        if found is not None and Path(found).exists():
            return found
    assert os.environ.get("CI") != "true", "CI has rsyslogd: `make ci-tools`"
    pytest.skip("no rsyslogd here: apt-get install rsyslog")


def configured(folder: Path, port: int) -> Path:
    """The page's configuration with this test's paths and port, and where rsyslogd remembers."""
    (text,) = re.findall(r"^```conf\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for said, ours in (
        ("/srv/proxy/audit", str(folder / "audit")),
        ('target="siem.example.com" port="6514"', f'target="127.0.0.1" port="{port}"'),
    ):
        assert text.count(said) == 1
        text = text.replace(said, ours)
    (folder / "spool").mkdir()
    path = folder / "rsyslog.conf"
    path.write_text(f'global(workDirectory="{folder / "spool"}")\n{text}')
    return path


@contextlib.contextmanager
def running(rsyslogd: str, folder: Path) -> Iterator[None]:
    """rsyslogd, from its start to its orderly end."""
    command = [rsyslogd, "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "rsyslogd.pid")]
    with (folder / "rsyslogd.log").open("ab") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield
            assert process.poll() is None, (folder / "rsyslogd.log").read_text()
        finally:
            process.terminate()
            process.wait(30)


def emitted(log: auditring.AuditLog, rows: int) -> None:
    """Reads, denials with a reason in other scripts, and events as long as they come."""
    with log.session(authority="decision") as session:
        for i in range(rows):
            session.read("orders", 0, i, i)
            if i % 100 == 0:
                session.operation_denied("WRITE", "Topic", "salaries", reason='\u00e9\t"\\\n' * 1000)
                log.emit("com.example.Long", context={f"k{key}": '"' * 10_000 for key in range(20)})
    log.flush(30)


def test_rotation_and_a_restart_lose_nothing_and_double_nothing(
    rsyslogd: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Each event is received once: rotations while it reads, its restart, and rotations while it is down."""
    configured(tmp_path, receiver.server_address[1])
    sink = JsonlSink(rotation=Rotation(rows=ROWS // 4))
    with auditring.open(tmp_path / "audit", sinks=(sink,), balance=None) as log:
        with running(rsyslogd, tmp_path):
            emitted(log, ROWS)
            until(lambda: sum(receiver.ids().values()) >= ROWS)
            emitted(log, ROWS)
        emitted(log, ROWS)
        with running(rsyslogd, tmp_path):
            emitted(log, ROWS)
            log.close(30)
            written = ids_in(tmp_path / "audit")
            until(lambda: sum(receiver.ids().values()) >= len(written))
    assert len(list((tmp_path / "audit" / "jsonl").glob("*.jsonl"))) > 12
    assert len(written) > 4 * ROWS
    assert max(map(len, receiver.lines)) > 1 << 13
    assert receiver.ids() == Counter(written)


def ids_in(root: Path) -> list[str]:
    """The ids of all lines."""
    lines: list[dict[str, Any]] = [
        json.loads(line) for path in root.glob("jsonl/*.jsonl") for line in path.read_bytes().splitlines()
    ]
    return [line["eventId"] for line in lines]

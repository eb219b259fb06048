"""The demo before a real cluster: it agrees there too, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from harness.broker import Broker


def topics(broker: Broker) -> set[str]:
    """Those of the demo that are on the cluster."""
    known = AdminClient({"bootstrap.servers": broker.plain}).list_topics(timeout=PATIENCE).topics
    return {name for name in known if name.startswith("auditring-demo")}


def test_demo_agrees_and_cleans_up(broker: Broker, folder: Path) -> None:
    """Every offset, refusal and failed login is in the audit, under the name that the clients have for the topic."""
    program = [sys.executable, "-c", "from auditring.cli import main; main()", "demo"]
    options = ["--kafka", broker.plain, "--seconds", "1", "--dir", str(folder / "demo")]
    done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders are in the topic auditring-demo-" in done.stdout
    assert done.stdout.count("✓") == 7
    until(lambda: not topics(broker), "the topic is gone")

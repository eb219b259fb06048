"""The command-line tools of Kafka itself: a third make of clients. A start costs a second or two, so few are run."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from harness import jars
from harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def run(tool: str, *arguments: str, said: bytes = b"", fails: bool = False) -> str:
    """What a tool of `org.apache.kafka.tools` prints, given `said` on its standard input."""
    command = jars.java(f"org.apache.kafka.tools.{tool}", *arguments)
    done = subprocess.run(command, input=said, capture_output=True, check=False, timeout=PATIENCE)
    printed = (done.stdout + (done.stderr if fails else b"")).decode()
    assert (done.returncode != 0) == fails, f"{tool}: {done.returncode}\n{printed}{done.stderr.decode()}"
    return printed


def lines(printed: str) -> list[dict[str, Any]]:
    """The JSON objects among the lines that a tool printed."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def command_config(path: Path, settings: Mapping[str, Any]) -> str:
    """Writes the settings of a confluent-kafka client as Java's properties; returns the path."""
    known = {key: value for key, value in settings.items() if key in {"security.protocol", "sasl.mechanism", "client.id"}}
    if "sasl.mechanism" in settings:
        module = _LOGIN[settings["sasl.mechanism"]]
        who = f'username="{settings["sasl.username"]}" password="{settings["sasl.password"]}"'
        known["sasl.jaas.config"] = f"{module} required {who};"
    path.write_text("".join(f"{key}={value}\n" for key, value in known.items()))
    return str(path)

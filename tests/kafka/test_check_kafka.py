"""`auditring check` before a real broker: what the cluster says of topic, rights and secrets, before a proxy starts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from auditring.cli.commands import auditring as command_line
from harness import planted

if TYPE_CHECKING:
    from pathlib import Path

    from harness.broker import Broker

PLAIN = 'path = "audit"\njournal_bytes = "1 MiB"\n[[sink]]\nkind = "kafka"\n'


def check(folder: Path, text: str) -> tuple[int, str, str]:
    """How the command ends, what it found out about the sink, and all that it said."""
    path = folder / "auditring.toml"
    path.write_text(PLAIN + text)
    path.chmod(0o600)
    done = CliRunner().invoke(command_line, ["check", str(path), "--json"])
    told: dict[str, Any] = json.loads(done.output)
    (found,) = [one for one in told["findings"] if one["what"] == "sink kafka"]
    return done.exit_code, f"{found['level']}: {found['text']}", done.output


def test_a_cluster_that_would_take_rows_is_well(broker: Broker, topic: str, tmp_path: Path) -> None:
    """It was asked, and no row was written for it."""
    code, found, _ = check(tmp_path, f'servers = "{broker.plain}"\ntopic = "{topic}"\n')
    assert (code, found.partition(";")[0]) == (0, "ok: can be written to")
    assert list(tmp_path.iterdir()) == [tmp_path / "auditring.toml"]


def test_a_secret_is_tried_and_never_shown(broker: Broker, topic: str, tmp_path: Path) -> None:
    """The right one is taken; with a wrong one the cluster's refusal is told, and neither of them."""
    secret = tmp_path / "password"
    text = (
        f'servers = "{broker.sasl}"\ntopic = "{topic}"\n[sink.config]\nsecurity.protocol = "sasl_plaintext"\n'
        'sasl.mechanism = "PLAIN"\nsasl.username = "admin"\n[sink.secrets]\nsasl.password = { file = "password" }\n'
    )
    secret.write_text(planted.password("admin"))
    secret.chmod(0o600)
    code, found, said = check(tmp_path, text)
    assert (code, found.partition(";")[0]) == (0, "ok: can be written to"), said
    secret.write_text("hunter2hunter2")
    code, found, said = check(tmp_path, text)
    assert (code, found.partition(":")[0]) == (1, "wrong")
    assert "hunter2" not in said
    assert planted.password("admin") not in said


def test_a_cluster_that_is_not_there_is_wrong_here_and_now(tmp_path: Path) -> None:
    """Within the seconds that it has to answer."""
    code, found, _ = check(tmp_path, 'servers = "127.0.0.1:1"\n')
    assert code == 1
    assert "no broker answers" in found

"""The program of `docs/kafka-sink.md`, before a real broker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditring.sinks import KafkaSink
from harness.topics import messages

if TYPE_CHECKING:
    from harness.broker import Broker

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "kafka-sink.md"


def test_the_program_of_the_page_puts_rows_into_a_topic(broker: Broker, topic: str, folder: Path) -> None:
    """As it stands there, with the servers of this broker."""
    found = re.search(r"^```python\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    page: dict[str, Any] = {}
    exec(found[1], page)  # noqa: S102 - the page's own program
    page["serve"](folder / "page", KafkaSink(broker.plain, topic))
    actions = [one.headers["action"] for one in messages(broker.plain, topic)]
    assert "OperationDenied" in actions
    assert actions[-1] == "ProxyCleanShutdown"

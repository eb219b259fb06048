"""`docs/kafka-sink.md`: its table in TOML is one, and what it says of defaults holds."""

import inspect
import re
from pathlib import Path
from typing import Any

import auditring
from auditring import deployment
from auditring.sinks import KafkaSink

PAGE = (Path(__file__).parents[1] / "docs" / "kafka-sink.md").read_text()


def block(kind: str, number: int = 0) -> str:
    """A block of code of the page."""
    return str(re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[number])


def test_the_table_of_the_page_is_the_sink_of_the_page(tmp_path: Path) -> None:
    """The same servers, topic and settings; the secret is a reference."""
    place = tmp_path / "auditring.toml"
    place.write_text(f'path = "audit"\n\n{block("toml")}')
    (sink,) = deployment.load(place).sinks or ()
    page: dict[str, Any] = {}
    exec(block("python"), page)  # noqa: S102 - the page's own program
    assert isinstance(sink, KafkaSink)
    assert repr(sink) == repr(page["sink"])
    assert sink.traffic == page["sink"].traffic


def test_each_names_what_the_other_writes() -> None:
    """The two proxies of the page let each other's messages pass, and nobody else's."""
    page: dict[str, Any] = {}
    exec(block("python") + block("python", 1), page)  # noqa: S102 - the page's own program
    for one, other in ((page["east"], page["west"]), (page["west"], page["east"])):
        own, named = one.traffic[0], other.traffic[1]
        assert own.topic == named.topic
        assert own.client_id.startswith(named.client_id.removesuffix("*"))
        assert not other.traffic[0].client_id.startswith(named.client_id.removesuffix("*"))


def test_defaults_are_as_the_page_says() -> None:
    """Of the arguments, and of what is set for librdkafka."""
    found = {name: one.default for name, one in inspect.signature(KafkaSink).parameters.items()}
    assert (found["queue_bytes"], found["timeout"], found["max_topics"]) == (64 << 20, 20.0, 64)
    checkpoint = KafkaSink("localhost:9092").checkpoint
    assert (checkpoint.age, checkpoint.bytes) == (1.0, 64 << 20)
    for row in ("| `queue_bytes` | 64 MiB |", "| `timeout` | 20 s |", "| `max_topics` | 64 |", "| 1 s or 64 MiB |"):
        assert row in PAGE
    assert inspect.signature(auditring.open).parameters["exempt"].default == ()

"""Before a log is opened: whether a cluster answers, and whether a topic is there and may be written to.

What must always hold: it comes back within moments, and writes nothing.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from auditring.exceptions import SinkError
from auditring.secrets import scrubbed
from auditring.sinks._kafka_errors import failure, worst
from auditring.sinks._kafka_producer import Lines

__all__ = ["ask"]

_LOOK: Final = 0.1


def ask(settings: Mapping[str, Any], secrets: Mapping[str, str], topic: str | None, patience: float) -> None:
    """Asks for a topic, or, where its name is not known yet, for the cluster alone. Raises `SinkError`."""
    from confluent_kafka import KafkaError, KafkaException, TopicCollection  # noqa: PLC0415 - only here is it needed
    from confluent_kafka.admin import AclOperation, AdminClient  # noqa: PLC0415 - likewise

    said: dict[str, str] = {}

    def heard(error: KafkaError) -> None:
        said[error.name()] = scrubbed(error.str(), secrets)

    try:
        told: dict[str, Any] = {**settings, "error_cb": heard, "logger": Lines(secrets)}
        admin = AdminClient(told)
    except KafkaException as error:
        raise SinkError(f"no client can be made: {scrubbed(error.args[0].str(), secrets)}") from None
    topics = None if topic is None else TopicCollection([topic])
    options = {"include_authorized_operations": True, "request_timeout": patience}
    future = (
        admin.describe_cluster(**options) if topics is None else admin.describe_topics(topics, **options)[topic or ""]
    )
    deadline = time.monotonic() + patience
    while not future.done() and worst(said) is None and time.monotonic() < deadline:
        admin.poll(_LOOK)
    serious = worst(said)
    if serious is not None:
        raise failure(serious, topic, said[serious])
    if not future.done():
        raise failure("_TIMED_OUT", topic, f"nothing was said for {patience:g} s")
    try:
        found = future.result()
    except KafkaException as error:
        raise failure(error.args[0].name(), topic, scrubbed(error.args[0].str(), secrets)) from None
    if topic is not None and AclOperation.WRITE not in (found.authorized_operations or [AclOperation.WRITE]):
        raise failure("TOPIC_AUTHORIZATION_FAILED", topic, "Write is not among what its user may do")

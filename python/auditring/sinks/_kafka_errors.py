"""What went wrong with a cluster, in words that say what to do.

What must always hold: nothing of a secret is in them; whoever makes one of these errors scrubs what others have said.
"""

from typing import TYPE_CHECKING, Final

from auditring.exceptions import SinkError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

__all__ = ["TOO_LARGE", "failure", "of_error"]

TOO_LARGE: Final = "MSG_SIZE_TOO_LARGE"

_AWAY: Final = "no broker answers; the sink tries again by itself, and rows wait in the journal"
_CREDENTIALS: Final = (
    "the cluster refuses the sink's credentials; put right what the reference leads to (it is read at each try), "
    "or give the user its rights back"
)
_MISSING: Final = "topic {topic!r} is not there; create it, and the sink goes on by itself"
_DENIED: Final = "the sink may not write to topic {topic!r}; grant its user Write and Describe on it"

_ADVICE: Final = {
    "UNKNOWN_TOPIC_OR_PART": _MISSING,
    "UNKNOWN_TOPIC_ID": _MISSING,
    "_UNKNOWN_TOPIC": _MISSING,
    "_UNKNOWN_PARTITION": _MISSING,
    "TOPIC_AUTHORIZATION_FAILED": _DENIED,
    "TOPIC_EXCEPTION": "topic {topic!r} is a name that the cluster does not take; change the sink's pattern",
    "CLUSTER_AUTHORIZATION_FAILED": (
        "the sink may not write idempotently; grant its user IdempotentWrite on the cluster"
    ),
    "_AUTHENTICATION": _CREDENTIALS,
    "SASL_AUTHENTICATION_FAILED": _CREDENTIALS,
    "UNSUPPORTED_SASL_MECHANISM": "the cluster does not offer this sasl.mechanism; ask what it offers",
    "_SSL": "the TLS handshake failed; look at the certificates and the authorities that both sides trust",
    "_ALL_BROKERS_DOWN": _AWAY,
    "_TRANSPORT": _AWAY,
    "_RESOLVE": "no address is known for the sink's servers; look at their names and at the resolver",
    "_TIMED_OUT": _AWAY,
    "_MSG_TIMED_OUT": _AWAY,
    "REQUEST_TIMED_OUT": _AWAY,
    "NOT_ENOUGH_REPLICAS": "too few replicas are in sync (min.insync.replicas); bring brokers back",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": "too few replicas are in sync; bring brokers back",
    "LEADER_NOT_AVAILABLE": "topic {topic!r} has no leader yet; the sink tries again by itself",
    "INVALID_TIMESTAMP": (
        "topic {topic!r} does not take rows of that age; raise message.timestamp.before.max.ms and "
        "message.timestamp.after.max.ms, or rows of an outage can never go there"
    ),
    "INVALID_RECORD": "topic {topic!r} does not take such records; look at its settings (is it compacted?)",
    "KAFKA_STORAGE_ERROR": "a broker cannot write to its disk; look at the broker",
    TOO_LARGE: "topic {topic!r} does not take so large messages; from now on they are smaller, at worst cut and marked",
}
_SERIOUS: Final = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "_SSL", "_RESOLVE")
"""What explains a broker that does not answer."""


def of_error(error: "KafkaError", topic: str | None, said: str) -> SinkError:
    """The sink's error for one of librdkafka's; `said` is its text, without secrets."""
    return failure(error.name(), topic, said)


def failure(name: str, topic: str | None, said: str) -> SinkError:
    """The same by the error's name."""
    advice = _ADVICE.get(name, "the sink tries again by itself").format(topic=topic or "?")
    return SinkError(f"{advice} ({name}: {said})")


def worst(names: dict[str, str]) -> str | None:
    """Among the errors of a client, by name, the one that explains the others."""
    return next((name for name in _SERIOUS if name in names), None)

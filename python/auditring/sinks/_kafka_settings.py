"""What librdkafka is told: the caller's settings, those that must hold, and the secrets, which are read each time.

What must always hold: a setting that would make a delivery none is refused where it is given, not overruled in silence;
so is one that would load code or run a command; and a secret stands in no setting, only where it is.
"""

import os
import uuid
from collections.abc import Mapping
from typing import Any, Final

from auditring.exceptions import ConfigError
from auditring.secrets import Secret

__all__ = ["SECRETS", "checked", "own_client_id", "producer_settings", "try_settings"]

_OURS: Final = {
    "bootstrap.servers": "it is the sink's first argument",
    "metadata.broker.list": "it is the sink's first argument",
    "client.id": "the loop guard knows the sink by it; say client_id= for what it begins with",
    "enable.idempotence": "it is always on, or a retry could double or reorder rows",
    "enable.gapless.guarantee": "a gap is seen by the sink itself, which goes back to its cursor",
    "acks": "it is always all, or the cursor could pass rows that no replica has",
    "request.required.acks": "it is always all, or the cursor could pass rows that no replica has",
    "transactional.id": "the sink is at least once; event_id tells what came twice",
    "message.timeout.ms": "it is the sink's own: say timeout=",
    "delivery.timeout.ms": "it is the sink's own: say timeout=",
    "queue.buffering.max.kbytes": "it is the sink's own: say queue_bytes=",
    "queue.buffering.max.messages": "it is the sink's own: say queue_bytes=",
    "message.send.max.retries": "without retries a broker that changes would be a failure",
    "retries": "without retries a broker that changes would be a failure",
    "delivery.report.only.error": "reports are what the cursor moves by",
    "produce.offset.report": "nobody asks for it",
    "on_delivery": "reports are what the cursor moves by",
    "dr_cb": "reports are what the cursor moves by",
    "dr_msg_cb": "reports are what the cursor moves by",
    "error_cb": "errors are the sink's: see log.health()",
    "logger": "librdkafka's lines go to the logger auditring.kafka, without secrets",
    "log_cb": "librdkafka's lines go to the logger auditring.kafka, without secrets",
    "plugin.library.paths": "it would load code into the process",
    "ssl.engine.location": "it would load code into the process",
    "ssl.providers": "it would load code into the process",
    "sasl.kerberos.kinit.cmd": "it would run a command in a shell; renew the ticket outside, with a keytab",
}
"""Settings of librdkafka that are refused, and why."""

_OURS_BEGIN: Final = {
    "test.mock.": "it would send the rows to a cluster in memory, which keeps none of them",
    "ut_": "it is for librdkafka's own tests",
    "default.topic.config": "say its settings themselves",
    "topic.": "say the setting without the word before it",
}
"""What the names of others begin with that are refused, and why."""

SECRETS: Final = frozenset(
    {
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "ssl_key",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
    }
)
"""Those that are given by reference alone."""

_DEFAULTS: Final[dict[str, Any]] = {
    "compression.codec": "zstd",
    # As Kafka's own clients do it, so that a key is in the same partition whoever wrote it.
    "partitioner": "murmur2_random",
    # Reconnects while a broker is away: a broker that is back is soon found.
    "reconnect.backoff.max.ms": 2000,
    "linger.ms": 20,
}
_COMPRESSION: Final = {"compression.codec", "compression.type"}
_LINGER: Final = {"linger.ms", "queue.buffering.max.ms"}
_PLACEHOLDER: Final = "x"


def checked(config: Mapping[str, Any] | None, secrets: Mapping[str, Secret] | None) -> dict[str, Any]:
    """The caller's settings, if none of them is refused. Raises `ConfigError`, which repeats no value."""
    tables: tuple[object, ...] = (config, secrets)
    if not all(isinstance(one, Mapping | None) for one in tables):
        raise ConfigError("config and secrets: mappings from librdkafka's names of settings")
    given = dict(config or {})
    keys: list[object] = [*given, *(secrets or {})]
    for key in keys:
        if not isinstance(key, str):
            raise ConfigError("config: librdkafka's settings have names of text, such as 'security.protocol'")
        if why := _refused(key):
            raise ConfigError(f"config: {key} cannot be set: {why}")
    for key in given:
        if key in SECRETS:
            raise ConfigError(
                f"config: {key} is a secret: say where it is, secrets={{{key!r}: Secret(env='NAME')}}, or with file="
            )
        if key in (secrets or {}):
            raise ConfigError(f"config: {key} is given twice, here and in secrets")
    for key, secret in (secrets or {}).items():
        if not isinstance(secret, Secret):
            raise ConfigError(f"secrets: {key} is given as a Secret, which says where it is, not as what it is")
    return given


def _refused(key: str) -> str | None:
    """Why a setting cannot be the caller's; `None` where it can."""
    if key in _OURS:
        return _OURS[key]
    # topic.metadata.… and the like are settings of the client.
    return next(
        (why for begin, why in _OURS_BEGIN.items() if key.startswith(begin) and not key.startswith("topic.metadata.")),
        None,
    )


_OWN: dict[int, uuid.UUID] = {}


def own_client_id(prefix: str) -> str:
    """The id of this process's producers: nobody can guess it, and a forked child has another."""
    return f"{prefix}-{_OWN.setdefault(os.getpid(), uuid.uuid4())}"


def producer_settings(servers: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What a producer is made with, but for what the sink adds of its own."""
    settings = {"bootstrap.servers": servers, **_DEFAULTS}
    for names in (_COMPRESSION, _LINGER):
        if names & config.keys():
            for name in names:
                settings.pop(name, None)
    return {
        **settings,
        **config,
        **secrets,
        "acks": "all",
        "enable.idempotence": True,
    }


def try_settings(config: Mapping[str, Any], secrets: Mapping[str, Secret]) -> None:
    """Has librdkafka look at the settings, without a network, a file or a secret. Raises `ConfigError`."""
    try:
        from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - only who has such a sink needs it
    except ImportError as error:
        raise ConfigError("a KafkaSink needs confluent-kafka: pip install auditring[kafka]") from error

    protocol = str(config.get("security.protocol", "plaintext")).lower()
    mechanism = str(config.get("sasl.mechanism", config.get("sasl.mechanisms", "GSSAPI"))).upper()
    settings = producer_settings("", config, dict.fromkeys(secrets, _PLACEHOLDER))
    del settings["bootstrap.servers"]
    files = {key for key in settings if key.startswith(("ssl.", "ssl_", "enable.ssl", "https."))}
    for key in files - {"ssl.endpoint.identification.algorithm"}:
        # Read when a producer is made: files may come later.
        settings.pop(key)
    plain = {
        "plaintext": "plaintext",
        "ssl": "plaintext",
        "sasl_plaintext": "sasl_plaintext",
        "sasl_ssl": "sasl_plaintext",
    }
    if protocol in plain:
        settings["security.protocol"] = plain[protocol]
    if protocol.startswith("sasl") and mechanism in {"OAUTHBEARER", "GSSAPI"}:
        # They would begin to fetch tokens and tickets.
        settings = {
            k: v
            for k, v in settings.items()
            if not k.startswith("sasl.") and k not in {"security.protocol", "oauth_cb"}
        }
    try:
        Producer({**settings, "log_level": 0})
    except KafkaException as error:
        raise ConfigError(f"config: {error.args[0].str()}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config: {error}") from None

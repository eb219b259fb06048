"""Secrets, by where they are: whether each could be read, and never what it is."""

from auditring.checking.findings import Findings, ok, wrong
from auditring.deployment import Deployment
from auditring.exceptions import ConfigError
from auditring.redaction import read_key, reference
from auditring.secrets import Secret

__all__ = ["readable"]


def readable(deployment: Deployment) -> Findings:
    """Each secret that the deployment names."""
    policy = deployment.log.get("policy")
    key = None if policy is None else reference(policy.redact)
    for scheme, where in dict.fromkeys(deployment.references):
        named = f"{scheme}:{where}"
        try:
            if named == key:
                read_key(named)
            else:
                Secret.from_mapping({scheme: where}).read()
        except ConfigError as error:
            yield wrong("secret", str(error))
        else:
            yield ok("secret", f"{named} can be read")

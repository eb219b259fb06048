"""The broker's own ACLs, in short."""

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)


def rule(kind: ResourceType, name: str, user: str, operation: AclOperation, *, deny: bool = False) -> AclBinding:
    """One user may do that to one resource, from every host; or may not."""
    permission = AclPermissionType.DENY if deny else AclPermissionType.ALLOW
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, permission)


def every(kind: ResourceType, name: str | None = None) -> AclBindingFilter:
    """All rules about one resource, or about all of a kind."""
    anything = AclOperation.ANY, AclPermissionType.ANY
    # None is what says "any"; the stubs of confluent-kafka do not know it.
    return AclBindingFilter(kind, name, ResourcePatternType.ANY, None, None, *anything)  # type: ignore[arg-type]

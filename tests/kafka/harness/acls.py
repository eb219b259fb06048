"""The broker's own ACLs, in short.

The controller answers for a change, and the broker's authorizer hears of it some moments later. Who acts on a change
waits until the broker shows it: it answers for a description from what its authorizer has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from harness.broker import Broker


def rule(kind: ResourceType, name: str, user: str, operation: AclOperation, *, deny: bool = False) -> AclBinding:
    """One user may do that to one resource, from every host; or may not."""
    permission = AclPermissionType.DENY if deny else AclPermissionType.ALLOW
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, permission)


def every(kind: ResourceType, name: str | None = None) -> AclBindingFilter:
    """All rules about one resource, or about all of a kind."""
    anything = AclOperation.ANY, AclPermissionType.ANY
    # None is what says "any"; the stubs of confluent-kafka do not know it.
    return AclBindingFilter(kind, name, ResourcePatternType.ANY, None, None, *anything)  # type: ignore[arg-type]


def create(broker: Broker, *rules: AclBinding) -> None:
    """Makes rules behind every proxy's back; they are in force."""
    admin = broker.admin()  # which takes its futures with it
    for future in admin.create_acls(list(rules)).values():
        future.result(PATIENCE)
    created(broker, *rules)


def created(broker: Broker, *rules: AclBinding) -> None:
    """Waits until rules that somebody has made are in force."""
    admin, wanted = broker.admin(), set(rules)
    anything = every(ResourceType.ANY)
    until(lambda: wanted <= set(admin.describe_acls(anything).result(PATIENCE)), f"the broker goes by {rules}")


def delete(broker: Broker, which: AclBindingFilter) -> None:
    """Removes rules behind every proxy's back; they are in force no more."""
    admin = broker.admin()
    admin.delete_acls([which])[which].result(PATIENCE)
    deleted(broker, which)


def deleted(broker: Broker, which: AclBindingFilter) -> None:
    """Waits until rules that somebody has removed are in force no more."""
    admin = broker.admin()
    until(lambda: not admin.describe_acls(which).result(PATIENCE), f"the broker goes by {which} no more")

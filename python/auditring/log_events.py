"""The events of a log that no session has. Made from `rust/event/catalog.toml` by `docs/generate.py`; not to be edited.

What proxy or filters do on their own account, with no client in sight or because of one (`cause`), must never look like
a client's doing: its origin is `proxy`, or `filter` where one is named.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from auditring._core import Session
from auditring.types import Authority, ContextMap, Outcome, Text

__all__ = ["LogEvents"]


class LogEvents(ABC):
    """The methods of a log that are actions of the catalog."""

    @abstractmethod
    def _record(self, action: str, /, **fields: Any) -> None:  # noqa: ANN401 - the fields are the catalog's
        """Records one event."""

    def virtual_cluster_startup(
        self,
        virtual_cluster: Text,
        authentication: Literal["terminate", "inspect", "none"],
        mechanism: Text | None = None,
        listener: Text | None = None,
        server: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A virtual cluster takes connections, and this is how it authenticates its clients.

        Action `VirtualClusterStartup`.
        """
        self._record(
            "VirtualClusterStartup",
            virtual_cluster=virtual_cluster,
            authentication=authentication,
            mechanism=mechanism,
            listener=listener,
            server=server,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def virtual_cluster_shutdown(
        self,
        virtual_cluster: Text,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A virtual cluster takes no more connections.

        Action `VirtualClusterShutdown`.
        """
        self._record(
            "VirtualClusterShutdown",
            virtual_cluster=virtual_cluster,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def read(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        group_id: Text | None = None,
        topic_id: Text | None = None,
        log_start_offset: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Records of a topic's partition were read.

        Action `Read`.
        """
        self._record(
            "Read",
            topic=topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            records=records,
            bytes=bytes,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            group_id=group_id,
            topic_id=topic_id,
            log_start_offset=log_start_offset,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def write(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        transactional_id: Text | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Records were written to a topic's partition.

        Action `Write`.
        """
        self._record(
            "Write",
            topic=topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            records=records,
            bytes=bytes,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            transactional_id=transactional_id,
            topic_id=topic_id,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def delete(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        records: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Records of a topic's partition were deleted.

        Action `Delete`.
        """
        self._record(
            "Delete",
            topic=topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            records=records,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def create_topics(
        self,
        topic: Text,
        partitions: int | None = None,
        replication_factor: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """A topic was created.

        Action `CreateTopics`.
        """
        self._record(
            "CreateTopics",
            topic=topic,
            partitions=partitions,
            replication_factor=replication_factor,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            topic_id=topic_id,
            validate_only=validate_only,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def delete_topics(
        self,
        topic: Text,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """A topic was deleted.

        Action `DeleteTopics`.
        """
        self._record(
            "DeleteTopics",
            topic=topic,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            topic_id=topic_id,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def create_partitions(
        self,
        topic: Text,
        partitions: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """A topic was given more partitions.

        Action `CreatePartitions`.
        """
        self._record(
            "CreatePartitions",
            topic=topic,
            partitions=partitions,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            validate_only=validate_only,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def alter_configs(
        self,
        resource_type: Text,
        resource: Text,
        settings: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Settings of a resource were changed.

        Action `AlterConfigs`.
        """
        self._record(
            "AlterConfigs",
            resource_type=resource_type,
            resource=resource,
            settings=settings,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            validate_only=validate_only,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def reset_offsets(
        self,
        group_id: Text,
        topic: Text,
        partition: int,
        offset: int | None = None,
        previous_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        filter: Text | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """A group's position in a partition was set by somebody.

        Action `ResetOffsets`.
        """
        self._record(
            "ResetOffsets",
            group_id=group_id,
            topic=topic,
            partition=partition,
            offset=offset,
            previous_offset=previous_offset,
            client_correlation_id=client_correlation_id,
            server_correlation_id=server_correlation_id,
            duration_ns=duration_ns,
            api=api,
            server=server,
            server_local=server_local,
            node_id=node_id,
            topic_id=topic_id,
            transactional_id=transactional_id,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

    def request_inject(
        self,
        api: Text,
        api_version: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        filter: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
        cause: Session | str | None = None,
    ) -> None:
        """Proxy or filter send a request of their own to the server.

        Action `RequestInject`.
        """
        self._record(
            "RequestInject",
            api=api,
            api_version=api_version,
            server_correlation_id=server_correlation_id,
            bytes=bytes,
            server=server,
            server_local=server_local,
            node_id=node_id,
            filter=filter,
            cause=cause,
            outcome=outcome,
            status=status,
            reason=reason,
            authority=authority,
            tap=tap,
            object_ref=object_ref,
            context=context,
        )

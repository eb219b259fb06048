"""The authorizer: a guard that answers in the broker's place where the ACL does not allow what is attempted.

- Every attempt is an event, allowed or denied, one for each topic. What it asks itself to find out which topics a
  client may know of (Metadata) is no attempt and no event: a topic is just not there, or refused as a broker refuses.
- Where some topics of a request are denied, the others go on, and the refusals are put beside what the broker answers;
  of an AddPartitionsToTxn none goes on, as in a broker.
- A Fetch goes on without a session of the broker's, so that each names all that it reads and is looked at as a whole.
- What is not offered and attempted all the same is denied as an operation on the cluster, and the connection is closed.
- Who asks as a replica (Fetch, ListOffsets, OffsetForLeaderEpoch) is denied CLUSTER_ACTION: it would read past what
  consumers may see, and count as a follower.
- A Produce with acks=0 has no answer to put a refusal into: the connection is closed, as a broker does. Nothing of it
  goes on, not even what is allowed, which a broker would have written first.
- A topic id that the proxy has not seen in any Metadata is answered UNKNOWN_TOPIC_ID: clients then ask for Metadata.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kio.schema.errors import ErrorCode

from kafka_proxy import wire
from kafka_proxy.ends import ProtocolError
from kafka_proxy.guarded import CLIENTS, GUARDED, OPEN, blank, named, refusal, topics
from kafka_proxy.steps import Answer

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from uuid import UUID

    import auditring
    from kafka_proxy.acl import Acl
    from kafka_proxy.steps import Request

NAME: Final = "com.example.kafka_proxy.Authorizer"
NAMESPACE: Final = "com.example.kafka_proxy"
DENIED: Final = "TopicAuthorizationFailed"
UNKNOWN: Final = "UnknownTopicId"
MOST_NAMES: Final = 100_000
FIRST_METADATA: Final = 4  # older ones create topics that are only asked for


class Authorizer:
    """One connection's; `names` of topics by id are the virtual cluster's."""

    def __init__(
        self,
        acl: Acl,
        principal: str,
        session: auditring.Session,
        broker: auditring.Broker,
        names: MutableMapping[UUID, str],
    ) -> None:
        self._allows = acl.allows
        self._principal = principal
        self._decided = session.plugin(filter=NAME, namespace=NAMESPACE, authorizer=True)
        self._broker = broker
        self._names = names

    def wants_request(self, key: int, version: int) -> bool:
        """All about topics, and all that must not pass."""
        return key in GUARDED or key in {wire.METADATA, wire.OFFSET_FETCH} or key not in OPEN

    def wants_response(self, key: int, version: int) -> bool:
        """None: what is to be done with a response is said with its request."""
        return False

    def response(self, request: Request, body: Any) -> Any:
        """Stays."""
        return body

    def request(self, request: Request, body: Any) -> Any:
        """What of it may go on, or the refusal. Raises `ProtocolError`."""
        key, version = request.codec.key, request.codec.version
        if key == wire.METADATA and version >= FIRST_METADATA:
            request.after.append(partial(self._hide, body))
            return replace(body, allow_auto_topic_creation=False) if body.allow_auto_topic_creation else body
        if key == wire.OFFSET_FETCH:
            request.after.append(partial(self._hide_offsets, self._asked(body)))
            return body
        if key not in GUARDED or version > CLIENTS.get(key, version):
            raise self._forbidden(request, request.codec.name, "ApiNotGuarded")
        if replica(body) != CLIENT:
            raise self._forbidden(request, "CLUSTER_ACTION", "ClusterAuthorizationFailed")
        if key == wire.FETCH and hasattr(body, "session_id"):
            if body.session_id:
                return self._answer(request, UNKNOWN_SESSION, error_code=ErrorCode.fetch_session_id_not_found)
            body = replace(body, session_epoch=-1)
        return self._decide(request, body)

    def _forbidden(self, request: Request, operation: str, status: str) -> ProtocolError:
        """What nobody may do through this proxy, whatever the ACL says."""
        codec = request.codec
        self._decided.operation_denied(
            operation, "Cluster", "kafka-cluster", status=status, context={"api": codec.name, "version": codec.version}
        )
        return ProtocolError(status)

    def _decide(self, request: Request, body: Any) -> Any:
        guarded = GUARDED[request.codec.key]
        field, attempted = topics(guarded, body)
        allowed, refused, status = [], [], None
        for topic in attempted:
            error = self._attempt(guarded.operation, topic)
            if error is ErrorCode.none:
                allowed.append(topic)
                continue
            refused.append(refusal(request.codec, topic, error))
            status = DENIED if error is ErrorCode.topic_authorization_failed else status or UNKNOWN
        if status is None:
            return body
        if request.codec.key == wire.PRODUCE and body.acks == 0:
            raise ProtocolError(status)
        if guarded.whole:
            not_done = ErrorCode.operation_not_attempted
            refused += [refusal(request.codec, topic, not_done) for topic in allowed]
            allowed.clear()
        if not allowed:
            return self._answer(request, status, **{guarded.answers: tuple(refused)})

        def beside(response: Any) -> Any:
            return replace(response, **{guarded.answers: (*getattr(response, guarded.answers), *refused)})

        request.after.append(beside)
        return replace(body, **{field: tuple(allowed)})

    def _attempt(self, operation: Any, topic: Any) -> ErrorCode:
        name, topic_id = named(topic)
        if name is None and topic_id is not None:
            name = self._names.get(topic_id)
        if name is None:
            return ErrorCode.unknown_topic_id
        if self._allows(self._principal, operation, name):
            self._decided.operation_allowed(operation, "Topic", name)
            return ErrorCode.none
        self._decided.operation_denied(operation, "Topic", name, status=DENIED)
        return ErrorCode.topic_authorization_failed

    def _answer(self, request: Request, status: str, **values: Any) -> Answer:
        codec = request.codec
        body = blank(codec.response_type, **values)
        frame = codec.answer(request.correlation_id, body)  # before the row: what cannot be written is no answer
        self._broker.request_shortcircuit(
            codec.name,
            codec.version,
            request.correlation_id,
            filter=NAME,
            outcome="denied" if status == DENIED else "failure",
            status=status,
        )
        return Answer(body, frame=frame)

    def _asked(self, body: Any) -> list[dict[Named, ErrorCode]]:
        """For each group of an OffsetFetch the topics that it names, decided; one that names none asks for all."""
        return [{named(topic): self._attempt("DESCRIBE", topic) for topic in one.topics or ()} for one in groups(body)]

    def _hide_offsets(self, asked: list[dict[Named, ErrorCode]], response: Any) -> Any:
        """An OffsetFetch's answer with refusals for what was named, and without the rest that may not be known."""
        answered = groups(response)
        if len(answered) != len(asked):
            raise ProtocolError("UnexpectedResponse")
        shown = []
        for decided, group in zip(asked, answered, strict=True):
            topics = []
            for topic in group.topics:
                name, topic_id = named(topic)
                error = decided.get((name, topic_id))
                if error is None:
                    name = self._names.get(topic_id) if name is None and topic_id else name
                    if name and self._allows(self._principal, "DESCRIBE", name):
                        topics.append(topic)
                elif error is ErrorCode.none:
                    topics.append(topic)
                else:
                    refused = tuple(
                        blank(type(one), partition_index=one.partition_index, metadata="", error_code=error)
                        for one in topic.partitions
                    )
                    topics.append(replace(topic, partitions=refused))
            shown.append(replace(group, topics=tuple(topics)))
        return replace(response, groups=tuple(shown)) if hasattr(response, "groups") else shown[0]

    def _hide(self, asked: Any, response: Any) -> Any:
        """A Metadata response without what the client may not know of; names and ids of the rest are learnt from it."""
        by_id = {topic.topic_id for topic in asked.topics or () if named(topic)[0] is None}
        shown = []
        for topic in response.topics:
            name, topic_id = named(topic)
            if name and topic_id:
                if len(self._names) >= MOST_NAMES:
                    self._names.clear()  # clients are asked to learn anew, and so are we
                self._names[topic_id] = name
            if not name or self._allows(self._principal, "DESCRIBE", name):
                shown.append(topic)
            elif asked.topics is not None:  # it was asked for by name or id; else it is just not there
                unknown = topic_id in by_id
                error = ErrorCode.unknown_topic_id if unknown else ErrorCode.topic_authorization_failed
                who = {"topic_id": topic_id, "name": None} if unknown else {"name": name}
                shown.append(blank(type(topic), error_code=error, **who))
        return replace(response, topics=tuple(shown))


Named = tuple[str | None, "UUID | None"]


def groups(message: Any) -> tuple[Any, ...]:
    """The groups in an OffsetFetch or its answer; up to version 7 it is about one."""
    return tuple(getattr(message, "groups", (message,)))


def replica(body: Any) -> int:
    """Which broker a request says that it is from, where it can say so; -1 is a client."""
    state = getattr(body, "replica_state", body)
    return int(getattr(state, "replica_id", CLIENT))


CLIENT: Final = -1
UNKNOWN_SESSION: Final = "FetchSessionIdNotFound"


def offered(key: int) -> bool:
    """Whether a client may know of that API."""
    return key in GUARDED or key in OPEN

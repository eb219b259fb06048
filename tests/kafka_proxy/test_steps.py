"""What the steps of the chain do to messages: every version of every API that they claim, read back by kio."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("kio")
from kio.index import load_request_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map

from kafka_proxy import wire
from kafka_proxy.acl import Acl
from kafka_proxy.authorizer import Authorizer, groups, offered
from kafka_proxy.endpoints import Endpoints
from kafka_proxy.ends import ProtocolError
from kafka_proxy.guarded import CLIENTS, GUARDED, named
from kafka_proxy.rename import Rename
from kafka_proxy.steps import Answer, Request
from kafka_proxy.versions import Versions
from proxy_messages import HOST, NODE, TOPIC, TOPIC_ID, body_of, every, framed, has, names_topics, request, response

if TYPE_CHECKING:
    from pathlib import Path

METADATA, FETCH, PRODUCE, API_VERSIONS, ADD_PARTITIONS_TO_TXN, OFFSET_FETCH = 3, 1, 0, 18, 24, 9
HERE = ("proxy.example.com", 29_092)
# What brokers and controllers say to each other; addresses of controllers, which clients show and do not connect to;
# and those of applications of Kafka Streams, which are no brokers.
OTHERS = {
    "vote",
    "begin_quorum_epoch",
    "end_quorum_epoch",
    "fetch_snapshot",
    "describe_quorum",
    "update_raft_voter",
    "streams_group_heartbeat",
    "streams_group_describe",
}


def asked(key: int, version: int) -> Request:
    """A request that is on its way."""
    return Request(wire.codec(key, version), 7)


@pytest.mark.parametrize(("key", "version"), every(), ids=str)
def test_no_address_of_a_broker_reaches_a_client(key: int, version: int) -> None:
    """Every response that has one is given another, and is otherwise the same."""
    step = Endpoints(lambda node, host, port: HERE if (node, host, port) == (NODE, HOST, NODE) else ("?", 0))
    came = response(key, version)
    kind: Any = type(came)
    if not has(kind, "port") or api_key_map[key] in OTHERS:
        assert not step.wants_response(key, version) or key in {PRODUCE, FETCH, METADATA, 10, 60, 78, 79}
        return
    assert step.wants_response(key, version)
    codec = wire.codec(key, version)
    header, body = codec.response(memoryview(framed(7, came)))
    assert body == came
    given = body_of(codec.encode_response(header, step.response(asked(key, version), body)), type(came))
    assert given == response(key, version, host=HERE[0], port=HERE[1])


def test_a_coordinator_that_there_is_not() -> None:
    """Has no address to rewrite."""
    step = Endpoints(lambda *_: HERE)
    for version, nobody in ((3, {"node_id": -1}), (4, {"node_id": -1, "host": ""})):
        came = response(10, version, **nobody)
        assert step.response(asked(10, version), came) == came


def test_a_response_without_endpoints_is_not_touched() -> None:
    """So that its bytes go on as they came."""
    came = response(FETCH, 17, node_endpoints=())
    assert Endpoints(lambda *_: HERE).response(asked(FETCH, 17), came) is came


@pytest.mark.parametrize(("key", "version"), every(), ids=str)
def test_topics_are_renamed(key: int, version: int) -> None:
    """In every request and response that names one, there and back; the rest is not touched."""
    step = Rename({TOPIC: "inner"})
    for came, wants, change in (
        (request(key, version, resource_type=2), step.wants_request, step.request),
        (response(key, version, resource_type=2), step.wants_response, step.response),
    ):
        changed = change(asked(key, version), came)
        assert wants(key, version) or changed is came
        kind: Any = type(came)
        if names_topics(kind):
            frame = framed(7, changed, key if came.__class__.__name__.endswith("Request") else None)
            assert TOPIC.encode() not in frame
            assert b"inner" in frame
        assert change(asked(key, version), changed) == came
        assert replace(came) == came


def test_resources_are_renamed_where_they_are_topics() -> None:
    """In settings and ACLs a topic is a resource; a group of the same name is something else."""
    step = Rename({TOPIC: "inner"})
    for key, name in ((32, "resource_name"), (30, "resource_name"), (29, "resource_name_filter")):
        version = max(version for of, version in every(key))
        for kind, renamed in ((2, True), (3, False)):
            of = {"resource_type": kind, "resource_type_filter": kind, name: TOPIC}
            changed = step.request(asked(key, version), request(key, version, **of))
            assert (changed == request(key, version, **{**of, name: "inner"})) == renamed


def error_of(one: Any) -> ErrorCode:
    """The error of a topic or a partition in an answer."""
    error: ErrorCode = one.partition_error_code if hasattr(one, "partition_error_code") else one.error_code
    return error


class Recorder:
    """In place of a session and a broker of the log, for what the authorizer calls."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.contexts: list[dict[str, Any] | None] = []

    def plugin(self, **_: Any) -> Recorder:
        """Itself."""
        return self

    def operation_allowed(self, operation: str, resource_type: str, resource: str) -> None:
        """A row."""
        self.rows.append(("allowed", operation, resource_type, resource))

    def operation_denied(
        self, operation: str, resource_type: str, resource: str, *, status: str, context: dict[str, Any] | None = None
    ) -> None:
        """A row."""
        self.contexts.append(context)
        self.rows.append(("denied", operation, resource_type, resource, status))

    def request_shortcircuit(self, api: str, *_: Any, status: str, **__: Any) -> None:
        """A row."""
        self.rows.append(("shortcircuit", api, status))


@pytest.fixture
def guard(tmp_path: Path) -> tuple[Authorizer, Recorder]:
    """An authorizer that allows everything with `public`, and lets `seen` be seen; one id is known."""
    path = tmp_path / "acl.toml"
    path.write_text(
        '[[allow]]\nprincipals = ["alice"]\noperations = ["ALL"]\ntopics = ["public"]\n'
        '[[allow]]\nprincipals = ["alice"]\noperations = ["DESCRIBE"]\ntopics = ["seen"]\n'
    )
    recorder: Any = Recorder()
    return Authorizer(Acl(path), "alice", recorder, recorder, {TOPIC_ID: TOPIC}), recorder


GUARDED_VERSIONS = [(key, version) for key, version in every(*GUARDED) if version <= CLIENTS.get(key, version)]
WITH_PARTITIONS = [(key, version) for key, version in GUARDED_VERSIONS if GUARDED[key].partitions]
SOME_GO_ON = [(key, version) for key, version in GUARDED_VERSIONS if not GUARDED[key].whole]


@pytest.mark.parametrize(("key", "version"), GUARDED_VERSIONS, ids=str)
def test_a_refusal_of_all(guard: tuple[Authorizer, Recorder], key: int, version: int) -> None:
    """Is an answer that names the topics and partitions that were asked for, each with the error; and two events."""
    step, recorder = guard
    about = asked(key, version)
    came = request(key, version, session_id=0, replica_id=-1)
    answer = step.request(about, came)
    assert isinstance(answer, Answer)
    body = body_of(about.codec.answer(7, answer.body), about.codec.response_type)
    (refused,) = getattr(body, GUARDED[key].answers)
    name, topic_id = named(refused)
    assert (name == TOPIC) or (name is None and topic_id == TOPIC_ID)
    errors = [refused] if not GUARDED[key].partitions else getattr(refused, GUARDED[key].answered_partitions)
    assert [error_of(one) for one in errors] == [ErrorCode.topic_authorization_failed]
    if GUARDED[key].partitions:
        assert getattr(errors[0], GUARDED[key].answered_number) == NODE
    if key == FETCH:
        assert errors[0].records == b""
    assert recorder.rows == [
        ("denied", GUARDED[key].operation, "Topic", TOPIC, "TopicAuthorizationFailed"),
        ("shortcircuit", about.codec.name, "TopicAuthorizationFailed"),
    ]


@pytest.mark.parametrize(("key", "version"), GUARDED_VERSIONS, ids=str)
def test_a_topic_without_a_name(guard: tuple[Authorizer, Recorder], key: int, version: int) -> None:
    """Is refused as any other: there is an answer for it, and only then a row that says so."""
    step, recorder = guard
    about = asked(key, version)
    empty = {"name": "", "topic": "", "topic_id": None, "topic_names": ("",)}
    answer = step.request(about, request(key, version, session_id=0, replica_id=-1, **empty))
    body = body_of(answer.frame, about.codec.response_type)
    assert body == answer.body
    (refused,) = getattr(body, GUARDED[key].answers)
    if named(refused) == ("", None):
        assert recorder.rows[0] == ("denied", GUARDED[key].operation, "Topic", "", "TopicAuthorizationFailed")
    assert recorder.rows[-1][:2] == ("shortcircuit", about.codec.name)


@pytest.mark.parametrize(("key", "version"), WITH_PARTITIONS, ids=str)
def test_partitions_that_are_null(guard: tuple[Authorizer, Recorder], key: int, version: int) -> None:
    """Are none."""
    about = asked(key, version)
    null: dict[str, Any] = {str(GUARDED[key].partitions): None}
    answer = guard[0].request(about, request(key, version, session_id=0, replica_id=-1, **null))
    (refused,) = getattr(body_of(answer.frame, about.codec.response_type), GUARDED[key].answers)
    assert getattr(refused, GUARDED[key].answered_partitions) == ()


AS_REPLICAS = [
    (key, version) for key, version in GUARDED_VERSIONS if has(load_request_schema(key, version), "replica_id")
]


@pytest.mark.parametrize("number", [-3, -2, 0, 1])
@pytest.mark.parametrize(("key", "version"), AS_REPLICAS, ids=str)
def test_who_says_to_be_a_broker(guard: tuple[Authorizer, Recorder], key: int, version: int, number: int) -> None:
    """Is none, whatever may be read."""
    step, recorder = guard
    about = asked(key, version)
    with pytest.raises(ProtocolError, match="ClusterAuthorizationFailed"):
        step.request(about, request(key, version, session_id=0, replica_id=number, topic="public", name="public"))
    assert recorder.rows == [("denied", "CLUSTER_ACTION", "Cluster", "kafka-cluster", "ClusterAuthorizationFailed")]


@pytest.mark.parametrize(("key", "version"), SOME_GO_ON, ids=str)
def test_a_refusal_of_some(guard: tuple[Authorizer, Recorder], key: int, version: int) -> None:
    """The rest goes on, and what the broker answers is given back with the refusal beside it."""
    step, recorder = guard
    step._names[uuid.UUID(int=1)] = "public"  # noqa: SLF001 - as if Metadata had said so
    about = asked(key, version)
    field = GUARDED[key].topics if has(about.codec.request_type, GUARDED[key].topics) else "topic_names"
    (denied,) = getattr(request(key, version), field)
    if isinstance(denied, str):
        allowed: Any = "public"
    else:
        by = {"name": "public", "topic": "public", "topic_id": uuid.UUID(int=1)}
        (allowed,) = getattr(request(key, version, **by), field)
    sent = step.request(about, request(key, version, session_id=0, replica_id=-1, **{field: (denied, allowed)}))
    assert getattr(sent, field) == (allowed,)
    assert about.codec.encode_request(bytes(14), sent)
    (change,) = about.after
    came = response(key, version)
    given = body_of(about.codec.answer(7, change(came)), about.codec.response_type)
    assert getattr(given, GUARDED[key].answers)[:1] == getattr(came, GUARDED[key].answers)
    assert len(getattr(given, GUARDED[key].answers)) == 2
    assert [row[0] for row in recorder.rows] == ["denied", "allowed"]


@pytest.mark.parametrize("version", range(4))
def test_a_transaction_with_a_topic_that_is_denied(guard: tuple[Authorizer, Recorder], version: int) -> None:
    """Gets none of its topics; both attempts are events."""
    step, recorder = guard
    about = asked(ADD_PARTITIONS_TO_TXN, version)
    (denied,) = request(ADD_PARTITIONS_TO_TXN, version).v3_and_below_topics
    both = (replace(denied, name="public", partitions=(0, 5)), denied)
    answer = step.request(about, request(ADD_PARTITIONS_TO_TXN, version, v3_and_below_topics=both))
    body = body_of(about.codec.answer(7, answer.body), about.codec.response_type)
    errors = {
        (topic.name, one.partition_index): one.partition_error_code
        for topic in body.results_by_topic_v3_and_below
        for one in topic.results_by_partition
    }
    not_done = ErrorCode.operation_not_attempted
    assert errors == {
        ("public", 0): not_done,
        ("public", 5): not_done,
        (TOPIC, denied.partitions[0]): ErrorCode.topic_authorization_failed,
    }
    assert recorder.rows == [
        ("allowed", "WRITE", "Topic", "public"),
        ("denied", "WRITE", "Topic", TOPIC, "TopicAuthorizationFailed"),
        ("shortcircuit", "AddPartitionsToTxn", "TopicAuthorizationFailed"),
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_what_brokers_say_of_transactions(guard: tuple[Authorizer, Recorder], version: int) -> None:
    """Is not for clients."""
    with pytest.raises(ProtocolError, match="ApiNotGuarded"):
        guard[0].request(asked(ADD_PARTITIONS_TO_TXN, version), request(ADD_PARTITIONS_TO_TXN, version))


def test_a_refused_produce_without_an_answer(guard: tuple[Authorizer, Recorder]) -> None:
    """Closes the connection, as a broker does; nothing of it goes on, and what was decided are events all the same."""
    step, recorder = guard
    (denied,) = request(PRODUCE, 9).topic_data
    both = (replace(denied, name="public"), denied)
    with pytest.raises(ProtocolError, match="TopicAuthorizationFailed"):
        step.request(asked(PRODUCE, 9), request(PRODUCE, 9, acks=0, topic_data=both))
    assert [row[0] for row in recorder.rows] == ["allowed", "denied"]


def test_a_topic_id_that_nobody_has_told(guard: tuple[Authorizer, Recorder]) -> None:
    """Is answered so that clients ask for Metadata; nothing has been decided, so nothing is denied."""
    step, recorder = guard
    about = asked(FETCH, 17)
    answer = step.request(about, request(FETCH, 17, session_id=0, replica_id=-1, topic_id=uuid.UUID(int=9)))
    assert answer.body.responses[0].partitions[0].error_code is ErrorCode.unknown_topic_id
    assert recorder.rows == [("shortcircuit", "Fetch", "UnknownTopicId")]


def test_fetches_have_no_session_at_the_broker(guard: tuple[Authorizer, Recorder]) -> None:
    """So each names all that it reads; one that goes on with a session has to begin anew."""
    step, _ = guard
    step._names[TOPIC_ID] = "public"  # noqa: SLF001 - as if Metadata had said so
    assert (
        step.request(asked(FETCH, 17), request(FETCH, 17, session_id=0, replica_id=-1, session_epoch=0)).session_epoch
        == -1
    )
    answer = step.request(asked(FETCH, 17), request(FETCH, 17, session_id=5, replica_id=-1, session_epoch=3))
    assert answer.body.error_code is ErrorCode.fetch_session_id_not_found


@pytest.mark.parametrize("version", [version for _, version in every(OFFSET_FETCH)])
def test_committed_offsets_of_what_may_not_be_seen(guard: tuple[Authorizer, Recorder], version: int) -> None:
    """Are refused where the topic is named, which is an attempt; and not there where a group is asked for all."""
    step, recorder = guard
    step._names[uuid.UUID(int=1)] = "public"  # noqa: SLF001 - as if Metadata had said so
    both = [{"name": TOPIC, "topic_id": TOPIC_ID}, {"name": "public", "topic_id": uuid.UUID(int=1)}]
    topics = tuple(groups(response(OFFSET_FETCH, version, **who))[0].topics[0] for who in both)
    came = response(OFFSET_FETCH, version, topics=topics)
    named_ones = tuple(groups(request(OFFSET_FETCH, version, **who))[0].topics[0] for who in both)
    for which, errors in (
        (named_ones, [ErrorCode.topic_authorization_failed, ErrorCode.none]),
        (None, [ErrorCode.none]),
    ):
        recorder.rows.clear()
        about = asked(OFFSET_FETCH, version)
        assert step.wants_request(OFFSET_FETCH, version)
        body = request(OFFSET_FETCH, version, topics=which)
        assert step.request(about, body) is body
        (change,) = about.after
        (group,) = groups(body_of(about.codec.answer(7, change(came)), about.codec.response_type))
        assert [topic.partitions[0].error_code for topic in group.topics] == errors
        assert group.topics[-1] == topics[1]
        if which:
            assert group.topics[0].partitions[0].committed_offset == -1
        assert [row[:2] for row in recorder.rows] == (
            [("denied", "DESCRIBE"), ("allowed", "DESCRIBE")] if which else []
        )


@pytest.mark.parametrize("version", [version for _, version in every(METADATA) if version >= 4])
def test_metadata_shows_what_may_be_seen(guard: tuple[Authorizer, Recorder], version: int) -> None:
    """Among all, the rest is not there; asked for by name, it is refused. No creation, and no event."""
    step, recorder = guard
    (topic,) = response(METADATA, version).topics
    came = response(METADATA, version, topics=tuple(replace(topic, name=name) for name in (TOPIC, "public", "seen")))
    for which, names in ((None, ["public", "seen"]), (request(METADATA, version).topics, [TOPIC, "public", "seen"])):
        about = asked(METADATA, version)
        assert not step.request(about, request(METADATA, version, topics=which)).allow_auto_topic_creation
        (change,) = about.after
        given = body_of(about.codec.answer(7, change(came)), about.codec.response_type)
        assert [one.name for one in given.topics] == names
        if which:
            assert given.topics[0].error_code is ErrorCode.topic_authorization_failed
            assert given.topics[0].partitions == ()
    assert recorder.rows == []


def test_what_the_authorizer_does_not_know(guard: tuple[Authorizer, Recorder]) -> None:
    """Is not offered, and not let through; the denial says what it was."""
    step, recorder = guard
    for key, version in ((32, 4), (30, 3), (78, 1), (17, 1), (36, 2), (37, 3), (51, 0), (METADATA, 3)):
        assert step.wants_request(key, version)
        about = asked(key, version)
        with pytest.raises(ProtocolError, match="ApiNotGuarded"):
            step.request(about, request(key, version))
        assert recorder.rows.pop() == ("denied", about.codec.name, "Cluster", "kafka-cluster", "ApiNotGuarded")
        assert recorder.contexts.pop() == {"api": about.codec.name, "version": version}
        assert not offered(key) or key == METADATA


@pytest.mark.parametrize("version", [version for _, version in every(API_VERSIONS)])
def test_versions_are_capped(version: int) -> None:
    """To what kio knows; what it does not know at all is not offered."""
    (one,) = response(API_VERSIONS, version).api_keys
    said = response(
        API_VERSIONS,
        version,
        api_keys=tuple(
            replace(one, api_key=key, min_version=0, max_version=most) for key, most in ((3, 99), (3, 2), (999, 1))
        ),
    )
    given = Versions(lambda _: True).response(asked(API_VERSIONS, version), said)
    newest = max(version for _, version in every(METADATA))
    assert [(api.api_key, api.max_version) for api in given.api_keys] == [(3, newest), (3, 2)]
    own = Versions(lambda _: True, (17, 36)).response(asked(API_VERSIONS, version), given)
    assert [(api.api_key, api.max_version) for api in own.api_keys[2:]] == [(17, 1), (36, 2)]
    assert Versions(lambda key: key != METADATA).response(asked(API_VERSIONS, version), said).api_keys == ()

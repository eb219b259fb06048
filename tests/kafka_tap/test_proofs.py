"""Who a client proves to be, in every version of the handshake and of what follows it."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.metadata.v0 import request as metadata
from kio.schema.metadata.v0 import response as metadata_answer
from kio.schema.types import BrokerId, TopicName
from kio.static.primitive import i32, i64Timedelta

import auditring
from auditring.kafka import Tap
from oracle import wire
from oracle.reading import everything, rows
from oracle.rows import Row, status
from oracle.versions import CLAIMED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDSHAKES = [version.version for version in CLAIMED if version.name == "SaslHandshake"]
AUTHENTICATES = [version.version for version in CLAIMED if version.name == "SaslAuthenticate"]
# The messages of a client with the broker's answers, and whom it claims to be.
PROOFS: dict[str, tuple[list[tuple[bytes, bytes]], str]] = {
    "PLAIN": ([(b"\x00alice\x00hush-password", b"")], "alice"),
    "SCRAM-SHA-256": (
        [
            (b"n,,n=al=2Cice,r=hush-nonce", b"r=hush-nonce-more,s=aHVzaC1zYWx0,i=4096"),
            (b"c=biws,r=hush-nonce-more,p=hush-proof", b"v=hush-signature"),
        ],
        "al,ice",
    ),
    "SCRAM-SHA-512": (
        [
            (b"n,,n=bob,r=hush-nonce", b"r=hush-nonce-more,s=aHVzaC1zYWx0,i=8192"),
            (b"c=biws,r=hush-nonce-more,p=hush-proof", b"v=hush-signature"),
        ],
        "bob",
    ),
    "OAUTHBEARER": ([(b"n,a=carol,\x01auth=Bearer hush-token\x01\x01", b"")], "carol"),
}


class Talk:
    """A client and a broker, and the tap between them."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.ids = itertools.count(1)

    def exchange(self, key: int, version: int, request: Row, answer: Row) -> None:
        """One request and its answer."""
        client = next(self.ids)
        self.tap.from_client(wire.request(load_request_schema(key, version)(**request), client, "client"))
        self.tap.from_broker(wire.answer(load_response_schema(key, version)(**answer), client))

    def handshake(self, version: int, mechanism: str, code: ErrorCode = ErrorCode.none) -> None:
        """Whether the broker has this mechanism."""
        self.exchange(17, version, {"mechanism": mechanism}, {"error_code": code, "mechanisms": ("PLAIN",)})

    def prove(self, version: int, proof: bytes, challenge: bytes, code: ErrorCode = ErrorCode.none) -> None:
        """A message of the mechanism, and the broker's."""
        answer: Row = {"error_code": code, "error_message": "hush-why" if code else None, "auth_bytes": challenge}
        if version >= 1:
            answer["session_lifetime"] = i64Timedelta.parse(dt.timedelta())
        self.exchange(36, version, {"auth_bytes": proof}, answer)

    def refused(self) -> None:
        """Something to have a row about."""
        client = next(self.ids)
        topic = TopicName("orders")
        asked = metadata.MetadataRequest(topics=(metadata.MetadataRequestTopic(name=topic),))
        told = metadata_answer.MetadataResponseTopic(
            error_code=ErrorCode.topic_authorization_failed, name=topic, partitions=()
        )
        broker = metadata_answer.MetadataResponseBroker(node_id=BrokerId(1), host="hush-host", port=i32(1))
        self.tap.from_client(wire.request(asked, client, "client"))
        self.tap.from_broker(wire.answer(metadata_answer.MetadataResponse(brokers=(broker,), topics=(told,)), client))


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[tuple[Talk, Any]]:
    """A connection, and a way to read what was said about it."""
    log = auditring.open(tmp_path, instance="proxy")
    session = log.session(peer=("10.0.0.9", 4000), authority="witness")
    tap = Tap(session.broker("10.0.0.5:9092", node_id=5), name="edge")

    def told() -> list[Row]:
        tap.close()
        session.close()
        log.close()
        found = [row for of in rows(tmp_path).get(session.id, {}).values() for row in of]
        assert b"hush" not in everything(tmp_path)
        return found

    yield Talk(tap), told
    log.close()


def success(name: str, mechanism: str) -> Row:
    """The row of a yes."""
    return {
        "action": "ClientSaslAuthSuccess",
        "outcome": "success",
        "authority": "witness",
        "tap": "edge",
        "principal": name,
        "mechanism": mechanism,
    }


def failure(name: str | None, mechanism: str, code: ErrorCode) -> Row:
    """The row of a no."""
    row: Row = {
        "action": "ClientSaslAuthFailure",
        "outcome": "failure",
        "status": status(code),
        "authority": "witness",
        "tap": "edge",
        "mechanism": mechanism,
    }
    return row if name is None else row | {"attempted_principal": name}


@pytest.mark.parametrize("version", AUTHENTICATES)
@pytest.mark.parametrize("mechanism", PROOFS)
def test_a_yes_names_whom_the_client_proved_to_be(talk: tuple[Talk, Any], mechanism: str, version: int) -> None:
    """And so does every later row of the session."""
    client, told = talk
    messages, name = PROOFS[mechanism]
    client.handshake(1, mechanism)
    for proof, challenge in messages:
        client.prove(version, proof, challenge)
    client.refused()
    found = told()
    assert found[0] == success(name, mechanism)
    assert [row["action"] for row in found] == ["ClientSaslAuthSuccess", "OperationDenied"]
    assert (found[1]["principal"], found[1]["mechanism"]) == (name, mechanism)


@pytest.mark.parametrize("version", AUTHENTICATES)
@pytest.mark.parametrize("mechanism", PROOFS)
def test_a_no_names_whom_the_client_claimed_to_be(talk: tuple[Talk, Any], mechanism: str, version: int) -> None:
    """And nobody is proved."""
    client, told = talk
    messages, name = PROOFS[mechanism]
    client.handshake(1, mechanism)
    for proof, challenge in messages[:-1]:
        client.prove(version, proof, challenge)
    client.prove(version, messages[-1][0], b"", ErrorCode.sasl_authentication_failed)
    client.refused()
    found = told()
    assert found[0] == failure(name, mechanism, ErrorCode.sasl_authentication_failed)
    assert "principal" not in found[1]


@pytest.mark.parametrize("version", HANDSHAKES)
def test_a_mechanism_that_the_broker_has_not_is_a_no(talk: tuple[Talk, Any], version: int) -> None:
    """Before anybody is named."""
    client, told = talk
    client.handshake(version, "GSSAPI", ErrorCode.unsupported_sasl_mechanism)
    assert told() == [failure(None, "GSSAPI", ErrorCode.unsupported_sasl_mechanism)]


@pytest.mark.parametrize("mechanism", PROOFS)
def test_after_the_oldest_handshake_come_bare_tokens(talk: tuple[Talk, Any], mechanism: str) -> None:
    """They have a length and no header; what comes behind them is read again."""
    client, told = talk
    messages, name = PROOFS[mechanism]
    client.handshake(0, mechanism)
    for proof, challenge in messages:
        client.tap.from_client(wire.frame(proof))
        client.tap.from_broker(wire.frame(challenge))
    client.refused()
    found = told()
    assert found[0] == success(name, mechanism)
    assert found[1]["principal"] == name


def test_a_client_may_prove_itself_again(talk: tuple[Talk, Any]) -> None:
    """Each time is a row."""
    client, told = talk
    for _ in range(2):
        client.handshake(1, "PLAIN")
        client.prove(2, b"\x00alice\x00hush-password", b"")
    assert told() == [success("alice", "PLAIN")] * 2


def test_these_are_all_the_versions_that_are_claimed() -> None:
    """What this file goes through."""
    assert HANDSHAKES == [0, 1]
    assert AUTHENTICATES == [0, 1, 2]

"""Every API, in every version that the tap claims to read: the rows say what the messages say, field by field.

Requests and answers are random, written by another implementation of the protocol, and shown in pieces of any length.
What the rows should be is worked out from those messages a second time, from Kafka's schemas and the documentation.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

import auditring
from auditring.kafka import Tap, Topics
from oracle.conversation import Conversation
from oracle.instances import schemas
from oracle.newer import NEWER
from oracle.reading import everything, rows
from oracle.rows import EXPECTED
from oracle.versions import CLAIMED, SASL

SEEDS = range(24)
# Kafka has them, the other implementation does not yet; here they are written down by hand.
REASONS = {
    ("ApiVersions", 5): "in Kafka 4.4, not in kio 0.6.5",
    ("DeleteGroups", 3): "in Kafka 4.4, not in kio 0.6.5",
    ("StreamsGroupHeartbeat", 1): "in Kafka 4.4, not in kio 0.6.5",
    ("TxnOffsetCommit", 6): "in Kafka 4.4, not in kio 0.6.5",
}


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One log with a connection for each seed, each with an exchange in every version."""
    root = tmp_path_factory.mktemp("audit")
    conversations: dict[str, Conversation] = {}
    with auditring.open(root, instance="proxy") as log:
        for seed in SEEDS:
            rng = random.Random(seed)  # noqa: S311 - nothing here is a secret
            with log.session(peer=("10.0.0.9", 4000), authority="witness") as session:
                broker = session.broker("10.0.0.5:9092", node_id=5)
                conversation = Conversation(rng, Tap(broker, name="edge", topics=Topics()))
                versions = [version for version in CLAIMED if version.name not in SASL]
                rng.shuffle(versions)
                conversation.talk(versions)
                assert not conversation.tap.opaque
                assert conversation.tap.in_flight == len(conversation.unanswered)
                conversation.close()
                conversations[session.id] = conversation
                broker.close()
        log.flush()
        journal = b"".join(path.read_bytes() for path in root.rglob("*.journal"))
    return {"conversations": conversations, "found": rows(root), "root": root, "journal": journal}


def test_the_rows_are_what_the_messages_say(talked: dict[str, Any]) -> None:
    """Each row of each request, in order."""
    for session, conversation in talked["conversations"].items():
        found = talked["found"][session]
        for client in sorted(conversation.expected.keys() | found.keys()):
            assert found.get(client, []) == conversation.expected.get(client, []), client


def test_every_version_that_is_claimed_is_exercised(talked: dict[str, Any]) -> None:
    """In every conversation."""
    exercised: Counter[Any] = Counter()
    for conversation in talked["conversations"].values():
        exercised += conversation.exercised
    assert set(exercised) == {version for version in CLAIMED if version.name not in SASL}
    assert set(exercised.values()) == {len(SEEDS)}
    assert EXPECTED.keys() | SASL == {version.name for version in CLAIMED}


def test_the_other_implementation_has_every_version_but_those_that_are_named() -> None:
    """And those are written down here, until it has them."""
    assert NEWER.keys() == REASONS.keys()
    for version in CLAIMED:
        request, answer = schemas(version.key, version.name, version.version)
        for message in (request, answer):
            assert (message.__api_key__, message.__version__) == (version.key, version.version)
            known = message.__module__.startswith("kio.schema.")
            assert known == ((version.name, version.version) not in REASONS)


def test_everything_that_can_become_of_a_request_was_among_them(talked: dict[str, Any]) -> None:
    """So that equality says something: successes, failures, denials and what went unanswered, of each action."""
    outcomes: dict[str, set[str]] = {}
    for by_client in talked["found"].values():
        for of in by_client.values():
            for row in of:
                outcomes.setdefault(row["action"], set()).add(row["outcome"])
    assert outcomes.pop("OperationDenied") == {"denied"}
    looks = {"Read", "DescribeAcls", "DescribeDelegationToken"}
    for action, of in outcomes.items():
        unanswered = set() if action in looks else {"forwarded"}
        assert of == {"success", "failure", "denied"} | unanswered, action
    assert len(outcomes) == 17


def test_what_is_secret_is_nowhere(talked: dict[str, Any]) -> None:
    """Values of settings, salts, HMACs, records, a broker's messages: in no column of any row, nor in the journal."""
    planted = [text for conversation in talked["conversations"].values() for text in conversation.maker.planted]
    assert len(planted) > 10_000
    for raw in (everything(talked["root"]), talked["journal"]):
        assert b"payments" in raw
        assert b"hush-" not in raw

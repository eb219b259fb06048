"""Rows about requests themselves, where a log wants them: of every API and version, every request and every answer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import auditring
from auditring import Keep
from auditring.kafka import Tap, Topics
from oracle import wire
from oracle.conversation import Conversation, Exchange
from oracle.reading import rows
from oracle.rows import Row, is_denial, status
from oracle.versions import CLAIMED, SASL

if TYPE_CHECKING:
    from pathlib import Path

# Their answers begin with an error of the whole, and they have no event that says so.
SAYS_SO = {
    "ApiVersions",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "InitProducerId",
    "AddOffsetsToTxn",
    "EndTxn",
    "ConsumerGroupHeartbeat",
    "ShareGroupHeartbeat",
    "StreamsGroupHeartbeat",
    "ShareAcknowledge",
    "ShareFetch",
    "Fetch",
    "FindCoordinator",
    "AddPartitionsToTxn",
}
ACTIONS = {"RequestIngress", "ResponseEgress"}
# Their rows name the group in each event.
NAMED_ELSEWHERE = {"AlterShareGroupOffsets", "DeleteShareGroupOffsets"}


def party(exchange: Exchange) -> Row:
    """The group and the transaction that a request names."""
    request, name = exchange.request, exchange.version.name
    transaction = getattr(request, "transactional_id", getattr(request, "v3_and_below_transactional_id", None))
    if getattr(request, "transactions", ()):
        transaction = request.transactions[0].transactional_id
    group = None if name in NAMED_ELSEWHERE else getattr(request, "group_id", None)
    ref = {"groupId": group, "transactionalId": transaction}
    ref = {key: value for key, value in ref.items() if value is not None}
    return {"object_ref": ref} if ref else {}


def expected(exchange: Exchange) -> list[Row]:
    """What came in, and what went back."""
    version = exchange.version
    both: Row = {
        "authority": "witness",
        "tap": "edge",
        "api": version.name,
        "client_correlation_id": exchange.client,
        "context": {"apiVersion": version.version},
        **party(exchange),
    }
    asked = wire.request(exchange.request, exchange.client, "client", tagged=exchange.tagged)
    told = [both | {"action": "RequestIngress", "outcome": "success", "bytes": len(asked)}]
    if exchange.answer is not None:
        answered = wire.answer(exchange.answer, exchange.server, tagged=exchange.tagged)
        code: Any = getattr(exchange.answer, "error_code", 0) if version.name in SAYS_SO else 0
        end: Row = {"outcome": "success"}
        if code:
            end = {"outcome": "denied" if is_denial(code) else "failure", "status": status(code)}
        told.append(
            both
            | {"action": "ResponseEgress", "bytes": len(answered), "answered": True}
            | {"server_correlation_id": exchange.server}
            | end
        )
    return told


def test_every_request_and_every_answer_has_a_row(tmp_path: Path) -> None:
    """Beside the rows of what they did."""
    exchanges: dict[str, list[Exchange]] = {}
    with auditring.open(tmp_path, instance="proxy", request=Keep.ALL) as log:
        for seed in range(2):
            rng = random.Random(seed)  # noqa: S311 - nothing here is a secret
            with log.session(peer=("10.0.0.9", 4000), authority="witness") as session:
                tap = Tap(session.broker("10.0.0.5:9092", node_id=5), name="edge", topics=Topics())
                conversation = Conversation(rng, tap)
                versions = [version for version in CLAIMED if version.name not in SASL]
                rng.shuffle(versions)
                conversation.talk(versions)
                conversation.close()
                exchanges[session.id] = conversation.exchanges
    found = rows(tmp_path)
    for session_id, of in exchanges.items():
        assert len(of) == len([version for version in CLAIMED if version.name not in SASL])
        for exchange in of:
            told = found[session_id][exchange.client]
            requests: list[Any] = [row for row in told if row["action"] in ACTIONS]
            assert requests == expected(exchange), exchange.version

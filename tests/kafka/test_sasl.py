"""SASL at the proxy and through it: who logged in, who only tried, and that all of a connection is one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from confluent_kafka import Producer

from harness import clients, planted
from harness.clients import QUICK, produce, refused, sasl
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.proxy import Proxy

Guarded: TypeAlias = "tuple[Proxy, str]"
"""A proxy, and the authority with which it speaks of logins."""

MECHANISMS = ("PLAIN", "SCRAM-SHA-256")
MODES = ("terminate", "pass-through")
AUTHORITY = {"terminate": "decision", "pass-through": "witness"}
USER = {"PLAIN": "alice", "SCRAM-SHA-256": "carla"}
"""Whom the broker knows under the mechanism; the proxy knows both under both."""


@pytest.fixture(params=MODES)
def guarded(request: pytest.FixtureRequest, broker: Broker, proxy_for: Callable[..., Proxy], users: str) -> Guarded:
    """One that wants SASL, or one that looks on."""
    terminate = {"bootstrap": broker.plain, "sasl": {"mode": "terminate", "users": users}}
    through = {"bootstrap": broker.sasl, "sasl": {"mode": "pass-through"}}
    return proxy_for(sasl=terminate if request.param == "terminate" else through), AUTHORITY[request.param]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_who_logged_in(guarded: Guarded, topic: str, mechanism: str) -> None:
    """One session from the connection to its end; from the login on the principal is in every row of it."""
    proxy, authority = guarded
    user = USER[mechanism]
    reports = produce(proxy.client(client_id="c") | sasl(user, mechanism), topic, 3)
    assert [report.at for report in reports] == [(0, 0), (0, 1), (0, 2)]
    audit = proxy.stop()
    columns = ("DISTINCT action", "principal", "mechanism", "authority", "outcome")
    assert audit.rows(*columns, where="category = 'authentication'", order="1") == [
        ("ClientSaslAuthSuccess", user, mechanism, authority, "success")
    ]
    (session,) = audit.one("DISTINCT session", where="action = 'Write'")
    story = audit.rows("action", "principal", where=f"session = '{session}'", order="seq")
    begin = [("ClientAccept", None)] + [("BrokerConnect", None)] * (authority == "witness")
    assert story[: len(begin) + 1] == [*begin, ("ClientSaslAuthSuccess", user)]
    assert {who for _, who in story[len(begin) :]} == {user}
    assert story[-2:] == [("BrokerClose", user), ("ClientClose", user)]
    principals = audit.rows("DISTINCT principals", where=f"session = '{session}' AND principal IS NOT NULL", order="1")
    assert principals == [([f"User:{user}"],)]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("wrong", ["password", "user"])
def test_who_only_tried(guarded: Guarded, mechanism: str, wrong: str) -> None:
    """The name that was claimed stands in a column of its own; nothing was done under it."""
    proxy, authority = guarded
    user = USER[mechanism] if wrong == "password" else "nobody"
    refused(proxy.client() | sasl(user, mechanism, f"{planted.MARK}-wrong"), "_AUTHENTICATION")
    audit = proxy.stop()
    columns = ("DISTINCT action", "attempted_principal", "principal", "mechanism", "authority", "outcome", "status")
    # The client may be taken away in the middle of its next try, which says so by its status.
    told = "category = 'authentication' AND status <> 'EOF'"
    assert audit.rows(*columns, where=told, order="1") == [
        ("ClientSaslAuthFailure", user, None, mechanism, authority, "failure", "SaslAuthenticationFailed")
    ]
    assert audit.rows("*", where="principal IS NOT NULL") == []
    stories = audit.rows("list(action ORDER BY seq)", where="session IS NOT NULL GROUP BY session", order="1")
    # Who checks credentials himself has no need of a broker before.
    whole = ("ClientAccept", "BrokerConnect", "ClientSaslAuthFailure", "BrokerClose", "ClientClose")
    expected = tuple(action for action in whole if authority == "witness" or not action.startswith("Broker"))
    assert {tuple(story) for (story,) in stories if "ClientSaslAuthFailure" in story} == {expected}


def test_a_mechanism_that_is_not_offered(guarded: Guarded) -> None:
    """It comes to no login; a failure says for which mechanism."""
    proxy, authority = guarded
    refused(proxy.client() | sasl("alice", "SCRAM-SHA-512"), "_AUTHENTICATION")
    rows = proxy.stop().rows(
        "DISTINCT action", "mechanism", "authority", "outcome", where="category = 'authentication'", order="1"
    )
    assert rows == [("ClientSaslAuthFailure", "SCRAM-SHA-512", authority, "failure")]


def test_no_login_at_all(guarded: Guarded) -> None:
    """Who speaks without having logged in is not answered, and has no name."""
    proxy, _ = guarded
    producer = Producer(proxy.client() | QUICK)
    proxy.recorded("action = 'ClientClose'")
    del producer
    audit = proxy.stop()
    assert audit.rows("*", where="principal IS NOT NULL OR category IN ('data', 'administration')") == []


def test_two_users_at_once(guarded: Guarded, broker: Broker) -> None:
    """Each one's offsets under his own name."""
    proxy, _ = guarded
    topic = broker.create_topic(f"two-users-{guarded[1]}")
    told = {user: clients.produce(proxy.client() | sasl(user, mechanism), topic, 5) for mechanism, user in USER.items()}
    audit = proxy.stop()
    for user, reports in told.items():
        offsets = audit.offsets("Write", topic, f"principal = '{user}' AND outcome = 'success'")
        assert sorted(offsets) == [report.at for report in reports]


def test_logging_in_again(broker: Broker, proxy_for: Callable[..., Proxy]) -> None:
    """A broker that wants it anew every so often: more logins, still one session.

    A client that is held up logs in too late: the broker closes its connection, and it goes on by another.
    """
    proxy = proxy_for(again={"bootstrap": broker.again, "sasl": {"mode": "pass-through"}})
    topic = broker.create_topic("again")
    reports: list[clients.Report] = []
    producer = Producer(proxy.client() | sasl("alice", "PLAIN") | QUICK)

    def goes_on() -> bool:
        clients.send(producer, topic, reports)
        assert producer.flush(PATIENCE) == 0
        return goes_on_after(proxy, 3)

    until(goes_on, "three logins in one session, and a write after them")
    assert {report.error for report in reports} == {None}
    audit = proxy.stop()
    written = audit.offsets("Write", topic, "principal = 'alice' AND outcome = 'success'")
    assert sorted(written) == [report.at for report in reports]
    logins = "category = 'authentication' AND outcome = 'success'"
    kinds = audit.rows("DISTINCT action", "authority", "principal", where=logins, order="1")
    assert kinds == [("ClientSaslAuthSuccess", "witness", "alice")]


def goes_on_after(proxy: Proxy, logins: int) -> bool:
    """Whether a session has so many logins, and a write that succeeded after the last of them."""
    login = "action = 'ClientSaslAuthSuccess'"
    story = f"outcome = 'success' AND (action = 'Write' OR {login}) GROUP BY session"
    enough = f"HAVING count(*) FILTER ({login}) >= {logins} AND arg_max(action, seq) = 'Write'"
    return proxy.audit.rows("session", where=f"{story} {enough}", order="1") != []


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_proxy_logs_in_as_itself(
    broker: Broker, proxy_for: Callable[..., Proxy], users: str, topic: str, mechanism: str
) -> None:
    """The client proves itself to the proxy, the proxy to the broker; in the audit is the client alone."""
    own = {"mechanism": mechanism, "username": USER[mechanism], "password": planted.password(USER[mechanism])}
    login = {"mode": "terminate", "users": users}
    proxy = proxy_for(itself={"bootstrap": broker.sasl, "sasl": login, "upstream_sasl": own})
    reports = produce(proxy.client() | sasl("bob", "SCRAM-SHA-256"), topic, 3)
    audit = proxy.stop()
    assert sorted(audit.offsets("Write", topic, "principal = 'bob' AND outcome = 'success'")) == [
        report.at for report in reports
    ]
    assert audit.rows("DISTINCT principal", where="principal IS NOT NULL", order="1") == [("bob",)]
    kinds = audit.rows("DISTINCT action", "authority", where="category = 'authentication'", order="1")
    assert kinds == [("ClientSaslAuthSuccess", "decision")]

"""TLS that ends at the proxy: with certificates of clients, good and bad, and without."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from harness.clients import produce, read, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.broker import Broker
    from harness.certs import Certificates, Pair
    from harness.clients import Settings
    from harness.proxy import Proxy


def tls(certificates: Certificates, pair: Pair | None = None) -> Settings:
    """A client that trusts the proxy, and shows a certificate if it has one."""
    settings = {"security.protocol": "SSL", "ssl.ca.location": str(certificates.ca.cert)}
    if pair is not None:
        settings |= {"ssl.certificate.location": str(pair.cert), "ssl.key.location": str(pair.key)}
    return settings


@pytest.fixture
def mutual(broker: Broker, certificates: Certificates, proxy_for: Callable[..., Proxy]) -> Proxy:
    """A proxy that wants a certificate."""
    server = {"certificate": certificates.server.cert, "key": certificates.server.key}
    asks = {"client_ca": certificates.ca.cert, "client_auth": "required"}
    return proxy_for(mutual={"bootstrap": broker.plain, "tls": server | asks})


def shown(pair: Pair, *what: str) -> str:
    """What openssl reads in a certificate."""
    command = ["openssl", "x509", "-in", str(pair.cert), "-noout", *what]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]


def test_without_a_certificate_of_the_client(
    broker: Broker, certificates: Certificates, proxy_for: Callable[..., Proxy], topic: str
) -> None:
    """Encrypted and anonymous: no authentication, and the offsets as ever."""
    server = {"certificate": certificates.server.cert, "key": certificates.server.key}
    proxy = proxy_for(tls={"bootstrap": broker.plain, "tls": server})
    settings = proxy.client() | tls(certificates)
    reports = produce(settings, topic, 20, size=20_000)
    got = read(settings, topic)
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(report.at for report in reports)
    assert audit.offsets("Read", topic) == Counter(got)
    assert audit.rows("*", where="category = 'authentication' OR principal IS NOT NULL") == []


def test_with_a_good_certificate(mutual: Proxy, certificates: Certificates, topic: str) -> None:
    """One session from the connection on; the certificate is described as openssl describes it."""
    reports = produce(mutual.client() | tls(certificates, certificates.alice), topic, 3)
    told = [report.at for report in reports]
    audit = mutual.stop()
    assert audit.offsets("Write", topic, "principal = 'alice' AND outcome = 'success'") == Counter(told)
    columns = ("principal", "principals", "mechanism", "authority", "outcome", "action")
    logins = audit.rows("DISTINCT " + ", ".join(columns), where="category = 'authentication'", order="1")
    assert logins == [("alice", ["User:alice"], "TLS", "decision", "success", "ClientTlsAuthSuccess")]
    (session,) = audit.one("DISTINCT session", where="action = 'Write'")
    context = audit.context(f"action = 'ClientTlsAuthSuccess' AND session = '{session}'")
    alice = certificates.alice
    assert context == {
        "tls.subject": shown(alice, "-subject", "-nameopt", "RFC2253"),
        "tls.issuer": shown(alice, "-issuer", "-nameopt", "RFC2253"),
        "tls.serial": shown(alice, "-serial"),
        "tls.san": "DNS:localhost,IP Address:127.0.0.1",
        "tls.sha256": shown(alice, "-fingerprint", "-sha256").replace(":", "").lower(),
    }
    story = audit.rows("action", "principal", where=f"session = '{session}'", order="seq")
    assert story[:3] == [("ClientAccept", None), ("ClientTlsAuthSuccess", "alice"), ("BrokerConnect", "alice")]
    assert story[-2:] == [("BrokerClose", "alice"), ("ClientClose", "alice")]


@pytest.mark.parametrize(
    ("whose", "status"),
    [("stranger", "UnknownCa"), ("expired", "CertificateExpired"), (None, "NoCertificate")],
)
def test_who_is_not_let_in(mutual: Proxy, certificates: Certificates, whose: str | None, status: str) -> None:
    """A certificate of an unknown authority, an expired one, and none: each a failure that says which."""
    pair = None if whose is None else getattr(certificates, whose)
    refused(mutual.client() | tls(certificates, pair), "_SSL", "_TRANSPORT")
    audit = mutual.stop()
    columns = ("DISTINCT action", "status", "outcome", "authority", "mechanism", "principal")
    assert audit.rows(*columns, where="category = 'authentication'", order="1") == [
        ("ClientTlsAuthFailure", status, "failure", "decision", "TLS", None)
    ]
    stories = audit.rows("list(action ORDER BY seq)", where="session IS NOT NULL GROUP BY session", order="1")
    failed = {tuple(story) for (story,) in stories if "ClientTlsAuthFailure" in story}
    assert failed == {("ClientAccept", "ClientTlsAuthFailure", "ClientClose")}
    assert audit.rows("DISTINCT status", where="action = 'ClientClose' AND status IS NOT NULL", order="1") == [
        (status,)
    ]


def test_a_client_that_does_not_trust_the_proxy(mutual: Proxy, certificates: Certificates) -> None:
    """It breaks the handshake off: nobody was authenticated, and the close says what happened."""
    settings = tls(certificates, certificates.alice) | {"ssl.ca.location": str(certificates.stranger.cert)}
    refused(mutual.client() | settings, "_SSL")
    audit = mutual.stop()
    assert audit.rows("*", where="principal IS NOT NULL") == []
    assert audit.rows("DISTINCT status IS NULL", where="action = 'ClientClose'", order="1") == [(False,)]


def test_plaintext_where_tls_is_wanted(mutual: Proxy) -> None:
    """No handshake, no session beyond its connection."""
    producer = Producer(mutual.client() | {"log_level": 0, "reconnect.backoff.ms": 50})
    mutual.recorded("action = 'ClientClose'")
    del producer
    audit = mutual.stop()
    assert audit.rows("*", where="principal IS NOT NULL OR action = 'BrokerConnect'") == []


def test_to_a_broker_that_wants_a_certificate(
    broker: Broker, certificates: Certificates, proxy_for: Callable[..., Proxy], topic: str
) -> None:
    """The proxy's own certificate opens the broker; the client's offsets are as ever."""
    upstream = {"ca": certificates.ca.cert, "certificate": certificates.alice.cert, "key": certificates.alice.key}
    proxy = proxy_for(upstream={"bootstrap": broker.mtls, "upstream_tls": upstream})
    reports = produce(proxy.client(), topic, 20)
    got = read(proxy.client(), topic)
    audit = proxy.stop()
    assert audit.offsets("Write", topic) == Counter(report.at for report in reports)
    assert audit.offsets("Read", topic) == Counter(got)

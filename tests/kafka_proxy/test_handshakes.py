"""Handshakes that fail: the client is told why, the audit has it, and no broker hears of it."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("kio")
from confluent_kafka import Producer

from auditring.exceptions import ConfigError
from harness.certs import Certificates
from kafka_proxy import Proxy, connection, load, tls
from kafka_proxy.tls import common_name, distinguished_name
from proxy_messages import framed, request
from proxy_running import DEADLINE, running

if TYPE_CHECKING:
    from pathlib import Path

SASL_HANDSHAKE = 17
FLUSH_SECONDS, AT_ONCE = 60, 25_000_000_000
"""What the proxy waits at most for a client to take what it was sent, and what is far from having waited so long."""
ALICE = ((("organizationName", "Payments"),), (("commonName", "alice, the first"),))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Good and bad ones."""
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


def mutual(certificates: Certificates) -> str:
    """A cluster that wants a certificate; nobody is behind it."""
    server, authority = certificates.server, certificates.ca.cert
    files = f'certificate = "{server.cert}", key = "{server.key}", client_ca = "{authority}", client_auth = "required"'
    return f'[clusters.c]\nbootstrap = "127.0.0.1:1"\ntls = {{{files}}}\n'


@pytest.mark.parametrize(
    ("name", "alert", "status"),
    [
        (None, "TLSV13_ALERT_CERTIFICATE_REQUIRED", "NoCertificate"),
        ("stranger", "TLSV1_ALERT_UNKNOWN_CA", "UnknownCa"),
        ("expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "CertificateExpired"),
    ],
)
def test_a_client_is_told_why(
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    alert: str,
    status: str,
) -> None:
    """By the alert that TLS has for it; and the rows say the same, at once."""
    monkeypatch.setattr(connection, "FLUSH_SECONDS", FLUSH_SECONDS)
    context = ssl.create_default_context(cafile=str(certificates.ca.cert))
    if name:
        pair = getattr(certificates, name)
        context.load_cert_chain(pair.cert, pair.key)
    with running(tmp_path, mutual(certificates), drain=FLUSH_SECONDS) as proxy:
        address = ("127.0.0.1", proxy.proxy.clusters["c"].gates[None].port)
        with (
            socket.create_connection(address, timeout=DEADLINE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
            pytest.raises(ssl.SSLError) as failure,
        ):
            client.recv(1)
    assert failure.value.reason == alert
    assert proxy.rows(
        "SELECT action, status, initiator, outcome FROM events WHERE status IS NOT NULL ORDER BY seq"
    ) == [
        ("ClientTlsAuthFailure", status, None, "failure"),
        ("ClientClose", status, "proxy", "failure"),
    ]
    assert proxy.rows(f"SELECT max(duration_ns) < {AT_ONCE} FROM events WHERE action = 'ClientClose'") == [(True,)]


def test_who_has_shown_a_certificate_is_nobody_else(tmp_path: Path, certificates: Certificates) -> None:
    """With an ACL there is no login at the broker: the row that denies it names the one who is judged."""
    (tmp_path / "acl.toml").write_text('[[allow]]\nprincipals = ["*"]\noperations = ["ALL"]\ntopics = ["*"]\n')
    mock = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = mock.list_topics(timeout=DEADLINE).brokers.values()
    text = mutual(certificates).replace("127.0.0.1:1", f"{broker.host}:{broker.port}") + 'acl = "acl.toml"\n'
    context = ssl.create_default_context(cafile=str(certificates.ca.cert))
    context.load_cert_chain(certificates.alice.cert, certificates.alice.key)
    with running(tmp_path, text) as proxy:
        address = ("127.0.0.1", proxy.proxy.clusters["c"].gates[None].port)
        with (
            socket.create_connection(address, timeout=DEADLINE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
            client.makefile("rb") as reader,
        ):
            client.sendall(framed(1, request(SASL_HANDSHAKE, 1, mechanism="PLAIN"), SASL_HANDSHAKE))
            assert reader.read() == b""
    (proved,) = proxy.rows("SELECT principal FROM events WHERE action = 'ClientTlsAuthSuccess'")
    assert proxy.rows("SELECT action, principal, operation FROM events WHERE category = 'authorization'") == [
        ("OperationDenied", *proved, "SaslHandshake")
    ]


def test_a_client_that_does_not_speak_tls(tmp_path: Path, certificates: Certificates) -> None:
    """Has a status as well."""
    with running(tmp_path, mutual(certificates)) as proxy:
        address = ("127.0.0.1", proxy.proxy.clusters["c"].gates[None].port)
        with socket.create_connection(address, timeout=DEADLINE) as plain:
            plain.sendall(bytes([0, 0, 0, 20, 0, 18, 0, 3]) + bytes(16))
            while plain.recv(100):
                pass
    ((status, initiator),) = proxy.rows("SELECT status, initiator FROM events WHERE action = 'ClientClose'")
    assert (status[:3], initiator) == ("Tls", "proxy")


@pytest.mark.parametrize(
    ("hello", "reset", "status"), [(b"", False, None), (b"", True, "ECONNRESET"), (b"\x16\x03\x01\x02\0", False, "EOF")]
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_client_that_goes(
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    hello: bytes,
    status: str | None,
    *,
    asked: bool,
    reset: bool,
) -> None:
    """A health check, a reset, half a hello: the client ended it, at once, and no certificate was refused."""
    monkeypatch.setattr(connection, "FLUSH_SECONDS", FLUSH_SECONDS)
    text = mutual(certificates)
    if not asked:
        text = text.replace('"required"', '"none"').replace(f'client_ca = "{certificates.ca.cert}", ', "")
    with running(tmp_path, text, drain=FLUSH_SECONDS) as proxy:
        address = ("127.0.0.1", proxy.proxy.clusters["c"].gates[None].port)
        with socket.create_connection(address, timeout=DEADLINE) as plain:
            plain.sendall(hello)
            if reset:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + DEADLINE
        while not proxy.rows("SELECT 1 FROM events WHERE action = 'ClientClose'"):
            assert time.monotonic() < deadline
    assert proxy.rows("SELECT count(*) FROM events WHERE action = 'ClientTlsAuthFailure'") == [(0,)]
    assert proxy.rows(
        f"SELECT initiator, status, duration_ns < {AT_ONCE} FROM events WHERE action = 'ClientClose'"
    ) == [("client", status, True)]


def test_a_client_that_does_not_go_on(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy ends it; no certificate was refused here either."""
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.5)
    with running(tmp_path, mutual(certificates)) as proxy:
        address = ("127.0.0.1", proxy.proxy.clusters["c"].gates[None].port)
        with socket.create_connection(address, timeout=DEADLINE) as plain:
            assert plain.recv(1) == b""
    assert proxy.rows(
        "SELECT action, initiator, status FROM events WHERE status IS NOT NULL AND action LIKE 'Client%'"
    ) == [("ClientClose", "proxy", "TlsHandshakeTimeout")]


def test_certificates_that_cannot_be_used(tmp_path: Path, certificates: Certificates) -> None:
    """Are an error that names the file, before anything listens."""
    path = tmp_path / "proxy.toml"
    for wrong in (str(certificates.stranger.key), "/nowhere"):
        text = mutual(certificates).replace(str(certificates.server.key), wrong)
        path.write_text(f'[log]\ndirectory = "audit"\n{text}')
        with pytest.raises(ConfigError, match=wrong):
            Proxy(load(path), None)  # type: ignore[arg-type]  # it does not come to that


def test_names() -> None:
    """As RFC 4514 writes them; the principal is the common name, where there is one."""
    assert distinguished_name(ALICE) == r"CN=alice\, the first,O=Payments"
    assert common_name(ALICE) == "alice, the first"
    assert common_name(ALICE[:1]) == "O=Payments"
    assert common_name(ALICE[1:] * 2) == r"CN=alice\, the first,CN=alice\, the first"

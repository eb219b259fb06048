"""Logins that end without success, however they end: one row each, with the name that was claimed."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("kio")
from kafka_proxy import sasl, upstream
from proxy_messages import framed, request
from proxy_running import DEADLINE, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy_running import Running

API_VERSIONS, METADATA, HANDSHAKE, AUTHENTICATE = 18, 3, 17, 36
CLUSTER = '[clusters.c]\nbootstrap = "127.0.0.1:1"\nsasl = {mode = "terminate", users = "users.toml"}\n'
FAILURE = "SELECT attempted_principal, status, mechanism, authority FROM events WHERE action = 'ClientSaslAuthFailure'"
CLOSE = "SELECT initiator, status FROM events WHERE action = 'ClientClose'"


def handshake(mechanism: str = "SCRAM-SHA-256") -> bytes:
    """The first frame of a login."""
    return framed(1, request(HANDSHAKE, 1, mechanism=mechanism), HANDSHAKE)


def token(said: bytes) -> bytes:
    """What a mechanism says, as a frame."""
    return framed(2, request(AUTHENTICATE, 1, auth_bytes=said), AUTHENTICATE)


FIRST = token(b"n,,n=victim,r=abc")


class Peer:
    """A client that speaks in frames."""

    def __init__(self, plain: socket.socket) -> None:
        self.socket = plain
        self._reader = plain.makefile("rb")

    def ask(self, frame: bytes) -> bytes:
        """The answer; nothing where there is none."""
        self.socket.sendall(frame)
        return self.answer()

    def answer(self) -> bytes:
        """What comes next; nothing at the end."""
        return self._reader.read(int.from_bytes(self._reader.read(4)))

    def close(self, *, reset: bool = False) -> None:
        """Goes, politely or not."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._reader.close()
        self.socket.close()


@contextmanager
def connected(proxy: Running) -> Iterator[Peer]:
    """A client of the proxy."""
    host, port = proxy.client()["bootstrap.servers"].split(":")
    peer = Peer(socket.create_connection((host, int(port)), timeout=DEADLINE))
    try:
        yield peer
    finally:
        peer.close()


def gone(proxy: Running) -> None:
    """Waits until the proxy has closed what there was."""
    deadline = time.monotonic() + DEADLINE
    while not proxy.rows(CLOSE):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("proof", ["é", "YWJj", "!"])
def test_proofs_that_are_none(tmp_path: Path, proof: str) -> None:
    """The answer is the same to all, and so is the row."""
    with running(tmp_path, CLUSTER) as proxy, connected(proxy) as client:
        client.ask(handshake())
        nonce = client.ask(FIRST).split(b"r=")[1].split(b",")[0]
        answer = client.ask(token(b"c=biws,r=" + nonce + f",p={proof}".encode()))
        assert b"Authentication failed" in answer
    assert proxy.rows(FAILURE) == [("victim", "SaslAuthenticationFailed", "SCRAM-SHA-256", "decision")]
    assert proxy.rows(CLOSE) == [("proxy", "SaslAuthenticationFailed")]


@pytest.mark.parametrize(("reset", "status"), [(False, "EOF"), (True, "ECONNRESET")])
@pytest.mark.parametrize(("frames", "claimed"), [([handshake()], None), ([handshake(), FIRST], "victim")])
def test_a_client_that_goes_in_its_login(
    tmp_path: Path, frames: list[bytes], claimed: str | None, status: str, *, reset: bool
) -> None:
    """A guess that is broken off is in the log, too."""
    with running(tmp_path, CLUSTER) as proxy:
        with connected(proxy) as client:
            for frame in frames:
                client.ask(frame)
            client.close(reset=reset)
        gone(proxy)
    assert proxy.rows(FAILURE) == [(claimed, status, "SCRAM-SHA-256", "decision")]
    assert proxy.rows(CLOSE) == [("client", status)]


def test_a_client_that_goes_in_a_frame_before_any_login(tmp_path: Path) -> None:
    """Is no orderly end, and no login."""
    with running(tmp_path, CLUSTER) as proxy:
        with connected(proxy) as client:
            client.socket.sendall(handshake()[:9])
        gone(proxy)
    assert proxy.rows(FAILURE) == []
    assert proxy.rows(CLOSE) == [("client", "EOF")]


def test_a_client_that_says_nothing(tmp_path: Path) -> None:
    """A health check is neither a login nor a failure."""
    with running(tmp_path, CLUSTER) as proxy:
        with connected(proxy):
            pass
        gone(proxy)
    assert proxy.rows(FAILURE) == []
    assert proxy.rows(CLOSE) == [("client", None)]


def test_a_client_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the proxy has waited long enough."""
    monkeypatch.setattr(sasl, "LOGIN_SECONDS", 5)  # in which its two frames come
    with running(tmp_path, CLUSTER) as proxy, connected(proxy) as client:
        client.ask(handshake())
        client.ask(FIRST)
        assert client.answer() == b""
    assert proxy.rows(FAILURE) == [("victim", "LoginTimeout", "SCRAM-SHA-256", "decision")]
    assert proxy.rows(CLOSE) == [("proxy", "LoginTimeout")]


def test_a_proxy_that_stops_in_a_login(tmp_path: Path) -> None:
    """The row says that it was not the client's fault."""
    with running(tmp_path, CLUSTER) as proxy, connected(proxy) as client:
        client.ask(handshake())
        client.ask(FIRST)
        proxy.run(proxy.proxy.stop())
    assert proxy.rows(FAILURE) == [("victim", "ProxyStopped", "SCRAM-SHA-256", "decision")]


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (framed(3, request(METADATA, 4), METADATA), "IllegalSaslState"),
        (AUTHENTICATE.to_bytes(2) + b"\0\x63" + bytes(8), "UnknownApi"),
        (AUTHENTICATE.to_bytes(2) + b"\0\2" + bytes(4) + b"\x7f\xff", "Undecodable"),
        (b"\x7f\xff\xff\xff", "FrameTooLarge"),
    ],
)
def test_frames_that_end_a_login(tmp_path: Path, frame: bytes, status: str) -> None:
    """What is no message of a login leaves a row with the name as well."""
    if status in {"UnknownApi", "Undecodable"}:
        frame = len(frame).to_bytes(4) + frame
    with running(tmp_path, CLUSTER) as proxy, connected(proxy) as client:
        client.ask(handshake())
        client.ask(FIRST)
        assert client.ask(frame) == b""
    assert proxy.rows(FAILURE) == [("victim", status, "SCRAM-SHA-256", "decision")]
    assert proxy.rows(CLOSE) == [("proxy", status)]


ASKED = framed(7, request(API_VERSIONS, 3), API_VERSIONS)
BROKER = "SELECT outcome, status, server FROM events WHERE action = 'BrokerConnect'"


@pytest.mark.parametrize("begun", [False, True])
def test_a_broker_that_is_not_there_before_the_login(tmp_path: Path, *, begun: bool) -> None:
    """It is the broker that is missing, and no client that has failed; but a login that was begun has ended."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        server = f"127.0.0.1:{nobody.getsockname()[1]}"
    with running(tmp_path, CLUSTER.replace("127.0.0.1:1", server)) as proxy, connected(proxy) as client:
        if begun:
            client.ask(handshake())
        assert client.ask(ASKED) == b""
    assert proxy.rows(BROKER) == [("failure", "ECONNREFUSED", server)]
    assert proxy.rows(CLOSE) == [("proxy", "BrokerUnavailable")]
    assert proxy.rows(FAILURE) == [(None, "BrokerUnavailable", "SCRAM-SHA-256", "decision")] * begun


@pytest.mark.parametrize(("answer", "status"), [(None, "TimeoutError"), (b"", "EOF"), (bytes(9), "Undecodable")])
def test_a_broker_that_does_not_answer_before_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, status: str
) -> None:
    """It is not the client that was slow."""
    if answer is None:
        monkeypatch.setattr(upstream, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        server = f"127.0.0.1:{broker.getsockname()[1]}"
        with running(tmp_path, CLUSTER.replace("127.0.0.1:1", server)) as proxy, connected(proxy) as client:
            client.socket.sendall(ASKED)
            accepted, _ = broker.accept()
            with accepted:
                accepted.settimeout(DEADLINE)
                assert accepted.recv(1000)
                if answer:
                    accepted.sendall(len(answer).to_bytes(4) + answer)
                elif answer is not None:
                    accepted.shutdown(socket.SHUT_WR)
                assert client.answer() == b""
    assert proxy.rows(BROKER) == [("failure", status, server)]
    assert proxy.rows(CLOSE) == [("proxy", "BrokerUnavailable")]


def test_a_question_for_versions_that_is_none(tmp_path: Path) -> None:
    """It is the client's doing, and no broker's."""
    frame = API_VERSIONS.to_bytes(2) + b"\0\3" + bytes(4) + b"\x7f\xff"
    with running(tmp_path, CLUSTER) as proxy, connected(proxy) as client:
        assert client.ask(len(frame).to_bytes(4) + frame) == b""
    assert proxy.rows(BROKER) == []
    assert proxy.rows(CLOSE) == [("proxy", "Undecodable")]

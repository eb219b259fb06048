"""What the middleware takes off the wire: whatever it is, it makes a row, and only what is valid is believed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_calls import Message, Receive, Recording, Scope, Send, answering, http, request
from auditring.asgi import AuditMiddleware

if TYPE_CHECKING:
    from pathlib import Path

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Recording]:
    """A log of its own for each test."""
    recording = Recording(tmp_path / "audit")
    yield recording
    recording.log.close()


wire = st.text(st.characters(exclude_categories=()), max_size=60)


@given(st.lists(st.tuples(wire, wire, st.binary(max_size=40)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_off_the_wire_raises(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, str, bytes]]
) -> None:
    """Any path, method and header makes a row."""
    audit = Recording(tmp_path_factory.mktemp("wire"))
    app = AuditMiddleware(answering(), audit.log)

    async def all_of_them() -> None:
        for path, method, header in calls:
            headers = [(b"x-request-id", header), (b"traceparent", header)]
            await request(app, http(path, method=method, headers=headers))

    asyncio.run(all_of_them())
    assert len(calls) == len(audit.rows())


async def test_hostile_values_make_rows(audit: Recording) -> None:
    """Lone surrogates, NUL and a mebibyte of path are made safe and marked."""
    app = AuditMiddleware(answering(), audit.log)
    for path in ("/\ud800\udfff\ud800", "/a\0b", "/" + "x" * (1 << 20)):
        await request(app, http(path, headers=[(b"x-request-id", b"\xff" * (1 << 20))]))
    rows = audit.rows()
    assert len(rows) == 3
    assert all(row["resource"].startswith("/") for row in rows)


async def test_request_id_and_trace_id_are_context(audit: Recording) -> None:
    """The two headers by which rows are joined with other systems' logs."""
    headers = [(b"x-request-id", b"req-\xe4-7"), (b"traceparent", f"00-{PARENT}-00f067aa0ba902b7-01".encode())]
    await request(AuditMiddleware(answering(), audit.log), http(headers=headers))
    context = audit.row()["context"]
    assert context["http.request.id"].startswith("req-")
    assert context["trace_id"] == PARENT


async def test_the_nearest_proxy_s_headers_count(audit: Recording) -> None:
    """It adds its own behind those that the client made up."""
    headers = [
        (b"traceparent", b"made up"),
        (b"x-request-id", b"made up"),
        (b"traceparent", f"00-{PARENT}-00f067aa0ba902b7-01".encode()),
        (b"x-request-id", b"req-7"),
    ]
    await request(AuditMiddleware(answering(), audit.log), http(headers=headers))
    context = audit.row()["context"]
    assert (context["http.request.id"], context["trace_id"]) == ("req-7", PARENT)


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (f"00-{PARENT}-00f067aa0ba902b7-00", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01-what-the-future-brings", True),
        (f"cc-{PARENT}-00f067aa0ba902b7-01.what-the-future-brings", False),
        (f"00-{PARENT}-00f067aa0ba902b7-01-more", False),
        (f"ff-{PARENT}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT.upper()}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT}-{'0' * 16}-01", False),
        (f"00-{PARENT[1:]}-00f067aa0ba902b7-01", False),
        (f"00-{PARENT}-00f067aa0ba902b7-0", False),
        (f"00-{PARENT}-00f067aa0ba902b7-01\n", False),
        ("", False),
    ],
)
async def test_only_a_valid_traceparent_is_believed(audit: Recording, header: str, valid: bool) -> None:  # noqa: FBT001
    """By the rules of W3C Trace Context, version 00 and later ones."""
    await request(AuditMiddleware(answering(), audit.log), http(headers=[(b"traceparent", header.encode())]))
    assert (PARENT if valid else None) == audit.row()["context"].get("trace_id")


@pytest.mark.parametrize(
    "headers",
    [
        None,
        (),
        ((b"x-request-id", b"req-7"), (b"traceparent", b"")),
        [[b"x-request-id", b"req-7"], [b"x-request-id", b""]],
        [
            (b"x-request-id", b"req-7"),
            "x-request-id",
            (b"x-request-id",),
            (b"x-request-id", 7),
            ("x-request-id", "8"),
            None,
        ],
        deque([(b"x-request-id", b"req-7")]),
        {b"x-request-id": b"req-7"}.items(),
        iter([(b"x-request-id", b"req-7")]),
        7,
    ],
    ids=["none", "empty", "tuples", "lists", "no pairs", "a sequence", "an iterable", "an iterator", "a number"],
)
async def test_headers_that_are_none_are_passed_over(audit: Recording, headers: object) -> None:
    """What a server puts there is no reason to fail."""
    await request(AuditMiddleware(answering(), audit.log), {**http(), "headers": headers})
    wanted = None if not headers or isinstance(headers, int | Iterator) else "req-7"
    assert audit.row()["context"].get("http.request.id") == wanted


async def test_headers_of_a_response_that_can_be_read_once_are_the_server_s(audit: Recording) -> None:
    """ASGI allows any iterable there."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append({**message, "headers": list(message.get("headers", ()))})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's form
        headers = iter([(b"content-length", b"2"), (b"x", b"y")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Message:
        raise AssertionError

    await AuditMiddleware(app, audit.log)(http(), receive, send)
    assert sent[0]["headers"] == [(b"content-length", b"2"), (b"x", b"y")]
    assert audit.row()["outcome"] == "success"

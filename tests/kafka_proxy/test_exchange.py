"""The chain of one connection: frames cut anywhere, answers in order, ids, and what the taps get to see."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("kio")
from kio.index import load_response_schema
from kio.schema.errors import ErrorCode

from kafka_proxy import wire
from kafka_proxy.ends import ProtocolError
from kafka_proxy.exchange import Exchange
from kafka_proxy.steps import Answer
from proxy_messages import body_of, framed, request, response

if TYPE_CHECKING:
    from kafka_proxy.steps import Request, Step

HEARTBEAT, METADATA, PRODUCE, API_VERSIONS = 12, 3, 0, 18


class Tap:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.client, self.broker = b"", b""
        self.answers: list[int] = []
        self.ids: list[tuple[int, int]] = []
        self.in_flight = 0

    def from_client(self, data: bytes | memoryview, /) -> None:
        """From the client."""
        self.client += bytes(data)

    def from_broker(self, data: bytes | memoryview, /) -> None:
        """From the broker."""
        self.broker += bytes(data)

    def rewrote(self, client_id: int, server_id: int) -> None:
        """Ids."""
        self.ids.append((client_id, server_id))

    def answered(self, correlation_id: int) -> None:
        """By the proxy."""
        self.answers.append(correlation_id)

    def close(self) -> None:
        """Nothing."""


class Only:
    """A step that does something to requests and responses of one API."""

    def __init__(self, key: int, on_request: Any = None, on_response: Any = None) -> None:
        self._key = key
        self._on_request, self._on_response = on_request, on_response

    def wants_request(self, key: int, version: int) -> bool:
        """Of that API."""
        return key == self._key and self._on_request is not None and version >= 0

    def wants_response(self, key: int, version: int) -> bool:
        """Of that API."""
        return key == self._key and self._on_response is not None and version >= 0

    def request(self, request: Request, body: Any) -> Any:
        """As told."""
        assert request.codec.key == self._key
        return self._on_request(body)

    def response(self, request: Request, body: Any) -> Any:
        """As told."""
        assert request.codec.key == self._key
        return self._on_response(body)


class Ends:
    """An exchange between two ends that remember what reached them."""

    def __init__(self, *guards: Step, filters: tuple[Step, ...] = (), renumber: bool = False) -> None:
        self.written: tuple[list[bytes], list[bytes]] = [], []
        self.outer, self.inner = Tap(), Tap()
        taps: Any = {"client": self.outer, "broker": self.inner}
        self.exchange = Exchange(
            lambda data: self.written[0].append(bytes(data)),
            lambda data: self.written[1].append(bytes(data)),
            guards=guards,
            filters=filters,
            taps=taps,
            renumber=renumber,
        )

    @property
    def to_client(self) -> bytes:
        """What has reached the client."""
        return b"".join(self.written[0])

    @property
    def to_broker(self) -> bytes:
        """What has reached the broker."""
        return b"".join(self.written[1])


def unchanged(body: Any) -> Any:
    """Looked at, and left."""
    return body


def refused(_: Any) -> Answer:
    """The proxy's own answer to Heartbeat."""
    return Answer(response(HEARTBEAT, 4))


@settings(deadline=None)  # the machine may stall in any example
@given(cuts=st.lists(st.integers(1, 400), max_size=12), held=st.booleans())
def test_frames_pass_as_they_came_however_they_are_cut(cuts: list[int], held: bool) -> None:  # noqa: FBT001
    """Whether somebody looks at them or not."""
    ends = Ends(Only(METADATA, unchanged, unchanged)) if held else Ends()
    requests = b"".join(
        [
            framed(1, request(METADATA, 12), METADATA),
            framed(2, request(HEARTBEAT, 4), HEARTBEAT),
            framed(3, request(PRODUCE, 9, acks=1, records=bytes(300)), PRODUCE),
            framed(4, request(PRODUCE, 3, acks=0), PRODUCE),
            framed(5, request(METADATA, 4), METADATA),
        ]
    )
    responses = b"".join(
        [
            framed(1, response(METADATA, 12)),
            framed(2, response(HEARTBEAT, 4)),
            framed(3, response(PRODUCE, 9)),
            framed(5, response(METADATA, 4)),
        ]
    )
    for stream, feed in ((requests, ends.exchange.from_client), (responses, ends.exchange.from_broker)):
        rest = stream
        for cut in cuts:
            if rest[:cut]:
                feed(rest[:cut])
            rest = rest[cut:]
        if rest:
            assert not ends.exchange.idle or stream is rest
            feed(rest)
    assert (ends.to_broker, ends.to_client) == (requests, responses)
    for tap in (ends.outer, ends.inner):
        assert (tap.client, tap.broker) == (requests, responses)
    assert ends.exchange.idle


def test_the_proxys_answer_waits_for_its_turn() -> None:
    """Clients take answers in the order of their requests."""
    ends = Ends(Only(HEARTBEAT, refused))
    first, own = framed(1, request(METADATA, 12), METADATA), framed(2, request(HEARTBEAT, 4), HEARTBEAT)
    ends.exchange.from_client(first + own)
    assert (ends.to_broker, ends.to_client) == (first, b"")
    answer = framed(1, response(METADATA, 12))
    ends.exchange.from_broker(answer[:-1])
    assert ends.to_client == answer[:-1]
    ends.exchange.from_broker(answer[-1:])
    assert ends.to_client.startswith(answer)
    assert wire.i32(ends.to_client, len(answer) + 4) == 2
    assert ends.exchange.idle


def test_what_the_proxy_answers_is_shown_and_taken_back() -> None:
    """The outer tap knows of the request, the inner has never seen it; neither sees the answer."""
    ends = Ends(Only(HEARTBEAT, refused))
    frame = framed(7, request(HEARTBEAT, 4), HEARTBEAT)
    ends.exchange.from_client(frame)
    assert (ends.outer.client, ends.outer.answers) == (frame, [7])
    assert not ends.inner.client
    assert not ends.outer.broker
    assert ends.to_client


def test_what_closes_the_connection_is_shown_and_taken_back() -> None:
    """As what is answered; but not a Produce without an answer, which a tap would take for written."""

    def closes(_: Any) -> Any:
        raise ProtocolError("ApiNotGuarded")

    for key, frame, shown in (
        (HEARTBEAT, framed(7, request(HEARTBEAT, 4), HEARTBEAT), True),
        (PRODUCE, framed(7, request(PRODUCE, 9, acks=1), PRODUCE), True),
        (PRODUCE, framed(7, request(PRODUCE, 9, acks=0), PRODUCE), False),
    ):
        ends = Ends(Only(key, closes))
        with pytest.raises(ProtocolError, match="ApiNotGuarded"):
            ends.exchange.from_client(frame)
        assert (ends.outer.client, ends.outer.answers) == ((frame, [7]) if shown else (b"", []))
        assert not ends.inner.client
        assert not ends.to_broker


def test_guards_work_outside_of_the_taps_and_filters_between_them() -> None:
    """What a guard takes out no tap sees; what a filter changes each tap sees as it is there."""
    asked, said = request(METADATA, 12), response(METADATA, 12)

    def other(body: Any) -> Any:
        return replace(body, topics=(replace(body.topics[0], name="inner"),))

    def less(body: Any) -> Any:
        return replace(body, topics=())

    ends = Ends(Only(METADATA, None, less), filters=(Only(METADATA, other, other),))
    ends.exchange.from_client(framed(1, asked, METADATA))
    assert ends.outer.client == framed(1, asked, METADATA)
    assert ends.inner.client == ends.to_broker == framed(1, other(asked), METADATA)
    ends.exchange.from_broker(framed(1, said))
    assert ends.inner.broker == framed(1, said)
    assert ends.outer.broker == framed(1, other(said))
    assert ends.to_client == framed(1, less(said))


async def test_requests_of_the_proxys_own() -> None:
    """Go out between the client's, under ids of their own; neither client nor taps see anything of them."""
    ends = Ends(renumber=True)
    mine = framed(900, request(HEARTBEAT, 4), HEARTBEAT)
    ends.exchange.from_client(mine[:20])
    number, size, answer = ends.exchange.ask(wire.codec(METADATA, 4), request(METADATA, 4))
    assert len(ends.to_broker) == 20  # a request is half through
    ends.exchange.from_client(mine[20:])
    server = wire.i32(ends.to_broker, 8)
    assert len(ends.to_broker) == len(mine) + size
    assert wire.i32(ends.to_broker, len(mine) + 8) == number != server
    assert ends.outer.ids == ends.inner.ids == [(900, server)]
    ends.exchange.from_broker(framed(server, response(HEARTBEAT, 4)) + framed(number, response(METADATA, 4)))
    assert await answer == response(METADATA, 4)
    assert ends.to_client == framed(900, response(HEARTBEAT, 4))
    assert ends.outer.broker == ends.inner.broker == framed(server, response(HEARTBEAT, 4))
    assert ends.outer.client == ends.inner.client == mine
    assert ends.exchange.idle


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (b"\xff\xff\xff\xff" + bytes(10), "FrameSize"),
        (b"\x7f\xff\xff\xff" + bytes(10), "FrameSize"),
        (b"GET / HTTP/1.1\r\n\r\n", "FrameSize"),
        (bytes([0, 0, 0, 10, 0, 99, 0, 0]) + bytes(6), "UnknownApi"),
        (bytes([0, 0, 0, 10, 0, 12, 0, 99]) + bytes(6), "UnknownApi"),
        (bytes([0, 0, 0, 10, 0, METADATA, 0, 12]) + bytes(6), "Undecodable"),
        (bytes([0, 0, 0, 10, 0, PRODUCE, 0, 9]) + b"\xff" * 6, "Undecodable"),
    ],
)
def test_a_client_that_speaks_something_else(frame: bytes, status: str) -> None:
    """Is a status to close with, and nothing goes on."""
    ends = Ends(Only(METADATA, unchanged))
    with pytest.raises(ProtocolError, match=f"^{status}$"):
        ends.exchange.from_client(frame)
    assert not ends.to_broker


def test_an_answer_to_nothing() -> None:
    """A broker that answers what was not asked, or in another order, is not believed."""
    ends = Ends()
    ends.exchange.from_client(framed(1, request(HEARTBEAT, 4), HEARTBEAT))
    with pytest.raises(ProtocolError, match="UnexpectedResponse"):
        ends.exchange.from_broker(framed(2, response(HEARTBEAT, 4)))
    assert not ends.to_client


def test_an_api_versions_that_the_broker_does_not_know() -> None:
    """Is answered in version 0, and passes, though it was asked for in a later one."""
    ends = Ends(Only(API_VERSIONS, None, unchanged))
    ends.exchange.from_client(framed(1, request(API_VERSIONS, 4), API_VERSIONS))
    answer = framed(1, response(API_VERSIONS, 0, error_code=ErrorCode.unsupported_version))
    ends.exchange.from_broker(answer)
    assert ends.to_client == answer
    assert body_of(answer, load_response_schema(API_VERSIONS, 0))

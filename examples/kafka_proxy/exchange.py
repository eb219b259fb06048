"""The requests and responses of one connection, where they have to be looked at.

    client ── guards ── tap "client" ── filters ── tap "broker" ── broker

A frame that nobody in the chain is interested in passes piece by piece as it comes; others are held until they are
whole, and only they are decoded. What must always hold:

- The client gets its answers in the order of its requests, the proxy's own among them.
- A tap sees what passes at its place, so nothing that a guard has taken out, and no request of a filter's own. A
  request that is refused whole is shown and taken back (`answered`): it was there, but changes nothing. So is one for
  which a guard closes the connection, except a Produce with acks=0: a tap takes it for written when it sees it.
- With `renumber` requests go on under ids of the proxy's own, as a filter's requests need ids too. Taps are told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kafka_proxy import wire
from kafka_proxy.ends import ProtocolError
from kafka_proxy.steps import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auditring.kafka import Tap
    from kafka_proxy.steps import Step

    Write = Callable[[bytes | memoryview], None]

MOST_IN_FLIGHT: Final = 10_000


@dataclass(slots=True)
class Plan:
    """Who in the chain is interested in one version of one API; each in the order in which they are asked."""

    codec: wire.Codec
    guards: tuple[Step, ...]
    filters: tuple[Step, ...]
    response_filters: tuple[Step, ...]
    response_guards: tuple[Step, ...]


class Exchange:
    """Between client and broker: `from_client` and `from_broker` take what they say, and what goes on is written."""

    def __init__(
        self,
        to_client: Write,
        to_broker: Write,
        *,
        guards: Sequence[Step] = (),
        filters: Sequence[Step] = (),
        taps: Mapping[str, Tap] | None = None,
        renumber: bool = False,
    ) -> None:
        self._to_client = to_client
        self._to_broker = to_broker
        self._guards = guards
        self._filters = filters
        taps = taps or {}
        self._taps = tuple(taps.values())
        self._outer = taps.get("client")
        self._inner = taps.get("broker")
        self._renumber = renumber
        self._last_id = 0
        self._plans: dict[tuple[int, int], Plan] = {}
        self._in_flight: deque[Request] = deque()
        self._own: dict[Request, asyncio.Future[Any]] = {}
        self._unsent: list[tuple[Request, bytes]] = []
        self._passing: tuple[Request, bool] | None = None
        self._begun = False
        self._requests = wire.Cutter(wire.REQUEST_HEAD, self._request_head, self._request, self._request_piece)
        self._responses = wire.Cutter(wire.RESPONSE_HEAD, self._response_head, self._response, self._response_piece)
        self.from_client: Callable[[bytes], None] = self._requests.feed
        self.from_broker: Callable[[bytes], None] = self._responses.feed

    @property
    def idle(self) -> bool:
        """Every request has its answer, and nothing is half through."""
        return not self._in_flight and self._requests.between and self._responses.between

    @property
    def half(self) -> bool:
        """A request has come in part."""
        return not self._requests.between

    def ask(self, codec: wire.Codec, body: Any) -> tuple[int, int, asyncio.Future[Any]]:
        """Sends a request of the proxy's own: its id, its size, and what will be the body of the answer.

        Only with `renumber`; it is sent when no request of the client's is half through.
        """
        own = self._next_id()
        request = Request(codec, own, own, own=True)
        frame = codec.ask(own, body)
        answer = self._own[request] = asyncio.get_running_loop().create_future()
        self._unsent.append((request, frame))
        self._ask()
        return own, len(frame), answer

    def _ask(self) -> None:
        if self._passing is None:
            for request, frame in self._unsent:
                self._in_flight.append(request)
                self._to_broker(frame)
            self._unsent.clear()

    # Requests

    def _plan(self, key: int, version: int) -> Plan:
        plan = self._plans.get((key, version))
        if plan is None:
            plan = self._plans[key, version] = Plan(
                wire.codec(key, wire.understood(key, version)),
                tuple(step for step in self._guards if step.wants_request(key, version)),
                tuple(step for step in self._filters if step.wants_request(key, version)),
                tuple(step for step in reversed(self._filters) if step.wants_response(key, version)),
                tuple(step for step in reversed(self._guards) if step.wants_response(key, version)),
            )
        return plan

    def _request_head(self, view: memoryview, size: int) -> int:
        key, version = int.from_bytes(view[4:6]), int.from_bytes(view[6:8])
        plan = self._plan(key, version)
        if plan.guards or plan.filters:
            return wire.HOLD
        answered = True
        if key == wire.PRODUCE:
            acks = wire.acks(view, size, version)
            if acks is None:
                return min(size, 2 * len(view))
            answered = acks != 0
        self._passing = self._number(Request(plan.codec, wire.i32(view, 8)), answered=answered), answered
        self._begun = False
        return wire.PASS

    def _request_piece(self, view: memoryview, last: bool) -> None:  # noqa: FBT001 - as the cutter calls it
        request, answered = self._passing  # type: ignore[misc]  # it is what passes
        for tap in self._taps:
            tap.from_client(view)
        self._to_broker(view if self._begun else self._renumbered(view, 8, request.server_correlation_id))
        self._begun = True
        if last:
            self._passing = None
            self._sent(request, answered=answered)

    def _request(self, view: memoryview) -> None:
        """A whole request that somebody in the chain may change or answer."""
        plan = self._plan(int.from_bytes(view[4:6]), int.from_bytes(view[6:8]))
        header, came = plan.codec.request(view)
        request = Request(plan.codec, wire.i32(view, 8))
        guarded = came
        for step in plan.guards:
            try:
                guarded = step.request(request, guarded)
            except ProtocolError:
                if plan.codec.key != wire.PRODUCE or came.acks != 0:  # that would be a write without an answer
                    self._take_back(view, request)
                raise
            if isinstance(guarded, Answer):
                self._answer(view, request, guarded)
                return
        frame: memoryview | bytes = view if guarded is came else plan.codec.encode_request(header, guarded)
        if self._outer:
            self._outer.from_client(frame)
        sent = guarded
        for step in plan.filters:
            sent = step.request(request, sent)
        frame = frame if sent is guarded else plan.codec.encode_request(header, sent)
        if self._inner:
            self._inner.from_client(frame)
        answered = plan.codec.key != wire.PRODUCE or came.acks != 0
        self._number(request, answered=answered)
        self._to_broker(self._renumbered(frame, 8, request.server_correlation_id))
        self._sent(request, answered=answered)

    def _number(self, request: Request, *, answered: bool) -> Request:
        request.server_correlation_id = self._next_id() if self._renumber else request.correlation_id
        if answered:
            self._expect(request)
        return request

    def _sent(self, request: Request, *, answered: bool) -> None:
        if self._renumber and answered:
            for tap in self._taps:
                tap.rewrote(request.correlation_id, request.server_correlation_id)
        self._ask()

    def _next_id(self) -> int:
        self._last_id = (self._last_id + 1) & 0x7FFF_FFFF
        return self._last_id

    def _renumbered(self, frame: memoryview | bytes, at: int, number: int) -> memoryview | bytes:
        if not self._renumber:
            return frame
        return b"".join((frame[:at], number.to_bytes(4, signed=True), frame[at + 4 :]))

    def _expect(self, request: Request) -> None:
        if len(self._in_flight) >= MOST_IN_FLIGHT:
            raise ProtocolError("TooManyInFlight")
        self._in_flight.append(request)

    def _answer(self, view: memoryview, request: Request, answer: Answer) -> None:
        request.answer = answer.frame or request.codec.answer(request.correlation_id, answer.body)
        if answer.visible:
            self._take_back(view, request)
        self._expect(request)
        self._flush()

    def _take_back(self, view: memoryview, request: Request) -> None:
        """Shows the outer tap that there was a request, and that no broker has seen it."""
        if self._outer:
            self._outer.from_client(view)
            self._outer.answered(request.correlation_id)

    # Responses

    def _response_head(self, view: memoryview, size: int) -> int:
        request = self._in_flight[0] if self._in_flight else None
        if request is None or request.server_correlation_id != wire.i32(view, 4):
            raise ProtocolError("UnexpectedResponse")
        plan = self._plan(request.codec.key, request.codec.version)
        wanted = request.own or request.after or plan.response_filters or plan.response_guards
        if wanted and (len(view) < size or not wire.refused(request.codec, view)):
            return wire.HOLD
        self._begun_response = False
        return wire.PASS

    def _response_piece(self, view: memoryview, last: bool) -> None:  # noqa: FBT001 - as the cutter calls it
        for tap in self._taps:
            tap.from_broker(view)
        self._to_client(view if self._begun_response else self._renumbered(view, 4, self._in_flight[0].correlation_id))
        self._begun_response = True
        if last:
            self._in_flight.popleft()
            self._flush()

    def _response(self, view: memoryview) -> None:
        """A whole response that somebody in the chain may change."""
        request = self._in_flight.popleft()
        codec = request.codec
        header, came = codec.response(view)
        if request.own:
            answer = self._own.pop(request)
            if not answer.cancelled():
                answer.set_result(came)
            self._flush()
            return
        if self._inner:
            self._inner.from_broker(view)
        plan = self._plan(codec.key, codec.version)
        filtered = came
        for step in plan.response_filters:
            filtered = step.response(request, filtered)
        frame: memoryview | bytes = view if filtered is came else codec.encode_response(header, filtered)
        if self._outer:
            self._outer.from_broker(frame)
        given = filtered
        for step in plan.response_guards:
            given = step.response(request, given)
        for change in request.after:
            given = change(given)
        frame = frame if given is filtered else codec.encode_response(header, given)
        self._to_client(self._renumbered(frame, 4, request.correlation_id))
        self._flush()

    def _flush(self) -> None:
        """Gives the client the proxy's own answers whose turn it is."""
        while self._in_flight and (answer := self._in_flight[0].answer) is not None:
            self._to_client(answer)
            self._in_flight.popleft()

"""What can stand in the chain between client and broker, and what it gets to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_proxy.wire import Codec


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way, until its answer has gone back."""

    codec: Codec
    correlation_id: int
    """Its correlation id as the client knows it; for a request of the proxy's own the same as at the server."""
    server_correlation_id: int = 0
    own: bool = False
    answer: bytes | None = None
    """The proxy's answer in the broker's place, until it is its turn."""
    after: list[Callable[[Any], Any]] = field(default_factory=list)
    """What a guard has to do with the response to this one request."""


@dataclass(slots=True)
class Answer:
    """The proxy answers in the broker's place; `visible`: taps get to know that there was a request."""

    body: Any
    visible: bool = True
    frame: bytes | None = None
    """The same as bytes, from who has already written it."""


class Step(Protocol):
    """A guard or a filter. Bodies are kio's entities: never changed, but replaced; the same object says "unchanged"."""

    def wants_request(self, key: int, version: int) -> bool:
        """Whether such requests are to be held and shown."""

    def wants_response(self, key: int, version: int) -> bool:
        """Whether responses to such requests are to be held and shown."""

    def request(self, request: Request, body: Any) -> Any:
        """The body to send on; from a guard also an `Answer`. Raises `ProtocolError` to close the connection."""

    def response(self, request: Request, body: Any) -> Any:
        """The body to give back."""

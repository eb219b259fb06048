"""The guard that offers clients only what the proxy can read: no newer version of an API than kio knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kio.schema.api_versions.v0.response import ApiVersion
from kio.schema.errors import ErrorCode
from kio.static.primitive import i16

from kafka_proxy import wire
from kafka_proxy.steps import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafka_proxy.steps import Request


NEWEST: Final = wire.newest(wire.API_VERSIONS) or 0


class Versions:
    """`offered(key)`: whether clients may know of that API at all. `own`: what the proxy answers, broker or not."""

    def __init__(self, offered: Callable[[int], bool], own: Sequence[int] = ()) -> None:
        self._offered = offered
        self._own = own

    def wants_request(self, key: int, version: int) -> bool:
        """An ApiVersions that is too new itself."""
        return key == wire.API_VERSIONS and version > NEWEST

    def wants_response(self, key: int, version: int) -> bool:
        """ApiVersions."""
        return key == wire.API_VERSIONS

    def request(self, request: Request, body: Any) -> Answer:
        """Answered as a broker does: not this version, but these."""
        answer = request.codec.response_type
        own = ApiVersion(api_key=i16(wire.API_VERSIONS), min_version=i16(0), max_version=i16(NEWEST))
        return Answer(answer(error_code=ErrorCode.unsupported_version, api_keys=(own,)))

    def response(self, request: Request, body: Any) -> Any:
        """The same without what is too new, and with what is the proxy's own."""
        if body.error_code is not ErrorCode.none:
            return body
        theirs = [kept for api in body.api_keys if api.api_key not in self._own and (kept := self._capped(api))]
        kind = type(body.api_keys[0])
        own = [kind(api_key=key, min_version=0, max_version=wire.newest(key)) for key in self._own]
        return replace(body, api_keys=(*theirs, *own))

    def _capped(self, api: Any) -> Any:
        newest = wire.newest(api.api_key)
        if newest is None or newest < api.min_version or not self._offered(api.api_key):
            return None
        return api if api.max_version <= newest else replace(api, max_version=newest)

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
    from collections.abc import Callable

    from kafka_proxy.steps import Request


NEWEST: Final = wire.newest(wire.API_VERSIONS) or 0


class Versions:
    """`offered(key)`: whether clients may know of that API at all."""

    def __init__(self, offered: Callable[[int], bool]) -> None:
        self._offered = offered

    def wants_request(self, key: int, version: int) -> bool:
        """An ApiVersions that is too new itself."""
        return key == wire.API_VERSIONS and version > NEWEST

    def wants_response(self, key: int, version: int) -> bool:  # noqa: ARG002
        """ApiVersions."""
        return key == wire.API_VERSIONS

    def request(self, request: Request, body: Any) -> Answer:  # noqa: ANN401, ARG002
        """Answered as a broker does: not this version, but these."""
        answer = request.codec.response_type
        own = ApiVersion(api_key=i16(wire.API_VERSIONS), min_version=i16(0), max_version=i16(NEWEST))
        return Answer(answer(error_code=ErrorCode.unsupported_version, api_keys=(own,)))

    def response(self, request: Request, body: Any) -> Any:  # noqa: ANN401, ARG002
        """The same without what is too new."""
        return replace(body, api_keys=tuple(kept for api in body.api_keys if (kept := self._capped(api))))

    def _capped(self, api: Any) -> Any:  # noqa: ANN401
        newest = wire.newest(api.api_key)
        if newest is None or newest < api.min_version or not self._offered(api.api_key):
            return None
        return api if api.max_version <= newest else replace(api, max_version=newest)

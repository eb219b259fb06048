"""The gateway's clients: a few people with tokens, somebody with a stolen one, and one who hangs up.

What must always hold: `Tally` counts what was asked, one by one, so that the rows can be compared with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

import httpx


class Person(NamedTuple):
    """Somebody with a token: what they do, and how often (method, path, weight)."""

    token: str
    connections: int
    habits: tuple[tuple[str, str, int], ...]
    pause: float = 0.0
    """Seconds between two requests; refusals are so quick that one who gets nothing else would be all that one sees."""


_ITEM: Final = "/v1/items/{n}"
_SALARY: Final = "/v1/salaries/{n}"
_PEOPLE: Final = (
    # A secret in a query string, as clients do; it is in no row.
    Person("alice-1f8", 3, (("GET", f"{_ITEM}?key=s3cr3t", 70), ("POST", "/v1/orders", 25), ("GET", "/v1/broken", 2))),
    Person("bob-77a", 2, (("GET", _ITEM, 80), ("GET", "/v1/nothing/{n}", 6), ("DELETE", "/v1/orders/{n}", 4))),
    Person("bob-77a", 1, (("GET", _ITEM, 50), ("GET", _SALARY, 10))),
    Person("carol-c02", 2, (("GET", "/v1/orders", 60), ("GET", _ITEM, 20), ("GET", _SALARY, 10))),
    Person("stolen-token", 1, (("GET", _ITEM, 3), ("GET", _SALARY, 1)), pause=0.05),
)
_HANG_UPS: Final = 3


@dataclass
class Tally:
    """What the clients asked for and got."""

    answers: Counter[int] = field(default_factory=Counter)
    """How often each status code came back."""
    hung_up: int = 0
    """Responses that a client left before they had ended."""
    connections: int = 0

    @property
    def requests(self) -> int:
        """All that must have a row."""
        return self.answers.total() + self.hung_up


class Enough:
    """When to stop: after so many requests, or so many seconds from now, whichever comes first."""

    def __init__(self, requests: int | None, seconds: float | None) -> None:
        self._left = requests
        self._until = None if seconds is None else asyncio.get_running_loop().time() + seconds

    def take(self) -> bool:
        """Whether one more request is wanted; counts it."""
        if self._until is not None and asyncio.get_running_loop().time() >= self._until:
            return False
        if self._left is not None:
            if self._left <= 0:
                return False
            self._left -= 1
        return True


async def drive(gateway: str, tally: Tally, *, requests: int | None, seconds: float | None, seed: int = 0) -> None:
    """Asks until it is enough, over ten connections at once. Raises what httpx raises, in a group."""
    enough = Enough(requests, seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(_hang_up(gateway, tally, enough))
        everybody = [person for person in _PEOPLE for _ in range(person.connections)]
        for number, person in enumerate(everybody):
            draw = Random(seed * len(everybody) + number)  # noqa: S311 - a reproducible load, no secret
            group.create_task(_ask(gateway, person, tally, enough, draw))


def _client(gateway: str, token: str) -> httpx.AsyncClient:
    """A client with one connection, kept to the end."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    headers = {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=gateway, headers=headers, limits=limits, timeout=30.0)


async def _ask(gateway: str, person: Person, tally: Tally, enough: Enough, draw: Random) -> None:
    weights = [weight for _, _, weight in person.habits]
    tally.connections += 1
    async with _client(gateway, person.token) as client:
        while enough.take():
            method, path, _ = draw.choices(person.habits, weights)[0]
            trace = f"00-{draw.getrandbits(128) or 1:032x}-{draw.getrandbits(64) or 1:016x}-01"
            response = await client.request(
                method,
                path.format(n=draw.randint(1, 40)),
                headers={"traceparent": trace, "x-request-id": f"req-{draw.getrandbits(40):010x}"},
                content=b'{"item": 7}' if method == "POST" else None,
            )
            tally.answers[response.status_code] += 1
            await asyncio.sleep(person.pause)


async def _hang_up(gateway: str, tally: Tally, enough: Enough) -> None:
    """Asks for the endless export a few times and leaves after the first part of it."""
    for _ in range(_HANG_UPS):
        if not enough.take():
            return
        tally.connections += 1
        async with _client(gateway, "alice-1f8") as client, client.stream("GET", "/v1/export") as response:
            async for _part in response.aiter_raw():
                break
        tally.hung_up += 1

"""A connection full of random requests and answers, and what a log should hold of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oracle import admin, data, denials, offsets, wire  # noqa: F401 - each says what it expects
from oracle.instances import Maker, schemas
from oracle.rows import EXPECTED, Row, World

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from auditring.kafka import Tap
    from oracle.versions import Version

# What may have changed something, so that it is told also where no answer came.
CHANGES = {
    "Produce",
    "DeleteRecords",
    "CreateTopics",
    "DeleteTopics",
    "CreatePartitions",
    "AlterConfigs",
    "IncrementalAlterConfigs",
    "CreateAcls",
    "DeleteAcls",
    "AlterUserScramCredentials",
    "CreateDelegationToken",
    "RenewDelegationToken",
    "ExpireDelegationToken",
    "OffsetCommit",
    "TxnOffsetCommit",
    "OffsetDelete",
    "AlterShareGroupOffsets",
    "DeleteShareGroupOffsets",
}


@dataclass
class Exchange:
    """A request, and its answer where there is one."""

    version: Version
    request: Any
    answer: Any
    client: int
    server: int
    tagged: bool

    @property
    def silent(self) -> bool:
        """Whether the client wants no answer."""
        return self.version.name == "Produce" and self.request.acks == 0


@dataclass
class Conversation:
    """Talks over a tap, and keeps what it should have said by the client's id of the request."""

    rng: random.Random
    tap: Tap
    maker: Maker = field(init=False)
    world: World = field(default_factory=World)
    expected: dict[int, list[Row]] = field(default_factory=dict)
    exercised: Counter[Version] = field(default_factory=Counter)
    ids: int = field(init=False)
    unanswered: list[Exchange] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins with any id that there is."""
        self.maker = Maker(self.rng)
        self.ids = self.rng.choice([0, -(2**31), 2**20, -7])

    def talk(self, versions: Iterable[Version]) -> None:
        """An exchange in each of these, pipelined; answers come in the order of the requests.

        As a broker answers in that order, those that get no answer are the last.
        """
        waiting = list(versions)
        last: list[Exchange] = []
        while waiting:
            made = [self._exchange(version) for version in waiting[: self.rng.randint(1, 9)]]
            self.exchanges += made
            del waiting[: len(made)]
            burst = [exchange for exchange in made if exchange.silent or exchange.answer is not None]
            last += [exchange for exchange in made if exchange not in burst]
            self._ask(burst)
            self._answer([exchange for exchange in burst if exchange.answer is not None])
        self._ask(last)

    def close(self) -> None:
        """The connection ends."""
        for exchange in self.unanswered:
            self._expect(exchange)
        self.tap.close()

    def _exchange(self, version: Version) -> Exchange:
        request, answer = schemas(version.key, version.name, version.version)
        self.ids += 1
        self.maker.resources.clear()
        made = self.maker.make(request)
        answered = self.rng.random() < 0.9
        exchange = Exchange(
            version,
            made,
            self.maker.make(answer) if answered else None,
            self.ids,
            self.rng.choice([self.ids, self.ids, self.ids + 2**24]),
            self.rng.random() < 0.25,
        )
        if exchange.silent:
            exchange.answer = None
        return exchange

    def _ask(self, burst: list[Exchange]) -> None:
        asked = b""
        for exchange in burst:
            self.exercised[exchange.version] += 1
            if exchange.silent:
                self._rewrite(exchange)
            asked += wire.request(exchange.request, exchange.client, "client", tagged=exchange.tagged)
        for piece in wire.chunks(self.rng, asked):
            self.tap.from_client(piece)
        for exchange in burst:
            if exchange.silent:
                self._expect(exchange)
                continue
            self._rewrite(exchange)
            if exchange.answer is None:
                self.unanswered.append(exchange)

    def _rewrite(self, exchange: Exchange) -> None:
        if exchange.server != exchange.client:
            self.tap.rewrote(exchange.client, exchange.server)

    def _answer(self, burst: list[Exchange]) -> None:
        answered = b""
        for exchange in burst:
            answered += wire.answer(exchange.answer, exchange.server, tagged=exchange.tagged)
            self._expect(exchange)
        for piece in wire.chunks(self.rng, answered):
            self.tap.from_broker(piece)

    def _expect(self, exchange: Exchange) -> None:
        name = exchange.version.name
        if exchange.answer is None and name not in CHANGES:
            return
        wired: Row = {"api": name, "client_correlation_id": exchange.client, "tap": "edge"}
        if exchange.answer is not None:
            wired |= {"server_correlation_id": exchange.server, "answered": True}
        elif exchange.server != exchange.client:
            wired |= {"server_correlation_id": exchange.server}
        rows = [row | wired for row in EXPECTED[name](exchange.request, exchange.answer, self.world)]
        if rows:
            self.expected[exchange.client] = rows

"""One broker for the whole run; for each test topics, a proxy and an audit directory of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer

from harness import jars, planted
from harness.broker import PLAIN_USERS, SCRAM_USERS, Broker
from harness.certs import Certificates
from harness.proxy import Proxy
from harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this run lies: what the search at the end looks through."""
    return tmp_path_factory.mktemp("kafka")


@pytest.fixture(scope="session")
def certificates(folder: Path) -> Certificates:
    """Those of the broker, of the proxy, and of clients good and bad."""
    jars.require_java()
    return Certificates(folder / "certs")


@pytest.fixture(scope="session")
def broker(folder: Path, certificates: Certificates) -> Iterator[Broker]:
    """The real one."""

    def once(options: tuple[str, ...]) -> None:
        """What is loaded while a broker starts, and takes and gives a record, is what the archive keeps."""
        broker = Broker(folder / "once", certificates)
        with broker.running(options=options):
            broker.create_topic("once")
            producer = Producer({"bootstrap.servers": broker.plain})
            producer.produce("once", planted.value(0))
            assert producer.flush(PATIENCE) == 0
            settings = {"group.id": "once", "auto.offset.reset": "earliest"}
            consumer = Consumer({"bootstrap.servers": broker.plain, **settings})
            consumer.subscribe(["once"])
            until(lambda: consumer.poll(0.1), "the record comes back")
            consumer.close()

    jars.make_archive(once)
    broker = Broker(folder / "broker", certificates)
    with broker.running():
        yield broker


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A new topic with one partition, named after the test."""
    return broker.create_topic(_name(request))


@pytest.fixture
def proxy_for(folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Proxy]]:
    """Starts proxies in front of the broker; those that the test leaves running are ended well."""
    proxies: list[Proxy] = []

    def start(*, log: Mapping[str, object] | None = None, drain: float = 5.0, **clusters: Mapping[str, object]) -> Proxy:
        place = folder / "proxies" / f"{_name(request)}-{len(proxies)}"
        proxy = Proxy(place, drain=drain, log={"directory": "audit"} | dict(log or {}), clusters=clusters)
        proxies.append(proxy)
        proxy.start()
        return proxy

    yield start
    for proxy in proxies:
        if proxy.running:
            proxy.stop()


@pytest.fixture(scope="session")
def users(folder: Path) -> str:
    """The file of those whom a proxy knows that checks credentials itself."""
    path = folder / "users.toml"
    passwords = (f'{user} = "{planted.password(user)}"\n' for user in (*PLAIN_USERS, *SCRAM_USERS))
    path.write_text("[users]\n" + "".join(passwords))
    return str(path)


@pytest.fixture
def proxy(broker: Broker, proxy_for: Callable[..., Proxy]) -> Proxy:
    """The plainest: no authentication, addresses rewritten, one tap."""
    return proxy_for(plain={"bootstrap": broker.plain})


def _name(request: pytest.FixtureRequest) -> str:
    """The test's name, as a topic's or a folder's."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")

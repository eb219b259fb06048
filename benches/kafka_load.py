"""The processes of `kafka_tax.py`: the proxy that is measured, and the clients whose traffic goes through it.

    python benches/kafka_load.py proxy|produce|consume …      each takes commands on standard input, answers on output

The proxy is the one of the examples, forwarding bytes: the broker advertises its port. Connections that are made while
it is told `tap` have a tap; those made while it is told `plain` have none. All the rest is the same, down to the memory
that it lies in, and the log is open for both.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "examples"), str(_ROOT / "tests" / "kafka")]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECORD = b"\xff" * 1024
CLUSTER = "bench"
READY = "ready"
PATIENCE = 120.0


class Spent(NamedTuple):
    """CPU seconds of the proxy, so far."""

    loop: float
    """Of the event loop's thread."""
    rest: float
    """Of all other threads, which are the log's."""


class Child:
    """A process of this file."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this file, by the interpreter that runs it
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == READY, arguments

    def ask(self, command: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the command says
        """Gives a command and waits for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:  # noqa: ANN401 - the same
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"a child ended by itself: {self._process.args!r}"
        return json.loads(line)

    def end(self) -> str:
        """Ends it by the end of its standard input; returns what it says last."""
        said, _ = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, self._process.args
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.end()


def answer(**commands: Callable[..., object]) -> None:
    """Says that it is ready, and does what it is told until standard input ends."""
    print(json.dumps(READY), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(commands[command](*arguments)), flush=True)


def proxy(directory: str, port: str, address: str) -> None:
    """The proxy, from that port to that broker."""
    import auditring  # noqa: PLC0415 - the clients have no need of it
    from kafka_proxy import Proxy  # noqa: PLC0415 - the same
    from kafka_proxy.config import Broker, Cluster, Config, Log  # noqa: PLC0415 - the same
    from kafka_proxy.taps import Taps  # noqa: PLC0415 - the same
    from logs import TMPFS  # noqa: PLC0415 - the same

    where = Broker(port=int(port), address=address, node_id=1)
    config = Config(log=Log(directory=Path(directory)), clusters={CLUSTER: Cluster(brokers=(where,), taps=())})
    # Where it lies outside containers: a page of a ring on a disk is faulted in anew whenever it was written back.
    log = auditring.open(directory, ring_dir=TMPFS)
    loop_clock = time.pthread_getcpuclockid(threading.get_ident())

    def spent() -> Spent:
        loop = time.clock_gettime(loop_clock)
        return Spent(loop, time.process_time() - loop - time.thread_time())

    async def serve() -> None:
        served = Proxy(config, log)
        await served.start()
        cluster = served.clusters[CLUSTER]
        plain, tapped = cluster.taps, Taps(("client",))

        def switch(taps: Taps) -> None:
            cluster.taps = taps

        commands = {"spent": spent, "plain": lambda: switch(plain), "tap": lambda: switch(tapped)}
        await asyncio.to_thread(answer, **commands)
        await served.stop()

    asyncio.run(serve())
    before = time.process_time()
    log.close()
    print(json.dumps(time.process_time() - before))


def produce(servers: str, topic: str, name: str, settings: str) -> None:
    """A producer: `records(n)` sends so many and waits for their acknowledgements; returns the seconds that it took."""
    from confluent_kafka import Producer  # noqa: PLC0415 - the proxy has no need of it

    producer = Producer({"bootstrap.servers": servers, "client.id": name, **json.loads(settings)})
    failed: list[str] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    def records(count: int) -> float:
        start = time.perf_counter()
        send, poll = producer.produce, producer.poll
        for _ in range(count):
            while True:
                try:
                    send(topic, RECORD, partition=0, on_delivery=delivered)
                    break
                except BufferError:
                    poll(0.01)
        assert producer.flush(PATIENCE) == 0
        assert not failed, failed[0]
        return time.perf_counter() - start

    answer(records=records)


def consume(servers: str, topic: str, name: str, settings: str) -> None:
    """A consumer: `records(n)` reads so many from the start of the topic, which has no more; returns the seconds."""
    from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - the proxy has no need of it

    consumer = Consumer({"bootstrap.servers": servers, "client.id": name, "group.id": "none", **json.loads(settings)})

    def records(count: int) -> float:
        start = time.perf_counter()
        consumer.assign([TopicPartition(topic, 0, 0)])
        got = 0
        while got < count:
            messages = consumer.consume(min(10_000, count - got), 1.0)
            assert time.perf_counter() - start < PATIENCE, f"{got} of {count} records"
            for message in messages:
                assert message.error() is None, message.error()
            got += len(messages)
        assert got == count
        consumer.unassign()
        return time.perf_counter() - start

    answer(records=records)
    consumer.close()


def main(arguments: Sequence[str]) -> None:
    """The children."""
    roles: dict[str, Callable[..., None]] = {"proxy": proxy, "produce": produce, "consume": consume}
    role, *rest = arguments
    roles[role](*rest)


if __name__ == "__main__":
    main(sys.argv[1:])

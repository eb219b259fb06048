"""An audit that goes into a cluster which is audited: it does not feed itself, and it is no way round the audit."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import auditring
from agent_rig import running
from auditring import Exempt, Keep
from auditring.sinks import KafkaSink, ParquetSink
from harness.audit import Audit
from harness.clients import QUICK, produce, read
from harness.ports import free_ports
from harness.topics import end
from harness.waiting import PATIENCE, until
from kafka_proxy import Config, Proxy
from kafka_proxy.config import Cluster, Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from harness.broker import Broker

SOON = 60.0
"""Seconds after the last request in which the last row comes, also on a machine that is busy."""
QUIET = 3.0
"""Seconds without a row that show that there will be none."""


class Audited:
    """A proxy in this program, its log, and a sink that writes through a proxy."""

    def __init__(self, directory: Path, log: auditring.AuditLog, address: str) -> None:
        self.log = log
        self.address = address
        self.audit = Audit(directory)

    async def settled(self) -> None:
        """Fails unless the log soon takes no more rows; then all that it has are in its sinks.

        A sink that is held up is as quiet as one that has all, so the quiet counts that begins with a flush.
        """
        deadline = time.monotonic() + SOON + QUIET
        rows = -1
        while (now := self.log.stats().next_seq) != rows:
            assert time.monotonic() < deadline, f"rows still come: {now}"
            rows = now
            await asyncio.to_thread(self.log.flush, PATIENCE)
            await asyncio.sleep(QUIET)


@asynccontextmanager
async def audited(
    directory: Path, broker: Broker, *sinks: tuple[KafkaSink, int], request: Keep = Keep.OFF, by_agent: bool = False
) -> AsyncIterator[list[Audited]]:
    """A proxy with a log for each sink serves on the sink's port while the body runs."""
    logs: list[auditring.AuditLog] = []
    with auditring.open(None) as nothing:
        configs = [
            Config(
                log=Log(directory=directory / str(port)),
                clusters={"plain": Cluster(bootstrap=broker.plain, port=port)},
            )
            for _, port in sinks
        ]
        for config, (sink, _) in zip(configs, sinks, strict=True):
            place = config.log.directory
            own, apart = ((), (sink,)) if by_agent else ((sink,), ())
            logs.append(
                auditring.open(place, sinks=(ParquetSink(), *own), agent_sinks=apart, request=request, balance=0.5)
            )
        proxies = [Proxy(config, log) for config, log in zip(configs, logs, strict=True)]
        last = [Proxy(config, nothing) for config in configs]
        try:
            for proxy in proxies:
                await proxy.start()
            yield [
                Audited(config.log.directory, log, f"127.0.0.1:{port}")
                for config, log, (_, port) in zip(configs, logs, sinks, strict=True)
            ]
        finally:
            for proxy in proxies:
                await proxy.stop()
            # The last rows tell of the end of the proxies that they go through: others take them, and audit nothing.
            for proxy in last:
                await proxy.start()
            for log in logs:
                await asyncio.to_thread(log.close, PATIENCE)
            for proxy in last:
                await proxy.stop()


async def rate(servers: str, topics: Sequence[str], seconds: float) -> int:
    """How many messages come in so many seconds."""
    before = sum(end(servers, topic) for topic in topics)
    await asyncio.sleep(seconds)
    return sum(end(servers, topic) for topic in topics) - before


async def test_the_audit_topic_is_in_the_cluster_that_is_audited(broker: Broker, folder: Path, topic: str) -> None:
    """A client's writes become rows, and these become messages, and that is all; it is counted, and told once."""
    audit_topic = await asyncio.to_thread(broker.create_topic, f"{topic}.audit")
    (port,) = free_ports(1)
    sink = KafkaSink(f"127.0.0.1:{port}", audit_topic, config=QUICK)
    async with audited(folder / "loops" / topic, broker, (sink, port), request=Keep.ALL) as (one,):
        reports = await asyncio.to_thread(produce, {"bootstrap.servers": one.address}, topic, 50)
        await one.settled()
        assert await rate(broker.plain, [audit_topic], 1.0) == 0
        stats = one.log.stats()
        assert stats.balanced
        assert 0 < stats.exempt <= stats.off
        assert stats.actions["auditring.Exempted", "success"] > stats.exempt
        # Each row is there: of the client's, and of the auditor's own connections.
        assert end(broker.plain, audit_topic) == stats.sinks["kafka"].delivered
        ours = sink.traffic[0].client_id
        assert one.audit.actions(f"resource = '{audit_topic}' AND action = 'Write'") == {}
        told = one.audit.rows("resource", "client_id", where="action = 'auditring.Exempted'")
        assert told == [(audit_topic, ours)] * len(told)
        assert len(told) >= 1
        assert sum(one.audit.offsets("Write", topic).values()) == len(reports)
        # What else the auditor's client asks is audited.
        asked = one.audit.rows("api", where=f"client_id = '{ours}' AND action = 'RequestIngress'")
        assert ("Metadata",) in asked
        assert ("Produce",) not in asked


async def test_a_client_that_copies_our_id_is_audited(broker: Broker, folder: Path, topic: str) -> None:
    """It may write to the audit topic, which is counted and told of; whatever else it does has its rows."""
    audit_topic = await asyncio.to_thread(broker.create_topic, f"{topic}.audit")
    (port,) = free_ports(1)
    sink = KafkaSink(broker.plain, audit_topic, config=QUICK)
    async with audited(folder / "loops" / topic, broker, (sink, port)) as (one,):
        ours = {"bootstrap.servers": one.address, "client.id": sink.traffic[0].client_id}
        theirs = {"bootstrap.servers": one.address, "client.id": f"{sink.traffic[0].client_id}0"}
        elsewhere = await asyncio.to_thread(produce, ours, topic, 3)
        await asyncio.to_thread(read, ours, topic)
        before = end(broker.plain, audit_topic)
        await asyncio.to_thread(produce, theirs, audit_topic, 5)
        await one.settled()
        assert one.log.stats().exempt == 0
        passed = await asyncio.to_thread(produce, ours, audit_topic, 2)
        await asyncio.to_thread(produce, {**ours, "acks": 0}, audit_topic, 1)
        await one.settled()
        assert one.audit.offsets("Write", topic) == {report.at: 1 for report in elsewhere}
        assert sum(one.audit.offsets("Read", topic).values()) == 3
        assert sum(one.audit.offsets("Write", audit_topic).values()) == 5
        assert one.audit.actions(f"action = 'Write' AND resource = '{audit_topic}' AND outcome = 'forwarded'") == {
            "Write": 1
        }
        assert one.log.stats().exempt >= 1
        assert one.audit.actions("action = 'auditring.Exempted'") == {"auditring.Exempted": 1}
        assert before < end(broker.plain, audit_topic)
        assert len(passed) == 2


async def test_a_hosts_taps_know_what_its_agent_writes(broker: Broker, folder: Path, topic: str) -> None:
    """A sink that is given to the agent is known to the host, but for the end of its client's id."""
    audit_topic = await asyncio.to_thread(broker.create_topic, f"{topic}.audit")
    (port,) = free_ports(1)
    sinks = [KafkaSink(f"127.0.0.1:{port}", audit_topic, config=QUICK) for _ in range(2)]
    root = folder / "loops" / topic
    async with audited(root, broker, (sinks[0], port), by_agent=True) as (one,):
        with running(root / str(port), sinks[1]):
            reports = await asyncio.to_thread(produce, {"bootstrap.servers": one.address}, topic, 50)
            # The agent is a process of its own, which the log's flush does not wait for.
            await asyncio.to_thread(until, lambda: one.log.stats().exempt > 0, "the agent writes")
            await one.settled()
            assert await rate(broker.plain, [audit_topic], 1.0) == 0
            assert end(broker.plain, audit_topic) > 0
            assert one.log.stats().balanced
            assert one.log.stats().exempt > 0
            assert one.audit.actions(f"resource = '{audit_topic}' AND action = 'Write'") == {}
            assert sum(one.audit.offsets("Write", topic).values()) == len(reports)


async def test_two_proxies_that_audit_into_each_others_clusters(broker: Broker, folder: Path, topic: str) -> None:
    """Each names the other's topic and whose ids may write there; else each row would be the other's next."""
    left, right = f"{topic}.left", f"{topic}.right"
    for name in (left, right):
        await asyncio.to_thread(broker.create_topic, name)
    ports = free_ports(2)
    for exempt in (True, False):
        name = "named" if exempt else "unnamed"
        ids = {side: f"{side}-{name}" for side in ("left", "right")}
        sinks = [
            KafkaSink(
                f"127.0.0.1:{there}",
                ours,
                config=QUICK,
                client_id=ids[mine],
                exempt=[Exempt(topic=others, client_id=f"{ids[other]}-*")] if exempt else (),
            )
            for mine, other, ours, others, there in (
                ("left", "right", left, right, ports[1]),
                ("right", "left", right, left, ports[0]),
            )
        ]
        pairs = zip(sinks, ports, strict=True)
        async with audited(folder / "loops" / topic / name, broker, *pairs) as (one, other):
            await asyncio.to_thread(produce, {"bootstrap.servers": one.address}, topic, 20)
            if not exempt:
                # What the guard is for.
                until_quiet = await rate(broker.plain, [left, right], QUIET + 1)
                assert until_quiet > 0
                continue
            await one.settled()
            await other.settled()
            await one.settled()
            assert await rate(broker.plain, [left, right], 1.0) == 0
            for log in (one.log, other.log):
                assert log.stats().balanced
                assert log.stats().exempt > 0
            assert other.audit.actions(f"action = 'Write' AND resource = '{left}'") == {}
            assert one.audit.actions(f"action = 'Write' AND resource = '{right}'") == {}

"""The proxy as a part of one's own program, with JSON lines beside the tables."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import jsonschema

import auditring
from auditring.schema import json_schema
from auditring.sinks import JsonlSink, ParquetSink
from harness.audit import Audit
from harness.clients import produce, read
from kafka_proxy import Config, Proxy
from kafka_proxy.config import Cluster, Log

if TYPE_CHECKING:
    from pathlib import Path

    from harness.broker import Broker


async def test_lines_and_tables_say_the_same(broker: Broker, folder: Path, topic: str) -> None:
    """Every line is as the schema says, has what the client was told, and is the row of the same number."""
    directory = folder / "proxies" / "in-process" / "audit"
    config = Config(log=Log(directory=directory), clusters={"plain": Cluster(bootstrap=broker.plain)})
    async with auditring.open(directory, sinks=(ParquetSink(), JsonlSink())) as log:
        proxy = Proxy(config, log)
        await proxy.start()
        settings = {"bootstrap.servers": proxy.clusters["plain"].bootstrap}
        reports = await asyncio.to_thread(produce, settings, topic, 50)
        got = await asyncio.to_thread(read, settings, topic)
        await proxy.stop()
    audit = Audit(directory)
    audit.whole()
    told = Counter(report.at for report in reports)
    assert audit.offsets("Write", topic) == audit.offsets("Read", topic) == told == Counter(got)
    (path,) = (directory / "jsonl").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    validator = jsonschema.Draft202012Validator(json_schema())
    assert [error for line in lines for error in validator.iter_errors(line)] == []
    said = Counter(
        (line["partition"], offset)
        for line in lines
        if line["action"] == "Write"
        for offset in range(line["offsets"]["first"], line["offsets"]["last"] + 1)
    )
    assert said == told
    assert [(line["action"], line["seq"]) for line in lines] == audit.rows("action", "seq", order="seq")

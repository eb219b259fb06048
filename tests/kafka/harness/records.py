"""Requests put together by hand, for clients that no library would let us write."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kafka.record import MemoryRecordsBuilder
from kio.schema.fetch.v12.request import FetchPartition, FetchRequest, FetchTopic
from kio.schema.produce.v9.request import PartitionProduceData, ProduceRequest, TopicProduceData
from kio.schema.types import TopicName
from kio.static.primitive import Records, i16, i32, i32Timedelta, i64

from harness import planted

_SECONDS: Final = i32Timedelta.parse(timedelta(seconds=10))


def produce(topic: str, count: int = 1, *, acks: int = -1) -> ProduceRequest:
    """One batch of planted records for partition 0."""
    batch = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 20)
    for number in range(count):
        batch.append(timestamp=None, key=planted.key(number), value=planted.value(number))
    batch.close()
    data = PartitionProduceData(index=i32(0), records=Records.parse(bytes(batch.buffer())))
    topics = (TopicProduceData(name=TopicName(topic), partition_data=(data,)),)
    return ProduceRequest(acks=i16(acks), timeout=_SECONDS, topic_data=topics)


def fetch(topic: str, *, most: int) -> FetchRequest:
    """Partition 0 from its beginning, so many bytes of it."""
    partition = FetchPartition(partition=i32(0), fetch_offset=i64(0), partition_max_bytes=i32(most))
    return FetchRequest(
        max_wait=_SECONDS,
        min_bytes=i32(1),
        max_bytes=i32(most),
        topics=(FetchTopic(topic=TopicName(topic), partitions=(partition,)),),
        forgotten_topics_data=(),
    )

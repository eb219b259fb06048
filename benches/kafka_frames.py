"""Kafka's frames, as today's clients and brokers exchange them, made with kio: topics go by id, lengths are compact.

Record batches are made by hand: a head that is right, and as many bytes behind it as one likes, which no tap looks at.
"""

from __future__ import annotations

import datetime as dt
import importlib
import io
import struct
import uuid
from typing import TYPE_CHECKING, Any, Final

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

if TYPE_CHECKING:
    from collections.abc import Iterable

PRODUCE: Final = 0, 13
FETCH: Final = 1, 17
METADATA: Final = 3, 12
CLIENT: Final = "service-07"
TOPIC: Final = "orders"
TOPIC_ID: Final = uuid.UUID(int=0x0123_4567_89AB_4DEF_8123_4567_89AB_CDEF)
OFFSET: Final = 1000
"""Where every batch of every partition begins."""
CORRELATION_ID: Final = 42
_HEAD: Final = struct.Struct(">qiibihiqqqhii")
_AT_ONCE: Final = dt.timedelta()


def batch(records: int, size: int, first: int = OFFSET) -> bytes:
    """A record batch of so many bytes with the head of so many records."""
    head = _HEAD.pack(first, size - 12, 0, 2, 0, 0, records - 1, 0, 0, -1, -1, -1, records)
    return head + b"\xff" * (size - len(head))


def fetch() -> bytes:
    """A request for whatever there is, within a fetch session: as small as they come."""
    kind, _ = _parts(load_request_schema(*FETCH))
    return _request(
        FETCH,
        kind(
            max_wait=dt.timedelta(milliseconds=500),
            min_bytes=1,
            session_id=7,
            session_epoch=1,
            topics=(),
            forgotten_topics_data=(),
            rack_id="",
        ),
    )


def fetched(partitions: int, records: bytes) -> bytes:
    """Its answer: the same batches from each of so many partitions."""
    kind, part = _parts(load_response_schema(*FETCH))
    of_topic = part["FetchableTopicResponse"](
        topic_id=TOPIC_ID,
        partitions=tuple(
            part["PartitionData"](
                partition_index=index,
                error_code=ErrorCode.none,
                high_watermark=1 << 40,
                last_stable_offset=1 << 40,
                log_start_offset=0,
                aborted_transactions=(),
                records=records,
            )
            for index in range(partitions)
        ),
    )
    return _answer(
        kind(throttle_time=_AT_ONCE, error_code=ErrorCode.none, session_id=7, responses=(of_topic,) * (partitions > 0))
    )


def produce(partitions: int, records: bytes, acks: int = -1) -> bytes:
    """A request that writes the same batches to each of so many partitions."""
    kind, part = _parts(load_request_schema(*PRODUCE))
    of_topic = part["TopicProduceData"](
        topic_id=TOPIC_ID,
        partition_data=tuple(part["PartitionProduceData"](index=at, records=records) for at in range(partitions)),
    )
    return _request(PRODUCE, kind(acks=acks, timeout=dt.timedelta(seconds=30), topic_data=(of_topic,)))


def produced(partitions: int) -> bytes:
    """Its answer."""
    kind, part = _parts(load_response_schema(*PRODUCE))
    of_topic = part["TopicProduceResponse"](
        topic_id=TOPIC_ID,
        partition_responses=tuple(
            part["PartitionProduceResponse"](
                index=index,
                error_code=ErrorCode.none,
                base_offset=OFFSET,
                log_append_time=None,
                log_start_offset=0,
                record_errors=(),
                error_message=None,
            )
            for index in range(partitions)
        ),
    )
    return _answer(kind(responses=(of_topic,), throttle_time=_AT_ONCE))


def named() -> tuple[bytes, bytes]:
    """A request for metadata and its answer, from which a tap learns what the topic is called."""
    kind, part = _parts(load_request_schema(*METADATA))
    asked = kind(
        topics=(part["MetadataRequestTopic"](topic_id=None, name=TOPIC),), include_topic_authorized_operations=False
    )
    kind, part = _parts(load_response_schema(*METADATA))
    topic = part["MetadataResponseTopic"](error_code=ErrorCode.none, name=TOPIC, topic_id=TOPIC_ID, partitions=())
    told = kind(throttle_time=_AT_ONCE, brokers=(), cluster_id="bench", controller_id=1, topics=(topic,))
    return _request(METADATA, asked), _answer(told)


def chunks(data: bytes, size: int) -> list[bytes]:
    """In pieces, as a socket gives them."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def _parts(kind: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - kio's classes are found by number
    """A message's class, and those of its parts by name."""
    return kind, vars(importlib.import_module(kind.__module__))


def _request(api: tuple[int, int], body: Any) -> bytes:  # noqa: ANN401 - any of kio's messages
    key, version = api
    header = struct.pack(">hhih", key, version, CORRELATION_ID, len(CLIENT)) + CLIENT.encode()
    return _framed((header, b"\0"), body)


def _answer(body: Any) -> bytes:  # noqa: ANN401 - any of kio's messages
    return _framed((struct.pack(">i", CORRELATION_ID), b"\0"), body)


def _framed(header: Iterable[bytes], body: Any) -> bytes:  # noqa: ANN401 - any of kio's messages
    buffer = io.BytesIO(bytes(4))
    buffer.seek(4)
    buffer.writelines(header)
    entity_writer(type(body))(buffer, body)
    frame = buffer.getbuffer()
    frame[:4] = struct.pack(">i", len(frame) - 4)
    return bytes(frame)

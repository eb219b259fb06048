"""Destinations for rows: what a sink is, and the ones that come with auditring.

Third parties register theirs under the entry point `auditring.sinks`.
"""

from auditring.sinks.base import Batching, Checkpoint, RowBatch, Sink, SinkContext
from auditring.sinks.jsonl import JsonlSink
from auditring.sinks.kafka import KafkaRecord, KafkaSink
from auditring.sinks.logging import LogAt, LoggingSink
from auditring.sinks.parquet import ParquetSink

__all__ = [
    "Batching",
    "Checkpoint",
    "JsonlSink",
    "KafkaRecord",
    "KafkaSink",
    "LogAt",
    "LoggingSink",
    "ParquetSink",
    "RowBatch",
    "Sink",
    "SinkContext",
]

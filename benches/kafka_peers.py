"""What one does with Kafka's bytes without a tap: hand them on, or decode them in Python by another library."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader

import kafka_frames as frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def of_fetch() -> Sequence[Callable[[bytes], Any]]:
    """Decoders of a Fetch's answer: kio's and kafka-python's."""
    return kio_decoder(load_response_schema(*frames.FETCH)), kafka_python_decoder(
        "consumer", "FetchResponse", frames.FETCH
    )


def of_produce() -> Sequence[Callable[[bytes], Any]]:
    """Decoders of a Produce request, likewise."""
    kind = load_request_schema(*frames.PRODUCE)
    return kio_decoder(kind), kafka_python_decoder("producer", "ProduceRequest", frames.PRODUCE)


def kafka_python_decoder(module: str, name: str, api: tuple[int, int]) -> Callable[[bytes], Any]:
    """Header and body of a whole frame."""
    _, version = api
    decode = getattr(importlib.import_module(f"kafka.protocol.{module}"), name).decode
    return partial(decode, version=version, header=True, framed=True)


def kio_decoder(kind: Any) -> Callable[[bytes], Any]:  # noqa: ANN401 - kio's classes are found by number
    """Header and body of a whole frame."""
    header, body = entity_reader(kind.__header_schema__), entity_reader(kind)

    def decode(data: bytes) -> Any:  # noqa: ANN401 - the same
        _, size = header(data, 4)
        decoded, _ = body(data, 4 + size)
        return decoded

    return decode


def handed_on() -> Callable[[bytes], None]:
    """What a proxy does with a chunk anyhow, but for the socket."""
    into: list[bytes] = []
    write, forget = into.append, into.clear

    def forward(data: bytes) -> None:
        write(data)
        forget()

    return forward

"""The proxy of `docs/kafka.md`, as it stands there, with clients that come, go and vanish."""

import asyncio
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "kafka.md"
VANISH = struct.pack("ii", 1, 0)
"""`SO_LINGER` that ends a connection by a reset."""


def actions_in(root: Path) -> list[str]:
    """What happened, by the tables."""
    return [
        action
        for path in root.glob("audit-kafka/events/*/*.parquet")
        for action in pq.read_table(path).column("action").to_pylist()
    ]


async def connected(port: int) -> asyncio.StreamWriter:
    """A connection, as soon as there is somebody to connect to."""
    while True:
        try:
            return (await asyncio.open_connection("127.0.0.1", port))[1]
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)


async def test_no_connection_outlives_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty clients, every other of which resets: nothing stays open at the broker, and each has its close."""
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {}
    found = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    exec(found[1], page)  # noqa: S102 - the page's own program
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        heard.put_nowait("begun")
        while await reader.read(65536):
            pass
        writer.close()
        heard.put_nowait("ended")

    async with await asyncio.start_server(broker, "127.0.0.1", 0) as upstream:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        proxy = asyncio.create_task(page["main"](upstream.sockets[0].getsockname(), port))
        async with asyncio.timeout(20):
            for number in range(20):
                writer = await connected(port)
                writer.write(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff")
                await writer.drain()
                assert await heard.get() == "begun"
                if number % 2:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, VANISH)
                writer.close()
                assert await heard.get() == "ended"
        proxy.cancel()
        await asyncio.gather(proxy, return_exceptions=True)
    actions = actions_in(tmp_path)
    for action in ("ClientAccept", "BrokerConnect", "BrokerClose", "ClientClose"):
        assert actions.count(action) == 20

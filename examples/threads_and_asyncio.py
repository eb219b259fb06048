"""One log, many producers: threads and asyncio tasks emit at once, and the balance says that nothing is missing.

    python examples/threads_and_asyncio.py DIRECTORY

Every call is safe from every thread, and none of them waits for a disk; so an asyncio task just calls it.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import auditring

if TYPE_CHECKING:
    from auditring.log import AuditLog

THREADS = 4
TASKS = 20
READS = 1_000


def consume(log: AuditLog, number: int) -> None:
    """A thread per client, as a blocking proxy has."""
    with log.session(peer=("10.0.1.1", 40_000 + number), client_id=f"thread-{number}") as session:
        for offset in range(READS):
            session.read("orders", number, offset, offset, offset)


async def produce(log: AuditLog, number: int) -> None:
    """A task per client, as an asyncio proxy has."""
    async with log.session(peer=("10.0.2.1", 40_000 + number), client_id=f"task-{number}") as session:
        for offset in range(READS):
            session.write("orders", number % 12, offset, offset, offset)
            if offset % 100 == 0:
                await asyncio.sleep(0)


async def main(directory: str) -> None:
    """Runs threads and tasks side by side, then shows the balance."""
    async with auditring.open(directory, instance="example") as log:
        with ThreadPoolExecutor(THREADS) as pool:
            loop = asyncio.get_running_loop()
            threads = [loop.run_in_executor(pool, consume, log, number) for number in range(THREADS)]
            await asyncio.gather(*threads, *(produce(log, number) for number in range(TASKS)))
        await log.aflush()
        for equation in log.stats().equations:
            print(equation)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""Ports that nobody else takes, also while the one who had them is dead for a moment.

They lie below the range that the kernel gives to clients: a broker that was killed must find its port again, though a
hundred connections were opened in between.
"""

import random
import socket
from typing import Final

_RANGE: Final = range(18_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody listens on, each once."""
    taken: list[socket.socket] = []
    try:
        candidates = random.sample(_RANGE, len(_RANGE))
        while len(taken) < count:
            sock = socket.socket()
            taken.append(sock)
            try:
                sock.bind(("127.0.0.1", candidates.pop()))
            except OSError:
                taken.pop().close()
        return [int(sock.getsockname()[1]) for sock in taken]
    finally:
        for sock in taken:
            sock.close()

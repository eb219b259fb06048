"""What systemd is told, by `sd_notify`: a datagram to the socket that it names; nothing where it names none.

What must always hold: `WATCHDOG=1` is sent by the loop that does the work and by nobody else, so that an agent that
hangs is started anew.
"""

import os
import socket
import time
from typing import Final

__all__ = ["Notifier"]

_LONGEST: Final = 512
"""Characters of a status: it is shown in one line."""


class Notifier:
    """The socket of `NOTIFY_SOCKET`, if there is one."""

    def __init__(self) -> None:
        """Looks where systemd listens, and how often it wants to hear."""
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        wanted = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = os.environ.get("WATCHDOG_USEC", "") if wanted else ""
        # Twice as often as it must be.
        self._every = int(period) / 2e6 if period.isdigit() and int(period) else None
        self._alive_at = 0.0
        self._status = ""

    def ready(self) -> None:
        """The work has begun."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """How things are, in words; sent when it is news."""
        text = text[:_LONGEST]
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The loop has come round once more."""
        now = time.monotonic()
        if self._every is not None and now - self._alive_at >= self._every:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(0)
                sock.sendto(message.encode(), self._address)
        except OSError:
            # Whoever does not listen is not waited for; systemd itself acts on what it does not hear.
            return

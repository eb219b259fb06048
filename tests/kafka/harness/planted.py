"""The secrets of the suite: each bears a mark, so that one search over everything shows whether any was kept."""

import base64
import hashlib
from typing import Final

MARK: Final = "PL4NTED"
"""In every password, record key, record value and header of the suite."""

REMEMBERED: Final[set[bytes]] = set()
"""Secrets that bear no mark, because others made them: tokens' HMACs, salted passwords."""


def password(user: str) -> str:
    """A user's password."""
    return f"{MARK}-password-of-{user}"


def key(number: int) -> bytes:
    """A record's key."""
    return f"{MARK}-key-{number}".encode()


def value(number: int, size: int = 0) -> bytes:
    """A record's value, at least so long."""
    return f"{MARK}-value-{number}".encode().ljust(size, b".")


def remember(secret: bytes) -> bytes:
    """Has the search at the end look for these bytes too, and for how they are usually written."""
    REMEMBERED.update({secret, base64.b64encode(secret), secret.hex().encode()})
    return secret


def salted(user: str, salt: bytes, iterations: int) -> bytes:
    """What a change of a SCRAM-SHA-512 credential puts on the wire in the password's place; as good as the password."""
    return remember(hashlib.pbkdf2_hmac("sha512", password(user).encode(), salt, iterations))


def found_in(data: bytes) -> list[bytes]:
    """The planted secrets among these bytes."""
    mark = MARK.encode()
    secrets = {mark, mark.hex().encode(), *(_base64(mark, shift) for shift in range(3)), *REMEMBERED}
    return [secret for secret in secrets if secret in data]


def _base64(mark: bytes, shift: int) -> bytes:
    """What of a longer text's base64 depends on the mark alone, with `shift` bytes beyond a multiple of 3 before."""
    text = base64.b64encode(b"\0" * shift + mark)
    return text[(shift * 8 + 5) // 6 : (shift + len(mark)) * 8 // 6]

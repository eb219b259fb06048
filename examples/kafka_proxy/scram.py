"""SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, and the store of what proves passwords without holding them.

Passwords are not normalised (SASLprep), as Kafka's are not. A user whom nobody knows gets an exchange that looks like
any other and fails at its end, as a wrong password does: with the iterations and the length of salt that some user
has. Comparisons take the same time whatever they find, and what takes long is not done on the event loop.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditring.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ITERATIONS: Final = 4096
"""At least, as RFC 7677 has it, and what a password in the configuration gets."""
MOST_ITERATIONS: Final = 1_000_000
AT_A_TIME: Final = 2
"""How many passwords are tried at once; the others wait."""
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$(\d{1,20}):([^$:]+)\$([^$:]+):([^$:]+)\Z")
_CLIENT_FIRST: Final = re.compile(
    r"(?P<gs2>[ny],(?:a=(?P<authzid>[^,]*))?,)(?P<bare>n=(?P<name>[^,]+),r=(?P<nonce>[!-+\--~]+))"
)
_CLIENT_FINAL: Final = re.compile(r"(?P<without>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+)),p=(?P<proof>[^,]+)")
_SERVER_FIRST: Final = re.compile(r"r=(?P<nonce>[^,]+),s=(?P<salt>[^,]+),i=(?P<iterations>[1-9]\d{0,9})")


class AuthenticationError(Exception):
    """The other side has not proved what it claims; `claimed` is whom it claimed to be, if it said so."""

    def __init__(self, claimed: str | None = None) -> None:
        super().__init__("authentication failed")
        self.claimed = claimed


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


@dataclass(frozen=True)
class Verifier:
    """What proves that somebody knows a password; the password cannot be had from it but by guessing."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
        """The verifier of a password."""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        return cls(salt, iterations, stored, _hmac(salted, b"Server Key"))

    def fits(self, password: str) -> bool:
        """Whether this is the password."""
        return hmac.compare_digest(Verifier.of(password, self.salt, self.iterations).stored_key, self.stored_key)


class Users:
    """Who may log in."""

    def __init__(self, values: Mapping[str, object]) -> None:
        """A password for each name, or `SCRAM-SHA-256$iterations:salt$stored key:server key` in base64."""
        self._verifiers = {name: _verifier(name, value) for name, value in values.items()}
        self._shapes = [(one.iterations, len(one.salt)) for one in self._verifiers.values()] or [(ITERATIONS, 16)]
        self._secret = os.urandom(32)
        self._turn = asyncio.Semaphore(AT_A_TIME)

    def verifier(self, name: str) -> tuple[Verifier, bool]:
        """A user's verifier and whether there is such a user; what strangers get is always the same for a name."""
        known = self._verifiers.get(name)
        stored = _hmac(self._secret, b"key" + name.encode())
        chosen = int.from_bytes(_hmac(self._secret, b"user" + name.encode())) % len(self._shapes)
        iterations, length = self._shapes[chosen]
        salt = hashlib.shake_256(_hmac(self._secret, b"salt" + name.encode())).digest(length)
        return known or Verifier(salt, iterations, stored, stored), known is not None

    async def plain(self, message: Plain) -> None:
        """Returns if the password is that of the user. Raises `AuthenticationError`."""
        verifier, known = self.verifier(message.name)
        await self._turn.acquire()
        trying = asyncio.get_running_loop().run_in_executor(None, verifier.fits, message.password)
        trying.add_done_callback(lambda _: self._turn.release())
        # A thread cannot be stopped: it has its turn until it is done, also where the client does not wait for it.
        fits = await asyncio.shield(trying)
        if not (fits & known & (message.authzid in {"", message.name})):
            raise AuthenticationError(message.name)


@dataclass(frozen=True)
class Plain:
    """A message of mechanism PLAIN (RFC 4616)."""

    authzid: str
    name: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, message: bytes) -> Plain:
        """What it says. Raises `AuthenticationError`."""
        try:
            return cls(*message.decode().split("\0"))
        except (ValueError, TypeError):
            raise AuthenticationError from None


def _verifier(name: str, value: object) -> Verifier:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"users: {name}: a password or a SCRAM verifier as a string")
    if not value.startswith("SCRAM-SHA-256$"):
        return Verifier.of(value, os.urandom(16))
    found = _VERIFIER.match(value)
    try:
        iterations, *parts = found.groups() if found else ()
        salt, stored, server = (base64.b64decode(part, validate=True) for part in parts)
        made = Verifier(salt, int(iterations), stored, server)
    except ValueError:
        raise ConfigError(f"users: {name}: SCRAM-SHA-256$iterations:salt$stored key:server key, in base64") from None
    if not ITERATIONS <= made.iterations <= MOST_ITERATIONS:
        raise ConfigError(f"users: {name}: {ITERATIONS} to {MOST_ITERATIONS} iterations")
    return made


class Server:
    """The server's side of one exchange: `first`, then `final`; both raise `AuthenticationError`."""

    def __init__(self, users: Users, nonce: str | None = None) -> None:
        self._users = users
        self._nonce = nonce or base64.b64encode(os.urandom(18)).decode()

    def first(self, message: bytes) -> bytes:
        """The answer to the client's first message."""
        found = _CLIENT_FIRST.fullmatch(_text(message))
        if not found:
            raise AuthenticationError
        self.name = _unescaped(found["name"])
        if found["authzid"] and _unescaped(found["authzid"]) != self.name:
            raise AuthenticationError(self.name)
        self._binding = base64.b64encode(found["gs2"].encode()).decode()
        self._nonce = found["nonce"] + self._nonce
        self._verifier, self._known = self._users.verifier(self.name)
        answer = f"r={self._nonce},s={base64.b64encode(self._verifier.salt).decode()},i={self._verifier.iterations}"
        self._said = f"{found['bare']},{answer}"
        return answer.encode()

    def final(self, message: bytes) -> bytes:
        """The answer to the client's last message: it is `self.name`, and this proves that we know it too."""
        found = _CLIENT_FINAL.fullmatch(_text(message))
        if not found or found["binding"] != self._binding or found["nonce"] != self._nonce:
            raise AuthenticationError(self.name)
        said = f"{self._said},{found['without']}".encode()
        proof = _decoded(found["proof"], self.name)
        key = xor(proof, _hmac(self._verifier.stored_key, said))
        if not (hmac.compare_digest(hashlib.sha256(key).digest(), self._verifier.stored_key) & self._known):
            raise AuthenticationError(self.name)
        return b"v=" + base64.b64encode(_hmac(self._verifier.server_key, said))


class Client:
    """The client's side of one exchange: `first`, `final`, `check`; the last two raise `AuthenticationError`."""

    def __init__(self, name: str, password: str, nonce: str | None = None) -> None:
        self._password = password
        self._nonce = nonce or base64.b64encode(os.urandom(18)).decode()
        self._bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"

    def first(self) -> bytes:
        """The first message."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The last message."""
        found = _SERVER_FIRST.fullmatch(_text(challenge))
        if not found or not found["nonce"].startswith(self._nonce):
            raise AuthenticationError
        iterations = int(found["iterations"])
        if not ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise AuthenticationError
        without = f"c=biws,r={found['nonce']}"
        said = f"{self._bare},{challenge.decode()},{without}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), _decoded(found["salt"]), iterations)
        key = _hmac(salted, b"Client Key")
        proof = xor(key, _hmac(hashlib.sha256(key).digest(), said))
        self._expected = b"v=" + base64.b64encode(_hmac(_hmac(salted, b"Server Key"), said))
        return f"{without},p={base64.b64encode(proof).decode()}".encode()

    def check(self, answer: bytes) -> None:
        """Whether the server knows the password too."""
        if not hmac.compare_digest(answer, self._expected):
            raise AuthenticationError


def xor(one: bytes, other: bytes) -> bytes:
    """Byte by byte; as long as the shorter."""
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise AuthenticationError from None


def _decoded(text: str, name: str | None = None) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # also what is no ASCII, which is no binascii.Error
        raise AuthenticationError(name) from None


def _unescaped(name: str) -> str:
    if re.search("=(?!2C|3D)", name):
        raise AuthenticationError
    return name.replace("=2C", ",").replace("=3D", "=")

"""TLS ends here: the handshake with a client, and what its certificate says, also when the answer is no.

An asyncio server that is given a context never shows a handshake that fails. So clients are accepted as they come, and
the handshake is done by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from auditring.exceptions import ConfigError
from kafka_proxy.ends import EOF, ProtocolError, status_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import auditring
    from kafka_proxy.config import Tls, UpstreamTls
    from kafka_proxy.ends import End

HANDSHAKE_SECONDS: Final = 10.0

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_VERIFY: Final = {
    9: "CertificateNotYetValid",
    10: "CertificateExpired",
    18: "UnknownCa",
    19: "UnknownCa",
    20: "UnknownCa",
    21: "UnknownCa",
    23: "CertificateRevoked",
}


class _Handshake(ssl.SSLObject):
    """A handshake that, where it fails, tells the client why: asyncio closes without sending that last alert."""

    attempt: _Attempt
    last_words: Callable[[], None]
    incoming: ssl.MemoryBIO

    def do_handshake(self) -> None:
        self.attempt.heard |= bool(self.incoming.pending)
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self.last_words()
            raise


class _Context(ssl.SSLContext):
    """Makes such handshakes; each belongs to the attempt that `handshake` is about."""

    sslobject_class = _Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **more: Any) -> ssl.SSLObject:
        made = cast("_Handshake", super().wrap_bio(incoming, outgoing, *args, **more))
        made.attempt, made.incoming = _attempt.get(), incoming
        made.last_words = lambda: made.attempt.transport.write(outgoing.read())
        return made


@dataclass
class _Attempt:
    """A handshake over `transport`, and whether the client has said anything in it."""

    transport: asyncio.Transport
    heard: bool = False


_attempt: ContextVar[_Attempt] = ContextVar("attempt")


def server_context(config: Tls) -> ssl.SSLContext:
    """What clients get. Raises `ConfigError` for files that cannot be used."""
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _chain(context, config.certificate, config.key)
    if config.client_ca:
        _trust(context, config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def upstream_context(config: UpstreamTls) -> ssl.SSLContext:
    """What brokers get. Raises `ConfigError` for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, config.ca)
    if config.certificate:
        _chain(context, config.certificate, config.key)
    return context


def _chain(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # a key that wants one fails, and does not ask
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls: {certificate}, {key}: {_reason(error)}") from None


def _trust(context: ssl.SSLContext, authority: Path) -> None:
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls: {authority}: {_reason(error)}") from None


async def handshake(client: End, context: ssl.SSLContext, session: auditring.Session) -> str | None:
    """Goes on in TLS; whom the client's certificate proves it to be, if it was asked for one.

    Raises `ProtocolError` with the status to close with; `EOFError` where the client went, which is no failure to
    prove anything: a health check connects and goes, and has claimed nothing.
    """
    asked = context.verify_mode is ssl.CERT_REQUIRED
    attempt = _Attempt(client.transport)
    _attempt.set(attempt)
    try:
        transport = await asyncio.get_running_loop().start_tls(
            client.transport, client, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
    except ssl.SSLError as error:
        status = _status(error)
        if asked:
            # Python does not hand out a certificate that it has refused, so the row is without its fields.
            session.client_tls_auth_failure(status=status, reason=_reason(error), authority="decision")
        raise ProtocolError(status) from error
    except ConnectionAbortedError as error:
        raise ProtocolError("TlsHandshakeTimeout") from error
    except OSError as error:
        # asyncio says nothing to the client's end about a connection that is lost meanwhile, and makes up an error
        # without a number for the end of the stream.
        client.gone(status_of(error) if error.errno else EOF if attempt.heard else None)
        raise EOFError from error
    client.use(cast("asyncio.Transport", transport))
    if not asked:
        return None
    tls: ssl.SSLObject = client.transport.get_extra_info("ssl_object")
    certificate: dict[str, Any] = tls.getpeercert() or {}
    principal = common_name(certificate["subject"])
    session.client_tls_auth_success(
        principal,
        subject=distinguished_name(certificate["subject"]),
        issuer=distinguished_name(certificate["issuer"]),
        serial=certificate["serialNumber"],
        san=",".join(f"{kind}:{value}" for kind, value in certificate.get("subjectAltName", ())) or None,
        sha256=hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest(),
        authority="decision",
    )
    return principal


Name = tuple[tuple[tuple[str, str], ...], ...]
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


def distinguished_name(name: Name) -> str:
    """As RFC 4514 writes it, the most specific part first."""
    parts = ((key, value) for part in reversed(name) for key, value in part)
    return ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in parts)


def _escaped(value: str) -> str:
    return "".join(f"\\{one}" if one in ',+"\\<>;=' else one for one in value)


def common_name(name: Name) -> str:
    """The principal: the common name, or the whole name where there is not exactly one."""
    names = [value for part in name for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else distinguished_name(name)


def _status(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, "CertificateRefused")
    if error.reason:
        if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return "NoCertificate"
        return "Tls" + error.reason.title().replace("_", "")
    return status_of(error)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", None) or error.strerror or type(error).__name__

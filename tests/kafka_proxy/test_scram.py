"""SCRAM-SHA-256, both sides: the RFC's own example, and all the ways not to get in."""

from __future__ import annotations

import asyncio
import base64
import threading

import pytest

from auditring.exceptions import ConfigError

pytest.importorskip("kio")
from kafka_proxy.scram import AT_A_TIME, AuthenticationError, Client, Plain, Server, Users, Verifier

# RFC 7677, section 3.
PASSWORD = "pencil"  # noqa: S105 - everybody knows it
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_NONCE, SERVER_NONCE = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def verifier(password: str = PASSWORD, salt: bytes = SALT, iterations: int = 4096) -> str:
    """As it stands in a file of users."""
    made = Verifier.of(password, salt, min(iterations, 100_000))
    parts = (base64.b64encode(key).decode() for key in (salt, made.stored_key, made.server_key))
    return "SCRAM-SHA-256${}:{}${}:{}".format(iterations, *parts)


def test_the_server_of_the_example() -> None:
    """Says what the RFC says it says."""
    server = Server(Users({"user": verifier()}), nonce=SERVER_NONCE)
    assert server.first(CLIENT_FIRST) == SERVER_FIRST
    assert server.final(CLIENT_FINAL) == SERVER_FINAL
    assert server.name == "user"


def test_the_client_of_the_example() -> None:
    """Says what the RFC says it says, and believes the server."""
    client = Client("user", PASSWORD, nonce=CLIENT_NONCE)
    assert client.first() == CLIENT_FIRST
    assert client.final(SERVER_FIRST) == CLIENT_FINAL
    client.check(SERVER_FINAL)


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    """Mutual is mutual."""
    client = Client("user", PASSWORD, nonce=CLIENT_NONCE)
    client.final(SERVER_FIRST)
    with pytest.raises(AuthenticationError):
        client.check(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize("challenge", [b"", b"r=other,s=AAAA,i=4096", SERVER_FIRST.replace(b"4096", b"1"), b"\xff"])
def test_a_client_says_nothing_to_a_challenge_that_is_none(challenge: bytes) -> None:
    """Another's nonce, too few iterations, no text."""
    with pytest.raises(AuthenticationError):
        Client("user", PASSWORD, nonce=CLIENT_NONCE).final(challenge)


@pytest.mark.parametrize("name", ["alice", "o=c,d", "Zoë"])
def test_both_sides_agree(name: str) -> None:
    """Also on names that have to be escaped."""
    server, client = Server(Users({name: "secret"})), Client(name, "secret")
    client.check(server.final(client.final(server.first(client.first()))))
    assert server.name == name


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_a_wrong_password_and_an_unknown_user_fail_alike(name: str) -> None:
    """At the last step, both, and it is known who was claimed to be."""
    server, client = Server(Users({"alice": "secret"})), Client(name, "wrong")
    proof = client.final(server.first(client.first()))
    with pytest.raises(AuthenticationError) as failure:
        server.final(proof)
    assert (failure.value.claimed, str(failure.value)) == (name, "authentication failed")


def test_an_unknown_user_has_always_the_same_salt() -> None:
    """Else asking twice would tell."""
    users = Users({"alice": "secret"})
    salts = {Server(users, nonce="x").first(b"n,,n=nobody,r=abc") for _ in range(3)}
    assert len(salts) == 1


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe",
        b"n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",  # channel binding, which is not offered
        b"n,a=other,n=user,r=abc",  # in another's name
        b"n,,m=ext,n=user,r=abc",  # an extension that must be understood
        b"n,,n=us=er,r=abc",
        b"n,,n=,r=abc",
    ],
)
def test_no_first_message(message: bytes) -> None:
    """Nothing but what the RFC allows, and this server does."""
    with pytest.raises(AuthenticationError):
        Server(Users({"user": PASSWORD})).first(message)


@pytest.mark.parametrize(
    "change",
    [(b"c=biws", b"c=eSws"), (b"r=rOpr", b"r=rOps"), (b"p=dHzb", b"p=eHzb"), (b"p=dHzb", b"p=!"), (b",p=", b",q=")],
)
def test_no_last_message(change: tuple[bytes, bytes]) -> None:
    """Another binding, nonce, proof; no base64; no proof."""
    server = Server(Users({"user": verifier()}), nonce=SERVER_NONCE)
    server.first(CLIENT_FIRST)
    with pytest.raises(AuthenticationError):
        server.final(CLIENT_FINAL.replace(*change))


def test_an_unknown_user_looks_like_some_user() -> None:
    """By iterations and length of salt; so those of a name do not say whether it is a user's."""
    shapes = {(100_000, 32), (20_000, 40), (4096, 16)}
    known = {f"u{count}": verifier(salt=bytes(length), iterations=count) for count, length in shapes}
    users = Users(known)
    verifiers = [users.verifier(f"nobody{number}") for number in range(100)]
    assert {(one.iterations, len(one.salt)) for one, _ in verifiers} == shapes
    assert not any(found for _, found in verifiers)
    assert len({one.salt for one, _ in verifiers}) == 100
    assert all(users.verifier(f"nobody{number}") == one for number, one in enumerate(verifiers))


@pytest.mark.parametrize("iterations", [1, 4095, 1_000_001, 99_999_999_999])
def test_iterations_that_cannot_be(iterations: int) -> None:
    """Too few to protect anything, or so many that nobody gets in."""
    with pytest.raises(ConfigError, match="users: alice: 4096 to 1000000 iterations"):
        Users({"alice": verifier(iterations=iterations)})


async def test_guessing_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are tried in threads, a few at a time, also where those who guess do not wait for the answer."""
    on, now, most = asyncio.Event(), 0, 0
    lock, go, loop = threading.Lock(), threading.Event(), asyncio.get_running_loop()

    def fits(_: Verifier, password: str) -> bool:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == AT_A_TIME:
                loop.call_soon_threadsafe(on.set)
        assert go.wait(30)
        with lock:
            now -= 1
        return password == PASSWORD

    monkeypatch.setattr(Verifier, "fits", fits)
    users = Users({"user": PASSWORD})
    guesses = [asyncio.create_task(users.plain(Plain("", "user", "guess"))) for _ in range(10)]
    await asyncio.wait_for(on.wait(), 30)  # the loop goes on while they are tried
    for guess in guesses[:5]:
        guess.cancel()
    last = asyncio.create_task(users.plain(Plain("", "user", PASSWORD)))
    await asyncio.wait(guesses[:5])
    go.set()
    await asyncio.wait_for(last, 30)
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 5 + [AuthenticationError] * 5
    assert most == AT_A_TIME


def test_plain() -> None:
    """The right password lets in, in one's own name."""
    users = Users({"user": verifier(), "bob": "secret"})
    for message in (b"\0user\0pencil", b"bob\0bob\0secret"):
        asyncio.run(users.plain(Plain.of(message)))


@pytest.mark.parametrize(
    ("message", "claimed"),
    [
        (b"\0user\0pencils", "user"),
        (b"\0nobody\0pencil", "nobody"),
        (b"bob\0user\0pencil", "user"),
        (b"\0user\0", "user"),
        (b"user\0pencil", None),
        (b"\xff\0\0", None),
        (b"", None),
    ],
)
def test_plain_that_fails(message: bytes, claimed: str | None) -> None:
    """Wrong, unknown, another's name, empty, malformed; whom it claimed is known where it was said."""
    with pytest.raises(AuthenticationError) as failure:
        asyncio.run(Users({"user": PASSWORD, "bob": "secret"}).plain(Plain.of(message)))
    assert failure.value.claimed == claimed


@pytest.mark.parametrize("value", [1, "", "SCRAM-SHA-256$x", "SCRAM-SHA-256$4096:a$b:c", verifier() + "!"])
def test_users_that_cannot_be(value: object) -> None:
    """A clear error that does not show the value."""
    with pytest.raises(ConfigError, match="users: alice") as failure:
        Users({"alice": value})
    assert not value or str(value) not in str(failure.value)


def test_secrets_are_not_shown() -> None:
    """A verifier is as good as a password to those who guess."""
    shown = repr(Verifier.of(PASSWORD, SALT)) + repr(Users({"user": PASSWORD})) + repr(Client("user", PASSWORD))
    assert PASSWORD not in shown
    assert "key" not in shown

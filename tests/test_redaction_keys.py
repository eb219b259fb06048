"""Keys of redaction: where one is read from, that it never comes out, and what a value's hash is, by command too."""

import copy
import hashlib
import hmac
import os
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditring import ConfigError
from auditring.cli.commands import auditring as command_line
from auditring.redaction import read_key
from redacting import KEY, hash_of, hashing, run


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key where the policies here look for it."""
    monkeypatch.setenv("AUDIT_KEY", KEY)


def test_a_key_is_read_from_the_environment_or_a_file_that_others_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come to the same key; a line's end is no part of it; and what is refused says why, not what it says."""
    path = tmp_path / "audit.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    assert read_key(f"file:{path}").id == read_key("env:AUDIT_KEY").id
    for mode in (0o604, 0o602, 0o620, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_key(f"file:{path}")
    path.chmod(0o640)
    read_key(f"file:{path}")
    path.write_text("short-secret")
    monkeypatch.setenv("SHORT", "short-secret")
    for reference in (f"file:{path}", "env:SHORT"):
        with pytest.raises(ConfigError, match="fewer than 16 bytes") as caught:
            read_key(reference)
        assert "short-secret" not in str(caught.value)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 5000)
    big.chmod(0o600)
    for reference, says in (
        ("env:NO_SUCH_KEY", "no such variable"),
        (f"file:{tmp_path}/none", "No such file"),
        (f"file:{tmp_path}", "not a file"),
        (f"file:{fifo}", "not a file"),
        (f"file:{big}", "are no key"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_key(reference)


def test_a_key_never_comes_out_again() -> None:
    """It is shown nowhere, and cannot be copied into anything that could be."""
    made = read_key("env:AUDIT_KEY")
    assert KEY not in repr(made) + str(made) + repr(hashing("peer"))
    with pytest.raises(TypeError):
        pickle.dumps(made)
    with pytest.raises(TypeError):
        copy.copy(made)


def test_a_hash_is_what_other_tools_make_of_it() -> None:
    """As it is documented: anybody with the key finds a value again, with or without this library."""
    expected = hmac.new(KEY.encode(), b"alice", hashlib.sha256).hexdigest()[:32]
    identity = hmac.new(KEY.encode(), b"auditring.key_id", hashlib.sha256).hexdigest()[:8]
    assert hash_of("alice") == f"hmac_{identity}_{expected}"
    assert hash_of("User:alice") == f"User:{hash_of('alice')}"
    assert hash_of("::ffff:10.0.0.7", "peer") == hash_of("10.0.0.7", "resource")


def test_the_command_hashes_as_the_pump_does_whatever_is_asked_for() -> None:
    """An address in any form is a peer; a `Type:name` keeps its type; standard input leaves no trace in a history."""
    assert run("alice", "--key", "env:AUDIT_KEY") == f"{hash_of('alice')}\n"
    assert run("-", "--key", "env:AUDIT_KEY", standard_input="alice\n") == f"{hash_of('alice')}\n"
    assert run("::ffff:192.0.2.7", "--key", "env:AUDIT_KEY") == f"{hash_of('192.0.2.7', 'peer')}\n"
    assert run("User:alice", "--key", "env:AUDIT_KEY").startswith(f"User:{hash_of('alice')}\n")
    assert run("a:b", "--field", "context.x", "--key", "env:AUDIT_KEY") == f"{hash_of('a:b', 'resource')}\n"


def test_the_command_complains_in_one_line_and_teaches() -> None:
    """A wrong field, a missing key; the help has every way to ask."""
    for arguments, says in (
        (["alice", "--key", "env:NO_SUCH_KEY"], "no such variable"),
        (["alice", "--key", KEY], "env:NAME"),
        (["alice", "--key", "env:AUDIT_KEY", "--field", "principle"], "did you mean"),
        (["alice"], "--key"),
        (["alice", "--key", "env:AUDIT_KEY", "--sql", "--in", "."], "one of them"),
    ):
        done = CliRunner().invoke(command_line, ["hash", *arguments])
        assert done.exit_code == 2
        assert says in done.output
        assert KEY not in done.output
    assert "auditring hash alice --key env:AUDIT_KEY --in audit/ --since 2h" in run("--help")

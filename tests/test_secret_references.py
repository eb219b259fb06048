"""Where a secret is may be known to everybody; what it is, to nobody who only looks."""

import os
from pathlib import Path

import pytest

from auditring import ConfigError, Secret
from auditring.secrets import scrubbed


def written(path: Path, text: str, mode: int = 0o600) -> str:
    """A file with a secret in it."""
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_secret_is_what_is_there_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment and from a file, without a newline at its end; and what is there later is read later."""
    place = tmp_path / "secret"
    file = Secret(file=written(place, "first\n"))
    assert file.read() == "first"
    written(place, "second")
    assert file.read() == "second"
    monkeypatch.setenv("AUDIT_TEST_SECRET", "third ")
    assert Secret(env="AUDIT_TEST_SECRET").read() == "third "


def test_a_repr_shows_the_reference_alone(tmp_path: Path) -> None:
    """Also as text, and after it was read."""
    secret = Secret(file=written(tmp_path / "secret", "hidden"))
    secret.read()
    assert "hidden" not in f"{secret!r} {secret}"
    assert str(tmp_path) in repr(secret)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """And says so without what is in it."""
    secret = Secret(file=written(tmp_path / "secret", "hidden", mode))
    with pytest.raises(ConfigError, match=f"mode {mode:04o} lets others at the secret") as error:
        secret.read()
    assert "hidden" not in str(error.value)


def test_what_cannot_be_read_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    """A variable that is not set, a file that is not there, a pipe, nothing, too much, no text."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for secret, said in (
        (Secret(env="AUDIT_TEST_NOT_SET"), "env:AUDIT_TEST_NOT_SET: there is no such variable"),
        (Secret(file=str(tmp_path / "none")), "none: No such file"),
        (Secret(file=str(tmp_path / "pipe")), "not a file"),
        (Secret(file=written(tmp_path / "empty", "\n")), "it is empty"),
        (Secret(file=written(tmp_path / "long", "x" * 70_000)), "are no secret"),
    ):
        with pytest.raises(ConfigError, match=said):
            secret.read()
    (tmp_path / "bytes").touch(mode=0o600)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Secret(file=str(tmp_path / "bytes")).read()


def test_a_mapping_is_a_reference_and_never_the_secret_itself() -> None:
    """Whoever writes the secret where the reference belongs is told so, and nobody else is told the secret."""
    assert Secret.from_mapping({"env": "NAME"}) == Secret(env="NAME")
    with pytest.raises(ConfigError, match="never the secret itself") as error:
        Secret.from_mapping("hunter2")
    assert "hunter2" not in str(error.value)
    with pytest.raises(ConfigError, match="did you mean 'file'"):
        Secret.from_mapping({"fil": "x"})
    for wrong in ({}, {"env": "A", "file": "b"}, {"env": ""}, {"env": "A=hidden"}, {"file": 3}):
        with pytest.raises(ConfigError) as error:
            Secret.from_mapping(wrong)
        assert "hidden" not in str(error.value)


def test_what_others_say_is_scrubbed() -> None:
    """The longer one first, where one is a part of the other."""
    assert scrubbed("pass=abcd user=abc", {"a": "abc", "b": "abcd"}) == "pass=[secret] user=[secret]"

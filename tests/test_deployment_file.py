"""A deployment's file as a file: what can be read, whom it is believed, and that no secret of it is ever repeated."""

import os
from pathlib import Path
from typing import Any

import pytest

from auditring import DeploymentError, Hash, deployment
from auditring.deployment import loading
from auditring.deployment.file import File
from auditring.deployment.keys import KEYS
from auditring.deployment.mistakes import Mistakes
from auditring.deployment.settings import Source
from deployments import load, mistakes, write


def test_a_file_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    """Not there, a folder, a pipe, no text, too long."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    long = tmp_path / "long"
    long.write_text("#" * ((1 << 20) + 1))
    long.chmod(0o600)
    for path, told in (
        (tmp_path / "nowhere", "cannot be read: No such file"),
        (tmp_path, "is no file"),
        (pipe, "is no file"),
        (binary, "is not UTF-8"),
        (long, "is larger than"),
    ):
        with pytest.raises(DeploymentError, match=told) as caught:
            deployment.load(path, environ={})
        assert len(caught.value.mistakes) == 1


def test_a_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """Whoever can write to it can switch the audit off, as can who puts another in its place."""
    path = write(tmp_path, 'path = "a"\n', 0o620)
    with pytest.raises(DeploymentError, match=r"others may write to it \(mode 0620"):
        deployment.load(path, environ={})
    path.chmod(0o644)
    deployment.load(path, environ={})
    tmp_path.chmod(0o777)
    with pytest.raises(DeploymentError, match="others may put another in its place"):
        deployment.load(path, environ={})
    tmp_path.chmod(0o1777)
    deployment.load(path, environ={})
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "target.toml").write_text('path = "a"\n')
    (shared / "target.toml").chmod(0o600)
    (tmp_path / "link.toml").symlink_to(shared / "target.toml")
    with pytest.raises(DeploymentError, match="others may put another in its place"):
        deployment.load(tmp_path / "link.toml", environ={})


def test_a_file_that_others_may_move_away_is_refused(tmp_path: Path) -> None:
    """By any name on the way to it: a folder far above, a folder in which a link stands that another leads to."""
    deep = tmp_path / "open" / "closed" / "deep"
    deep.mkdir(parents=True)
    path = write(deep, 'path = "a"\n', 0o600)
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "link.toml").symlink_to(path)
    (tmp_path / "link.toml").symlink_to("between/link.toml")
    for folder, found in (("open", path), ("between", tmp_path / "link.toml")):
        deployment.load(found, environ={})
        (tmp_path / folder).chmod(0o777)
        with pytest.raises(DeploymentError, match=f"others may put another in its place .*{folder}"):
            deployment.load(found, environ={})
        (tmp_path / folder).chmod(0o1777)
        deployment.load(found, environ={})
    if os.geteuid() == 0:
        os.chown(tmp_path / "between" / "link.toml", 65534, 65534, follow_symlinks=False)
        with pytest.raises(DeploymentError, match="others may put another in its place"):
            deployment.load(tmp_path / "link.toml", environ={})


SECRETS = [
    'password = "hunter2"',
    'config = { "sasl.password" = "hunter2" }',
    '[sink.config]\nsasl.password = "hunter2"',
    '[sink.config]\n"ssl.key.password" = "hunter2"',
    '[sink.config]\n"ssl.key.pem" = "hunter2"',
    'servers = "https://user:hunter2@example.com"',
    'servers = ["https://user:hunter2@example.com"]',
    'headers = [{ Authorization = "hunter2" }]',
    "token = 12345",
    'client_secret = "hunter2"',
    'api_key = "hunter2"',
    'pwd = "hunter2"',
    'servers = "amqp://user:hunter2/3@example.com"',
    'servers = [["https://user:hunter2@example.com"]]',
    'dsn = "host=db user=audit password=hunter2"',
    'dsn = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2=="',
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_in_plain_sight_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    """In a table of any depth, and in an address."""
    found = mistakes(tmp_path, f'path = "a"\n[[sink]]\nkind = "jsonl"\n{line}\n')
    assert "secret in plain sight; a secret is named by where it is: { env" in found[0]
    assert "hunter2" not in str(found)
    assert "12345" not in str(found)


@pytest.mark.parametrize("name", [*KEYS, "sink", "sink.name", "sink.policy", "nobody", "nobody.knows"])
def test_no_message_repeats_a_secret_wherever_it_was_put(name: str) -> None:
    """Under a key that means something else, or nothing; in a table and in a list of tables."""
    for put in (
        {"password": "hunter2"},
        [{"password": "hunter2"}],
        [{"action": {"sasl.password": "hunter2"}}],
        {"rule": [{"action": {"token": "hunter2"}, "keep": "off"}]},
    ):
        tree: Any = put
        for part in reversed(name.split(".")):
            tree = [tree] if part == "sink" and not isinstance(tree, list) else tree
            tree = {part: tree}
        with pytest.raises(DeploymentError) as caught:
            loading.made(File(tree, Source("x.toml", {}), None), None, {}, Mistakes())
        assert "hunter2" not in str(caught.value)


def test_a_key_of_redaction_in_plain_sight_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """By what redaction itself says, and by a reference of the form that all secrets have."""
    table = '[[policy.redact]]\nfield = "peer"\nhow = "hash"\nkey = '
    (found,) = mistakes(tmp_path, f'path = "a"\n{table}"hunter2hunter2hunter2"\n')
    assert "where the key is" in found
    assert "hunter2" not in found
    said = load(tmp_path, f'path = "a"\n{table}{{ env = "AUDIT_KEY" }}\n')
    assert said.log["policy"].redact[0].how == Hash("env:AUDIT_KEY")

"""The proxy's file: what is wrong in it is one clear error, and what is right is read as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from auditring.exceptions import ConfigError

pytest.importorskip("kio")
from kafka_proxy import load
from kafka_proxy.acl import Acl
from kafka_proxy.config import address

EXAMPLES = Path(__file__).parents[2] / "examples" / "kafka_proxy"
LOG = '[log]\ndirectory = "audit"\n'
CLUSTER = '[clusters.c]\nbootstrap = "b:9092"\n'
SMALL = LOG + CLUSTER
PRIMARY = LOG + 'primary_tap = "broker"\n' + CLUSTER


def written(tmp_path: Path, text: str) -> Path:
    """The text as a file."""
    path = tmp_path / "proxy.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "log is missing"),
        (LOG, "clusters is missing"),
        (LOG + "[clusters]", "at least one"),
        (LOG + "x = ", "no TOML"),
        (SMALL.replace("[log]", "[lag]"), "unknown key 'lag'; did you mean 'log'"),
        (SMALL.replace("bootstrap", "bootstap"), "clusters.c: unknown key 'bootstap'; did you mean 'bootstrap'"),
        (SMALL.replace("b:9092", "b"), "bootstrap: host:port"),
        (SMALL.replace("b:9092", "b:70000"), "bootstrap: host:port"),
        (SMALL + 'host = "0.0.0.0"', "advertised_host: "),
        (SMALL + "port = true", "port: a whole number, not bool"),
        (SMALL + 'port = "1"', "port: a whole number, not str"),
        (SMALL + 'taps = "client"', "taps: a list, not str"),
        (SMALL + 'taps = ["clint"]', r"taps\[0\]: one of 'client', 'broker'; did you mean 'client'"),
        (SMALL + "taps = [1]", r"taps\[0\]: a string, not int"),
        (SMALL + 'taps = ["client", "broker"]', r"primary_tap is missing: clusters\.c\.taps has client and broker"),
        (PRIMARY + 'taps = ["client"]', r"primary_tap: broker, but clusters\.c\.taps has client"),
        (
            PRIMARY + 'taps = ["broker"]\n[clusters.d]\nbootstrap = "b:9092"',
            r"primary_tap: broker, but clusters\.d\.taps has client",
        ),
        (SMALL + "tls = 1", "tls: a table, not int"),
        (SMALL + 'tls = {certificate = "c"}', "tls: key is missing"),
        (SMALL + 'tls = {certificate = "c", key = "k", client_auth = "required"}', "go together"),
        (SMALL + 'sasl = {mode = "terminate"}', "go together"),
        (SMALL + 'sasl = {mode = "passthrough"}', "did you mean 'pass-through'"),
        (SMALL + 'sasl = {mode = "pass-through"}\nacl = "a"', "acl: .* no proof"),
        (SMALL + 'acl = "a"', "acl: .* no proof"),
        (SMALL + 'tls = {certificate = "c", key = "k"}\nacl = "a"', "acl: .* no proof"),
        (SMALL + 'sasl = {mode = "pass-through"}\nprobe = {interval = 1}', "probe: "),
        (SMALL + "probe = {interval = 0}", "probe.interval"),
        (SMALL + 'rename = {a = "b", b = "c"}', "rename: "),
        (SMALL + '[[clusters.c.brokers]]\nport = 1\naddress = "b:1"', "either brokers"),
        (SMALL + "port = 65536", r"clusters\.c: port: 0 \(any\) to 65535, not 65536"),
        (SMALL + "port = -1", r"clusters\.c: port: "),
        (SMALL + "broker_ports = 99999", r"clusters\.c: broker_ports: 0 \(any\) to 65535, not 99999"),
        (LOG + '[[clusters.c.brokers]]\nport = 99999\naddress = "b:1"', r"clusters\.c: brokers\[0\]: port: "),
        (SMALL + 'sasl = {mode = "pass-through", mechanisms = []}', "sasl: mechanisms: at least one"),
        (SMALL + 'sasl = {mode = "terminate", users = "u", mechanisms = []}', "sasl: mechanisms: at least one"),
        (LOG + "[clusters.c]", "either brokers"),
        (LOG + '[[clusters.c.brokers]]\nport = 1\naddress = "b"', r"brokers\[0\]: .*host:port"),
    ],
)
def test_errors(tmp_path: Path, text: str, said: str) -> None:
    """Name the file, the place, and the nearest thing that would have been right."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as failure:
        load(path)
    assert str(path) in str(failure.value)


def test_taps_that_count(tmp_path: Path) -> None:
    """One of two, or the only one; a cluster without taps has nothing to count."""
    for text in (
        PRIMARY + 'taps = ["client", "broker"]\n[clusters.d]\nbootstrap = "b:9092"\ntaps = []',
        SMALL + 'taps = ["broker"]\n[clusters.d]\nbootstrap = "b:9092"',
    ):
        assert len(load(written(tmp_path, text)).clusters) == 2


def test_a_password_is_in_no_error_and_no_repr(tmp_path: Path) -> None:
    """Nor where it is of the wrong type, or beside what is wrong."""
    text = SMALL + 'upstream_sasl = {mechanism = "PLAIN", username = "proxy", password = "s3cr3t"%s}\n'
    assert "s3cr3t" not in repr(load(written(tmp_path, text % "")))
    for wrong in (text % ', more = "s3cr3t"', text.replace('"s3cr3t"%s', '["s3cr3t"]'), text % "" + 'x = "s3cr3t'):
        with pytest.raises(ConfigError) as failure:
            load(written(tmp_path, wrong))
        assert "s3cr3t" not in str(failure.value)


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("b:9092", "alice:s3cr3t@b:9092"),
        SMALL.replace("b:9092", "alice:s3cr3t@b"),
        SMALL.replace("b:9092", "SASL_SSL://alice:s3cr3t@b:9092"),
        LOG + '[[clusters.c.brokers]]\nport = 1\naddress = "alice:s3cr3t@b:1"',
        SMALL + 'upstream_sasl = {mechanism = "s3cr3t", username = "proxy", password = "PLAIN"}',
        SMALL + 'sasl = {mode = "pass-through", mechanisms = ["s3cr3t"]}',
        SMALL + 'sasl = {mode = "s3cr3t"}',
    ],
)
def test_what_may_be_a_password_is_in_no_error(tmp_path: Path, text: str) -> None:
    """Wherever people have put it; and no address with one is taken for a host, that rows would show."""
    with pytest.raises(ConfigError, match=r"clusters\.c: ") as failure:
        load(written(tmp_path, text))
    assert "s3cr3t" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "is_"),
    [("b:1", ("b", 1)), ("10.0.0.1:65535", ("10.0.0.1", 65535)), ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9))],
)
def test_addresses(text: str, is_: tuple[str, int]) -> None:
    """Names, and addresses of both kinds."""
    assert address("x", text) == is_


def test_the_command_says_how_it_is_used() -> None:
    """To those who ask, and to those who leave the file out."""
    asked, empty = (
        subprocess.run(
            [sys.executable, "-m", "kafka_proxy", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=EXAMPLES.parent,
        )
        for arguments in (["--help"], [])
    )
    assert (asked.returncode, asked.stdout[:34]) == (0, "usage: python -m kafka_proxy [-h] ")
    assert (empty.returncode, empty.stderr[:34]) == (2, "usage: python -m kafka_proxy [-h] ")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Wherever the proxy is started."""
    assert load(written(tmp_path, SMALL)).log.directory == tmp_path / "audit"


@pytest.mark.parametrize("sample", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_samples(sample: Path) -> None:
    """What stands beside the code can be read."""
    if sample.name.startswith("proxy"):
        assert load(sample).clusters
    elif sample.name.startswith("acl"):
        assert Acl(sample).allows("alice", "DESCRIBE", "orders")


def test_acl(tmp_path: Path) -> None:
    """A denial wins, what nobody allows is denied, and who may read may also see."""
    path = written(
        tmp_path,
        """
        [[allow]]
        principals = ["alice"]
        operations = ["READ"]
        topics = ["orders", "logs-*"]
        [[allow]]
        principals = ["*"]
        operations = ["ALL"]
        topics = ["public"]
        [[deny]]
        principals = ["mallory"]
        operations = ["WRITE"]
        topics = ["*"]
        """,
    )
    allows = Acl(path).allows
    assert allows("alice", "READ", "orders")
    assert allows("alice", "DESCRIBE", "logs-1")
    assert not allows("alice", "WRITE", "orders")
    assert not allows("bob", "DESCRIBE", "orders")
    assert allows("mallory", "READ", "public")
    assert not allows("mallory", "WRITE", "public")


def test_acl_errors(tmp_path: Path) -> None:
    """As clear as the rest."""
    path = written(tmp_path, '[[allow]]\nprincipals = ["a"]\noperations = ["RAED"]\ntopics = ["t"]\n')
    with pytest.raises(ConfigError, match=r"allow\[0\]: operations\[0\]: one of .*; did you mean 'READ'"):
        Acl(path)

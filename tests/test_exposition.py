"""The endpoint and the file, by real requests; and the command that makes them."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.registry import Collector

import auditring
from auditring.cli.commands import auditring as cli
from auditring.exceptions import ConfigError
from auditring.exposition import address, serve, write_textfile
from auditring.metrics import DirectoryCollector
from auditring.sinks import JsonlSink
from deadlines import until
from scrapes import parsed, value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory in which a log has been."""
    with auditring.open(tmp_path / "audit", sinks=(JsonlSink(),)) as log:
        for _ in range(7):
            log.emit("com.example.Thing")
    return tmp_path / "audit"


def fetch(port: int, accept: str | None = None) -> tuple[str, str]:
    """What a scrape is answered: its content type, and its text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own, over http
        return answer.headers["Content-Type"], answer.read().decode()


def test_an_endpoint_serves_prometheus_and_openmetrics(root: Path) -> None:
    """Both formats have the same counters; a port of 0 is one that is free; closing twice is no error."""
    with serve(DirectoryCollector(root), "127.0.0.1:0") as exposition:
        kind, text = fetch(exposition.port)
        assert kind.startswith("text/plain")
        kind, other = fetch(exposition.port, "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        families = {family.name: family for family in open_metrics(other)}  # type: ignore[no-untyped-call]  # it has no types
        (journaled,) = families["auditring_journaled"].samples
        assert journaled.value == value(parsed(text), "journaled_total") > 7
    exposition.close()
    with pytest.raises(OSError, match="refused"):
        fetch(exposition.port)


def test_two_endpoints_of_one_process_show_what_each_was_given(tmp_path: Path) -> None:
    """Nothing is registered in a registry that all share."""
    with (
        auditring.open(tmp_path / "a", instance="a") as one,
        auditring.open(tmp_path / "b", instance="b") as two,
        serve(one.collector(), "127.0.0.1:0") as first,
        serve([two.collector()], "127.0.0.1:0") as second,
    ):
        assert 'proxy="a"' in fetch(first.port)[1]
        assert 'proxy="b"' in fetch(second.port)[1]


class Failing(Collector):
    """Cannot be read."""

    def collect(self) -> Iterator[object]:  # type: ignore[override]  # it yields nothing
        """Raises."""
        raise OSError(5, "Input/output error", "/secret/path")


def test_a_scrape_that_fails_says_so_and_no_more(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is answered with 503; the cause is in the process's own log, not in the answer, and nothing is printed."""
    with serve(Failing(), "127.0.0.1:0") as exposition:
        with pytest.raises(urllib.error.HTTPError) as failed:
            fetch(exposition.port)
        body = failed.value.read().decode()
        failed.value.close()
        assert (failed.value.code, "secret" in body) == (503, False)
        until(lambda: "Input/output error" in caplog.text)
    assert capfd.readouterr() == ("", "")


def test_nonsense_is_refused_and_a_silent_client_keeps_nobody_waiting(root: Path) -> None:
    """Other methods, lines that are no request, and connections that say nothing."""
    with (
        serve(DirectoryCollector(root), "127.0.0.1:0") as exposition,
        socket.create_connection(("127.0.0.1", exposition.port)) as silent,
    ):
        client = http.client.HTTPConnection("127.0.0.1", exposition.port, timeout=10)
        client.request("POST", "/metrics", body=b"x")
        assert client.getresponse().status == 405
        client.close()
        with socket.create_connection(("127.0.0.1", exposition.port), timeout=10) as odd:
            odd.sendall(b"\x16\x03\x01 no http\r\n\r\n")
            assert b"400" in odd.recv(1000)
        assert "auditring_journaled_total" in fetch(exposition.port)[1]
        silent.sendall(b"")


@pytest.mark.parametrize(
    ("listen", "found"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:9464", ("::1", 9464)), ("metrics.example:1", ("metrics.example", 1))],
)
def test_an_address_is_a_host_and_a_port(listen: str, found: tuple[str, int]) -> None:
    """IPv6 stands in brackets."""
    assert address(listen) == found


@pytest.mark.parametrize("listen", ["", ":9464", "9464", "host:", "host:x", "host:70000", "::1:9464", "[host]:1"])
def test_what_is_no_address_is_an_error(listen: str) -> None:
    """Before anything listens anywhere; an empty host would be all of them."""
    with pytest.raises(ConfigError, match="listen"):
        address(listen)


def test_a_file_is_replaced_as_a_whole(root: Path, tmp_path: Path) -> None:
    """Everybody may read it; what fails leaves it as it was, and nothing beside it."""
    path = tmp_path / "out" / "auditring.prom"
    path.parent.mkdir()
    write_textfile(DirectoryCollector(root), path)
    text = path.read_text()
    assert value(parsed(text), "journaled_total") > 7
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(OSError, match="Input/output"):
        write_textfile(Failing(), path)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
    target = tmp_path / "target"
    target.write_text("mine")
    path.unlink()
    path.symlink_to(target)
    write_textfile(DirectoryCollector(root), path)
    assert (target.read_text(), path.is_symlink()) == ("mine", False)


def command(*arguments: object) -> tuple[int, str]:
    """Status and output of the command."""
    result = CliRunner().invoke(cli, ["metrics", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_prints_or_writes_once(root: Path, tmp_path: Path) -> None:
    """On standard output, or into a file."""
    status, text = command(root)
    assert (status, value(parsed(text), "processes", state="gone")) == (0, 1)
    assert command(root, "--textfile", tmp_path / "a.prom") == (0, "")
    assert "auditring_journaled_total" in (tmp_path / "a.prom").read_text()
    assert command(root, "--textfile", tmp_path / "no" / "a.prom")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--listen", "nonsense"), "HOST:PORT"),
        (("--listen", "127.0.0.1:0", "--textfile", "x.prom"), "not both"),
        (("--every", "5"), "--textfile"),
    ],
)
def test_the_command_says_what_is_wrong(root: Path, arguments: tuple[str, ...], said: str) -> None:
    """A mistake ends it with status 2 and one line."""
    status, text = command(root, *arguments)
    assert (status, said in text) == (2, True)


def test_the_command_wants_a_directory_of_a_log(tmp_path: Path) -> None:
    """A slip is no empty log."""
    status, text = command(tmp_path)
    assert (status, "events/" in text) == (2, True)


def test_the_command_serves_until_it_is_ended(root: Path) -> None:
    """It says where, and ends well on SIGTERM."""
    arguments = [sys.executable, "-m", "auditring", "metrics", str(root), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = re.search(r":(\d+)/metrics", server.stderr.readline())
        assert found is not None
        assert "auditring_processes" in fetch(int(found[1]))[1]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def test_the_command_keeps_a_file_fresh(root: Path, tmp_path: Path) -> None:
    """What happens meanwhile is in it soon; the last one stays."""
    path = tmp_path / "auditring.prom"
    arguments = [sys.executable, "-m", "auditring", "metrics", str(root), "--textfile", str(path), "--every", "0.1"]
    with subprocess.Popen(arguments) as writer:
        until(path.exists)
        with auditring.open(root, sinks=(JsonlSink(),)) as log:
            log.emit("com.example.Thing")
        until(lambda: value(parsed(path.read_text()), "processes", state="gone") == 2)
        os.kill(writer.pid, signal.SIGINT)
        assert writer.wait(30) == 0
    assert "auditring_journaled_total" in path.read_text()

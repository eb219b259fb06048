"""The balance as Prometheus sees it, by real scrapes."""

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import auditring
from auditring import Keep
from auditring.sinks import JsonlSink, ParquetSink
from tools import tool

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Server:
    """A scrape target with one log."""

    def __init__(self, log: auditring.AuditLog) -> None:
        registry = CollectorRegistry()
        registry.register(log.collector())
        self.http, self.thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    def text(self) -> str:
        """What a scrape returns."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http.server_port}/metrics", timeout=10) as answer:
            body: bytes = answer.read()
            return body.decode()

    def scrape(self) -> Scrape:
        """Every sample by name and labels."""
        families = text_string_to_metric_families(self.text())
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    def stop(self) -> None:
        """Ends the server."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[auditring.AuditLog]:
    """A log with two sinks, in which writes are off and some events have happened."""
    with auditring.open(tmp_path, sinks=(ParquetSink(), JsonlSink()), write=Keep.OFF) as log:
        with log.session() as session:
            for i in range(20):
                session.read("orders", 0, i, i)
                session.write("orders", 0, i, i)
            session.operation_denied("WRITE", "Topic", "salaries")
        log.flush(30)
        yield log


@pytest.fixture
def server(log: auditring.AuditLog) -> Iterator[Server]:
    """A running scrape target."""
    server = Server(log)
    yield server
    server.stop()


def test_a_scrape_tells_the_balance(log: auditring.AuditLog, server: Server) -> None:
    """Counters are those of stats, events that are off are counted too, and the sinks have their own series."""
    found, stats = server.scrape(), log.stats()
    assert found["auditring_events_total", (("action", "Read"), ("outcome", "success"))] == 20
    assert found["auditring_events_total", (("action", "Write"), ("outcome", "success"))] == 20
    assert found["auditring_events_total", (("action", "OperationDenied"), ("outcome", "denied"))] == 1
    for name in ("offered", "claimed", "accepted", "torn", "off", "dropped", "refused", "born", "journaled"):
        assert found[f"auditring_{name}_total", ()] == getattr(stats, name), name
    assert found["auditring_off_total", ()] == 20
    for sink in ("parquet", "jsonl"):
        assert found["auditring_sink_delivered_total", (("sink", sink),)] == stats.sinks[sink].delivered
        assert found["auditring_sink_pending", (("sink", sink),)] == 0
    assert found["auditring_healthy", (("component", "log"),)] == 1
    assert 0 <= found["auditring_ring_pressure_ratio", ()] <= 1


def test_a_counter_never_goes_backwards(log: auditring.AuditLog, server: Server) -> None:
    """Between two scrapes every counter stays or grows, and a closed log can still be scraped."""
    before = server.scrape()
    log.emit("com.example.Thing")
    log.close()
    after = server.scrape()
    assert {key for key, value in before.items() if key[0].endswith("_total") and after[key] < value} == set()
    assert after["auditring_offered_total", ()] > before["auditring_offered_total", ()]


def test_promtool_finds_nothing_to_complain_of(server: Server) -> None:
    """Names, units and help texts are as Prometheus wants them."""
    done = subprocess.run(
        [tool("promtool", "prometheus"), "check", "metrics"],
        input=server.text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

"""What is deployed beside Prometheus: a real one scrapes a real log, evaluates alerts, and answers the dashboard."""

import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

import auditring
from auditring.exposition import serve
from auditring.metrics import DirectoryCollector
from auditring.metrics.families import SPECS
from auditring.sinks import JsonlSink
from deadlines import until
from scrapes import parsed
from tools import tool

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
METRIC = re.compile(r"\bauditring_[a-z_]+")


def expressions() -> list[str]:
    """Every query of the dashboard, with its variables put in."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    variables = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
    for name, text in variables.items():
        found = [expression.replace(name, text) for expression in found]
    return found


class Stuck(JsonlSink):
    """A sink that cannot be written to as long as it is told so."""

    broken = threading.Event()

    def commit(self) -> bytes:
        """Raises, or does what lines do."""
        if self.broken.is_set():
            raise OSError(28, "no space left on device")
        return super().commit()


class Counting(JsonlSink):
    """A sink with counts of its own."""

    counters: ClassVar[dict[str, int]] = {"redelivered": 0}


def series(text: str) -> set[str]:
    """The names of all samples of a scrape."""
    return {name for name, _ in parsed(text)}


def test_the_alerts_hold() -> None:
    """The rules are well-formed, and their own tests pass."""
    promtool = tool("promtool", "prometheus")
    tests = [path.name for path in sorted(ALERTS.parent.glob("*_test.yml"))]
    for arguments in (("check", "rules", ALERTS.name), ("test", "rules", *tests)):
        done = subprocess.run(
            [promtool, *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_was_seen_to_fire() -> None:
    """In a test of the rules, by its name or by a pattern that was expected to find it."""
    names = set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
    tests = "".join(path.read_text() for path in ALERTS.parent.glob("*_test.yml"))
    fired = set(re.findall(r'alertname="(\w+)"', tests)) | set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tests))
    by_pattern = {f"AuditringEvents{word}" for word in ("Dropped", "Refused", "Lost")}
    assert names == fired | by_pattern


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Prometheus"]:
    """A real one, beside a host whose sink is down."""
    Stuck.broken.set()
    root = tmp_path_factory.mktemp("prometheus")
    with auditring.open(root / "audit", sinks=(Stuck(),), probe=False, label_scopes={"vc": "virtual_cluster"}) as log:
        with log.session(virtual_cluster="payments", authority="decision") as session:
            session.operation_denied("WRITE", "Topic", "salaries")
        both = [log.collector()]
        with (
            serve(both, "127.0.0.1:0") as own,
            serve(DirectoryCollector(root / "audit", log), "127.0.0.1:0") as whole,
            running(root, [own.port, whole.port]) as server,
        ):
            yield server
        Stuck.broken.clear()


class Prometheus:
    """A running server, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **query: str) -> Any:  # noqa: ANN401 - as the API answers
        """What it answers. Raises `AssertionError` with its words where it refuses."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def value(self, query: str) -> float | None:
        """The first sample of a query."""
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self, **labels: str) -> bool:
        """Whether an alert with these labels fires."""
        alerts = self.get("alerts")["alerts"]
        return any(alert["state"] == "firing" and labels.items() <= alert["labels"].items() for alert in alerts)


@contextmanager
def running(root: Path, ports: list[int]) -> Iterator[Prometheus]:
    """Prometheus, with our own alerts, only more impatient."""
    program = tool("prometheus", "prometheus")
    rules = re.sub(r"for: \d+m", "for: 1s", ALERTS.read_text())
    (root / "alerts.yml").write_text(rules)
    targets = json.dumps([f"127.0.0.1:{port}" for port in ports])
    (root / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
        "rule_files: [alerts.yml]\n"
        f"scrape_configs: [{{job_name: auditring, static_configs: [{{targets: {targets}}}]}}]\n"
    )
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    arguments = [
        program,
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={root / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (root / "output").open("w") as output, subprocess.Popen(arguments, stderr=output, stdout=output) as server:
        try:
            until(lambda: answers(port) or server.poll() is not None, 60)
            assert server.poll() is None, (root / "output").read_text()
            yield Prometheus(port)
        finally:
            server.terminate()


def answers(port: int) -> bool:
    """Whether it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_alert_fires_while_a_sink_is_down_and_ends_with_it(prometheus: Prometheus) -> None:
    """The whole way: sink, follower, counters, scrape, rule, alert; and back."""
    until(lambda: prometheus.value("count(up == 1)") == 2)
    # Two scrapes in a row that came too late would be one, for a moment.
    until(lambda: not prometheus.firing(alertname="AuditringDown"))
    until(lambda: prometheus.firing(alertname="AuditringSinkDown", sink="jsonl", severity="critical"), 60)
    until(lambda: prometheus.firing(alertname="AuditringUnhealthy", component="log"), 60)
    Stuck.broken.clear()
    until(lambda: not prometheus.firing(alertname="AuditringSinkDown"), 60)


def test_both_endpoints_count_the_same(prometheus: Prometheus) -> None:
    """What one log says of itself is what its directory says."""
    query = 'auditring_events_total{action="OperationDenied", vc="payments"}'
    until(lambda: prometheus.value(f"count({query} == 1)") == 2)


@pytest.mark.parametrize("expression", expressions())
def test_the_dashboard_asks_what_prometheus_understands(prometheus: Prometheus, expression: str) -> None:
    """Each query is answered."""
    now = time.time()
    prometheus.get("query_range", query=expression, start=str(now - 60), end=str(now), step="15")


def shown(tmp_path: Path) -> set[str]:
    """All series that a log and its directory show."""
    with auditring.open(tmp_path / "audit", sinks=(Counting(),), label_scopes={"vc": "virtual_cluster"}) as log:
        log.emit("com.example.Thing")
        log.flush(30)
        with (
            serve(log.collector(), "127.0.0.1:0") as own,
            serve(DirectoryCollector(tmp_path / "audit", log), "127.0.0.1:0") as whole,
        ):
            found = set()
            for port in (own.port, whole.port):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    found |= series(answer.read().decode())
            return found


def test_every_metric_that_is_asked_for_is_in_a_scrape(tmp_path: Path) -> None:
    """Of the dashboard and of the alerts; a metric that was renamed would leave an empty panel and a silent alert."""
    found = shown(tmp_path)
    asked = set(METRIC.findall("\n".join(expressions()))) | {
        name
        for expression in re.findall(r"expr:(.*?)(?:for|labels):", ALERTS.read_text(), re.DOTALL)
        for name in METRIC.findall(expression)
    }
    assert len(asked) > 30
    assert asked - found == set()


def test_the_table_of_metrics_is_what_is_shown(tmp_path: Path) -> None:
    """No metric stands in the table alone, and none is shown that is not there."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "info": ("_info",), "histogram": ("_bucket", "_count", "_sum")}
    table = {f"auditring_{name}{suffix}" for name, spec in SPECS.items() for suffix in suffixes[spec.kind]}
    assert shown(tmp_path) == table


def test_the_page_of_metrics_is_complete() -> None:
    """docs/metrics.md has a row for each metric: its name, its type, its labels and what it says."""
    rows = re.findall(
        r"^\| `(auditring_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    found = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}
    suffixes = {"counter": "_total", "gauge": "", "info": "_info", "histogram": ""}
    wanted = {f"auditring_{name}{suffixes[spec.kind]}": (spec.kind, set(spec.labels)) for name, spec in SPECS.items()}
    assert found == wanted


def test_the_dashboard_can_be_imported() -> None:
    """It has an identity, its panels do not overlap, and every one says where its data come from."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["schemaVersion"] >= 36) == ("auditring", True)
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    for panel in panels:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert "$job" in target["expr"], panel["title"]

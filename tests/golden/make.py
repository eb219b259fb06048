"""Makes the golden files: what this version of auditring writes, kept so that every later one goes on reading it.

```
v1/closed/            a log that was closed: events/…/*.parquet and jsonl/*.jsonl hold everything
v1/open/              the directory of a log as it stands while the proxy runs: some rows sealed, all in the journal
v1/expected.json      every value of every row, {"closed": [row, …], "open": [row, …]}
v1/fields.json        the fields that each action had, {action: [field, …]}
```

`python tests/golden/make.py tests/golden/v2` makes those of a new version. Those that are there are never made anew.
"""

import argparse
import contextlib
import getpass
import json
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import auditring
import auditring.query
from auditring import Keep, _core
from auditring.sinks import JsonlSink, ParquetSink

ACTIONS = _core.actions()
FIELDS = {action["name"]: [field["name"] for field in action["fields"]] for action in ACTIONS}
"""What each action can say."""
LONG = "ü" * 3000
ODD = 'päyments 支付 \U0001f600 \u202e\t"quoted" \\'


def arguments(action: dict[str, Any], *, full: bool) -> dict[str, Any]:
    """Arguments of a call: of every field, or of those alone that must be given."""
    given: dict[str, Any] = {}
    for number, field in enumerate(action["fields"], 101):
        if (full and field["name"] in FIELDS.get(action["name"], ())) or field["required"]:
            text = field["words"][0] if field["words"] else f"<{field['name']}>"
            given[field["name"]] = text if field["type"] == "str" else min(number, field["max"])
    return given


def emit_each(handles: dict[str, Any]) -> None:
    """Every method of every handle, with all fields; those of a session also with few."""
    for name, handle in handles.items():
        for action in ACTIONS:
            if action[name] and action["method"] != "emit":
                for full in (True, False) if name == "session" else (True,):
                    getattr(handle, action["method"])(**arguments(action, full=full))


def emit_odd(log: auditring.AuditLog, session: Any) -> None:  # noqa: ANN401 - a handle, whose methods are the catalog's
    """Values that are hard to keep: scripts, marks of what was cut or altered, limits, every kind of detail."""
    session.read(ODD, -1, 2**63 - 1, -(2**63), 2**31 - 1, server_correlation_id=-(2**31), object_ref={"vc": "mine"})
    session.read(LONG, 0, reason="cut\x00altered\ud800", context={"cut": LONG})
    session.write("orders", 3, 7, 9, server_correlation_id=5, records=0, outcome="forwarded", tap="inner")
    session.operation_allowed("READ", "Topic", "orders", authority="witness")
    session.operation_denied("WRITE", "Group", "g-1", status="NOT_YOURS", reason="by rule 7")
    session.http_request("GET", "/päth", principal="bob", status_code=503, outcome="failure")
    session.emit(
        "com.example.kms.KeyUsed",
        operation="UNWRAP",
        object_ref={"com.example.kek": "kek-7", ODD: ODD},
        context={"text": ODD, "int": -(2**53), "float": 0.1, "bool": True, "list": ["a", 1, 2.5, False]},
    )
    key_used = log.declare("com.example.kms.KeyRefused", object_ref=("kek",), context=("alg", "bits"), outcome="denied")
    key_used(session, "kek-7", None, "256")
    key_used(log, "kek-8", status="KEY_DISABLED")
    acl = session.plugin(filter="com.example.Acl", namespace="com.example", authorizer=True, tap="filters")
    acl.operation_denied("READ", "Topic", "salaries")
    key_used(acl, "kek-9")
    log.plugin(filter="no class", namespace="com.example").emit("com.example.Swept", resource="cache")
    log.read("orders", 0, 1, 2, cause=session, filter="com.example.Prefetch")


def emit(log: auditring.AuditLog, number: int) -> None:
    """The fixed list of events; `number` tells its rounds apart."""
    details: dict[str, str | bool] = {"deployment": f"round {number}", "canary": False}
    with log.session(
        id=f"c-{number}",
        peer=("2001:db8::7", 50_412),
        local=("192.0.2.1", 9092),
        virtual_cluster="payments",
        client_id="billing-7",
        authority="decision",
        tap="edge",
        context=details,
    ) as session:
        session.client_sasl_auth_success("alice", mechanism="SCRAM-SHA-256")
        emit_odd(log, session)
        broker = session.broker("10.0.0.5:9092", node_id=5, local="10.0.0.9:40112", duration_ns=7)
        authorizer = session.plugin(filter="com.example.Acl", namespace="com.example", authorizer=True)
        emit_each({"session": session, "broker": broker, "authorizer": authorizer, "log": log})
        for i in range(40):
            broker.write("sampled", i % 4, i, i)
        broker.close(initiator="broker", status="PeerReset")
    with log.session(id="0f7a4f4e-7d0b-4f0e-9d52-1d2c3b4a5f60", peer="198.51.100.9:1") as anonymous:
        anonymous.close(initiator="client")
    for action in ACTIONS:
        if action["name"].startswith("auditring."):
            log._live().core.post(action["name"], **arguments(action, full=True))  # noqa: SLF001 - they are the library's


@contextlib.contextmanager
def somewhere() -> Iterator[None]:
    """Takes this machine and its user out of what is written."""
    system = os.uname_result(("Linux", "golden", "6.1.0", "#1", "x86_64"))
    with (
        mock.patch.object(socket, "gethostname", return_value="golden-host"),
        mock.patch.object(getpass, "getuser", return_value="golden"),
        mock.patch.object(platform, "python_version", return_value="3.11.0"),
        mock.patch.object(os, "uname", return_value=system),
    ):
        yield


def opened(root: Path) -> auditring.AuditLog:
    """A log with both kinds of files."""
    return auditring.open(
        root,
        instance="golden-1",
        primary_tap="edge",
        sinks=(ParquetSink(), JsonlSink()),
        request=Keep.ALL,
        write=Keep.SAMPLE(one_in=2),
        seed=7,
    )


def rows_of(root: Path) -> list[dict[str, Any]]:
    """Every row of a directory, sealed or fresh, with times as numbers and maps as text."""
    con = auditring.query.connect(root)
    columns = ", ".join(
        f"epoch_us({name}) AS {name}" if name in {"time", "end_time"} else f'"{name}"'
        for name in auditring.query.schema().names
    )
    found = con.sql(f"SELECT {columns} FROM events ORDER BY process, seq").to_arrow_table().to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in found]


def make(target: Path) -> None:
    """Makes both directories and what they hold."""
    target.mkdir(parents=True)
    with somewhere(), tempfile.TemporaryDirectory() as working:
        with opened(target / "closed") as log:
            emit(log, 1)
        with opened(Path(working) / "audit") as log:
            emit(log, 1)
            log.flush(30)
            emit(log, 2)
            log._live().journaled(30)  # noqa: SLF001 - in the journal, which is what shall be kept
            shutil.copytree(Path(working) / "audit", target / "open", ignore=shutil.ignore_patterns("*.ring", "*.tmp"))
    for owner in target.glob("open/journal/*/owner"):
        said = json.loads(owner.read_text())
        owner.write_text(json.dumps({**said, "machine_id": "0" * 32, "ring_path": "gone.ring"}, indent=2))
    expected = {name: rows_of(target / name) for name in ("closed", "open")}
    text = json.dumps(expected, ensure_ascii=True, separators=(",", ":")).replace('},{"time":', '},\n{"time":')
    (target / "expected.json").write_text(text + "\n")
    (target / "fields.json").write_text(json.dumps(FIELDS, separators=(",", ":")).replace("],", "],\n") + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="a directory that is not there yet")
    make(parser.parse_args().target)

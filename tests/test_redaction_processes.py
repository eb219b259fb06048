"""Redaction beyond one life of one process: after a kill, a fork, a new ring and another key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import auditring
from auditring import Policy, query
from redacting import KEY, ON_DISK, PATIENCE, hash_of, hashing, leaks, rows, run


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key where the policies here look for it."""
    monkeypatch.setenv("AUDIT_KEY", KEY)


@ON_DISK
def test_rows_that_are_fresh_are_redacted_also_after_the_ring_was_deleted(tmp_path: Path) -> None:
    """A new ring takes its place in memory, and goes through the same pump."""
    with auditring.open(tmp_path / "audit", policy=Policy(redact=hashing("resource"))) as log:
        ring = log._running.core.ring_path  # type: ignore[union-attr]  # noqa: SLF001 - nothing outside says where it lies
        assert ring is not None
        Path(ring).unlink()
        with log.session(authority="decision") as session:
            session.read("before", 0, 1, 1)
            while not any(row["action"] == "auditring.RingReplaced" for row in rows(tmp_path / "audit")):
                log.flush(PATIENCE)
            session.read("after", 0, 2, 2)
            log.flush(PATIENCE)
            seen = [row["resource"] for row in rows(tmp_path / "audit") if row["action"] == "Read"]
        assert seen == [hash_of("before"), hash_of("after")]


KILLED = """
import os, signal, sys, auditring
from auditring import Hash, Policy, Redact
log = auditring.open(sys.argv[1], policy=Policy(redact=[Redact("resource", Hash("env:AUDIT_KEY"))]))
session = log.session(authority="decision")
for offset in range(20_000):
    session.read("S3CRET", 0, offset, offset)
os.kill(os.getpid(), signal.SIGKILL)
"""


@ON_DISK
@pytest.mark.parametrize("finder", [KEY, KEY[::-1], None])
def test_what_a_killed_process_had_in_its_ring_is_redacted_by_whoever_recovers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finder: str | None
) -> None:
    """With the key as ever; without it, or with another, a value is left out and marked; nothing is lost or shown."""
    root = tmp_path / "audit"
    subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, timeout=PATIENCE)
    expected = {hash_of("S3CRET")}
    seen = [row for row in rows(root) if row["action"] == "Read"]
    assert len(seen) == 20_000
    assert {row["resource"] for row in seen} <= expected | {None}
    if finder is not None:
        monkeypatch.setenv("AUDIT_KEY", finder)
    auditring.open(root, policy=Policy(redact=hashing("peer") if finder else ())).close()
    seen = [row for row in rows(root) if row["action"] == "Read"]
    assert len(seen) == 20_000
    assert {row["resource"] for row in seen} <= (expected if finder == KEY else expected | {None})
    assert all("resource" in json.loads(row["context"])["auditring.redacted"] for row in seen)
    assert leaks(root, "S3CRET") == []


FORKED = """
import os, sys, auditring
from auditring import Hash, Policy, Redact
log = auditring.open(sys.argv[1], policy=Policy(redact=[Redact("resource", Hash("env:AUDIT_KEY"))]))
child = os.fork()
with log.session(authority="decision") as session:
    session.read("child" if child == 0 else "parent", 0, 1, 1)
log.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@ON_DISK
def test_a_forked_child_redacts_by_the_same_key(tmp_path: Path) -> None:
    """Also when the variable that had it is gone by then: it was read once."""
    program = FORKED.replace("child = os.fork()", 'del os.environ["AUDIT_KEY"]; child = os.fork()')
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "audit")], check=True, timeout=PATIENCE)
    seen = {row["resource"] for row in rows(tmp_path / "audit") if row["action"] == "Read"}
    assert seen == {hash_of("child"), hash_of("parent")}


OTHER = """
import sys, auditring
from auditring import Hash, Policy, Redact
with auditring.open(sys.argv[1], policy=Policy(redact=[Redact("principal", Hash("env:AUDIT_KEY"))])) as log:
    with log.session(authority="decision") as session:
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
"""


@ON_DISK
def test_a_value_has_one_hash_a_key_in_every_process_and_is_found_under_all(tmp_path: Path) -> None:
    """Two processes by one key agree, a third by another does not; the command finds all three by both keys."""
    for key in (KEY, KEY, KEY[::-1]):
        environment = {**os.environ, "AUDIT_KEY": key}
        subprocess.run(
            [sys.executable, "-c", OTHER, str(tmp_path / "audit")], check=True, env=environment, timeout=PATIENCE
        )
    found = [row["principal"] for row in rows(tmp_path / "audit") if row["action"] == "ClientSaslAuthSuccess"]
    assert len(found) == 3
    assert len(set(found)) == 2
    old = tmp_path / "old.key"
    old.write_text(KEY[::-1])
    old.chmod(0o600)
    both = ["--key", "env:AUDIT_KEY", "--key", f"file:{old}"]
    assert run("alice", *both).split() == sorted(set(found), key=lambda one: one != hash_of("alice"))
    told = json.loads(run("alice", *both, "--in", str(tmp_path / "audit"), "--format", "json"))
    assert sorted(row["principal"] for row in told if row["action"] == "ClientSaslAuthSuccess") == sorted(found)
    with query.connect(tmp_path / "audit") as con:
        assert len(con.sql(run("alice", *both, "--sql")).fetchall()) == len(told)

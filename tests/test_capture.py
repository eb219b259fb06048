"""`auditring.testing.capture`: a real log, whose rows a test can look at."""

from pathlib import Path

import pytest

import auditring
from auditring import Keep
from auditring.sinks import JsonlSink
from auditring.testing import capture
from sealed_rows import lines_of


def test_what_was_emitted_is_there_by_columns() -> None:
    """As it would be in the tables, null columns left out and maps as maps."""
    with capture() as audit:
        with audit.log.session(id="s-1", peer=("192.0.2.7", 40112), authority="decision") as session:
            session.client_sasl_auth_success("alice", mechanism="PLAIN")
            session.operation_denied("WRITE", "Topic", "salaries")
            session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": "kek-7"})
            (denied,) = audit.rows("OperationDenied")
        assert (denied["principal"], denied["resource"], denied["outcome"]) == ("alice", "salaries", "denied")
        assert "partition" not in denied
        assert audit.rows(session="s-1", outcome="denied") == [denied]
        assert audit.rows("OperationDenied", principal="bob") == []
        assert audit.rows("com.example.kms.KeyUsed")[0]["object_ref"] == {"com.example.kek": "kek-7"}
        assert audit.actions() == [
            "ClientAccept",
            "ClientSaslAuthSuccess",
            "OperationDenied",
            "com.example.kms.KeyUsed",
            "ClientClose",
        ]
        audit.clear()
        assert audit.actions() == []
    assert [row["action"] for row in audit.rows()] == ["ProxyCleanShutdown"]


def test_settings_are_those_of_open_and_sinks_come_beside(tmp_path: Path) -> None:
    """A policy is in force, and other sinks have the same rows."""
    sink = JsonlSink(tmp_path)
    with capture(read=Keep.OFF, sinks=(sink,), instance="proxy-1") as audit, audit.log.session() as session:
        session.read("orders", 0, 0, 9)
        session.write("orders", 0, 0, 9)
        assert audit.actions() == ["ClientAccept", "Write"]
        audit.log.flush(30)
        lines = lines_of(tmp_path.parent, tmp_path.name)
        assert [line["action"] for line in lines] == [row["action"] for row in audit.rows()]
        assert {line["instance"] for line in lines} == {"proxy-1"}


def test_its_directory_goes_with_it() -> None:
    """And an error within is the test's own."""
    paths = []

    def fails() -> None:
        with capture() as audit:
            assert audit.log.path is not None
            assert audit.log.path.is_dir()
            paths.append(audit.log.path)
            raise ValueError("the test's")

    with pytest.raises(ValueError, match="the test's"):
        fails()
    assert not paths[0].exists()


def test_after_it_rows_are_still_there_and_the_log_is_not() -> None:
    """For a test that looks at the end of its host."""
    with capture() as audit:
        audit.log.emit("com.example.Early")
    assert audit.actions() == ["com.example.Early"]
    with pytest.raises(auditring.LogClosed):
        audit.log.emit("com.example.Late")

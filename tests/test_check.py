"""`auditring check`: what is said and where, whether it could work here, what is kept, and what would happen."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import auditring
from auditring import checking
from auditring.checking import places
from auditring.checking.kept import kinds, said
from auditring.checking.words import count, size, span
from auditring.cli.commands import auditring as command_line
from auditring.policy import Keep, Policy, Rule
from auditring.sinks import JsonlSink

CONFIG = """\
path = "audit"
instance = "proxy-eu-1"
journal_bytes = "64 MiB"

[[sink]]
kind = "parquet"

[[sink]]
kind = "jsonl"

[[sink.policy.rule]]
action = "Read"
keep = "off"
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    """A configuration as an operator would leave it."""
    path = folder / "auditring.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def run(*arguments: object, **environ: str) -> Result:
    """What the command says."""
    clean = dict.fromkeys([name for name in os.environ if name.startswith("AUDITRING_")])
    return CliRunner().invoke(command_line, ["check", *map(str, arguments)], env={**clean, **environ})


def asked(path: Path, *arguments: str, **environ: str) -> dict[str, Any]:
    """The same, as a script would read it."""
    told: dict[str, Any] = json.loads(run(path, "--json", *arguments, **environ).output)
    return told


def found(told: dict[str, Any], what: str) -> list[tuple[str, str]]:
    """What was found about something."""
    return [(one["level"], one["text"]) for one in told["findings"] if one["what"] == what]


def test_a_configuration_that_is_well_ends_with_0_and_changes_nothing(tmp_path: Path) -> None:
    """Every sink was asked, and nothing was made."""
    path = write(tmp_path)
    done = run(path)
    assert done.exit_code == 0, done.output
    assert "All is well." in done.output
    assert "ok     sink parquet: can be written to" in done.output
    assert "ok     sink jsonl: can be written to" in done.output
    assert [one.name for one in tmp_path.iterdir()] == ["auditring.toml"]


def test_each_value_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    """File and line, variable, or default."""
    told = asked(write(tmp_path), AUDITRING_RETENTION__MAX_AGE="30 d", AUDITRING_SINK__JSONL__COMPRESS="true")
    origins = {one["key"]: (one["value"], one["origin"]) for one in told["settings"]}
    assert origins["instance"] == ("proxy-eu-1", "auditring.toml:2")
    assert origins["retention.max_age"] == ("30 d", "AUDITRING_RETENTION__MAX_AGE")
    assert origins["ring_bytes"] == ("16 MiB", "default")
    assert origins["sink jsonl: compress"] == ("true", "AUDITRING_SINK__JSONL__COMPRESS")
    assert origins["sink parquet: kind"] == ("parquet", "auditring.toml:6")


def test_mistakes_end_with_2(tmp_path: Path) -> None:
    """All of them at once, for people and for scripts; and a file that is not there."""
    path = write(tmp_path, "pth = 'a'\nseed = 'x'\n")
    done = run(path)
    assert done.exit_code == 2
    assert "3 mistakes" in done.output
    assert "line 1, auditring.toml: unknown key 'pth'; did you mean 'path'?" in done.output
    told = asked(path)
    assert (told["well"], len(told["mistakes"])) == (False, 3)
    assert run(path, "--json").exit_code == 2
    assert run(tmp_path / "nowhere").exit_code == 2
    path = write(tmp_path, 'path = "a"\nrequired = ["kafka"]\n')
    done = run(path)
    assert (done.exit_code, "line 2, required: unknown key 'kafka'" in done.output) == (2, True)
    done = run(path, AUDITRING_RING_BYTES="5", AUDITRING_REQUIRED="parquet")
    assert (done.exit_code, "AUDITRING_RING_BYTES, ring_bytes: a power of two" in done.output) == (2, True)


def test_what_is_wrong_here_and_now_ends_with_1(tmp_path: Path) -> None:
    """A sink that cannot be written to, a disk that is too small, a ring's place that is not there."""
    (tmp_path / "lines").touch()
    text = (
        'path = "audit"\njournal_bytes = "9000 TiB"\nring_dir = "nowhere"\n[[sink]]\nkind = "jsonl"\npath = "lines"\n'
    )
    path = write(tmp_path, text)
    told = asked(path)
    assert run(path).exit_code == 1
    assert not told["well"]
    ((level, text),) = found(told, "sink jsonl")
    assert (level, text.partition(":")[0]) == ("wrong", "cannot be written to")
    assert "NotADirectoryError" in text
    assert found(told, "disk")[0][0] == "wrong"
    assert found(told, "ring")[0][0] == "wrong"


def test_sinks_are_left_alone_if_that_is_wanted(tmp_path: Path) -> None:
    """Where they cannot be reached from."""
    (tmp_path / "lines").touch()
    path = write(tmp_path, 'path = "audit"\njournal_bytes = "1 MiB"\n[[sink]]\nkind = "jsonl"\npath = "lines"\n')
    assert run(path, "--no-probe").exit_code == 0
    assert found(asked(path, "--no-probe"), "sink jsonl") == [("note", "was not asked")]


def test_a_sink_that_does_not_answer_keeps_the_others_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left where it hangs, and named; so is one that ends its thread."""
    path = write(tmp_path)
    released = threading.Event()
    monkeypatch.setattr(checking, "_PATIENCE", 15.0)
    monkeypatch.setattr(JsonlSink, "probe", lambda _, __: released.wait())
    try:
        told = asked(path)
    finally:
        released.set()
    hangs = "has not said within 15 s whether it can be written to; a log may wait as long"
    assert found(told, "sink jsonl") == [("wrong", hangs)]
    assert [level for level, _ in found(told, "sink parquet")] == ["ok"]
    monkeypatch.undo()
    monkeypatch.setattr(JsonlSink, "probe", lambda _, __: sys.exit(3))
    assert found(asked(path), "sink jsonl") == [("wrong", "cannot be written to: SystemExit: 3")]


def test_a_sink_of_which_only_the_proxy_knows_is_told_so(tmp_path: Path) -> None:
    """This process has another `logging` than the proxy's."""
    path = write(tmp_path, 'path = "audit"\njournal_bytes = "1 MiB"\n[[sink]]\nkind = "log"\n')
    assert run(path).exit_code == 0
    ((level, text),) = found(asked(path), "sink log")
    assert (level, "only the proxy itself can tell" in text) == ("note", True)


def test_what_each_sink_keeps_is_told_for_every_kind_of_event(tmp_path: Path) -> None:
    """By the core, as it would say of the event itself."""
    told = asked(write(tmp_path))
    kept = {
        sink["name"]: {(kind["action"], kind["outcome"]): kind["keep"] for kind in sink["kept"]}
        for sink in told["sinks"]
    }
    assert kept["parquet"]["Read", "success"] == "all"
    assert kept["jsonl"]["Read", "success"] == "off"
    assert kept["jsonl"]["Read", "denied"] == "all"
    assert kept["parquet"]["RequestIngress", "success"] == "off"
    assert [(sink["name"], sink["required"]) for sink in told["sinks"]] == [("parquet", True), ("jsonl", False)]
    output = run(write(tmp_path)).output
    assert (
        "Sink jsonl (jsonl; not required, run by the log) has\n  left out, counted as filtered:\n    Read (success)"
        in output
    )


def test_a_rule_that_asks_for_more_is_told_beside_what_it_may_decide() -> None:
    """Nobody knows of a kind which resources it will have."""
    rules = [
        Rule(action="Read", resource="metrics.*", keep=Keep.OFF),
        Rule(action="Read", keep=Keep.SAMPLE(one_in=100)),
    ]
    of = {(kind.action, kind.outcome): kind for kind in kinds(Policy(rules=rules), None)}
    read = of["Read", "success"]
    assert (said(read), read.decided_by) == ("1 in 100, with that weight", "rule 2 of the log's policy")
    assert read.unless == (f"rule 1 of the log's policy: {rules[0]!r}",)
    assert of["Read", "denied"].unless == ()
    assert of["Write", "success"].decided_by == "no rule"
    own = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(1))])
    of = {(kind.action, kind.outcome): kind for kind in kinds(Policy(), own)}
    assert said(of["Read", "success"]) == "merged within 1 s"
    assert said(of["RequestIngress", "success"]) == "left out by the call itself, counted as off"
    assert ("OperationAllowed", "allowed") in of
    assert ("com.example.Own", "success") in of


def test_what_would_happen_is_said_of_the_settings(tmp_path: Path) -> None:
    """Of ring, disk and sinks; and how much could wait."""
    text = (
        'path = "audit"\njournal_bytes = "1 GiB"\nlock_policy = true\ndurability = "power(1 s)"\nrequired = ["jsonl"]\n'
        '[when_full.droppable]\nwait = 0\n[when_full.protected]\nwait = "forever"\n'
        '[[sink]]\nkind = "parquet"\n[[sink]]\nkind = "jsonl"\n'
    )
    told = asked(write(tmp_path, text))
    then = {one["when"]: one["then"] for one in told["consequences"]}
    assert "waits for room for ever" in then["the ring is full"]
    assert "it is required, so the ring fills" in then["sink jsonl is away"]
    assert "the oldest are let go for this sink alone" in then["sink parquet is away"]
    assert "1 GiB, about 5.4 million events" in then["sink parquet is away"]
    assert "the last 1 seconds may be gone" in then["power is lost"]
    assert "a running log refuses" in then["somebody changes the policy"]
    assert told["waiting"] == {
        "bytes": 1 << 30,
        "events": (1 << 30) // 200,
        "seconds": pytest.approx(268.4, 0.01),
        "rate": 20_000,
    }


def test_secrets_are_read_and_never_shown(tmp_path: Path) -> None:
    """One that is not there, and one that others may read, are wrong; and no text has any of it."""
    table = '[[policy.redact]]\nfield = "peer"\nhow = "hash"\nkey = { file = "key" }\n'
    path = write(tmp_path, f'path = "audit"\njournal_bytes = "1 MiB"\n{table}')
    ((level, text),) = found(asked(path), "secret")
    assert (level, "No such file" in text) == ("wrong", True)
    key = tmp_path / "key"
    key.write_text("hunter2hunter2hunter2\n")
    key.chmod(0o644)
    assert run(path).exit_code == 1
    assert found(asked(path), "secret")[0][0] == "wrong"
    key.chmod(0o600)
    done = run(path)
    assert done.exit_code == 0, done.output
    assert "can be read" in done.output
    assert "hunter2" not in done.output + json.dumps(asked(path))


def test_the_digest_is_that_of_the_row_that_the_log_will_have(tmp_path: Path) -> None:
    """So whoever has file and log can tell whether the one was in force in the other."""
    path = write(tmp_path)
    told = asked(path)
    with auditring.open_from(path) as log:
        assert log.configuration_digest == told["configuration_digest"]
    (row,) = [
        row
        for row in pq.ParquetDataset(tmp_path / "audit" / "events").read().to_pylist()
        if row["action"] == "ProxyStartup"
    ]
    assert told["configuration_digest"] in row["context"]


def test_a_running_deployment_is_looked_at_without_being_touched(tmp_path: Path) -> None:
    """No file in the audit directory is another after it."""
    path = write(tmp_path)
    with auditring.open_from(path) as log:
        log.flush(30)
        before = sorted(
            one.relative_to(tmp_path) for one in (tmp_path / "audit").rglob("*") if "journal" not in str(one)
        )
        assert run(path).exit_code == 0
        after = sorted(
            one.relative_to(tmp_path) for one in (tmp_path / "audit").rglob("*") if "journal" not in str(one)
        )
        assert before == after
        assert len(list((tmp_path / "audit" / "journal").iterdir())) == 1, "and it is no writer of its own"
        assert log.health().ok


def test_the_environment_alone_can_be_checked(tmp_path: Path) -> None:
    """And a file that it names."""
    done = run(AUDITRING_PATH=str(tmp_path / "audit"), AUDITRING_JOURNAL_BYTES="1 MiB")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("The environment: audit directory")
    assert run(AUDITRING_CONFIG=str(write(tmp_path))).exit_code == 0
    assert run().exit_code == 2


def test_places_are_looked_at_where_they_are(tmp_path: Path) -> None:
    """A directory that others may write to, a file that somebody else owns, a path that is no directory."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert places.audit_directory(shared).level == "note"
    (tmp_path / "file").touch()
    assert places.audit_directory(tmp_path / "file" / "below").level == "wrong"
    assert places.audit_directory(tmp_path / "not" / "yet").level == "ok"
    assert all(one.level in {"ok", "note"} for one in places.clock())
    assert places.ring(tmp_path, tmp_path, 1 << 20).level in {"ok", "note"}
    assert places.ring(tmp_path, tmp_path, 1 << 60).level == "wrong"


@pytest.mark.parametrize("redacts", [False, True])
def test_the_ring_is_looked_for_where_the_core_puts_it(tmp_path: Path, *, redacts: bool) -> None:
    """The rule stands in Rust, too: this holds one against the other, in a container as on a host."""
    redact = [auditring.Redact("peer", auditring.Drop())] if redacts else []
    root = tmp_path / "audit"
    with auditring.open(root, policy=Policy(redact=redact)) as log:
        assert log._running is not None  # noqa: SLF001 - nowhere else to be seen
        lies = log._running.core.ring_path  # noqa: SLF001 - likewise
        assert lies is not None
        assert Path(lies).parent == places.ring_place(root, None, redacts=redacts)


def test_numbers_are_as_people_read_them() -> None:
    """Sizes, spans, counts."""
    assert [size(n) for n in (12, 4096, 5 << 20, 3 << 29, 2000 << 30)] == [
        "12 bytes",
        "4 KiB",
        "5 MiB",
        "1.5 GiB",
        "2,000 GiB",
    ]
    assert [span(s) for s in (0.05, 90, 300, 90_000)] == ["0.05 seconds", "90 seconds", "5 minutes", "25 hours"]
    assert [count(n) for n in (5, 32_768, 21_474_836)] == ["5", "33 thousand", "21 million"]


def test_a_report_is_a_value_for_programs_too(tmp_path: Path) -> None:
    """What the command prints can be had without it."""
    report = checking.check(write(tmp_path), environ={})
    assert report.well
    assert [sink.kind for sink in report.sinks] == ["parquet", "jsonl"]

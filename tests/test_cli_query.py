"""`auditring query` and `auditring stats`: what they print, what they refuse, and what they do not let through."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import auditring
from auditring import _core
from auditring.cli.asked import Asked
from auditring.cli.commands import auditring as command
from auditring.cli.query import connected
from auditring.cli.text import csv_cell, json_text, visible
from auditring.sealed import list_sealed

ESCAPES = "a\x1b[31mb\u202ec\u200bd\x9be"


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log with some rows, among them a resource that would like to be seen as something else."""
    path = tmp_path_factory.mktemp("audit")
    with (
        auditring.open(path, instance="proxy-1", balance=None) as log,
        log.session(id="s", authority="decision") as session,
    ):
        session.client_sasl_auth_success("alice", mechanism="PLAIN")
        for offset in range(150):
            session.read("payments", 3, offset, offset, 1)
        session.operation_denied("WRITE", "Topic", "=HYPERLINK(1)")
        session.operation_denied("WRITE", "Topic", ESCAPES)
    return path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clients, of which two share a network; each fails to log in, uses a key, and is refused something."""
    path = tmp_path_factory.mktemp("story")
    with auditring.open(path, balance=None) as log:
        for number, address in enumerate(("10.1.2.3", "10.1.2.9", "2001:db8::7")):
            with log.session(id=f"s-{number}", peer=(address, 50_000), authority="decision") as session:
                session.client_sasl_auth_failure("alice", mechanism="PLAIN")
                session.client_sasl_auth_success("alice", mechanism="PLAIN")
                session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": f"kek-{number % 2}"})
                session.operation_denied("WRITE", "Topic", "salaries")
        log.emit("com.example.Idle")
    return path


def answered(audit: Path, *arguments: object) -> list[dict[str, object]]:
    """The rows of an answer."""
    result = run("query", audit, *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    rows: list[dict[str, object]] = json.loads(result.stdout)
    return rows


def run(*arguments: object, text: str | None = None) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=text)


def test_a_saved_question_is_answered_as_a_table(audit: Path) -> None:
    """With a head, and numbers that can be read."""
    result = run("query", audit, "who-touched", "payments")
    assert result.exit_code == 0, result.output
    assert "first_seen" in result.output
    assert "alice" in result.output
    assert "150" in result.output


def test_sql_is_answered_from_an_argument_or_standard_input(audit: Path) -> None:
    """A phrase is SQL, and so is what comes in for `-`."""
    sql = "SELECT count(*) AS n FROM events WHERE action = 'Read'"
    assert json.loads(run("query", audit, sql, "--format", "json").stdout) == [{"n": 150}]
    assert json.loads(run("query", audit, "-", "--format", "json", text=sql).stdout) == [{"n": 150}]


def test_csv_is_whole_and_holds_no_formula(audit: Path) -> None:
    """Text that begins like a formula gets a quote before it; numbers stay numbers, times are ISO in UTC."""
    rows = list(csv.DictReader(io.StringIO(run("query", audit, "denied", "--format", "csv").stdout, newline="")))
    assert rows[0]["resource"] == "'=HYPERLINK(1)"
    assert rows[0]["time"].endswith("Z")
    everything = run("query", audit, "timeline", "alice", "--format", "csv").stdout
    assert len(everything.splitlines()) == 1 + 1 + 150 + 2 + 1


def test_json_is_an_array_of_objects_with_the_values_as_they_are(audit: Path) -> None:
    """Also for a value that a terminal must not see raw."""
    rows = json.loads(run("query", audit, "denied", "--format", "json").stdout)
    assert [row["resource"] for row in rows] == ["=HYPERLINK(1)", ESCAPES]
    assert json.loads(run("query", audit, "denied", "--until", "2000-01-01", "--format", "json").stdout) == []


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_control_or_bidirectional_character_reaches_the_terminal(audit: Path, form: str) -> None:
    """They are shown as escapes."""
    shown = run("query", audit, "denied", "--format", form).stdout
    assert not {"\x1b", "\u202e", "\u200b", "\x9b"} & set(shown)
    assert "\\u202e" in shown


def test_a_table_is_cut_and_says_so(audit: Path) -> None:
    """A hundred rows, the last ones; `--limit` moves it, and 0 lifts it."""
    result = run("query", audit, "timeline", "alice")
    assert "100 rows, as many as the limit allows" in result.stderr
    assert "150 rows" not in run("query", audit, "timeline", "alice", "--limit", "0").stderr
    assert len(json.loads(run("query", audit, "timeline", "alice", "--limit", "2", "--format", "json").stdout)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SELECT nonsense FROM events"], "nonsense"),
        (["SELEC 1"], "syntax error"),
        (["who-touchd", "payments"], "did you mean 'who-touched'?"),
        (["payments"], "No saved question 'payments'"),
        (["who-touched", "payments", "--offset", "3"], "--partition and --offset go together"),
        (["denied", "--since", "yesterday"], "'yesterday' is no time"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_status_2(audit: Path, arguments: list[str], words: str) -> None:
    """It names what is wrong, and there is no traceback."""
    result = run("query", audit, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output


def test_a_file_that_goes_while_a_question_is_put_means_a_new_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention or compaction may be quicker than the question: it is put again."""
    with auditring.open(tmp_path, balance=None) as log:
        log.flush(20)
        log.emit("com.example.First")
    first, *_ = list_sealed(tmp_path)[0]

    def connected_too_early(asked: Asked) -> duckdb.DuckDBPyConnection:
        con = connected(asked)
        first.path.unlink(missing_ok=True)
        return con

    monkeypatch.setattr("auditring.cli.query.connected", connected_too_early)
    result = run("query", tmp_path, "SELECT action FROM events ORDER BY seq", "--format", "json")
    assert [row["action"] for row in json.loads(result.stdout)] == ["com.example.First", "ProxyCleanShutdown"]


def test_what_is_no_audit_directory_is_one_line_and_status_2(tmp_path: Path) -> None:
    """For every command that reads one."""
    for arguments in (["query", tmp_path, "denied"], ["stats", tmp_path], ["query", tmp_path / "missing", "denied"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "give the directory that auditring.open was called with" in result.stderr


def test_help_teaches_by_example() -> None:
    """Every command's help shows commands that one can type."""
    questions = ("denied", "keys-used", "logins", "session", "spikes", "timeline", "who-touched")
    asked = [["query", "audit/", question] for question in questions]
    for arguments in ([], ["query"], *asked, ["stats"], ["tail"], ["verify"], ["demo"]):
        result = run(*arguments, "--help")
        assert result.exit_code == 0, result.output
        assert "  auditring " in result.output


def test_no_help_shows_the_mark_of_its_paragraphs() -> None:
    """The mark that keeps the lines of examples apart is not for the reader; of every command there is."""
    helps = dict(helps_of(command, ()))
    assert {(), ("query", "denied"), ("tail",), ("demo",)} < helps.keys()
    for asked, text in helps.items():
        assert "\\b" not in text, asked
        assert "\b" not in text, asked
    assert "\n    auditring tail audit/ --session" in helps[("tail",)]
    assert "\n    auditring demo --firehose 10000000\n" in helps[("demo",)]


def helps_of(group: click.Command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The help of a command and of all below it, by the words that one types."""
    directory = ("audit/",) if names[:1] == ("query",) and names[1:] else ()
    result = run(*names[:1], *directory, *names[1:], "--help")
    assert result.exit_code == 0, result.output
    yield names, result.output
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            below = group.get_command(context, name)
            assert below is not None
            yield from helps_of(below, (*names, name))


def test_an_unknown_command_is_told_the_nearest_one() -> None:
    """A slip of the pen is one line."""
    result = run("quer")
    assert result.exit_code == 2
    assert "did you mean 'query'?" in result.stderr


def test_without_click_the_command_says_which_extra_has_it() -> None:
    """The script is installed with the library; what it needs is not."""
    program = "import sys; sys.modules['click'] = None\nfrom auditring.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr.strip() == "auditring: the command line needs two more packages: pip install 'auditring[cli,query]'"
    )


def test_without_duckdb_the_query_says_which_extra_has_it(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the other commands work."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = run("query", audit, "denied")
    assert result.exit_code == 2
    assert result.stderr.strip() == "Error: this needs duckdb: pip install 'auditring[query]'"


def test_visible_keeps_what_stands_for_itself() -> None:
    """Letters of any script stay; what acts is shown."""
    assert visible("päth 日本 ok") == "päth 日本 ok"
    assert visible("\x00\t\x7f\u2066\ufeff\U000e0041") == r"\x00\x09\x7f\u2066\ufeff\U000e0041"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_cell_that_begins_like_a_formula_is_quoted(text: str) -> None:
    """Only text: a negative number is a number."""
    assert csv_cell(text) == "'" + text
    assert csv_cell(-1) == -1


def test_json_text_comes_back_equal() -> None:
    """Escapes for the terminal are escapes of JSON."""
    value = {"a": [ESCAPES, None, 1.5, True], "\u202e": "\U000e0041\x7f"}
    assert json.loads(json_text(value)) == value


def test_a_session_is_told_from_its_beginning_to_its_end(story: Path) -> None:
    """And nothing of another one."""
    actions = [row["action"] for row in answered(story, "session", "s-1")]
    assert actions == [
        "ClientAccept",
        "ClientSaslAuthFailure",
        "ClientSaslAuthSuccess",
        "com.example.kms.KeyUsed",
        "OperationDenied",
        "ClientClose",
    ]
    assert answered(story, "session", "s-") == []


def test_keys_that_plugins_used_are_counted(story: Path) -> None:
    """By key and principal; an event that names no key is none of them."""
    columns = ("action", "key_type", "key", "principal", "events")
    rows = [tuple(row[column] for column in columns) for row in answered(story, "keys-used")]
    action, key_type = "com.example.kms.KeyUsed", "com.example.kek"
    assert rows == [(action, key_type, "kek-0", "alice", 2), (action, key_type, "kek-1", "alice", 1)]
    assert len(answered(story, "keys-used", "--action", action)) == 2
    assert answered(story, "keys-used", "--action", "com.example.kms.Other") == []


def test_spikes_count_failures_and_denials_by_network(story: Path) -> None:
    """Two clients of one network are one network; successes are not among it."""
    counted: dict[object, list[object]] = {}
    for row in answered(story, "spikes"):  # the story may be told across the border of two buckets
        assert str(row["bucket"]).endswith(":00Z")
        seen = counted.setdefault(row["network"], [0, 0])
        counted[row["network"]] = [seen[0] + row["failures"], seen[1] + row["denials"]]  # type: ignore[operator]
    assert counted == {"10.1.2.0/24": [2, 2], "2001:db8::/64": [1, 1]}


def test_parquet_goes_into_a_file_with_its_types(story: Path, tmp_path: Path) -> None:
    """As DuckDB has them; a file is named, or the answer is a complaint."""
    target = tmp_path / "denied.parquet"
    assert run("query", story, "denied", "--format", "parquet", "--output", target).exit_code == 0
    table = pq.read_table(target)
    assert table.num_rows == 3
    assert table.column("resource").to_pylist() == ["salaries"] * 3
    assert pa.types.is_timestamp(table.schema.field("time").type)
    run("query", story, "denied", "--limit", "1", "--format", "parquet", "--output", target)
    assert pq.read_table(target).num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["denied.parquet"]
    complaint = run("query", story, "denied", "--format", "parquet")
    assert (complaint.exit_code, complaint.stdout) == (2, "")
    assert "say where with --output FILE" in complaint.stderr


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_every_form_can_go_into_a_file(story: Path, tmp_path: Path, form: str) -> None:
    """The same text as is printed; a question that fails leaves what was there."""
    target = tmp_path / "answer"
    assert run("query", story, "denied", "--format", form, "--output", target).stdout == ""
    assert target.read_text() == run("query", story, "denied", "--format", form).stdout
    assert run("query", story, "SELECT nonsense", "--format", form, "--output", target).exit_code == 2
    assert "salaries" in target.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(story: Path, tmp_path: Path, form: str) -> None:
    """And not by the name that it has until it is complete."""
    target = tmp_path / "missing" / "answer"
    result = run("query", story, "denied", "--format", form, "--output", target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"Error: [Errno 2] No such file or directory: '{target}'\n"


def test_nothing_is_drawn_into_an_answer(story: Path) -> None:
    """Also where DuckDB takes the program for an interactive one, and would show how far it is."""
    program = "from auditring.cli import main; main()"
    sql = "SELECT current_setting('enable_progress_bar') AS drawn"
    command = [sys.executable, "-c", program, "query", str(story), sql, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"drawn": False}]


def test_stats_show_the_balance_of_living_and_closed_processes(audit: Path) -> None:
    """From the files alone; the process is closed and its numbers are still there."""
    (process,) = json.loads(run("stats", audit, "--format", "json").stdout)
    assert (process["instance"], process["alive"], process["pid"]) == ("proxy-1", False, None)
    assert process["journaled"] == process["sinks"]["parquet"]["delivered"] == 157
    assert run("stats", audit, "--json").stdout == run("stats", audit, "--format", "json").stdout
    table = run("stats", audit)
    assert table.exit_code == 0, table.output
    assert "closed" in table.output
    assert table.output.splitlines()[-1] == "All balances: 3 equations hold."


def test_stats_of_nobody_claim_nothing(tmp_path: Path) -> None:
    """A directory in which no process has left its numbers does not balance, it is empty."""
    (tmp_path / "events").mkdir()
    assert run("stats", tmp_path).stdout.splitlines()[-1] == "Nothing to balance: no process has written here."


def test_stats_show_a_living_process(tmp_path: Path) -> None:
    """It is said to be writing, under its number."""
    with auditring.open(tmp_path) as log:
        log.flush(20)
        (process,) = json.loads(run("stats", tmp_path, "--format", "json").stdout)
        assert (process["process"], process["alive"]) == (log.process, True)
        assert "writing" in run("stats", tmp_path).output


def test_stats_show_a_process_that_was_killed(tmp_path: Path) -> None:
    """Nobody has to adopt it first: its files tell what it came to, and that it is dead."""
    program = (
        "import os, signal, sys, auditring\n"
        "log = auditring.open(sys.argv[1])\n"
        "log.emit('com.example.First')\n"
        "log.flush(20)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    result = run("stats", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    (process,) = json.loads(result.stdout)
    assert (process["alive"], process["journaled"], process["sinks"]["parquet"]["delivered"]) == (False, 2, 2)
    assert "dead, not recovered" in run("stats", tmp_path).output


def test_stats_name_an_equation_that_does_not_hold(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its numbers, and by its exit status."""
    processes = _core.outside(str(audit))
    processes[0]["sinks"]["parquet"]["delivered"] -= 1
    monkeypatch.setattr("auditring._core.outside", lambda _root, unreadable: processes)  # noqa: ARG005 - as it is called
    result = run("stats", audit)
    assert result.exit_code == 1
    assert "pending at parquet: 157 ≠ 156" in result.stderr
    assert result.stdout.splitlines()[-1] == "Does not balance: 1 of 3 equations."

"""`auditring verify`: what it tells people and machines, and with which status."""

import json
import shutil
from pathlib import Path

import pytest

from auditring import verify
from auditring.directory import NotAnAuditDirectory
from verified import files, run, span, written


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that nobody has touched."""
    path = tmp_path_factory.mktemp("pristine") / "audit"
    written(path)
    return path


@pytest.fixture
def audit(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "audit"))


def test_the_command_tells_people_the_verdict(audit: Path) -> None:
    """A table of processes and one line at the end; status 0, and 1 with the findings."""
    good = run(audit)
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[-1].startswith("Complete: 1 process, nothing is missing. (")
    files(audit)[1].unlink()
    bad = run(audit)
    assert bad.exit_code == 1
    assert "missing: " in bad.output
    assert "NOT complete: missing" in bad.output
    assert bad.output.splitlines()[-1].startswith("NOT complete: 1 finding(s), 1 of 1 process concerned.")


def test_the_command_is_quiet_if_asked(audit: Path) -> None:
    """Nothing at all, or what is wrong."""
    assert (run(audit, "--quiet").output, run(audit, "-q").exit_code) == ("", 0)
    files(audit)[1].unlink()
    result = run(audit, "--quiet")
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.output.splitlines()] == ["missing", "NOT complete"]


def test_the_command_tells_machines_everything(audit: Path) -> None:
    """One object; findings have kinds, ranges and files."""
    gone = files(audit)[1]
    gone.unlink()
    result = run(audit, "--json")
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert run(audit, "--format", "json").exit_code == 1
    assert (report["complete"], report["processes"][0]["complete"]) == (False, False)
    (finding,) = report["findings"]
    assert (finding["kind"], finding["first_seq"], finding["last_seq"]) == ("missing", *span(gone))
    assert len(finding["beside"]) == 2
    assert report["processes"][0]["lines"]["lines"] == 156


def test_nothing_to_verify_is_not_complete(tmp_path: Path) -> None:
    """A directory that a log was once to be in proves nothing; whatever is none is status 2 and one line."""
    (tmp_path / "audit" / "events").mkdir(parents=True)
    result = run(tmp_path / "audit")
    assert (result.exit_code, "Nothing to verify" in result.output) == (1, True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "empty", tmp_path / "file", tmp_path / "missing"):
        result = run(path)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert str(path) in result.stderr
        with pytest.raises(NotAnAuditDirectory):
            verify.check(path)
    assert run(tmp_path / "audit", "--process", "nobody").exit_code == 2
    assert run(tmp_path / "audit", "--nonsense").exit_code == 2

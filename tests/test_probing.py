"""Sinks are asked at `open` whether they can be written to, before anything is begun."""

from pathlib import Path
from typing import Any

import pytest

import auditring
from auditring import ConfigError, SinkError
from auditring.sinks import JsonlSink, ParquetSink
from auditring.sinks._files import probe_directory


class Away(JsonlSink):
    """A sink whose other end is not there."""

    def __init__(self, *, remote: bool) -> None:
        super().__init__(name="away")
        self.remote = remote
        self.asked = 0

    def probe(self, root: Path) -> None:
        """Finds nobody."""
        self.asked += 1
        raise ConnectionRefusedError(111, f"nobody there for {root.name}")


def test_a_sink_that_cannot_be_written_to_leaves_no_trace_of_the_log(tmp_path: Path) -> None:
    """The error names sink and cause, and no directory, ring or row was made."""
    (tmp_path / "in-the-way").write_text("a file")
    sinks = ParquetSink(), JsonlSink(tmp_path / "in-the-way" / "lines")
    rings = tmp_path / "rings"
    rings.mkdir()
    with pytest.raises(SinkError, match=r"'jsonl'.*NotADirectoryError") as caught:
        auditring.open(tmp_path / "audit", sinks=sinks, ring_dir=rings)
    assert isinstance(caught.value.__cause__, NotADirectoryError)
    assert not (tmp_path / "audit").exists()
    assert list(rings.iterdir()) == []


@pytest.mark.parametrize(
    ("remote", "probe", "raises"),
    [
        (False, None, True),
        (True, None, False),
        (True, True, True),
        (True, ("away",), True),
        (False, ("parquet",), False),
        (False, (), False),
        (False, False, False),
    ],
)
def test_who_is_asked_is_the_callers_choice(tmp_path: Path, remote: bool, probe: Any, raises: bool) -> None:  # noqa: ANN401, FBT001 - parameters of the test
    """By default those on this machine; a remote one keeps nobody from starting who does not ask for it."""
    sinks = ParquetSink(), Away(remote=remote)
    if raises:
        with pytest.raises(SinkError, match=r"'away'.*nobody there for audit"):
            auditring.open(tmp_path / "audit", sinks=sinks, probe=probe)
        assert sinks[1].asked == 1
    else:
        auditring.open(tmp_path / "audit", sinks=sinks, probe=probe).close(30)
        assert sinks[1].asked == 0


def test_names_to_ask_are_checked(tmp_path: Path) -> None:
    """An unknown one is an error with a suggestion, also for a log that keeps nothing."""
    with pytest.raises(ConfigError, match="parquet"):
        auditring.open(tmp_path / "audit", probe=("parquett",))
    with pytest.raises(ConfigError, match="probe"):
        auditring.open(None, probe="parquet")


def test_a_probe_leaves_nothing_and_finds_what_is_not_there_yet(tmp_path: Path) -> None:
    """A directory that is still to be made is judged by the one above it; no file stays."""
    probe_directory(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        probe_directory(tmp_path / "file" / "below")

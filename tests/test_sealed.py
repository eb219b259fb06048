"""Which files a reader counts: the ranges in names, and ranges within ranges."""

from pathlib import Path

from auditring.sealed import SealedFile, list_sealed, without_covered

ONE = "7f1c7a64-6a7e-4b21-9a3c-0d6a5a1e0001"
OTHER = "7f1c7a64-6a7e-4b21-9a3c-0d6a5a1e0002"


def file(process: str, first: int, last: int) -> SealedFile:
    """A file of this range, which nobody opens."""
    return SealedFile(process, first, last, Path(f"{process}-{first:016}-{last:016}.parquet"))


def test_a_name_tells_process_and_range() -> None:
    """What is written into a name is read out of it."""
    assert SealedFile.from_path(file(ONE, 3, 44).path) == file(ONE, 3, 44)
    assert file(ONE, 3, 44).range == (ONE, 3, 44)


def test_other_names_are_none_of_ours() -> None:
    """Whatever does not match in full is not taken for a sealed file."""
    for name in (
        "part-0.parquet",
        f"{ONE}-1-2.parquet.tmp",
        f".{ONE}-1-2.parquet",
        f"{ONE}-1.parquet",
        f"{ONE}-x-2.parquet",
    ):
        assert SealedFile.from_path(Path(name)) is None


def test_a_range_within_another_of_the_same_process_does_not_count() -> None:
    """Compaction's file counts, the ones that it was made of do not; those of other processes are not concerned."""
    files = [
        file(ONE, 1, 10),
        file(ONE, 11, 20),
        file(OTHER, 5, 7),
        file(ONE, 1, 20),
        file(ONE, 21, 30),
        file(ONE, 25, 30),
    ]
    assert without_covered(files) == [file(ONE, 1, 20), file(ONE, 21, 30), file(OTHER, 5, 7)]


def test_the_same_range_twice_counts_once(tmp_path: Path) -> None:
    """A file that lies in two folders is one file."""
    for day in ("2026-11-22", "2026-11-23"):
        (tmp_path / "events" / day).mkdir(parents=True)
        (tmp_path / "events" / day / file(ONE, 1, 2).path).touch()
    files, strangers = list_sealed(tmp_path)
    assert [found.range for found in files] == [(ONE, 1, 2)]
    assert strangers == []


def test_strangers_are_told_apart(tmp_path: Path) -> None:
    """Parquet files of others are listed beside ours, and what does not end in `.parquet` not at all."""
    day = tmp_path / "events" / "2026-11-23"
    day.mkdir(parents=True)
    for name in (file(ONE, 1, 2).path.name, "theirs.parquet", f".{ONE}-{3:016}.tmp"):
        (day / name).touch()
    files, strangers = list_sealed(tmp_path)
    assert [found.path.name for found in files] == [file(ONE, 1, 2).path.name]
    assert [path.name for path in strangers] == ["theirs.parquet"]

"""`verify.check` on JSON lines: what is gone, doubled, cut or somebody else's is told by its seq or line."""

import json
import os
import shutil
from pathlib import Path

import pytest
import zstandard

import auditring
from auditring import Keep, Policy, Rotation, Rule, verify
from auditring.sinks import JsonlSink
from auditring.verify import Kind
from verified import ROWS, kinds, lines_of, the_only, written, wrong


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


@pytest.fixture
def lined(tmp_path: Path) -> Path:
    """A log of lines alone, in several files."""
    with auditring.open(tmp_path / "audit", sinks=(JsonlSink(rotation=Rotation(rows=ROWS)),), balance=None) as log:
        for _ in range(150):
            log.emit("com.example.Event")
    return tmp_path / "audit"


def test_a_removed_line_is_named_by_its_seq(lined: Path) -> None:
    """Anywhere in any file; also all of a file, and the last one."""
    for path in (lines_of(lined)[0], lines_of(lined)[1], lines_of(lined)[-1]):
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for at in (0, len(lines) // 2, len(lines) - 1):
            path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
            seq = json.loads(lines[at])["seq"]
            (finding,) = wrong(lined)
            assert (finding.kind, finding.first_seq, finding.last_seq) == (Kind.MISSING, seq, seq)
            assert path.name in finding.text
        path.unlink()
        seqs = [json.loads(line)["seq"] for line in lines]
        assert the_only(wrong(lined)) == (Kind.MISSING, seqs[0], seqs[-1])
        path.write_bytes(whole)
    assert wrong(lined) == []


def test_a_line_that_waited_for_others_and_stayed_alone_is_in_its_place(tmp_path: Path) -> None:
    """It comes when its window ends, behind later ones, and nothing was merged; one that is there twice is told."""
    policy = Policy(rules=[Rule(action="Read", keep=Keep.COALESCE(60))])
    with auditring.open(tmp_path, policy=policy, sinks=[JsonlSink()], balance=None) as log, log.session() as session:
        session.read("orders", 0, 0, 0)  # the first touch
        session.read("orders", 0, 1, 1)
        session.operation_denied("READ", "Topic", "orders")
    (path,) = tmp_path.glob("jsonl/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    seqs = [json.loads(line)["seq"] for line in lines]
    assert seqs != sorted(seqs)
    assert wrong(tmp_path) == []
    late = next(at for at, seq in enumerate(seqs) if seq < max(seqs[: at + 1]))
    path.write_bytes(b"".join([*lines[: late + 1], lines[late], *lines[late + 2 :]]))
    assert (Kind.DOUBLED, seqs[late]) in {(one.kind, one.first_seq) for one in wrong(tmp_path)}


def test_a_doubled_line_is_named_by_its_seq(lined: Path) -> None:
    """In its file, or from another one; with the line."""
    first, second, *_ = lines_of(lined)
    whole, lines = second.read_bytes(), second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join([*lines[:5], lines[4], *lines[5:]]))
    (finding,) = wrong(lined)
    assert (finding.kind, finding.first_seq) == (Kind.DOUBLED, json.loads(lines[4])["seq"])
    assert f"{second.name}: in line 6 seq" in finding.text
    other = first.read_bytes().splitlines(keepends=True)[2]
    second.write_bytes(whole + other)
    assert (Kind.DOUBLED, json.loads(other)["seq"]) in {(one.kind, one.first_seq) for one in wrong(lined)}


def test_a_line_that_is_cut_or_no_event_is_told_with_its_number(lined: Path) -> None:
    """At the end of a file, and within it; also what would make Arrow's parser die."""
    path = lines_of(lined)[1]
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    os.truncate(path, len(whole) - 10)
    (finding,) = wrong(lined)
    assert (finding.kind, f"line {len(lines)} is cut" in finding.text) == (Kind.UNREADABLE, True)
    for junk in (b"null\n", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", lines[3][:-20] + b"\n", lines[3][:-1] + b"null\n"):
        path.write_bytes(b"".join([*lines[:3], junk, *lines[4:]]))
        (finding,) = wrong(lined)
        assert (finding.kind, f"{path.name}: line 4 is no JSON object" in finding.text) == (Kind.UNREADABLE, True), junk


def test_lines_of_somebody_else_are_told(lined: Path, tmp_path: Path) -> None:
    """Another process's line, one whose id is not its own, and a file that no sink has named."""
    theirs = written(tmp_path / "other")
    path = lines_of(lined)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    stranger = lines_of(tmp_path / "other")[1].read_bytes().splitlines(keepends=True)[3]
    path.write_bytes(b"".join([*lines[:3], stranger, *lines[4:]]))
    (finding,) = wrong(lined)
    assert (finding.kind, theirs in finding.text) == (Kind.FOREIGN, True)
    seq = json.loads(lines[3])["seq"]
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(f':{seq}"'.encode(), b':9"'), *lines[4:]]))
    assert the_only(wrong(lined)) == (Kind.ALTERED, seq, seq)
    path.write_bytes(b"".join(lines))
    (lined / "jsonl" / "mine.jsonl").write_text("{}\n")
    assert kinds(wrong(lined)) == {Kind.FOREIGN}


def test_compressed_lines_are_read_to_their_end(tmp_path: Path) -> None:
    """A cut or flipped one is told; one that is there plain as well is a leftover."""
    with auditring.open(tmp_path, sinks=(JsonlSink(rotation=Rotation(rows=50), compress=True),), balance=None) as log:
        for _ in range(200):
            log.emit("com.example.Event")
    assert wrong(tmp_path) == []
    path = sorted(tmp_path.glob("jsonl/closed/*.zst"))[1]
    whole = path.read_bytes()
    plain = tmp_path / "jsonl" / path.stem
    plain.write_bytes(zstandard.ZstdDecompressor().stream_reader(whole).read())
    report = verify.check(tmp_path)
    assert report.complete
    assert [finding.kind for finding in report.everything] == [Kind.LEFTOVER]
    plain.unlink()
    path.write_bytes(whole[:-6])
    assert kinds(wrong(tmp_path)) == {Kind.UNREADABLE}
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    assert Kind.UNREADABLE in kinds(wrong(tmp_path))


def test_half_a_line_of_a_living_process_is_no_mistake(tmp_path: Path) -> None:
    """A tailer may see the front of one; what the cursor has passed must be whole."""
    with auditring.open(tmp_path, sinks=(JsonlSink(),), balance=None) as log:
        log.emit("com.example.First")
        log.flush(20)
        (path,) = lines_of(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:100])
        assert wrong(tmp_path) == []
        path.write_bytes(whole[:-100])
        assert kinds(wrong(tmp_path)) == {Kind.UNREADABLE}
        path.write_bytes(whole)

"""Kafka's jars and the archive of its loaded classes, made once for each pom and JVM in `.cache/kafka/`.

Several test runs may come at once: the first makes, under a lock, the others wait. What is there is complete, because
it is made under another name and then renamed.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).resolve().parents[1]
POM: Final = _HERE / "pom.xml"
LOGGING: Final = _HERE / "log4j2.properties"
CACHE: Final = _HERE.parents[1] / ".cache" / "kafka"

_QUICK: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", f"-Dlog4j2.configurationFile={LOGGING}")
"""A JVM that lives for a minute: the simple collector, the first compiler alone."""


def require_java() -> None:
    """Skips where there is no Java or no Maven, and fails there in CI."""
    missing = [program for program in ("java", "mvn", "openssl") if shutil.which(program) is None]
    if not missing:
        return
    reason = f"a real Kafka needs {' and '.join(missing)}, which this machine has not"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def _folder() -> Path:
    """Where the jars for this pom and this JVM lie, with them in it."""
    version = subprocess.run(["java", "-version"], check=True, capture_output=True).stderr
    folder = CACHE / hashlib.sha256(POM.read_bytes() + version).hexdigest()[:16]
    with _locked():
        if not folder.exists():
            making = folder.with_suffix(f".{os.getpid()}")
            command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
            done = subprocess.run(
                [*command, f"-DoutputDirectory={making}"], capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == 0, f"Maven did not fetch Kafka:\n{done.stdout}{done.stderr}"
            making.rename(folder)
    return folder


def java(main: str, *arguments: str, options: tuple[str, ...] = (), archive: bool = True) -> list[str]:
    """The command that runs a class of Kafka's; it ends when the test run does, however that ends."""
    # Sorted and spelled out: the archive of classes is good only for this very string.
    classes = ":".join(str(jar) for jar in sorted(_folder().glob("*.jar")))
    shared = [f"-XX:SharedArchiveFile={_archive()}"] if archive and _archive().exists() else []
    leash = ["setpriv", "--pdeathsig", "KILL"] if sys.platform == "linux" and shutil.which("setpriv") else []
    return [*leash, "java", *_QUICK, *shared, *options, "-cp", classes, main, *arguments]


def make_archive(use: Callable[[tuple[str, ...]], None]) -> None:
    """Makes the archive of classes if there is none: `use` runs a broker with these options, and ends it well."""
    archive = _archive()
    with _locked():
        if not archive.exists():
            making = archive.with_suffix(f".{os.getpid()}")
            use((f"-XX:ArchiveClassesAtExit={making}",))
            making.rename(archive)


def _archive() -> Path:
    return _folder() / "kafka.jsa"


@contextmanager
def _locked() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

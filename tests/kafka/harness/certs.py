"""Certificates: an authority, those whom it vouches for, and those whom nobody should let in."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
)


_CA = """
[ca]
default_ca = past
[past]
database = {folder}/index.txt
new_certs_dir = {folder}
default_md = sha256
rand_serial = yes
policy = anything
[anything]
commonName = supplied
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


class Certificates:
    """A folder of them: `ca`, `server`, and the clients `alice`, `expired`, and `stranger` of another authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ca = self._authority("ca")
        other = self._authority("other")
        self.server = self._signed("server", "localhost", self.ca)
        self.alice = self._signed("alice", "alice", self.ca)
        self.stranger = self._signed("stranger", "stranger", other)
        self.expired = self._past("expired", self.ca)
        self.server_pem = folder / "server.pem"
        parts = (self.server.key, self.server.cert, self.ca.cert)
        self.server_pem.write_text("".join(part.read_text() for part in parts))

    def _authority(self, name: str) -> Pair:
        return self._make(name, f"auditring test {name}", "-x509", "-days", "3650")

    def _signed(self, name: str, subject: str, by: Pair) -> Pair:
        extensions = [part for extension in _EXTENSIONS for part in ("-addext", extension)]
        return self._make(
            name, subject, "-x509", "-days", "3650", "-CA", str(by.cert), "-CAkey", str(by.key), *extensions
        )

    def _past(self, name: str, by: Pair) -> Pair:
        """One that was good for a day, years ago; only `openssl ca` makes such a one in every version."""
        config = self.folder / "ca.cnf"
        config.write_text(_CA.format(folder=self.folder))
        (self.folder / "index.txt").touch()
        request = self._make(f"{name}-request", name)
        pair = Pair(self.folder / f"{name}.crt", request.key)
        dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
        files = ["-in", str(request.cert), "-out", str(pair.cert), "-cert", str(by.cert), "-keyfile", str(by.key)]
        _openssl("ca", "-batch", "-notext", "-config", str(config), *dates, *files)
        return pair

    def _make(self, name: str, subject: str, *options: str) -> Pair:
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}"]
        _openssl("req", *new, "-keyout", str(pair.key), "-out", str(pair.cert), *options)
        return pair


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments[0]} failed:\n{done.stderr}"

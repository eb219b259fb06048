"""Lives of hosts whose threads emit, some as fast as they can, one after the other or two at once in one directory.

What is acknowledged is a call that has returned, as a shared page says. Each host has one policy, or changes it all the
time: of Writes every offset is then in exactly one row, which may stand for many; Reads may be sampled out, merged or
off, and their number holds in the balance. With redaction nothing that it takes away is found in any file, ever.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from auditring import query
from auditring.redaction import read_key
from host_of_threads import CHANGES, SECRETS, Page
from lives import Found, covered, judged, kill, kill_recoveries, recover_all, standings

if TYPE_CHECKING:
    import random

    from lives import Row

_HOST = Path(__file__).with_name("host_of_threads.py")
_KEY = "env:AUDITRING_KILLS_KEY"
os.environ.setdefault(_KEY.removeprefix("env:"), "0123456789abcdef0123456789abcdef")


class Host:
    """One of a life's hosts: started, waited for, killed; what it had been told then."""

    def __init__(self, rng: random.Random, folder: Path, number: int, shared: dict[str, Any]) -> None:
        self.page = folder / f"page-{number}"
        self.page.write_bytes(bytes(mmap.PAGESIZE))
        self.order = {
            **shared,
            "number": number,
            "seed": rng.getrandbits(32),
            "page": str(self.page),
            "threads": rng.choice((1, 2, 4)),
            "segment_bytes": rng.choice((1 << 16, 1 << 20, 64 << 20)),
            "rows": rng.choice((500, 20_000, 1_000_000)),
            "compress": rng.random() < 0.5,
            # Flat out is rare: the millions of rows of such a life take longer to judge than many lives.
            "pause": rng.choices((0.0, 0.0005, 0.002, 0.01), (1, 6, 4, 4))[0],
            "lanes": rng.choice((None, 2, 4)),
            "close_after": rng.uniform(0.0, 0.4) if rng.random() < 0.25 else None,
        }
        command = [sys.executable, str(_HOST), json.dumps(self.order)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Now and then it dies as it is born, and as it adopts those that died before it.
        self.dies_at = "birth" if rng.random() < 0.15 else "load" if self.order["close_after"] is None else "close"

    def live(self, rng: random.Random) -> None:
        """Until the moment at which it is to die."""
        if self.dies_at == "birth":
            time.sleep(rng.uniform(0.2, 0.6))
            return
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "alive\n", self.order
        close_after = self.order["close_after"]
        time.sleep(rng.uniform(0, 0.6) if close_after is None else close_after + rng.uniform(0, 0.3))

    def die(self, found: Found) -> None:
        """By `kill -9`."""
        kill(self.process)
        assert self.process.stdout is not None
        self.process.stdout.close()
        found.kills += 1
        found.kinds[f"hosts killed in {self.dies_at}"] += 1
        found.kinds[f"hosts with a ring of {self.order['lanes'] or 'the usual'} lanes"] += 1
        if self.order["policy"] == "changing":
            found.kinds["hosts killed as policies change"] += 1

    def judge(self, rows: list[Row], standing: dict[str, Any] | None, found: Found) -> None:
        """What it was told is there, once."""
        page, threads = Page(self.page), self.order["threads"]
        writes = [page[2 * number] for number in range(threads)]
        reads = [page[2 * number + 1] for number in range(threads)]
        told = sum(writes) + sum(reads)
        found.accepted += told
        if standing is None:
            assert told == 0, f"host {self.order['number']} has no counters"
            return
        mine = [row for row in rows if row.process == standing["process"]]
        exact = self.order["policy"] in {"all", "coalesce"}
        for number in range(threads):
            name = f"{self.order['number']}-{number}"
            covered(mine, "Write", f"t-{name}", writes[number], 1)
            if exact:
                covered(mine, "Read", f"r-{name}", reads[number], 1)
        # Beside them: of each thread a call under way, and the first and the last row of its session.
        assert told <= standing["offered"] <= told + 3 * threads, f"told {told}: {standing}"
        assert standing["dropped"] == standing["refused"] == 0, standing
        changed = sum(row.action == "auditring.PolicyChanged" for row in mine)
        assert page[CHANGES] <= changed <= page[CHANGES] + 1, f"told of {page[CHANGES]} changes, there are {changed}"
        found.kinds["policies changed"] += changed


def one(rng: random.Random, folder: Path) -> Found:
    """One life of a directory. Raises `AssertionError`."""
    path, found = folder / "audit", Found()
    shared = {
        "path": str(path),
        "policy": rng.choice(("all", "all", "coalesce", "first", "sample", "changing", "changing")),
        "redact": rng.random() < 0.3,
    }
    # With the key everywhere, what is recovered is hashed by it; without it, left out.
    keyed = rng.random() < 0.7
    hosts: list[Host] = []
    living: list[Host] = []
    try:
        count = rng.choices((1, 2, 3), (5, 4, 2))[0]
        for number in range(count):
            host = Host(rng, folder, number, shared)
            hosts.append(host)
            living.append(host)
            host.live(rng)
            found.kinds["hosts that lived beside another"] += len(living) > 1
            if len(living) == 1 and number + 1 < count and rng.random() < 0.6:
                continue
            # One of two that live at once dies, which the next to come adopts beside the other; or both.
            for dying in list(living) if rng.random() < 0.5 else [rng.choice(living)]:
                living.remove(dying)
                dying.die(found)
    finally:
        for host in living:
            host.die(found)
    found.kinds[f"lives by policy {shared['policy']}"] += 1
    if not (path / "journal").exists():
        assert not any(Page(host.page)[slot] for host in hosts for slot in range(CHANGES + 1))
        return found
    options = ("--key", _KEY) if keyed else ()
    before = found.kinds["recoveries killed, of an open"]
    kill_recoveries(rng, path, found, options)
    if shared["redact"]:
        found.kinds["lives with redaction"] += 1
        unredacted(path)
    opened = found.kinds["recoveries killed, of an open"] > before
    recover_all(rng, path, found, (read_key(_KEY),) if keyed else ())
    opened |= found.kinds["recovered by the next open"] > 0
    rows = judged(path, found)
    counted = standings(path)
    for host in hosts:
        host.judge(rows, counted.get(f"host-{host.order['number']}"), found)
    if shared["redact"]:
        unredacted(path)
        hashed(path, all_of_them=keyed and not opened)
    return found


def unredacted(path: Path) -> None:
    """No file has what redaction takes away; tables are compressed, and asked in `hashed`."""
    for file in path.rglob("*"):
        if file.is_file() and file.suffix != ".parquet":
            data = file.read_bytes()
            if file.suffix == ".zst":
                data = zstandard.ZstdDecompressor().stream_reader(data).read()
            for secret in SECRETS:
                assert secret.encode() not in data, f"{secret} in {file}"


def hashed(path: Path, *, all_of_them: bool) -> None:
    """Peers are hashes, or where the key was not at hand nothing; the rest is cut or gone."""
    with query.connect(path) as con:
        rows = con.execute("SELECT peer_ip, client_id, context FROM events WHERE session LIKE 's-%'").fetchall()
    for peer, client, context in rows:
        assert peer is None or peer.startswith("hmac_"), peer
        assert peer is not None or not all_of_them, "the key was there"
        assert client is None or len(client) <= 3, client
        assert SECRETS[2] not in (context or ""), context

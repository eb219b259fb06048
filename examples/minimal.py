"""The smallest whole thing: one client's session, a few events, and DuckDB's answer.

python examples/minimal.py [DIRECTORY]
"""

from __future__ import annotations

import sys
import tempfile

import auditring
import auditring.query


def main(directory: str) -> None:
    """Audits one client of a Kafka proxy, then asks who touched what."""
    with (
        auditring.open(directory, instance="example") as log,
        log.session(peer=("10.0.0.7", 50_123), virtual_cluster="payments", authority="decision") as session,
    ):
        session.client_sasl_auth_success("alice", mechanism="SCRAM-SHA-256")
        session.operation_denied("WRITE", "Topic", "salaries")
        session.read("orders", 3, 1_000, 1_099, 42)
        session.write("orders", 3, 1_100, 1_104, 43, server_correlation_id=907, records=5)
        session.emit("com.example.kms.KeyUsed", object_ref={"com.example.kek": "kek-7"})

    with auditring.query.connect(directory) as duckdb:
        rows = duckdb.execute("SELECT principal, action, outcome, resource FROM events ORDER BY seq").fetchall()
    for principal, action, outcome, resource in rows:
        print(f"{principal or '-':6} {action:24} {outcome:8} {resource or '-'}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)

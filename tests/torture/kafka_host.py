"""A process that audits into Kafka until it is killed: `python kafka_host.py DIR SERVERS TOPIC`.

It says after each hundred events how many it has emitted: those were accepted.
"""

from __future__ import annotations

import sys
import time

import auditring
from auditring.sinks import KafkaSink, ParquetSink

if __name__ == "__main__":
    directory, servers, topic = sys.argv[1:]
    log = auditring.open(directory, sinks=[ParquetSink(), KafkaSink(servers, topic)], balance=None)
    with log.session(id="conn-1") as session:
        emitted = 0
        while True:
            for _ in range(100):
                session.read("orders", 0, emitted, emitted)
                emitted += 1
            print(emitted, flush=True)
            time.sleep(0.002)

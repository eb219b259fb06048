"""What `auditring demo` shows: a gateway audited while it serves, and a firehose of Kafka-like events.

The arrows: `serve` (a child process) runs `upstream` or `gateway`; `act` starts the two, drives them with `client`
and ends with `report`; `firehose` knows only sessions.
"""

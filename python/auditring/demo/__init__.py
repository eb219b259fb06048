"""What `auditring demo` shows: a Kafka proxy audited while it serves, an HTTP gateway, and a firehose of events.

The arrows: an act (`kafka.act`, `http.act`, `flood`) starts its servers as `children`, drives them with clients, shows
the `balance` as it goes and ends with `report`. The servers know nothing of the act.

`examples/` links to the proxy among the repository's examples, so that it lies in an installed package too.
"""

"""The act with Kafka, real clients and a real proxy.

`serve` (child processes) runs the mock `cluster`, and the proxy as `settings` say; `act` drives them with `clients`,
whom `watch` shows as they go, and compares what they have `seen` with the `answers` of the audit.
"""

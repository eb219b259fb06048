"""What a tap should have said, worked out a second time: from Kafka's schemas and from what the documentation promises.

Messages are those of the package `kio`, which makes them from Apache Kafka's own schemas.
"""

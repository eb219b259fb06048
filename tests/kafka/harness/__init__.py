"""What the tests with a real Kafka stand on.

- `jars`, `certs`, `ports`, `broker`: Kafka fetched once, certificates good and bad, a broker that can be killed
- `proxy`: the example as a process of its own; `audit`: what DuckDB finds, in the clients' terms
- `clients`, `java`, `raw`, `records`: confluent-kafka, Kafka's own tools, and what no library would send
- `planted`: the secrets that must be found nowhere; `waiting`: conditions with a deadline
"""

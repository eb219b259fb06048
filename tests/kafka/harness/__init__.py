"""What the tests with a real Kafka stand on: a broker, a proxy in front of it, clients, and what the audit says.

    jars      Kafka's jars, fetched once                  planted   the secrets that must be found nowhere
    certs     certificates, good and bad                  proxy     the example proxy as a process of its own
    broker    one broker, started, killed, started again  audit     what DuckDB finds, in the clients' terms
    ports     ports that nobody else takes                clients   settings, and what a client's own API said
    waiting   conditions with a deadline                  java      the command-line tools
"""

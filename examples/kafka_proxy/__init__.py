"""A Kafka proxy with an audit log: several virtual clusters, a port per broker. `README.md` says how to read it."""

from kafka_proxy.config import Config, load
from kafka_proxy.proxy import Proxy

__all__ = ["Config", "Proxy", "load"]

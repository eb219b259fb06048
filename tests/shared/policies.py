"""A policy that tests of more than one kind go by."""

__all__ = ["METRICS"]

METRICS = """
seed = 7

# Scrapers read all day.
[[rule]]
action = "Read"
resource = ["metrics.*", "heartbeat"]
keep = "off"

[[rule]]
action = ["Read", "Write"]
principal = "svc-*"
peer = ["10.0.0.0/8", "2001:db8::/32"]
keep = "sample"
one_in = 100
by = ["session"]
"""

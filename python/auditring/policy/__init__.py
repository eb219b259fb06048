"""What a log keeps, said in Python or TOML and handed to Rust as canonical JSON, which is also what the journal holds.

Nothing is decided here: the decision is a pure function in Rust of the row and of these bytes, and Rust also says which
rules can be. What must always hold: a policy that exists is one that Rust takes, and the same policy is the same bytes.
"""

from auditring.policy.keep import Keep
from auditring.policy.rule import Rule, literal
from auditring.policy.whole import Policy, drawn_seed, shorthand
from auditring.policy_diff import PolicyDiff, diff

__all__ = ["Keep", "Policy", "PolicyDiff", "Rule", "diff", "drawn_seed", "literal", "shorthand"]

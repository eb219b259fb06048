"""What the log keeps, said in Python and handed to Rust as canonical JSON, which is also what the journal holds.

Nothing is decided here: the decision is a pure function in Rust of the row and of these bytes.
"""

import dataclasses
import json
import secrets
from typing import ClassVar, Final

from auditring.exceptions import ConfigError

__all__ = ["Keep", "policy_json"]

_VERSION: Final = 1
_SEED_BITS: Final = 64
_MOST: Final = 2**32 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """How much of one kind of event is kept: `Keep.ALL`, `Keep.OFF` or `Keep.SAMPLE(one_in=n)`."""

    kind: str
    one_in: int = 1

    ALL: ClassVar["Keep"]
    """Every event is a row."""

    OFF: ClassVar["Keep"]
    """No event is recorded, and the emit call costs next to nothing. Lost: all but the number, which is `off`."""

    @staticmethod
    def SAMPLE(*, one_in: int) -> "Keep":  # noqa: N802 - stands beside ALL and OFF
        """Of all pairs of a session and a topic one in `one_in` is kept whole, its rows with that `weight`.

        Which pairs is fixed by the log's seed, so two sinks keep the same. The first event of every pair is always a
        row, with weight 1. Lost: the other rows; `sum(count * weight)` stays an unbiased total.
        """
        if isinstance(one_in, bool) or not isinstance(one_in, int):
            raise ConfigError(f"Keep.SAMPLE: one_in is a whole number, not {type(one_in).__name__}")
        if not 1 <= one_in <= _MOST:
            raise ConfigError(f"Keep.SAMPLE: one_in is 1 to {_MOST}, not {one_in}")
        return Keep("sample", one_in)

    def __repr__(self) -> str:
        """As it is written in code."""
        return f"Keep.SAMPLE(one_in={self.one_in})" if self.kind == "sample" else f"Keep.{self.kind.upper()}"


Keep.ALL = Keep("all")
Keep.OFF = Keep("off")


def policy_json(*, read: Keep, write: Keep, request: Keep = Keep.OFF, seed: int | None) -> bytes:
    """The log's policy as canonical JSON: sorted keys, no spaces. Without a seed each log draws its own."""
    for name, keep in (("read", read), ("write", write)):
        if not isinstance(keep, Keep):
            raise ConfigError(f"{name}: Keep.ALL, Keep.OFF or Keep.SAMPLE(one_in=n), not {keep!r}")
    if request not in {Keep.ALL, Keep.OFF}:
        raise ConfigError(f"request: Keep.ALL or Keep.OFF, not {request!r}")
    if seed is None:
        seed = secrets.randbits(_SEED_BITS)
    if not 0 <= seed < 1 << _SEED_BITS:
        raise ConfigError(f"seed: a whole number from 0 to 2**{_SEED_BITS} - 1, not {seed!r}")
    policy = {
        "version": _VERSION,
        "seed": seed,
        "read": {"keep": read.kind, "one_in": read.one_in},
        "write": {"keep": write.kind, "one_in": write.one_in},
        "request": {"keep": request.kind},
    }
    return json.dumps(policy, sort_keys=True, separators=(",", ":")).encode("ascii")

"""What a sink must keep, rule by rule; `docs/sinks.md` has a section for each, of the same name."""

from collections.abc import Mapping
from typing import Final

__all__ = ["PAGE", "RULES", "RuleBroken"]

PAGE: Final = "docs/sinks.md"

RULES: Final[Mapping[str, str]] = {
    "order": "what `write` is given is there in that order, each row as often as it was given",
    "windows": "a batch may be empty, and rows may come later with a lesser seq",
    "errors": "what a sink cannot take it raises; `write` and `commit` return only when all went well",
    "retry": "after a failure `start` undoes what was not committed, and the rows come again",
    "poison": "a row that was rejected is left out, and every other row is there",
    "slow": "a sink that was held up takes all that has gathered meanwhile",
    "state": "the state is bytes, at most 4 KiB, and does not grow with what was delivered",
    "interested": "`interested` answers the same whenever it is asked, whoever asks",
    "fresh": "`fresh` is another object of the same configuration, and two of them know nothing of each other",
    "close": "`close` lets go of everything, and neither loses nor keeps what was not committed",
    "outage": "while the destination is away a sink raises, and when it is back nothing is missing",
    "restart": "a new object that is given the state goes on where the commit was that returned it",
    "acknowledgement": "when `commit` returns the rows are where the next `kill -9` cannot reach them",
    "fork": "in a forked child `forked` lets go of what is the parent's, and writes nothing to it",
}


class RuleBroken(AssertionError):  # noqa: N818 - says what happened, as a test reports it
    """A sink does not keep a rule."""

    def __init__(self, rule: str, what: str) -> None:
        """`what` was seen."""
        super().__init__(f"{what}\nThe rule: {RULES[rule]} ({PAGE}#{rule}).")
        self.rule = rule

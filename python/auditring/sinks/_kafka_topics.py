"""Which topic a row goes to: a pattern of literal text and a few names in braces.

What must always hold: whatever a value is, the topic is one that Kafka takes; and a sink writes to no more topics than
it was told, for values may come from further away than the pattern: what would be one more goes to the topic that has
`other` in place of every value.
"""

import re
from collections.abc import Mapping
from typing import Final

from auditring.config import positive, unknown_key
from auditring.exceptions import ConfigError

__all__ = ["FIELDS", "OTHER", "TopicPattern"]

FIELDS: Final = ("virtual_cluster", "category", "action", "outcome", "instance", "host")
"""What a pattern may name."""
_LONGEST: Final = 249
"""Characters of a topic's name; Kafka's own limit."""
_SHORTEST: Final = 3
"""Letters of its own that a pattern has at least."""
_NONE: Final = "none"
OTHER: Final = "other"
"""What stands in place of every value in the topic for all others."""
_PART: Final = re.compile(r"\{([^{}]*)\}")
_LEGAL: Final = re.compile(r"[A-Za-z0-9._-]*")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9._-]")


class TopicPattern:
    """A pattern such as `audit.{virtual_cluster}`, or a plain name."""

    def __init__(self, pattern: str, most: int) -> None:
        """Checks the pattern. `most`: how many topics it may become, the one for all others not counted."""
        if not isinstance(pattern, str):
            raise ConfigError(f"topic: a name or a pattern, not {type(pattern).__name__}")
        positive("max_topics", most)
        parts = _PART.split(pattern)
        self.text = pattern
        self._literals, self.fields = parts[::2], parts[1::2]
        for name in self.fields:
            if name not in FIELDS:
                raise unknown_key("topic", name, FIELDS)
        for literal in self._literals:
            if _LEGAL.fullmatch(literal) is None:
                raise ConfigError(
                    f"topic: {literal!r} in {pattern!r} is no part of a topic's name: letters, digits, '.', '_' and "
                    f"'-', and one of {', '.join(FIELDS)} in braces"
                )
        if not any(self._literals):
            raise ConfigError(f"topic: {pattern!r} has no text of its own; put one before it, as in 'audit.{pattern}'")
        if self.fields and len("".join(self._literals)) < _SHORTEST:
            raise ConfigError(
                f"topic: {pattern!r} has too little text of its own, by which the loop guard knows the sink's topics: "
                f"at least {_SHORTEST} letters"
            )
        self.other = self._filled([OTHER] * len(self.fields))
        if self.other in {".", ".."} or len("".join(self._literals)) > _LONGEST // 2:
            raise ConfigError(f"topic: {pattern!r} is no name for a topic")
        self.most = most
        self._known: dict[tuple[str | None, ...], str] = {}
        self._topics: set[str] = set()

    @property
    def glob(self) -> str:
        """All that it can become, with `*` for any text."""
        return "*".join(self._literals)

    def topic(self, values: Mapping[str, str | None]) -> str:
        """The topic of a row; `values` has what the pattern names."""
        key = tuple(values[name] for name in self.fields)
        topic = self._known.get(key)
        return topic if topic is not None else self._new(key)

    def _new(self, key: tuple[str | None, ...]) -> str:
        topic = self._filled([_NONE if value is None else _ILLEGAL.sub("_", value) or _NONE for value in key])
        if topic not in self._topics and len(self._topics) >= self.most:
            # Not remembered: values without end would fill the memory.
            return self.other
        self._topics.add(topic)
        if len(self._known) < 16 * self.most:
            self._known[key] = topic
        return topic

    def _filled(self, values: list[str]) -> str:
        room = _LONGEST - sum(map(len, self._literals))
        each = max(1, room // max(1, len(values)))
        filled = [self._literals[0]]
        for value, literal in zip(values, self._literals[1:], strict=True):
            filled += [value[:each], literal]
        return "".join(filled)

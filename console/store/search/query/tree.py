"""What a query means, once it is understood: conditions on the fields of a finding, joined by and, or, not.

A condition on a field that a finding does not have is false, and its negation true. A field with several values meets a
condition when one of them does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network

from console.store.search.fields import SearchField


@dataclass(frozen=True, slots=True)
class Everything:
    """True of every finding."""


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them; of none: false."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class Words:
    """Words side by side, in a text of one of these places (console.store.search.text). open_end: the last one is the
    beginning of a word.
    """

    places: tuple[str, ...]
    words: tuple[str, ...]
    open_end: bool = False


@dataclass(frozen=True, slots=True)
class WordLike:
    """One word of a text of these places fits a pattern."""

    places: tuple[str, ...]
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Value:
    """A field of words has exactly this value, without regard to case and width."""

    field: SearchField
    value: str


@dataclass(frozen=True, slots=True)
class ValueLike:
    """A value of a field fits a pattern as a whole."""

    field: SearchField
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Has:
    """The field has a value."""

    field: SearchField


@dataclass(frozen=True, slots=True)
class OneOf:
    """A field of few values (level, state, boolean) has one of these."""

    field: SearchField
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A number from low to high, both included; None: without a limit on that side."""

    field: SearchField
    low: float | int | None
    high: float | int | None


@dataclass(frozen=True, slots=True)
class Span:
    """A time in [since, until), both whole milliseconds in UTC; None: without a limit on that side."""

    field: SearchField
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Network:
    """An address of this network; IPv4 addresses lie in ::ffff:0:0/96 of IPv6."""

    field: SearchField
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Pattern:
    """Folded text with wildcards: `parts` joined by `*` (any characters) and `?` (one), which stand as None and 1."""

    parts: tuple[str | int | None, ...]

    @property
    def prefix(self) -> str:
        """What everything that fits begins with."""
        return self.parts[0] if isinstance(self.parts[0], str) else ""

    @property
    def only_prefix(self) -> bool:
        """Whether it is some text and a star."""
        return len(self.parts) == 2 and isinstance(self.parts[0], str) and self.parts[1] is None


Condition = Words | WordLike | Value | ValueLike | Has | OneOf | Range | Span | Network
Node = Everything | And | Or | Not | Condition

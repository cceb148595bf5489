"""Extents: which objects of a device an exchange touches, as ranges that can be merged, compared and read.

An extent is written "0-9" (registers, coils, information object addresses), "DB5 0.0-9.7" (octet and bit of an S7 area)
or "g12v1 3-5" (DNP3 points); what has no number is a name by itself ("g60v2", "Boiler.Level").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from detectors.wording import safe

MAX_RANGES = 64  # of one space in one line: more are joined where they lie closest, so that a line stays readable
MAX_SPACES = 256  # names in one line: a line with more covers every object, and says so with ANY
ANY = "*"

_RANGE = re.compile(r"(?:(.*) )?(\d{1,18})(?:\.([0-7]))?(?:-(\d{1,18})(?:\.([0-7]))?)?", re.DOTALL)


class Extent(NamedTuple):
    """Objects `low` to `high` of a space; -1 where the space is a name by itself. bits: numbers count bits."""

    space: str
    low: int = -1
    high: int = -1
    bits: bool = False


def parse(text: str) -> Extent:
    """An extent as it is written; every text is one."""
    match = _RANGE.fullmatch(text)
    if not match:
        return Extent(text)
    space, low, low_bit, high, high_bit = match.groups()
    bits = low_bit is not None
    if high is not None and (high_bit is not None) != bits:
        return Extent(text)
    first = 8 * int(low) + int(low_bit) if bits else int(low)
    last = first if high is None else (8 * int(high) + int(high_bit) if bits else int(high))
    return Extent(space or "", first, last, bits) if first <= last else Extent(text)


def named(text: str) -> Extent:
    """What a device or a program calls an object, made safe to be shown."""
    return parse(safe(text))


class Extents:
    """A set of extents. `wide`: it covers everything, because it held too many names."""

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._ranges: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        self.wide = False
        self.add(extents)

    def __bool__(self) -> bool:
        return self.wide or bool(self._ranges)

    def add(self, extents: Iterable[Extent]) -> None:
        """Put extents in, joining what overlaps or follows each other."""
        for it in extents:
            if it.space == ANY:
                self._widen()
            if self.wide:
                return
            key = (it.space, it.bits)
            if key not in self._ranges and len(self._ranges) >= MAX_SPACES:
                self._widen()
                return
            _insert(self._ranges.setdefault(key, []), it.low, it.high)

    def _widen(self) -> None:
        self.wide = True
        self._ranges.clear()

    def covers(self, it: Extent) -> bool:
        """Whether all of an extent is in the set."""
        ranges = self._ranges.get((it.space, it.bits), ())
        return self.wide or any(low <= it.low and it.high <= high for low, high in ranges)

    def ranges(self) -> list[tuple[int, int]]:
        """Ranges of the space without a name, ascending."""
        return self._ranges.get(("", False), [])

    def __iter__(self) -> Iterator[Extent]:
        if self.wide:
            yield Extent(ANY)
        for (space, bits), ranges in sorted(self._ranges.items()):
            for low, high in ranges:
                yield Extent(space, low, high, bits)

    def words(self) -> list[str]:
        """As they are written, in a stable order."""
        return [written(it) for it in self]


def written(it: Extent) -> str:
    """An extent as a text that `parse` reads."""
    if it.low < 0:
        return it.space
    first, last = _number(it.low, it.bits), _number(it.high, it.bits)
    span = first if it.low == it.high else f"{first}-{last}"
    return f"{it.space} {span}" if it.space else span


def _number(value: int, bits: bool) -> str:
    return f"{value >> 3}.{value & 7}" if bits else str(value)


def _insert(ranges: list[tuple[int, int]], low: int, high: int) -> None:
    """Join one range into ascending ones; at MAX_RANGES the two that lie closest become one."""
    kept = []
    for other_low, other_high in ranges:
        if other_high + 1 < low or high + 1 < other_low:
            kept.append((other_low, other_high))
        else:
            low, high = min(low, other_low), max(high, other_high)
    kept.append((low, high))
    kept.sort()
    if len(kept) > MAX_RANGES:
        at = min(range(len(kept) - 1), key=lambda i: kept[i + 1][0] - kept[i][1])
        kept[at : at + 2] = [(kept[at][0], kept[at + 1][1])]
    ranges[:] = kept

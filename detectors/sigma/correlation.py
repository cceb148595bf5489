"""Correlation rules over the events of one group: what holds in the sliding window that ends with each event.

Entries come in the order of events; a clock that jumps back counts as standing still. The window reaches from the
latest entry back as far as the timespan, both ends included. A correlation matches where its condition begins to
hold: it holds at an entry and did not at the one before. State for each group is bounded by the number that the
condition asks for. Semantics of the types: Sigma correlation rules specification 2.1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detectors.sigma.rule import Correlation

Times = npt.NDArray[np.int64]
NEVER = -(1 << 62)
MAX_GROUPS = 10_000  # of one correlation
MAX_REMEMBERED = 2_000_000  # times or values that all groups of a correlation may hold together


class Window(Protocol):
    """The state of one group. last_ns: time of its latest entry."""

    last_ns: int

    def enter(self, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]) -> list[int]:
        """Take entries; the indices of those at which the condition begins to hold.

        positions: which of the correlation's rules each entry matches; entries of one event come last rule first.
        """
        ...


def compare(operator: str, count: int) -> tuple[int, Callable[[int], bool]]:
    """(how far must be counted to decide, the decision) of a condition on a number; the number is cut there."""
    tests: dict[str, tuple[int, Callable[[int], bool]]] = {
        "gte": (count, lambda n: n >= count),
        "gt": (count + 1, lambda n: n > count),
        "lt": (count, lambda n: n < count),
        "lte": (count + 1, lambda n: n <= count),
        "eq": (count + 1, lambda n: n == count),
        "neq": (count + 1, lambda n: n != count),
    }
    return tests[operator]


class EventCount:
    """How many events."""

    def __init__(self, rule: Correlation) -> None:
        self.last_ns = NEVER
        self._span, self._held = rule.window_ns, False
        self._most, test = compare(rule.operator, rule.count)
        self._holds = np.array([test(number) for number in range(self._most + 1)])
        self._past = np.zeros(0, np.int64)

    def enter(self, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]) -> list[int]:
        """See Window."""
        clock = np.maximum.accumulate(np.maximum(times, self.last_ns))
        known = len(self._past)
        whole = np.concatenate([self._past, clock])
        # Entries since the first one that is still inside the window of each.
        number = np.arange(known + 1, len(whole) + 1) - np.searchsorted(whole, clock - self._span)
        holds = self._holds[np.minimum(number, self._most)]
        begins = holds & ~np.concatenate([[self._held], holds[:-1]])
        self._past, self._held, self.last_ns = whole[-self._most :], bool(holds[-1]), int(clock[-1])
        return [int(index) for index in np.flatnonzero(begins)]


class ValueCount:
    """How many different values."""

    def __init__(self, rule: Correlation) -> None:
        self.last_ns = NEVER
        self._span, self._held = rule.window_ns, False
        self._most, self._test = compare(rule.operator, rule.count)
        self._seen: OrderedDict[Hashable, int] = OrderedDict()  # value: when last, the latest at the end

    def enter(self, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]) -> list[int]:
        """See Window."""
        begins = []
        seen = self._seen
        for index, (time, value) in enumerate(zip(times.tolist(), values, strict=True)):
            self.last_ns = max(self.last_ns, time)
            if value is not None:
                seen[value] = self.last_ns
                seen.move_to_end(value)
            while seen and (len(seen) > self._most or next(iter(seen.values())) < self.last_ns - self._span):
                seen.popitem(last=False)
            holds = self._test(len(seen))
            if holds and not self._held:
                begins.append(index)
            self._held = holds
        return begins


class Temporal:
    """How many of the rules."""

    def __init__(self, rule: Correlation) -> None:
        self.last_ns = NEVER
        self._span, self._held = rule.window_ns, False
        _, self._test = compare(rule.operator, rule.count)
        self._seen = [NEVER] * len(rule.rules)

    def enter(self, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]) -> list[int]:
        """See Window."""
        begins = []
        for index, (time, position) in enumerate(zip(times.tolist(), positions.tolist(), strict=True)):
            self.last_ns = max(self.last_ns, time)
            self._seen[position] = self.last_ns
            oldest = self.last_ns - self._span
            holds = self._test(sum(seen >= oldest for seen in self._seen))
            if holds and not self._held:
                begins.append(index)
            self._held = holds
        return begins


class TemporalOrdered:
    """All rules, in their order."""

    def __init__(self, rule: Correlation) -> None:
        self.last_ns = NEVER
        self._span, self._held = rule.window_ns, False
        self._begun = [NEVER] * len(rule.rules)  # when the latest run that reaches so far began

    def enter(self, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]) -> list[int]:
        """See Window."""
        begins = []
        for index, (time, position) in enumerate(zip(times.tolist(), positions.tolist(), strict=True)):
            self.last_ns = max(self.last_ns, time)
            before = self.last_ns if position == 0 else self._begun[position - 1]
            self._begun[position] = max(before, self._begun[position])
            holds = self._begun[-1] >= self.last_ns - self._span
            if holds and not self._held:
                begins.append(index)
            self._held = holds
        return begins


WINDOWS: dict[str, Callable[[Correlation], Window]] = {
    "event_count": EventCount,
    "value_count": ValueCount,
    "temporal": Temporal,
    "temporal_ordered": TemporalOrdered,
}


class Sliding:
    """The groups of one correlation, at most `most`. left_out: entries of groups beyond the cap."""

    def __init__(self, rule: Correlation) -> None:
        self.rule = rule
        self.left_out = 0
        self.most = max(100, min(MAX_GROUPS, MAX_REMEMBERED // max(rule.count, 1)))
        self._forget_again_ns = NEVER
        self._windows: dict[Hashable, Window] = {}

    def enter(
        self, group: Hashable, times: Times, positions: npt.NDArray[np.int64], values: list[Hashable]
    ) -> list[int]:
        """Take entries of one group, in order; the indices of those at which the condition begins to hold."""
        window = self._windows.get(group)
        if window is None:
            if len(self._windows) >= self.most:
                self._forget(int(times[0]))
            if len(self._windows) >= self.most:
                self.left_out += len(times)
                return []
            window = self._windows[group] = WINDOWS[self.rule.type](self.rule)
        return window.enter(times, positions, values)

    def _forget(self, now_ns: int) -> None:
        """Let go of groups whose window is over; at most once for each tenth of a window."""
        if now_ns < self._forget_again_ns:
            return
        self._forget_again_ns = now_ns + self.rule.window_ns // 10
        over = [group for group, it in self._windows.items() if it.last_ns < now_ns - self.rule.window_ns]
        for group in over:
            del self._windows[group]

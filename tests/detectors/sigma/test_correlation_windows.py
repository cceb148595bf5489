"""Correlation windows against a naive evaluator, which looks at all entries of the window at each entry."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.finding import Severity, Text
from detectors.sigma.correlation import Sliding
from detectors.sigma.rule import Correlation

TEXT = Text("例", "example")
Entry = tuple[int, str, int, str]  # seconds, group, position, value


def correlation(kind: str, operator: str, count: int, window_s: int, rules: int) -> Correlation:
    return Correlation(
        id="c", name=TEXT, severity=Severity.LOW, techniques=(), saw=TEXT, why=TEXT, check=TEXT, uuid="", title="",
        type=kind, rules=tuple(f"r{number}" for number in range(rules)), window_ns=window_s * 10**9, group_by=("g",),
        operator=operator, count=count, value_field="v" if kind == "value_count" else "",
    )  # fmt: skip


COMPARE = {
    "gte": lambda a, b: a >= b, "gt": lambda a, b: a > b, "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b, "eq": lambda a, b: a == b, "neq": lambda a, b: a != b,
}  # fmt: skip


def subsequence(window: list[Entry], rules: int) -> bool:
    wanted = 0
    for entry in window:
        wanted += wanted < rules and entry[2] == wanted
    return wanted == rules


def naive(rule: Correlation, entries: list[Entry]) -> list[int]:
    """Numbers of the entries at which the condition begins to hold."""
    begins = []
    held: dict[str, bool] = {}
    clock: dict[str, int] = {}
    at: list[int] = []
    for number, (time, group, _, _) in enumerate(entries):
        clock[group] = max(clock.get(group, time), time)
        at.append(clock[group])
        window = [
            entries[i]
            for i in range(number + 1)
            if entries[i][1] == group and at[i] * 10**9 >= at[number] * 10**9 - rule.window_ns
        ]
        if rule.type == "event_count":
            holds = COMPARE[rule.operator](len(window), rule.count)
        elif rule.type == "value_count":
            holds = COMPARE[rule.operator](len({entry[3] for entry in window}), rule.count)
        elif rule.type == "temporal":
            holds = COMPARE[rule.operator](len({entry[2] for entry in window}), rule.count)
        else:
            holds = subsequence(window, len(rule.rules))
        if holds and not held.get(group):
            begins.append(number)
        held[group] = holds
    return begins


def streamed(rule: Correlation, entries: list[Entry], cuts: list[int]) -> list[int]:
    """The same by the engine, in batches that end at `cuts`."""
    sliding = Sliding(rule)
    begins = []
    edges = sorted({0, len(entries), *(cut % (len(entries) + 1) for cut in cuts)})
    for begin, end in pairwise(edges):
        groups: dict[str, list[int]] = {}
        for number in range(begin, end):
            groups.setdefault(entries[number][1], []).append(number)
        for group, members in groups.items():
            times = np.array([entries[number][0] * 10**9 for number in members], np.int64)
            positions = np.array([entries[number][2] for number in members], np.int64)
            values: list[Any] = [entries[number][3] for number in members]
            begins += [members[index] for index in sliding.enter(group, times, positions, values)]
    return sorted(begins)


entries_of = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.integers(0, 2), st.sampled_from("uvwxyz")), max_size=40
)
cuts_of = st.lists(st.integers(0, 100), max_size=5)


@given(entries_of, cuts_of, st.sampled_from(["event_count", "value_count", "temporal"]), st.sampled_from(list(COMPARE)),
       st.integers(1, 5), st.integers(1, 20), st.booleans())  # fmt: skip
def test_counts_begin_to_hold_where_a_naive_evaluator_says(
    entries: list[Entry], cuts: list[int], kind: str, operator: str, count: int, window_s: int, in_order: bool
) -> None:
    entries = sorted(entries, key=lambda entry: entry[0]) if in_order else entries
    rule = correlation(kind, operator, count, window_s, 3)
    assert streamed(rule, entries, cuts) == naive(rule, entries)


@given(entries_of, cuts_of, st.integers(1, 20), st.booleans())
def test_sequences_begin_to_hold_where_a_naive_evaluator_says(
    entries: list[Entry], cuts: list[int], window_s: int, in_order: bool
) -> None:
    entries = sorted(entries, key=lambda entry: entry[0]) if in_order else entries
    rule = correlation("temporal_ordered", "gte", 3, window_s, 3)
    assert streamed(rule, entries, cuts) == naive(rule, entries)


def test_a_burst_across_the_border_of_a_fixed_bucket_is_found() -> None:
    rule = correlation("event_count", "gte", 4, 10, 1)
    entries = [(time, "a", 0, "v") for time in (57, 58, 61, 62)]
    assert streamed(rule, entries, []) == [3]


def test_groups_are_bounded_and_what_is_left_out_is_counted() -> None:
    sliding = Sliding(correlation("event_count", "gte", 2, 10, 1))
    sliding.most = 2
    now, position = np.array([0], np.int64), np.zeros(1, np.int64)
    for group in "abc":
        sliding.enter(group, now, position, [None])
    assert sliding.left_out == 1
    assert sliding.enter("c", now + 60 * 10**9, position, [None]) == []
    assert sliding.left_out == 1  # the groups before it were over

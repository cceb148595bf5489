"""Compiled passes over events find what columns of numpy say, and so do their readable forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import passes
from detectors.contract import Labels
from detectors.keys import distinct

FORMS = [False, True]
SECOND = 10**9
MOST = 12  # labels


def form(kernel: Any, readable: bool) -> Any:
    return getattr(kernel, "py_func", kernel) if readable else kernel


@st.composite
def _events(draw: st.DrawFn) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Labels]:
    """(behaviour, time) of events, and a label for some behaviours."""
    behaviour = draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    times = draw(st.lists(st.integers(0, 200), min_size=len(behaviour), max_size=len(behaviour)))
    labels = Labels(32)
    for row, label in draw(st.dictionaries(st.integers(0, 20), st.integers(0, MOST - 1))).items():
        labels[row] = label
    return np.array(behaviour, np.int32), np.array(times, np.int64) * SECOND // 2, labels


@pytest.mark.parametrize("readable", FORMS)
@given(events=_events())
@settings(deadline=None)
def test_labelled_events_are_counted_by_time_and_label(
    readable: bool, events: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Labels]
) -> None:
    behaviour, times, labels = events
    label = labels[behaviour]
    mine = np.flatnonzero(label >= 0)
    count, begin, end = form(passes.labelled, readable)(behaviour, times, labels.inverted)
    assert count == len(mine)
    if not count:
        return
    assert (begin, end) == (times[mine].min(), times[mine].max())
    first = int(begin) // SECOND
    cells = np.zeros((int(end) // SECOND - first + 1) * MOST, np.int64)
    form(passes.tally, readable)(behaviour, times, labels.inverted, first * SECOND, SECOND, MOST, cells)
    expected = np.zeros_like(cells)
    np.add.at(expected, (times[mine] // SECOND - first) * MOST + label[mine], 1)
    assert cells.tolist() == expected.tolist()


@pytest.mark.parametrize("readable", FORMS)
@given(events=_events(), before=st.lists(st.integers(-1, 150), min_size=MOST, max_size=MOST))
@settings(deadline=None)
def test_lanes_are_brought_up_to_date_unless_one_was_silent(
    readable: bool, events: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Labels], before: list[int]
) -> None:
    behaviour, times, labels = events
    last = np.array([it * SECOND if it >= 0 else -1 for it in before], np.int64)
    lane = labels[behaviour]
    mine = np.flatnonzero(lane >= 0)
    known = last[lane[mine]] >= 0
    silent = (times[mine] - last[lane[mine]] > 60 * SECOND) & known
    quiet = times.max() - times.min() <= 60 * SECOND and not silent.any()
    judged, pairs = np.ones(MOST, np.bool_), MOST // passes.LANES
    asked, then, answered = np.arange(pairs), np.zeros(pairs, np.int64), np.zeros(pairs, np.bool_)
    expected = last.copy()
    if quiet:
        np.maximum.at(expected, lane[mine], times[mine])
    given_last = last.copy()
    found = form(passes.undisturbed, readable)(
        behaviour, times, labels.inverted, 60 * SECOND, given_last, judged, asked, then, answered
    )
    assert bool(found) == quiet
    assert given_last.tolist() == expected.tolist()
    seen = set(lane[mine].tolist()) if quiet else set()
    assert judged.tolist() == [number not in seen for number in range(MOST)]
    asks = np.bincount(lane[mine][lane[mine] % 3 == passes.ASK] // 3, minlength=pairs) if quiet else 0
    assert asked.tolist() == (np.arange(pairs) + asks).tolist()
    answers = {number // 3 for number in seen if number % 3 == passes.ANSWER}
    assert then.tolist() == [int(asked[pair]) if pair in answers else 0 for pair in range(pairs)]
    assert not answered.any()


@pytest.mark.parametrize("readable", FORMS)
def test_events_of_other_cards_are_named_with_the_card(readable: bool) -> None:
    data = np.frombuffer(bytearray(b"".join(bytes([0] * 6 + [n] * 6 + [0] * 2) for n in range(4))), np.uint8)
    offset = np.arange(4) * 14
    number = np.array([9, 10, 11, 13, 12, 14], np.int64)  # of frames 10 to 13 only these are there
    conversation, forward = np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([1, 1, 0, 1, 1, 0], np.uint8)
    known = np.array([-1, 0, int.from_bytes(bytes([3] * 6), "little"), int.from_bytes(bytes([3] * 6), "little")])
    rows, cards = np.zeros((2, 6), np.int64)
    found = form(passes.strangers, readable)(number, conversation, forward, data, offset, 10, known, rows, cards)
    assert rows[:found].tolist() == [2, 4]
    assert [int(card).to_bytes(6, "little") for card in cards[:found]] == [bytes([1] * 6), bytes([2] * 6)]


@given(values=st.lists(st.integers(-5, 5)))
def test_distinct_values_come_once_and_ascending(values: list[int]) -> None:
    assert distinct(np.array(values, np.int32)).tolist() == sorted(set(values))

"""Extents: ranges of objects, as they are written, joined and compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.baseline.extents import ANY, MAX_RANGES, MAX_SPACES, Extent, Extents, parse, written


@pytest.mark.parametrize(
    ("text", "extent"),
    [
        ("7", Extent("", 7, 7)),
        ("0-9", Extent("", 0, 9)),
        ("DB5 0.0-9.7", Extent("DB5", 0, 79, bits=True)),
        ("M 102.3", Extent("M", 819, 819, bits=True)),
        ("g12v1 3-5", Extent("g12v1", 3, 5)),
        ("g60v2", Extent("g60v2")),
        ("9-3", Extent("9-3")),
        ("DB1 0.0-5", Extent("DB1 0.0-5")),
    ],
)
def test_an_extent_is_read_as_people_write_it(text: str, extent: Extent) -> None:
    assert parse(text) == extent
    assert parse(written(extent)) == extent


@given(st.text(max_size=40))
def test_every_text_is_an_extent_and_stays_one(text: str) -> None:
    extent = parse(text)
    assert parse(written(extent)) == extent


RANGES = st.tuples(st.integers(0, 300), st.integers(0, 20)).map(lambda it: Extent("", it[0], it[0] + it[1]))


@given(st.lists(RANGES, max_size=30))
def test_a_set_of_ranges_covers_exactly_what_was_put_in(given_ranges: list[Extent]) -> None:
    extents = Extents(given_ranges)
    numbers = {n for it in given_ranges for n in range(it.low, it.high + 1)}
    assert {n for n in range(330) if extents.covers(Extent("", n, n))} == numbers
    assert [parse(word) for word in extents.words()] == list(extents)


def test_ranges_that_follow_each_other_become_one() -> None:
    assert Extents(map(parse, ["10-19", "0-9", "20"])).words() == ["0-20"]


def test_too_many_ranges_are_joined_where_they_lie_closest() -> None:
    extents = Extents(Extent("", 10 * n, 10 * n) for n in range(MAX_RANGES))
    extents.add([Extent("", 3, 3)])
    assert len(extents.words()) == MAX_RANGES
    assert extents.covers(Extent("", 0, 3))
    assert not extents.covers(Extent("", 12, 12))


def test_too_many_names_cover_everything_and_say_so() -> None:
    extents = Extents(Extent(f"tag{chr(97 + n % 26)}{n}x") for n in range(MAX_SPACES + 1))
    assert extents.words() == [ANY]
    assert extents.covers(Extent("whatever"))
    assert Extents(map(parse, [ANY])).wide

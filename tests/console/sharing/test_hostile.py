"""Whatever bytes and objects come in: an answer or BadContentError, never anything else."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.sharing.hostile import MAX_DEPTH, BadContentError, plain_text, read_json, stix_id, time_text, timestamp
from console.sharing.stix_import import read_indicator, read_report, references, sort_out

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(
    ["report", "indicator", "2.1", "2026-11-01T12:00:00Z", "report--0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a01", "zh", "en"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["type", "id", "spec_version", "created", "modified", "name", "description", "object_refs", "object_ref",
     "contents", "object_marking_refs", "granular_markings", "extensions", "labels", "lang", "pattern", "pattern_type",
     "revoked", "external_references", "external_id", "published", "valid_until", "created_by_ref", "zh", "en",
     "marking_ref"]
)  # fmt: skip
ANYTHING = st.recursive(LEAF, lambda c: st.lists(c, max_size=4) | st.dictionaries(NAMES, c, max_size=6), max_leaves=12)
OBJECTS = st.dictionaries(NAMES, ANYTHING, max_size=10)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_bad_content(raw):
    try:
        value = read_json(raw)
    except BadContentError:
        value = None
    json.dumps(value)  # what was read can be written


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[[", b'[{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 100_000])
def test_deep_nesting_is_refused(opening, depth):
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'"a:')[::-1]
    with pytest.raises(BadContentError):
        read_json(opening * depth + b"1" + closing * depth)


def test_nesting_within_the_limit_is_read():
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


@pytest.mark.parametrize("number", [b"9" * 5_000, b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_none_are_refused(number):
    with pytest.raises(BadContentError):
        read_json(b"[" + number + b"]")


@given(st.text(), st.integers(0, 50))
def test_plain_text_has_no_control_character_but_line_feed_and_tab(text, limit):
    plain = plain_text(text, limit)
    assert len(plain) <= limit
    assert {unicodedata.category(char) for char in plain if char not in "\n\t"}.isdisjoint({"Cc", "Cf", "Cs"})
    plain.encode()


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_survive_writing_and_reading(time):
    assert timestamp(time_text(time)) == time
    assert len(time_text(time)) == 27


@given(st.lists(st.datetimes(timezones=st.just(UTC)), max_size=5))
def test_texts_of_times_sort_like_the_times(times):
    assert sorted(map(time_text, times)) == [time_text(time) for time in sorted(times)]


def test_digits_beyond_microseconds_are_cut():
    assert timestamp("2026-11-22T08:00:00.1234569Z") == datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)


NO_TIMES = [
    "", "2026-11-22", "2026-11-22T08:00:00", "2026-11-22T08:00:00+00:00", "٢٠٢٦-11-22T08:00:00Z",
    "2026-11-22T25:00:00Z", None, 5,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadContentError):
        timestamp(text)


@given(st.text(max_size=60) | st.integers() | st.none())
def test_any_value_is_an_identifier_or_bad_content(value):
    try:
        kind, whole = stix_id(value)
    except BadContentError:
        return
    assert whole == value
    assert whole.startswith(kind + "--")


@given(st.lists(ANYTHING | OBJECTS, max_size=8))
def test_any_objects_are_sorted_out(objects):
    sorted_out = sort_out(objects)
    assert len(sorted_out.objects) + sum(sorted_out.rejected.values()) == len(objects)
    for received in sorted_out.objects:
        json.loads(received.body, parse_constant=pytest.fail)


@given(OBJECTS, st.lists(OBJECTS, max_size=4))
def test_any_object_can_be_read_as_a_report_and_as_an_indicator(thing, related):
    report = read_report(thing, related)
    assert len(report.title.en) <= 500
    assert len(read_indicator(thing).pattern_type) <= 40
    assert all("--" in ref for ref in references(thing))

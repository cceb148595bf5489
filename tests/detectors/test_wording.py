"""Sentences hold what they were given, and nothing that could deceive an eye."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.wording import MAX_LISTED, MAX_SHOWN, faults, fill, listed, safe


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("line\nbreak", "line\\nbreak"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("泵房 3 号", "泵房 3 号"),
    ],
)
def test_what_could_deceive_an_eye_is_escaped(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


@given(st.text(st.characters()), st.integers(1, 200))
def test_a_safe_value_is_one_short_line_that_can_be_encoded(value: str, limit: int) -> None:
    shown = safe(value, limit)
    assert len(shown) <= limit + 1
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for letter in shown)
    shown.encode("utf-8")


def test_a_long_value_says_that_it_was_cut() -> None:
    assert safe("x" * 500) == "x" * MAX_SHOWN + "…"


def test_words_in_brackets_are_left_out_when_their_value_is_absent() -> None:
    template = "stopped {destination}[ ({station})]"
    assert fill(template, {"destination": "10.0.0.1", "station": "unit 7"}) == "stopped 10.0.0.1 (unit 7)"
    assert fill(template, {"destination": "10.0.0.1"}) == "stopped 10.0.0.1"
    assert fill(template, {"destination": "10.0.0.1", "station": []}) == "stopped 10.0.0.1"


def test_an_absent_value_outside_brackets_is_shown_as_unknown() -> None:
    assert fill("from {source}", {}) == "from ?"


def test_values_are_not_read_as_templates() -> None:
    assert fill("{source} {destination}", {"source": "{destination}[x]", "destination": "d"}) == "{destination}[x] d"


def test_a_list_names_the_first_values_and_counts_the_rest() -> None:
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(MAX_LISTED + 4)).endswith(f"{MAX_LISTED - 1} …+4")


@pytest.mark.parametrize("template", ["{nobody}", "{source", "[open", "close]", "[a [b]]", "}"])
def test_a_template_that_cannot_be_filled_is_found(template: str) -> None:
    assert faults(template, ["modbus.address"])


@pytest.mark.parametrize("template", ["", "plain", "{source}[ at {modbus.address}]", "[{station}]x[{count}]"])
def test_a_sound_template_has_no_faults(template: str) -> None:
    assert faults(template, ["modbus.address"]) == ""

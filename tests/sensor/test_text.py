"""Text from outside never reaches a terminal as anything but text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensor.text import printable, wire_text


@given(st.text())
def test_printable_text_prints_and_ordinary_text_stays_as_it_is(text):
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


def test_escapes_colours_line_ends_direction_marks_and_lone_surrogates():
    assert printable("\x1b[31m") == "\\x1b[31m"
    assert printable("a\r\nb\x00") == "a\\r\\nb\\x00"
    assert printable("\u202egnp") == "\\u202egnp"
    assert printable("\ud800\U000e0001") == "\\ud800\\U000e0001"
    assert printable("烽火 é") == "烽火 é"


@given(st.binary())
def test_any_bytes_become_printable_text(data):
    assert wire_text(data).isprintable()


def test_wire_text_is_utf8_where_it_is_and_escapes_where_it_is_not():
    assert wire_text("西门子".encode() + b"\x00\x00") == "西门子"
    assert wire_text(b"A\xffB") == "A\\xffB"
    assert wire_text("西".encode("gb2312")) == "\\xce\\xf7"

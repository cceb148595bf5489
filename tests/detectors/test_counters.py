"""The table of counters: complete, documented, in both languages, and shown for whatever a sensor says."""

from __future__ import annotations

import re

from support.programs import ROOT

from detectors.counters import COUNTERS, GROUPS, meaning_of
from detectors.pipeline import Pipeline
from detectors.vitals import Vitals
from sensor.capture.interface import Health

OF_ONE_PASS = {  # details of the decoder that its source explains; a page shows them under their names
    "fragments_repeated", "fragments_tiny", "fragments_oversize", "datagrams_repeated", "datagrams_conflicting",
    "datagrams_expired", "too_deep", "other", "foreign", "promises_broken", "other_cotp", "dnp3_link_only", "dnp3_crc",
    "dnp3_discarded",
}  # fmt: skip


def test_what_a_sensor_counts_has_a_meaning() -> None:
    names = {*Pipeline().counters(), *Vitals().counters(), *(f"eth1.{name}" for name in Health._fields[1:])}
    assert {name for name in names if meaning_of(name) is None} == OF_ONE_PASS


def test_each_meaning_stands_in_a_group_and_in_both_languages() -> None:
    for name, meaning in COUNTERS.items():
        assert meaning.group in GROUPS, name
        assert re.search("[\u4e00-\u9fff]", meaning.text.zh), name
        assert meaning.text.en.isascii(), name


def test_the_documentation_has_the_same_table() -> None:
    text = (ROOT / "docs" / "sensor.md").read_text("utf-8").partition("### All counters")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE))
    assert rows == {name: meaning.text.en for name, meaning in COUNTERS.items()}


def test_a_clock_that_is_set_is_counted_with_by_how_much() -> None:
    wall, steady = [1000.0], [50.0]
    vitals = Vitals(lambda: wall[0], lambda: steady[0])
    for passed, jump in ((10.0, 0.0), (10.0, 3600.0), (10.0, 0.2), (10.0, -7200.0)):
        steady[0] += passed
        wall[0] += passed + jump
        counters = vitals.counters()
    assert (counters["clock.jumps"], counters["clock.last_jump_s"]) == (2, -7200.0)
    assert counters["sensor.uptime_s"] == 40

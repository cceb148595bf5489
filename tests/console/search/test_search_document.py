"""Findings as documents: every field known to the mapping, every word found again, hostile values bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.store.models import Finding, Segment, Sensor, Site
from console.store.search.document import MAX_LETTERS, document, sixteen, tokens
from console.store.search.fields import ALIASES, FIELDS, ORGANISATION, OWN, TOKENS, mapping
from console.store.search.text import GAP, MAX_TOKEN, MAX_WORD, SPACE, fold, line, phrase, value_token, words
from sensor.schema import FIELDS as SCHEMA

WHEN = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)


def finding(**changes) -> Finding:
    """A row as the console keeps it, of no session."""
    given = {
        "id": 7, "organisation_id": 3, "uid": "s1/1764000000/1", "fingerprint": "0" * 32, "rule_id": "scan.functions",
        "rule_name_en": "Function codes scanned", "rule_name_zh": "功能码扫描", "severity": 3, "protocol": "modbus",
        "first_seen": WHEN, "last_seen": WHEN, "received_at": WHEN, "updated_at": WHEN, "count": 2,
        "source_ip": "10.0.0.6", "source_port": 49152, "destination_ip": "00:0c:29:aa:bb:cc", "destination_port": None,
        "station": 3, "sensor_id": 4, "techniques": ["T0888"],
        "message_en": "A host tried codes.", "message_zh": "一台主机试遍了功能码。",
        "fields": {"modbus.function_code": 8, "unknown.field": "mystery", "anomalies": ["a b", "c"]}, "risk": {},
        "capture": "", "drill": False, "verdict": None,
        "sensor": Sensor(name="s1", segment=Segment(name="Line 1", site=Site(name="North works"))),
    }  # fmt: skip
    return Finding(**(given | changes))


def test_a_document_has_the_names_of_the_sensors_findings():
    made = document(finding())
    line = made.pop(TOKENS)
    assert made == {
        ORGANISATION: 3, "@timestamp": "2026-11-22T08:00:00.123456Z",
        "finding.last_seen": "2026-11-22T08:00:00.123456Z",
        "finding.received": "2026-11-22T08:00:00.123456Z", "finding.number": 7, "finding.count": 2,
        "finding.id": "s1/1764000000/1", "rule.id": "scan.functions", "rule.name": "Function codes scanned",
        "rule.name_zh": "功能码扫描", "rule.severity": "medium", "rule.severity_rank": 3,
        "message": "A host tried codes.",
        "message_zh": "一台主机试遍了功能码。", "threat.technique.id": ["T0888"], "network.protocol": "modbus",
        "source.ip": "10.0.0.6", "source.port": 49152, "destination.mac": "00:0c:29:aa:bb:cc", "station": 3,
        "sensor": "s1", "sensor.number": 4, "site": "North works", "segment": "Line 1", "state": "new", "drill": False,
        "modbus.function_code": 8, "anomalies": ["a b", "c"],
    }  # fmt: skip
    for token in ("rule.id=scan.functions", "anomalies=a\u00a0b", "o~mystery", "n~功能", "n~描", "m~codes"):
        assert token in line.split(" ")


def test_the_mapping_knows_every_field_that_a_document_can_have():
    properties = mapping()["properties"]
    assert document(finding(fields=dict.fromkeys(SCHEMA, "x"))).keys() <= properties.keys()
    assert all(name in FIELDS for names in ALIASES.values() for name in names)
    assert not ALIASES.keys() & FIELDS.keys()
    assert all(field.en and field.zh for field in OWN)


def test_a_value_that_does_not_fit_its_type_is_a_word_only():
    odd = {"modbus.function_code": "8", "modbus.quantity": 2**63, "modbus.unit_id": True, "enip.identity.address": "x%"}
    made = document(finding(fields=odd))
    assert not odd.keys() & made.keys()
    assert "o~9223372036854775808" in made[TOKENS].split(" ")


def test_what_a_sensor_sends_beside_the_row_does_not_take_the_rows_place():
    made = document(finding(fields={"rule.id": "x", "source.ip": "9.9.9.9", "state": "false", "drill": True}))
    kept = ("scan.functions", "10.0.0.6", "new", False)
    assert (made["rule.id"], made["source.ip"], made["state"], made["drill"]) == kept


def test_more_words_than_are_searched_are_told():
    made = document(finding(message_en="word " * 20_000))
    assert made["finding.cut"] is True
    assert made[TOKENS].count("m~word") <= MAX_LETTERS / 5 + 1
    assert "finding.cut" not in document(finding())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Stopped the S7-300", ["stopped", "the", "s7", "300"]),
        ("写入", ["写入", "入"]),
        ("第3台PLC停止", ["第", "3", "台", "plc", "停止", "止"]),
        ("ＰＬＣ", ["plc"]),
        ("write_single_coil", ["write", "single", "coil"]),
        ("--- !", []),
    ],
)
def test_words_are_runs_of_letters_and_pairs_of_chinese_characters(text, expected):
    assert list(words(text)) == expected


@given(st.text("控制器写入停ab1 -", min_size=1, max_size=12), st.data())
def test_every_part_of_a_chinese_text_is_found_in_it(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    whole, (asked, open_end) = fold(text), phrase(part)
    if not asked or not (part[0] > "\u4e00" and part[-1] > "\u4e00"):
        return
    assert fold(part) in whole
    line = " " + " ".join(words(text)) + " "
    assert " " + " ".join(asked) + ("" if open_end else " ") in line


LONG_TEXTS = st.lists(
    st.text("控制器写入aB1é\u0301ﷺ\u3099゠ǅ ,，。；(（”_-.|\t\u00a0", max_size=40)
    | st.text(max_size=20)
    | st.just("x" * (MAX_WORD + 1)),
    min_size=5,
    max_size=12,
)


@given(LONG_TEXTS)
def test_words_remembered_from_other_texts_are_the_words_of_this_one(parts):
    text = "，".join(parts)
    found = words(text)
    assert line("m~", text) == (f"{GAP} m~" + " m~".join(found) if found else "")


@given(st.text(st.characters(max_codepoint=127), max_size=300))
def test_words_of_ascii_are_cut_as_those_of_any_other_text(text):
    assert [*words(text), "é"] == list(words(text + " é"))


@given(st.text(max_size=400))
def test_a_token_has_no_white_space_and_a_bounded_length(text):
    token = value_token("rule.id", text)
    assert not [c for c in token if c.isspace() and c != SPACE]
    assert len(token.encode("utf-16-le", "surrogatepass")) <= 2 * MAX_TOKEN


def test_a_network_is_a_prefix_of_its_addresses():
    assert sixteen("10.1.2.3").startswith(sixteen("10.0.0.0")[:26])
    assert sixteen("2001:db8::5") == "20010db8000000000000000000000005"


def test_addresses_stand_in_one_form():
    assert document(finding(source_ip="::ffff:10.0.0.6"))["source.ip"] == "10.0.0.6"
    assert "source.ip=2001:db8::5" in tokens(finding(source_ip="2001:0db8:0:0::5"))

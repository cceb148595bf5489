"""Lists of indicators: every record is used, or rejected with its place and reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.hunting import indicator_list
from detectors.hunting.indicator_list import ListError, read_indicators, seek

SHA = "ab" * 32


def listed(tmp_path, text: str):
    path = tmp_path / "list"
    path.write_text(text)
    return read_indicators(path)


def test_one_a_line_with_comments_and_defanged_addresses(tmp_path):
    found = listed(
        tmp_path, f"# bulletin 7\n192.0.2.1\n198.51.100[.]7 # seen twice\n\n2001:db8::/32\n{SHA}\nevil.example\n"
    )
    assert [it.name for it in found.sought] == ["192.0.2.1", "198.51.100.7", "2001:db8::/32", SHA]
    assert (found.records, [it.place for it in found.rejected]) == (5, [7])
    assert "evil.example" in found.rejected[0].why


def test_csv_takes_the_indicators_of_a_row_and_the_rest_as_its_title(tmp_path):
    found = listed(tmp_path, f"type,value,comment\nip,192.0.2.1,first\nhash,{SHA},tool\ndomain,evil.example,x\n")
    assert [(it.name, it.title) for it in found.sought] == [("192.0.2.1", "ip; first"), (SHA, "hash; tool")]
    assert (found.records, found.rejected[0].place) == (3, 4)


def test_a_stix_bundle_gives_addresses_hashes_and_sigma_rules(tmp_path):
    detection = "detection:\n  selection: {s7comm.function: 41}\n  condition: selection\n"
    sigma = "title: Stop\nlogsource: {product: s7comm}\n" + detection
    patterns = [
        ("[ipv4-addr:value = '192.0.2.1'] OR [ipv4-addr:value ISSUBSET '198.51.100.0/24']", "stix"),
        (f"[file:hashes.'SHA-256' = '{SHA}']", "stix"),
        ("[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 502]", "stix"),
        (sigma, "sigma"),
        ("rule x {}", "yara"),
    ]
    objects = [{"type": "identity"}] + [
        {"type": "indicator", "name": f"n{at}", "pattern": pattern, "pattern_type": kind}
        for at, (pattern, kind) in enumerate(patterns)
    ]
    found = listed(tmp_path, json.dumps({"type": "bundle", "objects": objects}))
    assert [it.name for it in found.sought] == ["192.0.2.1", "198.51.100.0/24", SHA]
    assert [it.name for it in found.conditions] == ["n3"]
    assert (found.records, [it.place for it in found.rejected]) == (5, [4, 6])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ('{"objects": 7}', "a list"),
        ('{"a": 1}', "no indicator"),
        ('{"a":' + "[" * 100_000, "no JSON"),
    ],
)
def test_a_file_that_is_no_list_says_why(tmp_path, text, why):
    with pytest.raises(ListError, match=why):
        listed(tmp_path, text)


def test_a_list_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(indicator_list, "MAX_RECORDS", 3)
    with pytest.raises(ListError, match="more than 3"):
        listed(tmp_path, "192.0.2.1\n" * 4)
    monkeypatch.setattr(indicator_list, "MAX_BYTES", 8)
    with pytest.raises(ListError, match="larger"):
        listed(tmp_path, "192.0.2.1\n")


@given(st.text())
def test_text_of_others_is_an_indicator_or_a_reason(text):
    try:
        found = seek(text)
    except ValueError:
        return
    assert found.low <= found.high

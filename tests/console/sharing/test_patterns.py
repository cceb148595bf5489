"""What a sensor can match, out and back, and what it must not be made to match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.sharing.patterns import (
    Match,
    NotUsableError,
    address_match,
    from_pattern,
    operation_match,
    to_sigma,
    to_stix_pattern,
)

STOP = {"network.protocol": "s7comm", "s7comm.function": 41}
RULE_ID = "0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a01"


@pytest.mark.parametrize("text", ["203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8:4::/48"])
def test_addresses_survive_the_way_out_and_back(text):
    match = address_match(text)
    assert match.value == text
    assert from_pattern(to_stix_pattern(match), "stix") == (match,)


def test_an_operation_survives_the_way_out_and_back_whatever_its_title():
    match = operation_match(STOP, "operation.s7comm.stop")
    for title in ("plain", "a: b\nlogsource: {category: x}", "'\"&*!|>%@`", "停机", "\u2028"):
        rule = to_sigma(match, rule_id=RULE_ID, title=title, techniques=("T0858",))
        assert from_pattern(rule, "sigma") == (match,)


def test_several_addresses_of_one_pattern_are_several_matches():
    pattern = "[ipv4-addr:value = '203.0.113.1' OR ipv4-addr:value = '203.0.113.2'] OR [ipv6-addr:value='2001:db8::1']"
    assert [match.value for match in from_pattern(pattern, "stix")] == ["203.0.113.1", "203.0.113.2", "2001:db8::1"]


def test_addresses_within_network_traffic_are_understood():
    assert from_pattern("[network-traffic:dst_ref.value = '203.0.113.9']", "stix") == (address_match("203.0.113.9"),)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[ipv4-addr:value = '203.0.113.1' AND network-traffic:dst_port = 502]", "more-than-addresses"),
        ("[ipv4-addr:value = '203.0.113.1'] FOLLOWEDBY [ipv4-addr:value = '203.0.113.2']", "more-than-addresses"),
        ("[ipv4-addr:value = '203.0.113.1'] WITHIN 5 SECONDS", "more-than-addresses"),
        ("[ipv4-addr:value != '203.0.113.1']", "more-than-addresses"),
        ("[NOT ipv4-addr:value = '203.0.113.1']", "more-than-addresses"),
        ("[file:name = 'x']", "more-than-addresses"),
        ("[ipv4-addr:value = '999.1.1.1']", "not-an-address"),
        ("[ipv4-addr:value ISSUBSET '0.0.0.0/0']", "not-a-host-address"),
        ("[ipv4-addr:value ISSUBSET '10.0.0.0/8']", "network-too-broad"),
        ("[ipv6-addr:value ISSUBSET '2000::/3']", "network-too-broad"),
        ("[ipv4-addr:value = '127.0.0.1']", "not-a-host-address"),
        ("[ipv4-addr:value = '255.255.255.255']", "not-a-host-address"),
        ("", "more-than-addresses"),
        ("[" * 10_000, "more-than-addresses"),
        ("[ipv4-addr:value = '203.0.113.1'" + " OR x" * 5_000, "pattern-too-long"),
        (None, "no-pattern"),
        (7, "no-pattern"),
    ],
)
def test_what_would_match_more_than_was_meant_is_not_used(pattern, reason):
    with pytest.raises(NotUsableError, match=reason):
        from_pattern(pattern, "stix")


def test_a_long_list_of_addresses_is_used_whole_or_not_at_all():
    def listing(count: int) -> str:
        return "[" + " OR ".join(f"ipv4-addr:value='198.51.{n // 256}.{n % 256}'" for n in range(count)) + "]"

    assert len(from_pattern(listing(400), "stix")) == 400
    with pytest.raises(NotUsableError, match="pattern-too-long"):
        from_pattern(listing(600), "stix")


def sigma(selection: str = "{s7comm.function: 41}", **more: str) -> str:
    product, condition = more.get("product", "s7comm"), more.get("condition", "selection")
    category = more.get("category", "ics_network")
    return (
        f"title: t\nlogsource: {{category: {category}, product: {product}}}\n"
        f"detection:\n  selection: {selection}\n  condition: {condition}\n"
    )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (sigma("{s7comm.function: '*'}"), "not-a-plain-value"),
        (sigma("{s7comm.function: '41'}"), "not-a-plain-value"),
        (sigma("{s7comm.function: [41, 40]}"), "not-a-plain-value"),
        (sigma("{s7comm.function|gt: 0}"), "unknown-field"),
        (sigma("{nobody.knows: 1}"), "unknown-field"),
        (sigma("{1: 1}"), "unknown-field"),
        (sigma("{}"), "matches-a-whole-protocol"),
        (sigma("{network.protocol: modbus}"), "condition-not-supported"),
        (sigma("[{s7comm.function: 41}]"), "condition-not-supported"),
        (sigma(condition="not selection"), "condition-not-supported"),
        (sigma(condition="1 of them"), "condition-not-supported"),
        (sigma(category="process_creation"), "other-log-source"),
        (sigma(product="'*'"), "not-a-plain-value"),
        ("a: &a [x]\nb: [*a, *a]", "yaml-aliases"),
        ("[" * 5000, "not-yaml"),
        ("a: !!python/object/apply:os.system [id]", "not-yaml"),
        ("- just a list", "not-a-sigma-rule"),
        ("", "not-a-sigma-rule"),
        ("\x00", "not-yaml"),
        ("a: 2026-99-99", "not-"),
    ],
)
def test_rules_beyond_plain_equality_are_not_used(rule, reason):
    with pytest.raises(NotUsableError, match=reason):
        from_pattern(rule, "sigma")


def test_other_pattern_languages_are_not_used():
    for language in ("snort", "yara", "pcre", None, 5, ["stix"]):
        with pytest.raises(NotUsableError, match="pattern-language-not-supported"):
            from_pattern("x", language)


def test_an_operation_id_of_another_shape_is_dropped():
    assert operation_match(STOP, "../../etc/passwd").operation_id == ""


FRAGMENTS = st.sampled_from(
    ["[", "]", "'", " OR ", "ipv4-addr:value", "=", "ISSUBSET ", "203.0.113.1", "/24", " ", "network-traffic:",
     "src_ref.value", "title: x\n", "logsource:", "detection:", "{", "}", ":", "\n  ", "&a ", "*a", "!!", "\x00",
     "\ud800", "- "]
)  # fmt: skip


@given(st.lists(FRAGMENTS | st.text(max_size=5), max_size=30).map("".join), st.sampled_from(["stix", "sigma"]))
def test_any_text_gives_matches_or_the_reason_why_not(pattern, language):
    try:
        matches = from_pattern(pattern, language)
    except NotUsableError as error:
        matches = ()
        reason = str(error)
    else:
        reason = ""
    assert bool(matches) != bool(reason)
    assert all(isinstance(match, Match) for match in matches)

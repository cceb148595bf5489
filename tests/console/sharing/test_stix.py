"""Bulletins as STIX 2.1: valid by OASIS's validator, the same at each export, versions as STIX wants them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import stix2
import yaml
from stix2validator import ValidationOptions, validate_string

from console.sharing import stix
from console.sharing.document import BulletinDocument, Colour, Issuer, Notice, Technique
from console.sharing.patterns import address_match, operation_match
from console.sharing.stix import EXTENSION_ID
from console.sharing.tlp import DEFINITION_IDS, Tlp, definition
from detectors.finding import Text

ISSUED = datetime(2026, 11, 22, 9, 30, 0, 123000, tzinfo=UTC)
STOP = operation_match({"network.protocol": "s7comm", "s7comm.function": 41}, "operation.s7comm.stop")
NETWORK = address_match("2001:db8:1::/48")
BULLETIN = BulletinDocument(
    series=UUID("0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a01"),
    version=1,
    notice=Notice.ALERT,
    issuer=Issuer(UUID("7f3f0d60-0b5a-4c51-9a53-0c51a0d2a702"), "某市工业和信息化局", datetime(2026, 1, 1, tzinfo=UTC)),
    first_issued=ISSUED,
    issued=ISSUED,
    tlp=Tlp.AMBER,
    colour=Colour.ORANGE,
    title=Text("PLC 被远程停机", "PLCs stopped from outside"),
    body=Text("正文\n第二行", 'Body with "quotes" and <script>alert(1)</script>'),
    advice=Text("立即检查", "Check at once"),
    techniques=(Technique("T0858", "Change Operating Mode"), Technique("T0816")),
    matches=(address_match("203.0.113.7"), NETWORK, STOP),
)


def by_type(document: BulletinDocument) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for thing in stix.objects(document):
        found.setdefault(thing["type"], []).append(thing)
    return found


def variants() -> dict[str, BulletinDocument]:
    return {
        "whole": BULLETIN,
        "drill": replace(BULLETIN, drill=True),
        "Chinese only": replace(BULLETIN, title=Text("只有中文", ""), body=Text("正文", ""), advice=Text("建议", "")),
        "English only": replace(BULLETIN, title=Text("", "Only English"), body=Text("", "b"), advice=Text("", "a")),
        "bare": replace(BULLETIN, body=Text("", ""), advice=Text("", ""), techniques=(), matches=()),
        "update": replace(
            BULLETIN,
            version=2, notice=Notice.UPDATE, issued=ISSUED + timedelta(hours=1), matches=(STOP,), withdrawn=(NETWORK,),
        ),
        "cancel": replace(BULLETIN, version=3, notice=Notice.CANCEL, issued=ISSUED + timedelta(hours=2)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "tlp"), [*((name, Tlp.AMBER) for name in variants()), *(("bare", tlp) for tlp in Tlp)]
)
def test_the_bundle_is_valid_by_the_oasis_validator(name, tlp):
    text = json.dumps(stix.bundle(replace(variants()[name], tlp=tlp)))
    result = validate_string(text, ValidationOptions(version="2.1"))
    assert result.is_valid, [str(error) for error in result.errors]


def test_the_validator_would_find_a_fault():
    broken = stix.bundle(BULLETIN)
    del broken["objects"][-1]["object_refs"]
    assert not validate_string(json.dumps(broken), ValidationOptions(version="2.1")).is_valid


@pytest.mark.parametrize("name", variants())
def test_the_reference_library_reads_it_and_gives_it_back_unchanged(name):
    bundle = stix.bundle(variants()[name])
    parsed = stix2.parse(bundle, allow_custom=False)
    assert json.loads(parsed.serialize()) == bundle


def test_two_exports_are_the_same_objects():
    assert stix.bundle(BULLETIN) == stix.bundle(replace(BULLETIN))
    other = replace(BULLETIN, series=UUID("0b4b2f58-6c9d-4c58-8f0c-6f3a4b0e9a02"))
    ids = {thing["id"] for thing in stix.objects(BULLETIN)} & {thing["id"] for thing in stix.objects(other)}
    shared = {thing.partition("--")[0] for thing in ids}
    assert shared == {"identity", "marking-definition", "extension-definition"}


def test_everything_but_the_frame_carries_the_label_of_the_bulletin():
    for thing in stix.objects(replace(BULLETIN, tlp=Tlp.RED)):
        refs = thing.get("object_marking_refs")
        if thing["type"] == "marking-definition":
            assert refs is None
        elif thing["type"] in ("identity", "extension-definition"):
            assert refs in ([DEFINITION_IDS[Tlp.CLEAR]], [DEFINITION_IDS[Tlp.GREEN]])
        else:
            assert refs == [DEFINITION_IDS[Tlp.RED]]
    assert definition(Tlp.RED) in stix.objects(replace(BULLETIN, tlp=Tlp.RED))


def test_the_report_carries_colour_grade_and_drill_in_our_extension():
    [report] = by_type(replace(BULLETIN, drill=True))["report"]
    assert report["extensions"][EXTENSION_ID] == {
        "extension_type": "property-extension", "warning_colour": "orange", "warning_grade": "II",
        "bulletin_version": 1, "notice": "alert", "drill": True,
    }  # fmt: skip
    assert report["labels"] == ["drill"]
    assert report["name"].startswith("[DRILL] ")
    assert by_type(BULLETIN)["extension-definition"][0]["id"] == EXTENSION_ID
    assert "labels" not in by_type(BULLETIN)["report"][0]


def test_the_report_refers_to_everything_that_belongs_to_it():
    found = by_type(BULLETIN)
    [report] = found["report"]
    belonging = {
        thing["id"]
        for kind in ("indicator", "attack-pattern", "course-of-action", "relationship")
        for thing in found[kind]
    }
    assert belonging <= set(report["object_refs"])


def test_chinese_travels_as_language_content_beside_english():
    found = by_type(BULLETIN)
    [report] = found["report"]
    contents = {thing["object_ref"]: thing["contents"]["zh"] for thing in found["language-content"]}
    assert report["lang"] == "en"
    assert contents[report["id"]]["name"] == "PLC 被远程停机"
    assert contents[found["course-of-action"][0]["id"]]["description"] == "立即检查"


def test_a_bulletin_in_chinese_only_says_so():
    found = by_type(variants()["Chinese only"])
    assert found["report"][0]["lang"] == "zh"
    assert found["report"][0]["name"] == "只有中文"
    assert "language-content" not in found


def test_addresses_are_stix_patterns_and_operations_sigma_rules():
    patterns = {thing["pattern_type"]: thing for thing in by_type(BULLETIN)["indicator"]}
    stix_patterns = [thing["pattern"] for thing in by_type(BULLETIN)["indicator"] if thing["pattern_type"] == "stix"]
    assert stix_patterns == ["[ipv4-addr:value = '203.0.113.7']", "[ipv6-addr:value ISSUBSET '2001:db8:1::/48']"]
    rule = yaml.safe_load(patterns["sigma"]["pattern"])
    assert rule["logsource"] == {"category": "ics_network", "product": "s7comm"}
    assert rule["detection"] == {"selection": {"s7comm.function": 41}, "condition": "selection"}
    assert rule["id"] == patterns["sigma"]["id"].removeprefix("indicator--")
    assert rule["tags"] == ["attack.t0858", "attack.t0816"]


def test_techniques_refer_to_attack_for_ics():
    techniques = {
        thing["external_references"][0]["external_id"]: (thing["name"], thing["external_references"][0]["source_name"])
        for thing in by_type(BULLETIN)["attack-pattern"]
    }
    assert techniques == {"T0858": ("Change Operating Mode", "mitre-attack"), "T0816": ("T0816", "mitre-attack")}


def test_an_update_is_a_new_version_of_the_same_objects_and_revokes_what_it_drops():
    before, after = by_type(BULLETIN), by_type(variants()["update"])
    [old], [new] = before["report"], after["report"]
    assert (new["id"], new["created"]) == (old["id"], old["created"])
    assert new["modified"] > old["modified"]
    revoked = {thing["pattern"]: thing.get("revoked", False) for thing in after["indicator"]}
    assert revoked["[ipv6-addr:value ISSUBSET '2001:db8:1::/48']"] is True
    assert list(revoked.values()).count(True) == 1
    ids = {thing["pattern"]: thing["id"] for thing in before["indicator"]}
    assert all(ids[thing["pattern"]] == thing["id"] for thing in after["indicator"])


def test_a_cancelled_bulletin_and_its_indicators_are_revoked():
    found = by_type(variants()["cancel"])
    assert all(thing["revoked"] is True for thing in (*found["report"], *found["indicator"]))


def test_a_sighting_is_valid_and_tells_counts_and_times_only():
    of = by_type(BULLETIN)["indicator"][0]["id"]
    objects = stix.sighting(
        of, reporter=BULLETIN.issuer, key="k", count=17, first_seen=ISSUED, last_seen=ISSUED + timedelta(hours=3),
        marking=Tlp.AMBER,
    )  # fmt: skip
    bundle = {"type": "bundle", "id": f"bundle--{BULLETIN.series}", "objects": objects}
    assert validate_string(json.dumps(bundle), ValidationOptions(version="2.1")).is_valid
    seen = objects[-1]
    assert (seen["type"], seen["sighting_of_ref"], seen["count"]) == ("sighting", of, 17)
    assert set(seen) == {
        "type", "spec_version", "id", "created_by_ref", "created", "modified", "sighting_of_ref",
        "where_sighted_refs", "count", "first_seen", "last_seen", "object_marking_refs",
    }  # fmt: skip

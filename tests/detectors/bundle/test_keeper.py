"""What a sensor does with configuration from its console: it takes what is sound and signed, keeps the last good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.bundle.keeper import Keeper
from detectors.bundle.signed import (
    Bundle,
    BundleError,
    File,
    files_digest,
    fingerprint,
    indicators_digest,
    opened,
    public_of,
    sign,
    version_of,
)
from detectors.pipeline import Options
from detectors.tags.file import load_tags

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TAGS = "device,point,low,high,name\n10.20.2.11,hr:8,0,530,tank\n"
INDICATOR = {"id": "i1", "type": "ip", "value": "203.0.113.7", "bulletin": {"id": "b", "title": "通报"}}


def bundle(*files: File, serial: int = 10, sensor: str = "line-1", indicators: tuple[dict[str, object], ...] = ()):
    digest = indicators_digest(indicators)
    return Bundle(sensor, version_of(digest, files_digest(files)), serial, files, digest)


def signed(*files: File, key: Ed25519PrivateKey = KEY, **about):
    return sign(bundle(*files, **about), key)


def take(keeper: Keeper, content: object, *indicators: dict[str, object]) -> bool:
    return keeper.take(content, "line-1", indicators, "wanted", 1000.0)


PLANT = File("tags", "plant.csv", TAGS)


def test_what_is_signed_is_loaded_and_in_force_also_after_a_restart(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c")
    assert take(keeper, signed(PLANT, indicators=(INDICATOR,)), INDICATOR)
    assert not take(keeper, signed(PLANT, indicators=(INDICATOR,)), INDICATOR)  # it is in force already
    again = Keeper(tmp_path / "c")
    again.recall()
    for it in (keeper, again):
        assert [tag.name for tag in it.applied(Options()).tags] == ["tank"]
        assert it.counters()["config.version"] == bundle(PLANT, indicators=(INDICATOR,)).version
        assert (it.counters()["config.since"], it.counters()["config.refused"]) == (1000, "")
        assert it.pinned == fingerprint(public_of(KEY))


def altered(**about):
    content = signed(PLANT, serial=20)
    return {**content, "text": content["text"].replace("530", "999")}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "not signed"),
        ({}, "not signed"),
        ({"text": "x", "signature": "!", "key": "!"}, "cannot be read"),
        (altered(), "altered"),
        (signed(PLANT, serial=20, key=OTHER_KEY), "trusts"),
        (signed(PLANT, serial=20, sensor="line-2"), "for the sensor 'line-2'"),
        (signed(PLANT, File("tags", "b.csv", "x"), serial=9), "older"),
        (signed(PLANT, serial=20, indicators=(INDICATOR,)), "indicators"),
        (signed(PLANT, File("tags", "b.csv", "device,point\n10.1.1.1,nowhere\n"), serial=20), "tags/b.csv:2"),
        (signed(File("tags", "../../x.csv", TAGS), serial=20), "name"),
        (signed(File("exe", "x.csv", TAGS), serial=20), "kind"),
    ],
)
def test_what_cannot_be_trusted_or_used_is_refused_and_the_last_good_stays(
    tmp_path: Path, content: object, why: str
) -> None:
    keeper = Keeper(tmp_path / "c")
    take(keeper, signed(PLANT))
    before = keeper.now
    with pytest.raises(BundleError) as refused:
        take(keeper, content)
    assert why in str(refused.value)
    assert keeper.now == before
    assert [tag.name for tag in keeper.applied(Options()).tags] == ["tank"]
    counters = keeper.counters()
    assert (counters["config.refused"], counters["config.refusals"]) == ("wanted", 1)
    assert why in str(counters["config.reason"])
    again = Keeper(tmp_path / "c")
    again.recall()
    assert again.now.version == before.version
    assert not list(tmp_path.glob("*.csv"))


def test_only_the_key_that_was_given_counts(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c", fingerprint(public_of(OTHER_KEY)))
    with pytest.raises(BundleError, match="signed with the key"):
        take(keeper, signed(PLANT))
    with pytest.raises(BundleError, match="not signed"):  # nor does a console that signs nothing
        take(keeper, None)
    assert take(keeper, signed(PLANT, key=OTHER_KEY))


def test_a_console_of_before_that_signs_nothing_is_let_be(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c")
    assert not take(keeper, None)
    assert keeper.counters()["config.refusals"] == 0


def test_what_was_altered_on_the_sensors_disk_is_not_used(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c")
    take(keeper, signed(PLANT))
    path = tmp_path / "c" / "current.json"
    kept = json.loads(path.read_text("utf-8"))
    kept["signed"]["text"] = kept["signed"]["text"].replace("530", "999")
    path.write_text(json.dumps(kept))
    again = Keeper(tmp_path / "c")
    again.recall()
    assert again.now.version == ""
    assert "altered" in str(again.counters()["config.reason"])


def test_files_of_the_console_are_added_to_those_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(TAGS.replace("tank", "own"))
    own, _ = load_tags(tmp_path / "own.csv")
    levels = "overrides:\n  - {rule: operation.*, severity: low, reason: test rig}\n"
    keeper = Keeper(tmp_path / "c")
    take(keeper, signed(PLANT, File("overrides", "o.yaml", levels)))
    options = keeper.applied(Options(tags=own))
    assert [tag.name for tag in options.tags] == ["own", "tank"]
    assert [it.reason for it in options.overrides] == ["test rig"]


@given(at=st.integers(0, 10_000), octet=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_octet_of_a_bundle_can_be_changed(at: int, octet: int) -> None:
    content = signed(PLANT, serial=20)
    raw = bytearray(content["text"].encode())
    at %= len(raw)
    if raw[at] == octet:
        return
    raw[at] = octet
    with pytest.raises(BundleError):
        opened({**content, "text": raw.decode("latin-1")}, None)

"""Devices that become others, and stations that share a name; and quiet where nothing of the kind happens."""

from __future__ import annotations

from support import slow_wire as wire
from support.findings import Plant, of, the
from test_inventory import PLC, identify

from detectors.asset_changed import AssetChanged
from detectors.finding import Finding
from detectors.pipeline import Pipeline, merge

OTHER_MAC = "00:1b:1b:0a:0b:0c"


def found(plant: Plant, size: int | None = None) -> list[Finding]:
    return merge(Pipeline(detectors=[AssetChanged()]).run(plant.batches(size)))


def test_other_firmware_at_a_known_address_is_found_with_both_frames() -> None:
    plant = Plant()
    identify(plant, transaction=1)
    plant.wait(5)
    identify(plant, transaction=2, revision="V3.0")
    finding = the(found(plant), "asset.changed")
    assert finding.source_ip == PLC
    assert finding.techniques == ("T0857",)
    assert "“V2.1”变为“V3.0”" in finding.explanation.zh
    assert "its firmware was “V2.1” and is “V3.0”" in finding.explanation.en
    assert finding.evidence.frames == (5, 7)


def test_a_run_that_takes_over_knows_the_devices_of_the_one_before() -> None:
    first, second = Plant(), Plant()
    identify(first, transaction=1)
    identify(second, transaction=2, revision="V3.0")
    before = Pipeline()
    assert not of(merge(before.run(first.batches())), "asset.changed")
    after = Pipeline()
    after.take_over(before)
    finding = the(merge(after.run(second.batches())), "asset.changed")
    assert "“V2.1”" in finding.explanation.zh
    assert after.scene.secrets is before.scene.secrets


def test_another_order_number_is_found_and_firmware_that_stays_is_not_named() -> None:
    plant = Plant()
    identify(plant, transaction=1)
    plant.wait(5)
    identify(plant, transaction=2, code="BMX P58")
    finding = the(found(plant), "asset.changed")
    assert finding.fields["asset.attribute"] == "order_number"
    assert finding.techniques == ()


def test_two_units_behind_one_address_may_be_different() -> None:
    plant = Plant()
    for number, unit in enumerate((1, 2, 1, 2)):
        identify(plant, unit=unit, transaction=number, revision=f"V{unit}.0")
        plant.wait(5)
    assert not found(plant)


def test_the_same_identity_again_and_again_is_no_news() -> None:
    plant = Plant()
    for number in range(20):
        identify(plant, transaction=number)
        plant.wait(2)
    assert not found(plant, size=4)


def station(plant: Plant, mac: str, ip: str, name: str = "conveyor-1") -> None:
    plant.wait(1)
    plant.sends(wire.identified(name=name, ip=ip, mac=mac))


def test_two_stations_with_one_name_are_found_when_both_go_on_speaking() -> None:
    plant = Plant()
    station(plant, wire.PLC_MAC, "10.1.0.20")
    station(plant, OTHER_MAC, "10.1.0.66")
    station(plant, wire.PLC_MAC, "10.1.0.20")
    finding = the(found(plant), "asset.shared")
    assert finding.fields == {"dcp.name_of_station": "conveyor-1"}
    assert OTHER_MAC in finding.explanation.zh
    assert wire.PLC_MAC in finding.explanation.en


def test_a_replaced_station_takes_over_the_name_in_peace() -> None:
    plant = Plant()
    for _ in range(3):
        station(plant, wire.PLC_MAC, "10.1.0.20")
    for _ in range(3):
        station(plant, OTHER_MAC, "10.1.0.20")
    assert not of(found(plant), "asset.shared")

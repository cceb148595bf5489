"""The inventory: who is there, what shows it, who asks whom, and what cannot be told apart."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support import slow_wire as wire
from support.findings import Plant
from support.wire import Talk, frames, read_coils, write_register

from detectors.assets import inventory as limits
from detectors.assets.asset import Asset, Key
from detectors.assets.inventory import Inventory
from detectors.assets.survey import Surveyor
from detectors.pipeline import Pipeline
from pcaps.messages import modbus, s7comm
from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture

HMI, PLC, READER, ENGINEER = "10.1.0.5", "10.1.0.20", "10.1.0.7", "10.1.0.9"
CAPTURES = Path(__file__).parents[4] / "shared" / "captures"


def surveyed(batches: list[FrameBatch], inventory: Inventory | None = None) -> Inventory:
    inventory = inventory or Inventory()
    assert not list(Pipeline(detectors=[Surveyor(inventory)]).run(batches))
    return inventory


def at(inventory: Inventory, address: str) -> Asset:
    (asset,) = [asset for key, asset in inventory.assets.items() if key.address == address]
    return asset


def roles(inventory: Inventory, address: str) -> list[str]:
    return [role.name for role in at(inventory, address).roles]


def device_identification(transaction: int, unit: int, revision: str = "V2.1", code: str = "BMX P34") -> bytes:
    """Answer to Modbus 43/14: maker, product code, revision."""
    objects = [b"Schneider Electric", code.encode(), revision.encode()]
    body = bytes([43, 14, 1, 1, 0, 0, len(objects)])
    body += b"".join(bytes([number, len(text)]) + text for number, text in enumerate(objects))
    return modbus.adu(transaction, unit, body)


def identify(plant: Plant, unit: int = 255, transaction: int = 1, **answer: str) -> None:
    request = modbus.adu(transaction, unit, bytes([43, 14, 1, 0]))
    plant.exchange(HMI, PLC, request, device_identification(transaction, unit, **answer))


def module_identification(order: str, firmware: tuple[int, int, int]) -> bytes:
    """Data of an answer to S7 SZL 0x0011: the module, and its firmware."""
    module = struct.pack(">H20sHHH", 1, order.encode().ljust(20), 0, 1, 0x2020)
    program = struct.pack(">H20sHBBBB", 7, b" " * 20, 0, ord("V"), *firmware)
    return struct.pack(">HHHH", 0x0011, 0, 28, 2) + module + program


def test_a_device_is_known_by_what_it_says_and_the_frame_shows_it() -> None:
    plant = Plant()
    identify(plant)
    asset = at(surveyed(plant.batches()), PLC)
    assert (asset.best("vendor"), asset.best("order_number"), asset.best("firmware")) == (
        "Schneider Electric", "BMX P34", "V2.1",
    )  # fmt: skip
    (fact,) = asset.said("firmware")
    assert (fact.proof.frame, fact.proof.protocol) == (5, "modbus")
    assert fact.proof.field == "modbus.device_id.major_minor_revision"


def test_an_s7_controller_says_its_order_number_and_firmware() -> None:
    plant = Plant()
    request = s7comm.userdata_request(1, 4, 1, struct.pack(">HH", 0x0011, 0))
    data = module_identification("6ES7 315-2EH14-0AB0", (3, 2, 6))
    plant.exchange(ENGINEER, PLC, s7comm.connect_request(), s7comm.connect_confirm(), 102)
    plant.exchange(ENGINEER, PLC, request, s7comm.userdata_response(1, 4, 1, data), 102)
    asset = at(surveyed(plant.batches()), PLC)
    assert (asset.best("order_number"), asset.best("firmware")) == ("6ES7 315-2EH14-0AB0", "V3.2.6")


def test_units_behind_one_address_are_its_parts_and_make_it_a_gateway() -> None:
    plant = Plant()
    for unit in (1, 2, 3):
        plant.exchange(
            HMI, PLC, modbus.adu(unit, unit, modbus.read(3, 0, 1)), modbus.adu(unit, unit, modbus.registers(3, [7]))
        )
    identify(plant, unit=2, transaction=9)
    asset = at(surveyed(plant.batches()), PLC)
    assert set(asset.components) == {"unit 1", "unit 2", "unit 3"}
    assert "gateway" in [role.name for role in asset.roles]
    assert [fact.claim.component for fact in asset.said("firmware", None)] == ["unit 2"]


def test_units_that_were_asked_and_did_not_answer_are_no_parts() -> None:
    plant = Plant()
    for unit in range(1, 20):
        plant.asks(HMI, PLC, modbus.adu(unit, unit, modbus.read(3, 0, 1)))
    plant.exchange(HMI, PLC, modbus.adu(50, 1, modbus.read(3, 0, 1)), modbus.adu(50, 1, modbus.registers(3, [7])))
    assert set(at(surveyed(plant.batches()), PLC).components) == {"unit 1"}


def test_roles_follow_from_who_asks_whom_for_what() -> None:
    plant = Plant()
    read, answer = modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [7]))
    plant.exchange(READER, PLC, read, answer)
    plant.exchange(HMI, PLC, read, answer)
    write = modbus.adu(2, 1, modbus.write_register(4, 9))
    plant.exchange(HMI, PLC, write, write)
    plant.exchange(ENGINEER, PLC, s7comm.connect_request(), s7comm.connect_confirm(), 102)
    plant.exchange(
        ENGINEER,
        PLC,
        s7comm.job(1, s7comm.start_upload(b"_0800001P")),
        s7comm.ack_data(1, s7comm.upload_started(7, 80)),
        102,
    )
    inventory = surveyed(plant.batches())
    assert roles(inventory, READER) == ["reader"]
    assert roles(inventory, HMI) == ["master"]
    assert roles(inventory, ENGINEER) == ["engineering"]
    assert roles(inventory, PLC) == ["controller"]
    (role,) = at(inventory, HMI).roles
    assert PLC in role.reason.zh
    assert "write" in role.reason.en


def test_a_controller_that_fetches_the_blocks_of_a_download_is_still_the_one_that_is_programmed() -> None:
    capture = Path(__file__).parents[3] / "pcaps" / "s7comm" / "block_download.pcap"
    inventory = Inventory()
    list(Pipeline(detectors=[Surveyor(inventory)]).run(open_capture(capture.as_posix())))
    assert sorted(tuple(role.name for role in asset.roles) for asset in inventory.assets.values()) == [
        ("controller",), ("engineering",),
    ]  # fmt: skip


def test_modules_of_other_classes_do_not_speak_for_the_cpu() -> None:
    plant = Plant()
    plant.exchange(ENGINEER, PLC, s7comm.connect_request(), s7comm.connect_confirm(), 102)
    for number, (szl, order) in enumerate(((0x0011, "6ES7 315-2EH14-0AB0"), (0xC011, "6GK7 343-1EX30-0XE0")), 1):
        request = s7comm.userdata_request(number, 4, 1, struct.pack(">HH", szl, 0))
        data = struct.pack(">H", szl) + module_identification(order, (3, 2, 6))[2:]
        plant.exchange(ENGINEER, PLC, request, s7comm.userdata_response(number, 4, 1, data), 102)
    asset = at(surveyed(plant.batches()), PLC)
    assert asset.best("order_number") == "6ES7 315-2EH14-0AB0"
    assert [(fact.claim.component, fact.claim.value) for fact in asset.said("order_number", None)][1:] == [
        ("szl C011", "6GK7 343-1EX30-0XE0")
    ]


def test_the_same_address_in_two_vlans_is_two_devices_and_a_tag_more_says_which() -> None:
    packets = []
    for vlan in (7, 8):
        talk = Talk(tags=((0x8100, vlan),))
        packets += [
            *talk.handshake(),
            talk.asks(write_register(vlan, 1, vlan)),
            talk.answers(write_register(vlan, 1, vlan)),
        ]
    inventory = surveyed([frames(packets)])
    assert {key.segment for key in inventory.assets if key.address == PLC} == {"vlan 7", "vlan 8"}
    assert {(link.client.segment, link.server.segment) for link in inventory.links} == {
        ("vlan 7",) * 2,
        ("vlan 8",) * 2,
    }


def test_what_arp_lldp_and_dcp_say_goes_to_the_device_with_that_hardware_address() -> None:
    packets = [
        wire.arp(1, (wire.PLC_MAC, "10.1.0.20"), ("00:00:00:00:00:00", "10.1.0.1")),
        wire.identified(name="plc-1", ip="10.1.0.20"),
        wire.framed(
            wire.lldp()[14:].replace(b"\x10\x0c\x05\x01\x0a\x01\x00\x02", b"\x10\x0c\x05\x01\x00\x00\x00\x00"), 0x88CC
        ),
    ]
    inventory = surveyed([frames(packets)])
    asset = at(inventory, "10.1.0.20")
    assert list(inventory.assets) == [asset.key]
    assert (asset.best("station_name"), asset.best("name"), asset.best("vendor")) == ("plc-1", "sw-1", "Siemens")
    assert asset.macs[wire.PLC_MAC].frame == 1
    assert [role.name for role in asset.roles] == ["network"]


def test_many_addresses_behind_one_hardware_address_are_behind_a_router() -> None:
    talks = [Talk(src=f"10.9.{n}.5", sport=50000 + n) for n in range(5)]
    packets = [packet for talk in talks for packet in (*talk.handshake(), talk.asks(read_coils(1)))]
    router = wire.octets("00:1b:1b:09:09:09")
    moved = [packet[:6] + router + packet[12:] if packet[26:28] == b"\x0a\x09" else packet for packet in packets]
    inventory = surveyed([frames(moved)])
    assert inventory.router_macs() == {"00:1b:1b:09:09:09": 4}
    assert [role.name for role in at(inventory, "00:1b:1b:09:09:09").roles] == ["router"]


def test_several_captures_make_one_inventory_and_each_proof_names_its_own() -> None:
    first, second = Plant(), Plant()
    identify(first)
    second.exchange(READER, PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [7])))
    inventory = Inventory()
    for name, plant in (("one.pcap", first), ("two.pcap", second)):
        inventory.begin(name)
        surveyed(plant.batches(), inventory)
    (fact,) = at(inventory, PLC).said("firmware")
    assert fact.proof.capture == "one.pcap"
    assert {link.client.address for link in inventory.links} == {HMI, READER}


def test_a_site_is_a_part_of_every_key() -> None:
    plant = Plant()
    identify(plant)
    assert Key("line 3", "", PLC) in surveyed(plant.batches(), Inventory("line 3")).assets


def test_a_flood_of_addresses_is_cut_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ASSETS", 10)
    packets = [wire.arp(1, (f"02:00:00:00:01:{n:02x}", f"10.9.0.{n}"), (wire.ALL, "10.1.0.1")) for n in range(30)]
    inventory = surveyed([frames(packets)])
    assert len(inventory.assets) == 10
    assert inventory.refused >= 20


def test_identities_asked_for_without_end_are_not_all_read() -> None:
    plant = Plant()
    for number in range(300):
        identify(plant, transaction=number)
    asset = at(surveyed(plant.batches(100)), PLC)
    (fact,) = asset.said("firmware")
    assert fact.count <= 3  # 300 answers in 0.6 s


@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the shared captures are not there")
@pytest.mark.parametrize(
    ("capture", "address", "expected"),
    [
        ("s7comm/icsnpp-s7comm__s7ident", "172.17.0.2", {"order_number": "6ES7 315-2EH14-0AB0", "firmware": "V3.2.6"}),
        ("enip/icsnpp-enip__enip_cip_example", "10.1.1.164", {"model": "1756-ENBT/A", "firmware": "4.3"}),
        ("bacnet/quickdraw__bacnet_test", "10.1.1.165", {"vendor": "JCI", "model": "MS-NAE4510-2"}),
        ("mms/iti__8d7c7db0-9804-012b-b2a6-0016cb8cea27", "10.101.1.2", {"model": "e-terracomm", "firmware": "2.3.1"}),
    ],
)
def test_real_devices_say_who_they_are(capture: str, address: str, expected: dict[str, str]) -> None:
    inventory = Inventory()
    list(Pipeline(detectors=[Surveyor(inventory)]).run(open_capture((CAPTURES / capture / "capture.pcap").as_posix())))
    asset = at(inventory, address)
    assert {name: asset.best(name) for name in expected} == expected

"""What the readers of slow protocols make of messages, and of bytes that are none."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import slow_wire as wire
from support.wire import frames, udp

from sensor.schema import FIELDS
from sensor.slow import arp, dcp, dhcp, lldp, names, switches
from sensor.slow.reader import SlowReader

READERS = {
    "arp": arp.read, "lldp": lldp.read, "dcp": dcp.read, "dhcp": dhcp.read, "dhcpv6": dhcp.read_v6, "dns": names.read,
    "netbios": names.read_netbios, "cdp": switches.read_cdp, "stp": switches.read_spanning_tree,
    "lacp": switches.read_lacp,
}  # fmt: skip
MESSAGES = {
    "arp": wire.arp(2, (wire.PLC_MAC, "10.1.0.20"), (wire.HOST_MAC, "10.1.0.5"))[14:],
    "lldp": wire.lldp()[14:],
    "dcp": wire.identified()[14:],
    "dhcp": wire.dhcp(3, wire.option(12, b"hmi-2") + wire.option(60, b"MSFT 5.0")),
    "dhcpv6": bytes([1, 0, 0, 9]) + struct.pack("!HH", 39, 7) + b"\0" + wire.name("hmi2"),
    "dns": wire.dns([(wire.name("plc", "local"), 1)], [(b"\xc0\x0c", 1, bytes([10, 1, 0, 20]))], 0x8400),
    "netbios": wire.dns([(wire.netbios_name("HISTORIAN", 0x20), 32)]),
    "cdp": wire.cdp()[14:],
    "stp": wire.bpdu()[14:],
    "lacp": bytes([1, 1, 1, 20, 0, 1]) + wire.octets(wire.PLC_MAC) + bytes(8) + bytes([2, 20, 0, 1]) + bytes(40),
}


def only(packet: bytes) -> dict[str, object]:
    """Fields of the one message in one frame."""
    (notice,) = SlowReader().read(frames([packet]))
    return dict(notice.message.fields)


def test_arp_says_who_has_which_address() -> None:
    fields = only(wire.arp(2, (wire.PLC_MAC, "10.1.0.20"), (wire.HOST_MAC, "10.1.0.5")))
    assert fields == {
        "arp.operation": 2, "arp.operation_name": "reply", "arp.sender.mac": wire.PLC_MAC,
        "arp.sender.ip": "10.1.0.20", "arp.target.mac": wire.HOST_MAC, "arp.target.ip": "10.1.0.5",
    }  # fmt: skip


def test_lldp_says_what_a_switch_is_and_which_port_it_speaks_from() -> None:
    assert only(wire.lldp()) == {
        "lldp.chassis_id": wire.PLC_MAC, "lldp.port_id": "P3", "lldp.time_to_live": 120, "lldp.system_name": "sw-1",
        "lldp.system_description": "SCALANCE X208, V5.2", "lldp.capabilities": ["bridge"],
        "lldp.management_addresses": ["10.1.0.2"],
    }  # fmt: skip


def test_a_profinet_station_says_its_name_type_maker_role_and_address() -> None:
    fields = only(wire.identified())
    assert fields["dcp.service_name"] == "identify"
    assert (fields["dcp.response"], fields["dcp.success"]) == (True, True)
    assert (fields["dcp.name_of_station"], fields["dcp.type_of_station"]) == ("plc-1", "S7-1200")
    assert (fields["dcp.vendor_id"], fields["dcp.device_id"], fields["dcp.roles"]) == (42, 0x10D, ["controller"])
    assert (fields["dcp.ip"], fields["dcp.gateway"]) == ("10.1.0.20", "10.1.0.1")
    assert fields["dcp.blocks"] == ["name_of_station", "type_of_station", "device_id", "role", "ip"]


def test_setting_a_name_or_address_and_resetting_a_station_are_told_apart() -> None:
    named = only(wire.dcp(0xFEFD, 4, 0, wire.dcp_block(2, 2, b"intruder")))
    assert (named["dcp.service_name"], named["dcp.name_of_station"]) == ("set", "intruder")
    assert "dcp.success" not in named
    reset = only(wire.dcp(0xFEFD, 4, 0, wire.dcp_block(5, 6, b"", 2 << 1)))
    assert reset["dcp.blocks"] == ["reset_to_factory"]


def test_a_search_by_name_has_no_block_information_ahead_of_the_name() -> None:
    found = only(wire.dcp(0xFEFE, 5, 0, wire.dcp_block(2, 2, b"plc-1", None)))
    assert (found["dcp.response"], found["dcp.name_of_station"]) == (False, "plc-1")
    asked = only(wire.dcp(0xFEFD, 3, 0, bytes([2, 2, 1, 2])))
    assert asked["dcp.blocks"] == ["name_of_station", "ip"]


def test_dhcp_says_the_host_its_class_and_the_address_it_was_given() -> None:
    options = wire.option(12, b"hmi-2") + wire.option(60, b"MSFT 5.0") + wire.option(54, bytes([10, 1, 0, 1]))
    fields = only(udp(wire.dhcp(5, options, assigned="10.1.0.77"), sport=67, dport=68))
    assert fields["dhcp.message_type_name"] == "ack"
    assert (fields["dhcp.hostname"], fields["dhcp.vendor_class"]) == ("hmi-2", "MSFT 5.0")
    assert (fields["dhcp.client_mac"], fields["dhcp.assigned_ip"]) == (wire.HOST_MAC, "10.1.0.77")
    assert fields["dhcp.server"] == "10.1.0.1"


def test_the_full_name_of_a_dhcp_client_is_read_in_either_coding() -> None:
    plain = dhcp.read(wire.dhcp(1, wire.option(81, b"\0\0\0hmi2.plant")))
    coded = dhcp.read(wire.dhcp(1, wire.option(81, b"\x04\0\0" + wire.name("hmi2", "plant"))))
    assert plain["dhcp.client_name"] == coded["dhcp.client_name"] == "hmi2.plant"


def test_dhcp_for_ipv6_says_the_hardware_address_in_the_identifier_of_the_client() -> None:
    client = struct.pack("!HHHHI", 1, 14, 1, 1, 0x2A2B2C2D) + wire.octets(wire.HOST_MAC)
    given_address = struct.pack("!HHIII", 3, 12 + 28, 1, 0, 0) + struct.pack("!HH", 5, 24)
    given_address += ip_address("2001:db8::7").packed + bytes(8)
    fields = only(udp(bytes([7, 1, 2, 3]) + client + given_address, sport=547, dport=546))
    assert (fields["dhcp.message_type_name"], fields["dhcp.client_mac"]) == ("reply", wire.HOST_MAC)
    assert fields["dhcp.assigned_ip"] == "2001:db8::7"


def test_names_are_read_through_pointers_and_loops_end() -> None:
    fields = names.read(MESSAGES["dns"])
    assert (fields["dns.questions"], fields["dns.answers"]) == (["plc.local A"], ["plc.local A 10.1.0.20"])
    looped = names.read(struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + bytes(4))
    assert "dns.questions" not in looped or len(looped["dns.questions"][0]) < 300


def test_a_netbios_name_is_read_out_of_its_coding() -> None:
    fields = only(udp(MESSAGES["netbios"], sport=137, dport=137))
    assert fields["dns.questions"] == ["HISTORIAN<20> NB"]


def test_switches_say_what_they_are() -> None:
    fields = only(wire.cdp())
    assert (fields["cdp.device_id"], fields["cdp.platform"]) == ("sw-core", "cisco WS-C2960")
    assert (fields["cdp.addresses"], fields["cdp.capabilities"]) == (["10.1.0.3"], ["switch", "igmp"])
    tree = only(wire.bpdu(change=True))
    assert (tree["stp.root"], tree["stp.topology_change"]) == (f"32768/{wire.PLC_MAC}", True)


def test_text_from_the_wire_cannot_deceive_an_eye() -> None:
    fields = only(wire.lldp(name="plc\x1b[2J\u202e"))
    assert str(fields["lldp.system_name"]).isprintable()


@pytest.mark.parametrize("protocol", READERS)
def test_every_field_stands_in_the_schema_with_its_type(protocol: str) -> None:
    fields = READERS[protocol](MESSAGES[protocol])
    assert len(fields) > 1
    types = {"long": int, "keyword": str, "boolean": bool, "double": float}
    for name, value in fields.items():
        field = FIELDS[name]
        assert isinstance(value, list) == field.many, name
        for item in value if field.many else [value]:
            assert isinstance(item, types[field.type]), name


@pytest.mark.parametrize("protocol", READERS)
def test_a_reader_takes_any_bytes_and_gives_little(protocol: str) -> None:
    read, message = READERS[protocol], MESSAGES[protocol]

    @given(st.binary(max_size=1500), st.integers(0, len(message)), st.integers(0, len(message)))
    @example(b"\xff" * 1500, 0, 0)
    @example(b"\xc0\x0c" * 700, 12, len(message))
    def total(noise: bytes, cut: int, resume: int) -> None:
        for data in (noise, message[:cut] + noise, message[:cut], message[:cut] + noise[:8] + message[resume:]):
            fields = read(data)
            assert fields.keys() <= FIELDS.keys()
            assert len(repr(fields)) < 64_000

    total()

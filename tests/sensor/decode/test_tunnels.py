"""Tunnels: a message gives the same event, whatever carries it."""

from __future__ import annotations

import functools
import random
import shutil
import struct
import subprocess
from typing import Any

import numpy as np
import pytest
from support.encapsulation import (
    OUTER6,
    datagram,
    erspan_1,
    erspan_2,
    erspan_3,
    frame,
    geneve,
    gre,
    label,
    over_ip,
    pppoe,
    snap,
    vxlan,
)
from support.wire import MASTER, Talk, coils, ethernet, frames, read_coils, tcp, udp

from sensor.decode import link
from sensor.decode.decoder import Decoder
from sensor.decode.packet import MAX_HEADERS, Tunnel
from sensor.decode.state import PACKET
from sensor.schema import FIELDS

ADU = read_coils(1)
PACKET4 = tcp(ADU, seq=5)[14:]
PACKET6 = tcp(ADU, seq=5, src="2001:db8::5", dst="2001:db8::20")[14:]
INNER, INNER6 = frame(PACKET4, 0x0800), frame(PACKET6, 0x86DD)
TAGGED = frame(struct.pack("!HH", 33, 0x0800) + PACKET4, 0x8100)
MAC_LIKE_IPV4 = bytes.fromhex("45005e005301") + INNER[6:]  # a locally administered address that begins like IPv4
NONE = Tunnel.NONE

# name: (LINKTYPE_, frame, tunnel, VLAN, segment)
CARRIED: dict[str, tuple[int, bytes, Tunnel, int, int]] = {
    "QinQ": (1, ethernet(PACKET4, 0x0800, [(0x88A8, 9), (0x8100, 7)]), NONE, 7, -1),
    "QinQ as before the standard": (1, ethernet(PACKET4, 0x0800, [(0x9200, 9), (0x9100, 7)]), NONE, 7, -1),
    "SNAP": (1, snap(PACKET4, 0x0800), NONE, -1, -1),
    "SNAP of 802.1H": (1, snap(PACKET4, 0x0800, b"\0\0\xf8"), NONE, -1, -1),
    "HSR": (1, ethernet(bytes(4) + b"\x08\x00" + PACKET4, 0x892F), NONE, -1, -1),
    "802.1CB": (1, ethernet(bytes(4) + b"\x08\x00" + PACKET4, 0xF1C1), NONE, -1, -1),
    "VN-Tag": (1, ethernet(bytes(4) + b"\x81\x00\x00\x07\x08\x00" + PACKET4, 0x8926), NONE, 7, -1),
    "Cisco metadata": (1, ethernet(b"\x01\x01\x00\x01\x00\x63\x08\x00" + PACKET4, 0x8909), NONE, -1, -1),
    "MPLS": (1, ethernet(label(16, last=False) + label(17, last=True) + PACKET4, 0x8847), Tunnel.MPLS, -1, -1),
    "MPLS with IPv6": (1, ethernet(label(2, last=True) + PACKET6, 0x8848), Tunnel.MPLS, -1, -1),
    "pseudowire": (1, ethernet(label(16, last=True) + INNER, 0x8847), Tunnel.MPLS, -1, -1),
    "pseudowire, address like IP": (1, ethernet(label(16, last=True) + MAC_LIKE_IPV4, 0x8847), Tunnel.MPLS, -1, -1),
    "pseudowire, control word": (1, ethernet(label(16, last=True) + bytes(4) + TAGGED, 0x8847), Tunnel.MPLS, 33, -1),
    "PPPoE": (1, ethernet(pppoe(PACKET4), 0x8864), Tunnel.PPPOE, -1, -1),
    "PPPoE with IPv6": (1, ethernet(pppoe(PACKET6, b"\x00\x57"), 0x8864), Tunnel.PPPOE, -1, -1),
    "PPPoE, protocol in one octet": (1, ethernet(pppoe(PACKET4, b"\x21"), 0x8864, [(0x8100, 4)]), Tunnel.PPPOE, 4, -1),
    "GRE": (1, over_ip(gre(PACKET4, 0x0800), 47), Tunnel.GRE, -1, -1),
    "GRE, all fields": (
        1, over_ip(gre(PACKET6, 0x86DD, checksum=True, key=7, sequence=1), 47), Tunnel.GRE, -1, -1,
    ),
    "GRE, source routes": (
        1,
        over_ip(b"\x40\x00\x08\x00" + bytes(4) + b"\x08\x00\x00\x04\x01\x02\x03\x04" + bytes(4) + PACKET4, 47),
        Tunnel.GRE, -1, -1,
    ),
    "GRE over IPv6": (1, over_ip(gre(PACKET4, 0x0800), 47, OUTER6), Tunnel.GRE, -1, -1),
    "Ethernet in GRE": (1, over_ip(gre(TAGGED, 0x6558), 47), Tunnel.GRE, 33, -1),
    "NVGRE": (1, over_ip(gre(INNER, 0x6558, key=0x123456AB), 47), Tunnel.NVGRE, -1, 0x123456),
    "ERSPAN I": (1, over_ip(erspan_1(INNER), 47), Tunnel.ERSPAN, -1, -1),
    "ERSPAN II": (1, over_ip(erspan_2(TAGGED, vlan=33, encapsulation=3), 47), Tunnel.ERSPAN, 33, -1),
    "ERSPAN II, tag taken off": (1, over_ip(erspan_2(INNER, vlan=77, encapsulation=2), 47), Tunnel.ERSPAN, 77, -1),
    "ERSPAN II, access port": (1, over_ip(erspan_2(INNER, vlan=77), 47), Tunnel.ERSPAN, -1, -1),
    "ERSPAN in a VLAN": (1, ethernet(over_ip(erspan_2(INNER), 47)[14:], 0x0800, [(0x8100, 9)]), Tunnel.ERSPAN, -1, -1),
    "ERSPAN III": (1, over_ip(erspan_3(INNER6), 47), Tunnel.ERSPAN, -1, -1),
    "ERSPAN III, platform header": (1, over_ip(erspan_3(INNER, platform=True), 47), Tunnel.ERSPAN, -1, -1),
    "ERSPAN III with IP": (1, over_ip(erspan_3(PACKET4, content=2), 47), Tunnel.ERSPAN, -1, -1),
    "VXLAN": (1, datagram(vxlan(INNER, 0xABCDEF), 4789), Tunnel.VXLAN, -1, 0xABCDEF),
    "VXLAN as Linux had it": (1, datagram(vxlan(TAGGED), 8472, OUTER6), Tunnel.VXLAN, 33, 100),
    "GENEVE": (1, datagram(geneve(INNER), 6081), Tunnel.GENEVE, -1, 100),
    "GENEVE, options": (1, datagram(geneve(INNER6, options=bytes(12)), 6081), Tunnel.GENEVE, -1, 100),
    "GENEVE with IP": (1, datagram(geneve(PACKET4, 0x0800, vni=3), 6081), Tunnel.GENEVE, -1, 3),
    "IP in IP": (1, over_ip(PACKET4, 4), Tunnel.IPIP, -1, -1),
    "6in4": (1, over_ip(PACKET6, 41), Tunnel.IPIP, -1, -1),
    "4in6": (1, over_ip(PACKET4, 4, OUTER6), Tunnel.IPIP, -1, -1),
    "MPLS in IP": (1, over_ip(label(16, last=True) + PACKET4, 137), Tunnel.MPLS, -1, -1),
    "authentication header": (1, over_ip(b"\x04\x04" + bytes(22) + PACKET4, 51), Tunnel.IPIP, -1, -1),
    "MAC in MAC": (1, ethernet(b"\x00\x01\x02\x03" + TAGGED, 0x88E7, [(0x88A8, 5)]), Tunnel.PBB, 33, 0x010203),
    "PPP": (9, b"\xff\x03\x00\x21" + PACKET4, NONE, -1, -1),
    "PPP without address": (9, b"\x00\x57" + PACKET6, NONE, -1, -1),
    "PPP in HDLC": (50, b"\xff\x03\x21" + PACKET4, NONE, -1, -1),
    "PPP over Ethernet": (51, pppoe(PACKET4), Tunnel.PPPOE, -1, -1),
    "Cisco HDLC": (104, b"\x0f\x00\x08\x00" + PACKET4, NONE, -1, -1),
    "raw IP": (101, PACKET6, NONE, -1, -1),
    "raw IP of OpenBSD": (14, PACKET4, NONE, -1, -1),
    "raw IPv4": (228, PACKET4, NONE, -1, -1),
    "raw IPv6": (229, PACKET6, NONE, -1, -1),
    "null, little-endian": (0, b"\x02\0\0\0" + PACKET4, NONE, -1, -1),
    "null, big-endian": (0, b"\0\0\0\x1e" + PACKET6, NONE, -1, -1),
    "loop": (108, b"\0\0\0\x02" + PACKET4, NONE, -1, -1),
    "cooked": (113, bytes(14) + b"\x81\x00\x00\x07\x08\x00" + PACKET4, NONE, 7, -1),
    "cooked 2": (276, b"\x86\xdd" + bytes(18) + PACKET6, NONE, -1, -1),
    "cooked, 802.2": (113, bytes(14) + b"\x00\x04" + snap(PACKET4, 0x0800)[14:], NONE, -1, -1),
    "ERSPAN of MPLS of VLAN": (
        1,
        over_ip(erspan_2(frame(label(16, last=True) + bytes(4) + TAGGED, 0x8847)), 47),
        Tunnel.MPLS, 33, -1,
    ),
    "VXLAN in VXLAN": (
        1, datagram(vxlan(frame(datagram(vxlan(TAGGED, 2), 4789)[14:], 0x0800), 1), 4789), Tunnel.VXLAN, 33, 2,
    ),
    "GENEVE in GRE in PPPoE in QinQ": (
        1,
        ethernet(
            pppoe(over_ip(gre(datagram(geneve(INNER), 6081)[14:], 0x0800, key=1), 47)[14:]), 0x8864,
            [(0x88A8, 1), (0x8100, 2)],
        ),
        Tunnel.GENEVE, -1, 100,
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", CARRIED)


def parsed(data: bytes, linktype: int = 1):
    """(verdict, payload, PACKET record) of one frame."""
    packet = np.zeros(1, PACKET)[0]
    verdict = link.parse(np.frombuffer(bytearray(data), np.uint8), 0, len(data), len(data), linktype, packet)
    return verdict, data[packet.at : packet.end] if verdict == link.OK else b"", packet


@each
def test_the_innermost_packet_is_what_is_seen(name):
    linktype, data, tunnel, vlan, segment = CARRIED[name]
    plain = parsed(tcp(ADU, seq=5) if PACKET4 in data else tcp(ADU, seq=5, src="2001:db8::5", dst="2001:db8::20"))[2]
    verdict, payload, packet = parsed(data, linktype)
    assert (verdict, payload) == (link.OK, ADU)
    for field in ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port", "family", "transport", "seq", "ack"):
        assert packet[field] == plain[field], field
    assert (packet.tunnel, packet.vlan, packet.segment, packet.missing) == (tunnel, vlan, segment, 0)


def events(*carried: tuple[int, bytes]) -> tuple[list[dict[str, Any]], Decoder]:
    """(fields of each event, the decoder) of frames, each with its LINKTYPE_."""
    batch = frames([data for _, data in carried])._replace(link=np.array([kind for kind, _ in carried], np.int32))
    decoder = Decoder(seed=7)
    rows = [decoder.view.fields(found, row) for found in decoder.decode([batch]) for row in range(found.size)]
    assert all(row.keys() <= FIELDS.keys() for row in rows)
    return rows, decoder


@each
def test_the_event_is_the_same_as_without(name):
    linktype, data, tunnel, vlan, segment = CARRIED[name]
    plain = tcp(ADU, seq=5) if PACKET4 in data else tcp(ADU, seq=5, src="2001:db8::5", dst="2001:db8::20")
    (wanted,), _ = events((1, plain))
    (found,), _ = events((linktype, data))
    assert found.pop("network.vlan.id", -1) == vlan
    assert found.pop("network.tunnel.type", "none") == tunnel.name.lower()
    assert found.pop("network.tunnel.id", -1) == segment
    assert found == wanted


def test_the_same_addresses_in_two_overlay_networks_are_two_conversations():
    _, decoder = events(*((1, datagram(vxlan(INNER, number), 4789)) for number in (1, 2, 1)))
    assert [decoder.view.conversation(row).segment for row in range(len(decoder.view.conversations))] == [1, 2]


def test_two_mirror_sources_of_one_conversation_are_one():
    talk = Talk()
    ask, answer = talk.asks(ADU), talk.answers(coils(1))
    rows, decoder = events(
        (1, over_ip(erspan_2(ask, session=1), 47)),
        (1, ethernet(over_ip(erspan_3(answer), 47, OUTER6)[14:], 0x86DD, [(0x8100, 9)])),
    )
    assert [row["event.outcome"] for row in rows] == ["asked", "answered"]
    assert len(decoder.view.conversations) == 1


@each
def test_padding_behind_the_packet_is_not_payload(name):
    linktype, data, *_ = CARRIED[name]
    assert parsed(data + bytes(7), linktype)[:2] == (link.OK, ADU)


@each
def test_cut_at_any_byte_it_is_told_and_never_read_beyond(name):
    linktype, data, *_ = CARRIED[name]
    buffer = np.frombuffer(bytearray(data), np.uint8)
    for size in range(len(data)):
        packet = np.zeros(1, PACKET)[0]
        verdict = link.parse(buffer[:size], 0, size, len(data), linktype, packet)
        if verdict != link.OK:
            assert verdict in (link.MALFORMED, link.NOT_IP, link.OTHER), size
        elif packet.dst_port == 502:
            assert packet.missing == len(data) - size
            assert data[packet.at : packet.end] == ADU[: len(ADU) - packet.missing]
        else:  # of a tunnel in UDP too little is left to know it
            assert packet.dst_port in (4789, 8472, 6081)


@each
def test_no_mutation_makes_it_raise_or_leave_the_frame(name):
    linktype, data, *_ = CARRIED[name]
    chance = random.Random(name)
    packet = np.zeros(1, PACKET)[0]
    for round_ in range(300):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        size = len(changed) if round_ % 2 else chance.randrange(len(changed) + 1)
        buffer = np.frombuffer(changed, np.uint8)[:size]
        verdict = link.parse(buffer, 0, size, size + chance.choice((0, 0, 1500)), linktype, packet)
        if verdict in (link.OK, link.FRAGMENT, link.GOOSE):
            assert 0 <= packet.at <= packet.end <= size
        if round_ < 4:
            readable = np.zeros(1, PACKET)[0]
            same = link.parse.py_func(buffer, 0, size, size, linktype, readable)
            assert same == link.parse(buffer, 0, size, size, linktype, packet)


@pytest.mark.parametrize("linktype", [0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 228, 229, 276, 147])
def test_random_bytes_of_any_link_layer_are_survived(linktype):
    chance = random.Random(linktype)
    packet = np.zeros(1, PACKET)[0]
    kinds = (0x0800, 0x86DD, 0x8100, 0x8847, 0x8864, 0x88BE, 0x22EB, 0x6558, 0x88E7, 0x8909, 0x88B8, 0x892F, 40)
    for _ in range(2000):
        data = bytearray(chance.randbytes(chance.randrange(100)))
        if len(data) > 20:
            struct.pack_into("!H", data, chance.choice((0, 2, 12, 14, 16)), chance.choice(kinds))
        verdict = link.parse(np.frombuffer(data or bytearray(1), np.uint8), 0, len(data), len(data), linktype, packet)
        if verdict in (link.OK, link.FRAGMENT, link.GOOSE):
            assert 0 <= packet.at <= packet.end <= len(data)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner, n: ethernet(inner, 0x0800, [(0x8100, 5)] * n),
        lambda inner, n: ethernet(label(16, last=False) * (n - 1) + label(16, last=True) + inner, 0x8847),
        lambda inner, n: over_ip(functools.reduce(lambda x, _: over_ip(x, 4)[14:], range(n // 2), inner), 4),
        lambda inner, n: over_ip((b"\x3c\x00" + bytes(6)) * n + b"\x04\x00" + bytes(6) + inner, 60, OUTER6),
    ],
)
def test_so_many_headers_are_followed_and_no_more(wrap):
    assert parsed(wrap(PACKET4, 16))[:2] == (link.OK, ADU)
    assert parsed(wrap(PACKET4, MAX_HEADERS + 1))[0] == link.TOO_DEEP


@pytest.mark.parametrize(
    "payload",
    [
        vxlan(INNER, flags=0),
        vxlan(frame(b"\x55" + PACKET4[1:], 0x0800)),
        vxlan(frame(PACKET4, 0x1234)),
        vxlan(frame(PACKET4[:-1], 0x0800)),
        b"\x08",
        ADU,
    ],
)
def test_a_datagram_to_a_tunnels_port_without_a_consistent_inside_is_payload(payload):
    verdict, found, packet = parsed(datagram(payload, 4789))
    assert (verdict, found, packet.tunnel, packet.dst_port) == (link.OK, payload, NONE, 4789)


@pytest.mark.parametrize("change", [lambda p: b"\x40" + p[1:], lambda p: p[:1] + b"\x80" + p[2:]])
def test_another_version_and_control_messages_of_geneve_are_payload(change):
    payload = change(geneve(INNER))
    assert parsed(datagram(payload, 6081))[:2] == (link.OK, payload)


def test_from_a_tunnels_port_comes_no_tunnel():
    answer = udp(vxlan(INNER), sport=4789, dport=20000)
    assert parsed(answer)[:2] == (link.OK, vxlan(INNER))


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (over_ip(gre(PACKET4, 0x883E), 47), link.NOT_IP),  # WCCP
        (over_ip(b"\x00\x01" + gre(PACKET4, 0x0800)[2:], 47), link.OTHER),  # GRE version 1
        (over_ip(b"\x40\x00\x08\x00" + bytes(4) + b"\x08\x00\x00\x04" * 40, 47), link.MALFORMED),
        (over_ip(gre(bytes(8) + INNER, 0x88BE, sequence=1), 47), link.MALFORMED),
        (over_ip(erspan_3(INNER, content=1), 47), link.OTHER),
        (ethernet(b"\x11\x09\x00\x00\x00\x00", 0x8863), link.NOT_IP),
        (ethernet(b"\x11\xa7\x00\x00\x00\x00", 0x8864), link.NOT_IP),
        (ethernet(b"\x21\x00\x00\x00\x00\x02\x00\x21", 0x8864), link.MALFORMED),
        (ethernet(pppoe(PACKET4, b"\xc0\x21"), 0x8864), link.NOT_IP),  # LCP
        (ethernet(label(16, last=True) + b"\x10\x00\x00\x21" + bytes(30), 0x8847), link.OTHER),  # associated channel
        (bytes(12) + b"\x00\x26\x42\x42\x03" + bytes(35), link.NOT_IP),  # spanning tree
        (over_ip(frame(PACKET4, 0x0806), 47), link.NOT_IP),
    ],
)
def test_what_carries_no_packet_says_so(data, verdict):
    assert parsed(data)[0] == verdict


GOOSE = b"\x00\x01\x00\x10\x00\x00\x00\x00" + bytes(8)


@pytest.mark.parametrize(
    ("linktype", "data", "vlan"),
    [
        (1, frame(GOOSE, 0x88B8), -1),
        (1, frame(b"\x80\x05\x88\xb8" + GOOSE, 0x8100), 5),
        (1, frame(bytes(4) + b"\x88\xb8" + GOOSE, 0x892F), -1),
        (1, over_ip(erspan_3(frame(GOOSE, 0x88B8)), 47), -1),
        (1, datagram(vxlan(frame(GOOSE, 0x88B8)), 4789), -1),
    ],
)
def test_goose_leaves_with_its_ethernet_addresses(linktype, data, vlan):
    verdict, _, packet = parsed(data, linktype)
    assert (verdict, data[packet.at : packet.end], packet.vlan) == (link.GOOSE, GOOSE, vlan)
    assert (packet.family, packet.dst_hi, packet.src_hi) == (link.MAC48, 0, 0)
    assert (packet.dst_lo, packet.src_lo) == (0x00005E005301, 0x00005E005302)
    assert (packet.transport, packet.src_port, packet.dst_port, packet.missing) == (0, 0, 0, 0)


def test_goose_in_a_cooked_capture_has_its_sender_only():
    verdict, _, packet = parsed(b"\0\x02\0\x01\0\x06" + frame(b"", 0)[6:12] + b"\0\0\x88\xb8" + GOOSE, 113)
    assert (verdict, packet.src_lo, packet.dst_lo) == (link.GOOSE, 0x00005E005302, 0)


TSHARK_READS_OTHERWISE = {
    "QinQ as before the standard",  # by a preference only
    "pseudowire, address like IP",  # taken for IPv4, against its length
    "ERSPAN III with IP",  # not decoded
}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_packets_inside(tmp_path):
    by_link: dict[int, list[str]] = {}
    for name, (linktype, *_) in CARRIED.items():
        if name not in TSHARK_READS_OTHERWISE:
            by_link.setdefault(linktype, []).append(name)
    for linktype, names in by_link.items():
        path = tmp_path / f"{linktype}.pcap"
        packets = [CARRIED[name][1] for name in names]
        records = b"".join(struct.pack("<IIII", 1, 0, len(p), len(p)) + p for p in packets)
        path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype) + records)
        fields = ["-e", "ip.src", "-e", "ipv6.src", "-e", "tcp.dstport", "-e", "tcp.payload"]
        command = [
            "tshark",
            "-n",
            "-r",
            path,
            "-d",
            "udp.port==8472,vxlan",
            "-T",
            "fields",
            "-E",
            "occurrence=l",
            *fields,
        ]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for name, line in zip(names, lines, strict=True):
            four, six, port, payload = line.split("\t")
            assert four == MASTER if PACKET4 in CARRIED[name][1] else six == "2001:db8::5", name
            assert (port, payload) == ("502", ADU.hex()), name

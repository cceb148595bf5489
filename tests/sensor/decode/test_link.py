"""From a frame to its transport payload, whatever lies around it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import MASTER, PLC, Talk, ethernet, frames, ip, read_coils, tcp, udp

from sensor.decode import link
from sensor.decode.decoder import Decoder
from sensor.decode.state import PACKET

ADU = read_coils(1)


def parsed(frame: bytes, linktype: int = 1, wire: int | None = None, at: int = 0):
    """(verdict, payload, PACKET record) of one frame."""
    packet = np.zeros(1, PACKET)[0]
    data = np.frombuffer(bytearray(frame), np.uint8)
    verdict = link.parse(data, at, len(frame) - at, wire or len(frame) - at, linktype, packet)
    return verdict, frame[packet.at : packet.end] if verdict == link.OK else b"", packet


def test_ethernet_ipv4_tcp():
    verdict, payload, packet = parsed(tcp(ADU, seq=5))
    assert (verdict, payload) == (link.OK, ADU)
    assert (packet.src_port, packet.dst_port, packet.seq, packet.vlan, packet.family) == (50000, 502, 5, -1, 4)
    assert packet.src_lo == int.from_bytes(bytes([10, 1, 0, 5]), "big")


def test_udp():
    verdict, payload, packet = parsed(udp(b"\x05\x64abc"))
    assert (verdict, payload, packet.transport) == (link.OK, b"\x05\x64abc", link.UDP)


def test_ipv6_addresses_are_kept_whole():
    verdict, payload, packet = parsed(tcp(ADU, seq=5, src="2001:db8:ffff::1", dst="fe80::abcd:ef01:2345:6789"))
    assert (verdict, payload) == (link.OK, ADU)
    assert (int(packet.src_hi) << 64 | int(packet.src_lo)) == 0x20010DB8FFFF00000000000000000001
    assert (int(packet.dst_hi) << 64 | int(packet.dst_lo)) == 0xFE80000000000000ABCDEF0123456789


@pytest.mark.parametrize(
    ("tags", "vlan"),
    [([(0x8100, 12)], 12), ([(0x88A8, 100), (0x8100, 7)], 7), ([(0x9100, 1), (0x8100, 2), (0x8100, 4095)], 4095)],
)
def test_vlan_tags_are_peeled_and_the_innermost_is_kept(tags, vlan):
    verdict, payload, packet = parsed(tcp(ADU, seq=5, tags=tags))
    assert (verdict, payload, packet.vlan) == (link.OK, ADU, vlan)


def test_it_says_where_the_headers_begin_and_what_the_ethertype_is():
    _, _, packet = parsed(tcp(ADU, seq=5, tags=[(0x88A8, 100), (0x8100, 7)]))
    assert (packet.ethernet, packet.network, packet.ethertype) == (0, 22, 0x0800)
    verdict, _, packet = parsed(bytes(2) + ethernet(bytes(46), 0x88CC, [(0x8100, 7)]), at=2)
    assert (verdict, packet.ethernet, packet.network, packet.ethertype) == (link.NOT_IP, 2, -1, 0x88CC)
    _, _, packet = parsed(ip(bytes(40), 17, MASTER, PLC)[1], linktype=101)
    assert (packet.ethernet, packet.network, packet.ethertype) == (-1, 0, 0)


def test_ethernet_padding_is_not_payload():
    verdict, payload, _ = parsed(tcp(b"", seq=5) + bytes(6))
    assert (verdict, payload) == (link.OK, b"")


def test_a_total_length_of_zero_means_offloaded_segmentation():
    frame = bytearray(tcp(ADU, seq=5))
    frame[16:18] = b"\0\0"
    assert parsed(bytes(frame))[:2] == (link.OK, ADU)


def test_what_the_capture_cut_off_is_counted():
    frame = tcp(ADU, seq=5)
    verdict, payload, packet = parsed(frame[:-3], wire=len(frame))
    assert (verdict, payload, packet.missing) == (link.OK, ADU[:-3], 3)


@pytest.mark.parametrize(
    ("linktype", "head"),
    [
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
        (101, b""),
        (12, b""),
        (228, b""),
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
    ],
)
def test_other_link_layers_of_linux_and_loopback(linktype, head):
    packet = tcp(ADU, seq=5)[14:]
    assert parsed(head + packet, linktype)[:2] == (link.OK, ADU)


def test_ipv6_extension_headers_are_skipped():
    segment = tcp(ADU, seq=5)[34:]
    hop_by_hop = bytes([60, 0]) + bytes(6)
    options = bytes([6, 1]) + bytes(14)
    _, packet = ip(hop_by_hop + options + segment, 0, "2001:db8::1", "2001:db8::2")
    assert parsed(ethernet(packet, 0x86DD))[:2] == (link.OK, ADU)


@pytest.mark.parametrize("flags_and_offset", [0x2000, 0x0001, 0x20B9])
def test_ipv4_fragments_are_told(flags_and_offset):
    frame = bytearray(tcp(ADU, seq=5))
    frame[20:22] = struct.pack("!H", flags_and_offset)
    assert parsed(bytes(frame))[0] == link.FRAGMENT


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda f: f[:10], link.MALFORMED),
        (lambda f: f[:30], link.MALFORMED),
        (lambda f: f[:40], link.MALFORMED),
        (lambda f: f[:14] + b"\x44" + f[15:], link.MALFORMED),  # IHL of 16 octets
        (lambda f: f[:14] + b"\x55" + f[15:], link.MALFORMED),  # version 5
        (lambda f: f[:46] + b"\x40" + f[47:], link.MALFORMED),  # TCP data offset of 16 octets
        (lambda f: f[:46] + b"\xf0" + f[47:], link.MALFORMED),  # TCP header longer than the packet
        (lambda f: f[:12] + b"\x08\x06" + f[14:], link.NOT_IP),  # ARP
        (lambda f: f[:23] + b"\x01" + f[24:], link.OTHER),  # ICMP
    ],
)
def test_frames_without_a_payload_to_read_say_why(change, verdict):
    assert parsed(change(tcp(ADU, seq=5)))[0] == verdict


@given(
    st.binary(max_size=120),
    st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 147]),
    st.integers(0, 3),
    st.integers(0, 70000),
)
def test_no_bytes_make_it_raise_or_leave_the_frame(data, linktype, at, more):
    at = min(at, len(data))
    packet = np.zeros(1, PACKET)[0]
    buffer = np.frombuffer(bytearray(data) or bytearray(1), np.uint8)
    arguments = (buffer, at, len(data) - at, len(data) - at + more, linktype)
    verdict = link.parse(*arguments, packet)
    compiled = packet.copy()
    if verdict == link.OK:
        assert at <= packet.at <= packet.end <= len(data)
        assert packet.missing >= 0
    readable = np.zeros(1, PACKET)[0]
    assert link.parse.py_func(*arguments, readable) == verdict
    if verdict == link.OK:
        assert readable == compiled


def test_the_same_address_and_ports_in_two_vlans_are_two_conversations():
    one, two = Talk(tags=[(0x8100, 1)]), Talk(tags=[(0x8100, 2)])
    decoder = Decoder()
    list(decoder.decode([frames([one.asks(ADU), two.asks(ADU)])]))
    assert [decoder.view.conversation(k).vlan for k in range(2)] == [1, 2]
    assert {decoder.view.conversation(0).ip_a, decoder.view.conversation(0).ip_b} == {MASTER, PLC}

"""Dialogues become frames that a real network could have carried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pcaps.dialogue import DELAYED_ACK_NS, MSS, Lab
from pcaps.messages import dnp3, modbus
from pcaps.plant import HMI, HMI_6, PUMP_PLC, PUMP_PLC_6

SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01


@dataclass
class Segment:
    """A TCP segment read back from a frame."""

    ts_ns: int
    from_server: bool
    seq: int
    ack: int
    flags: int
    data: bytes
    frame: bytes
    sum_is_right: bool


def ones_complement(data: bytes) -> int:
    """RFC 1071, octet by octet; 0xFFFF over data that hold their own right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def read(lab: Lab) -> list[Segment]:
    """The untagged frames of a lab, taken apart by hand."""
    segments = []
    for frame in lab.frames():
        data = frame.data
        if data[12:14] == b"\x86\xdd":
            at, end, addresses = 54, 54 + int.from_bytes(data[18:20], "big"), data[22:54]
        else:
            assert ones_complement(data[14:34]) == 0xFFFF
            at, end, addresses = 34, 14 + int.from_bytes(data[16:18], "big"), data[26:34]
        tcp = data[at:end]
        pseudo = addresses + b"\0\6" + len(tcp).to_bytes(2, "big")
        segments.append(
            Segment(
                frame.ts_ns,
                int.from_bytes(tcp[0:2], "big") == modbus.PORT,
                int.from_bytes(tcp[4:8], "big"),
                int.from_bytes(tcp[8:12], "big"),
                tcp[13],
                tcp[4 * (tcp[12] >> 4) :],
                data,
                ones_complement(pseudo + tcp) == 0xFFFF,
            )
        )
    return segments


def conversation(lab: Lab) -> list[Segment]:
    """Handshake, two exchanges with a pause between them, end."""
    link = lab.tcp(HMI, PUMP_PLC, modbus.PORT)
    link.exchange(b"ask one", b"answer one")
    lab.wait(1)
    link.exchange(b"ask two", b"answer two")
    link.close()
    return read(lab)


def test_checksums_are_right_over_ipv4_and_ipv6() -> None:
    lab = Lab("sums")
    for client, server in ((HMI, PUMP_PLC), (HMI_6, PUMP_PLC_6)):
        link = lab.tcp(client, server, modbus.PORT)
        link.exchange(b"odd", b"even")
        link.close()
    segments = read(lab)
    assert len(segments) == 2 * 8
    assert all(segment.sum_is_right for segment in segments)


def test_no_frame_is_shorter_than_ethernet_allows() -> None:
    assert min(len(segment.frame) for segment in conversation(Lab("short"))) == 60


def test_sequence_numbers_follow_the_data_and_each_side_acknowledges_the_other() -> None:
    segments = conversation(Lab("numbers"))
    assert [segment.flags & (SYN | FIN) for segment in segments[:3]] == [SYN, SYN, 0]
    for from_server in (False, True):
        mine = [segment for segment in segments if segment.from_server == from_server]
        for before, after in pairwise(mine):
            taken = len(before.data) + bool(before.flags & (SYN | FIN))
            assert after.seq == (before.seq + taken) & 0xFFFFFFFF
        others = [segment for segment in segments if segment.from_server != from_server]
        total = sum(len(segment.data) for segment in others) + 2  # SYN and FIN
        assert max((segment.ack - others[0].seq) & 0xFFFFFFFF for segment in mine[1:]) == total


def test_an_acknowledgement_rides_on_the_answer_or_comes_after_forty_milliseconds() -> None:
    segments = conversation(Lab("acknowledgements"))
    answer = next(segment for segment in segments if segment.data == b"answer one")
    bare = [
        segment for segment in segments if not segment.data and segment.flags == ACK and segment.ts_ns > answer.ts_ns
    ]
    assert not bare[0].from_server
    assert bare[0].ts_ns - answer.ts_ns >= DELAYED_ACK_NS
    assert len(bare) == 2, "one for the first answer, which nobody followed up, and one that ends the conversation"


def test_long_data_are_cut_at_the_segment_size_and_cuts_are_honoured() -> None:
    lab = Lab("cuts")
    link = lab.tcp(HMI, PUMP_PLC, modbus.PORT)
    link.client(bytes(2 * MSS + 1))
    link.client(b"abcdef", cuts=(1, 4), order=(2, 0, 1))
    sent = [segment.data for segment in read(lab) if segment.data]
    assert [len(data) for data in sent[:3]] == [MSS, MSS, 1]
    assert sent[3:] == [b"ef", b"a", b"bcd"]


def test_the_same_seed_gives_the_same_frames_and_another_one_others() -> None:
    assert [s.frame for s in conversation(Lab("a"))] == [s.frame for s in conversation(Lab("a"))]
    assert [s.frame for s in conversation(Lab("a"))] != [s.frame for s in conversation(Lab("b"))]


def test_two_vlan_tags_stand_in_the_order_of_802_1ad() -> None:
    lab = Lab("tags")
    lab.tcp(HMI, PUMP_PLC, modbus.PORT, tags=(40, 120))
    assert lab.frames()[0].data[12:22] == bytes.fromhex("88a8 0028 8100 0078 0800")


def test_the_dnp3_checksum_is_that_of_a_known_frame() -> None:
    # reset of the link by master 1024 at outstation 1, as DNP3 primers print it
    assert dnp3.link_frame(0xC0, 1, 1024, b"").hex() == "056405c001000004e921"


def test_a_long_dnp3_fragment_is_carried_by_numbered_segments() -> None:
    station = dnp3.Station(41, 1, master=False)
    octets = station.send(bytes(600))
    transports = []
    while octets:
        user_data = octets[2] - 5
        transports.append(octets[10])
        octets = octets[10 + user_data + 2 * -(-user_data // 16) :]
    assert [(octet >> 7, (octet >> 6) & 1, octet & 0x3F) for octet in transports] == [(0, 1, 0), (0, 0, 1), (1, 0, 2)]

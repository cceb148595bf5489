"""Which frames reach the readers of slow protocols: out of any packaging, each message once, never too many."""

from __future__ import annotations

import struct

import pytest
from support import slow_wire as wire
from support.encapsulation import erspan_2, over_ip
from support.wire import Talk, frames, read_coils, udp

from sensor.decode import slow_frames
from sensor.slow.message import Notice
from sensor.slow.reader import A_SECOND, SlowReader

ASKS = wire.arp(1, (wire.HOST_MAC, "10.1.0.5"), ("00:00:00:00:00:00", "10.1.0.20"))


def heard(*packets: bytes, link: int = 1) -> list[Notice]:
    return SlowReader().read(frames(packets, link=link))


def test_polling_is_passed_over_and_a_message_among_it_is_found_with_its_frame_and_time() -> None:
    talk = Talk()
    polls = [talk.asks(read_coils(number)) for number in range(50)]
    batch = frames([*polls, ASKS, *polls], first=101)
    (notice,) = SlowReader().read(batch)
    assert notice.message.protocol == "arp"
    assert notice.frame == 151
    assert notice.first_ns == notice.last_ns == int(batch.ts_ns[50])


def test_repetitions_are_counted_and_a_message_is_new_only_once() -> None:
    reader = SlowReader()
    first = reader.read(frames([ASKS, wire.lldp(), ASKS, ASKS]))
    again = reader.read(frames([ASKS], first=5))
    assert [(it.message.protocol, it.count, it.new) for it in first] == [("arp", 3, True), ("lldp", 1, True)]
    assert [(it.count, it.new, it.frame) for it in again] == [(1, False, 5)]
    assert again[0].message is first[0].message


def test_padding_does_not_make_another_message_of_an_arp_request() -> None:
    assert [it.count for it in heard(ASKS, ASKS[:-18] + bytes(range(18)), ASKS[:-18])] == [3]


def test_the_same_message_in_another_vlan_is_another() -> None:
    sender, target = (wire.HOST_MAC, "10.1.0.5"), ("00:00:00:00:00:00", "10.1.0.20")
    tagged = [wire.arp(1, sender, target, tags=tags) for tags in ((), (7,), (9, 7), (8,))]
    assert [(it.message.vlan, it.count) for it in heard(*tagged)] == [(None, 1), (7, 2), (8, 1)]


def test_messages_are_found_in_a_remote_mirror_and_on_a_cooked_link() -> None:
    (carried,) = heard(over_ip(erspan_2(ASKS), 47))
    assert (carried.message.tunnel, carried.message.fields["arp.target.ip"]) == ("erspan", "10.1.0.20")
    cooked = struct.pack("!HHH8sH", 1, 1, 6, wire.octets(wire.HOST_MAC) + bytes(2), 0x0806) + ASKS[14:]
    assert [it.message.fields["arp.sender.ip"] for it in heard(cooked, link=113)] == ["10.1.0.5"]


def test_cyclic_profinet_is_passed_over_and_dcp_is_read() -> None:
    cyclic = wire.framed(bytes.fromhex("8000") + bytes(44), 0x8892)
    assert [it.message.protocol for it in heard(cyclic, wire.identified(), cyclic)] == ["profinet_dcp"]


def test_datagrams_over_ipv6_are_read_with_their_ends() -> None:
    (notice,) = heard(udp(wire.dns([(wire.name("plc", "local"), 1)]), src="fe80::1", dst="ff02::fb", dport=5353))
    message = notice.message
    assert (message.protocol, message.source_ip, message.destination_ip) == ("mdns", "fe80::1", "ff02::fb")
    assert (message.source_port, message.destination_port) == (50000, 5353)


@pytest.mark.parametrize("cut", [*range(60), 200])
def test_frames_cut_anywhere_do_no_harm(cut: int) -> None:
    whole = [ASKS, wire.identified(), wire.lldp(), wire.cdp(), wire.bpdu(), udp(bytes(20), dport=53)]
    batch = frames(whole, cut=dict.fromkeys(range(len(whole)), cut))
    for notice in SlowReader().read(batch):
        assert notice.message.evidence()["network.protocol"] == notice.message.protocol


def distinct(count: int) -> list[bytes]:
    return [wire.arp(1, (wire.HOST_MAC, "10.1.0.5"), (wire.ALL, f"10.9.{n >> 8}.{n & 255}")) for n in range(count)]


def test_a_flood_in_one_batch_is_cut_and_counted() -> None:
    reader = SlowReader()
    assert len(reader.read(frames(distinct(slow_frames.MOST + 5)))) == slow_frames.MOST
    assert reader.refused == 5


def test_a_flood_on_a_live_link_is_cut_by_the_second() -> None:
    reader = SlowReader()
    given = 0
    for number in range(30):  # 30 batches in 0.3 s of the clock
        flood = frames([wire.arp(1, (wire.HOST_MAC, "10.1.0.5"), (wire.ALL, f"10.9.{number}.{n}")) for n in range(100)])
        given += len(reader.read(flood._replace(clock_ns=1_700_000_000_000_000_000 + number * 10_000_000)))
    assert A_SECOND <= given <= 1.4 * A_SECOND
    assert given + reader.refused == 3000


def test_more_messages_than_are_remembered_are_all_given_and_begin_anew() -> None:
    reader = SlowReader()
    rounds = slow_frames.KNOWN // slow_frames.MOST
    for start in range(rounds + 2):
        packets = [
            wire.arp(1, (wire.HOST_MAC, f"10.{start}.0.5"), (wire.ALL, f"10.9.{n >> 8}.{n & 255}"))
            for n in range(slow_frames.MOST)
        ]
        assert len(reader.read(frames(packets))) == slow_frames.MOST
    assert reader.refused == 0
    assert len(reader._messages) <= slow_frames.KNOWN

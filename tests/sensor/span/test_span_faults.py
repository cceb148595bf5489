"""Each fault of a mirror port is found in captures broken on purpose, and only that one; good captures give none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.mirror import (
    MS,
    SECOND,
    Seen,
    cut,
    doubled,
    faults_of,
    frames_of,
    lossy,
    only,
    ports,
    routed,
    shifted,
    survey_of,
    tagged,
    with_tag,
    without_sender,
)
from support.wire import ACK, MASTER, PLC, SYN, Talk, coils, ethernet, read_coils, tcp, udp

from sensor.span.examine import examine
from sensor.span.fault import EVIDENCE, MAX_FRAMES

PCAPS = Path(__file__).resolve().parents[3] / "pcaps"
BROKEN = {"one_direction": {"span.one-way"}, "segment_lost": {"span.loss"}}  # what their own descriptions say
ALL = sorted(path for path in PCAPS.glob("*/*.pcap*") if path.suffix != ".toml")

START = 1_750_000_000 * SECOND


def polling(seconds: int = 120, period_ms: int = 200, sport: int = 50000) -> list[Seen]:
    """A master that polls a device, with times that waver as real ones do."""
    talk = Talk(sport=sport, dst=f"10.1.0.{sport % 200 + 20}")
    frames = []
    now = START + sport * 777
    for packet in talk.handshake():
        now += 300_123
        frames.append(Seen(now, packet, len(packet)))
    for poll in range(seconds * 1000 // period_ms):
        now = START + sport * 777 + poll * period_ms * MS + (poll * 7919) % 999_983
        for packet in (talk.asks(read_coils(poll % 65536)), talk.answers(coils(poll % 65536))):
            now += 1_500_017
            packet = numbered(packet, len(frames))
            frames.append(Seen(now, packet, len(packet)))
    return frames


def numbered(packet: bytes, identification: int) -> bytes:
    """An Ethernet frame whose IPv4 packet has this identification."""
    return packet[:18] + (identification % 65535 + 1).to_bytes(2, "big") + packet[20:]


def plant(seconds: int = 120) -> list[Seen]:
    """Three masters that poll."""
    return sorted(
        (it for sport in (50000, 50001, 50002) for it in polling(seconds, sport=sport)), key=lambda it: it.ts_ns
    )


GOOD = plant()


def recorded(name: str) -> list[Seen]:
    """A capture of the repository."""
    return frames_of(PCAPS / name)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_capture_of_the_repository_gives_what_its_description_says_and_otherwise_nothing(path: Path) -> None:
    assert set(faults_of(frames_of(path))) == BROKEN.get(path.stem, set())


def test_a_plant_that_polls_gives_nothing() -> None:
    assert faults_of(GOOD) == {}


@pytest.mark.parametrize(
    "source", [GOOD, recorded("modbus/benign_polling.pcap"), recorded("modbus/pymodbus_reads_and_writes.pcap")]
)
@pytest.mark.parametrize("requests", [True, False])
def test_a_missing_direction_is_one_way(source: list[Seen], requests: bool) -> None:
    def kept(it: Seen) -> bool:
        ends = ports(it)
        return ends is None or (ends[3] == 502) == requests

    broken = only(source, kept)
    found = faults_of(broken)
    assert set(found) == {"span.one-way"}
    unseen = {
        it for frame in source if (ends := ports(frame)) and not kept(frame) for it in [".".join(map(str, ends[0]))]
    }
    assert set(found["span.one-way"].evidence["unseen"]) <= unseen
    assert found["span.one-way"].evidence["percent"] == 100


def test_one_conversation_of_several_that_lacks_a_direction_is_named() -> None:
    broken = only(GOOD, lambda it: (ends := ports(it)) is None or ends[2:] != (502, 50001))
    found = faults_of(broken)
    assert set(found) == {"span.one-way"}
    assert found["span.one-way"].evidence["unseen"] == ["10.1.0.21"]
    assert found["span.one-way"].evidence["both"] == 2


def test_short_connections_that_all_lack_a_direction_are_one_way() -> None:
    frames = []
    for i in range(5):
        talk = Talk(sport=41000 + i)
        packets = [*talk.handshake(), talk.asks(read_coils(i)), talk.answers(coils(i)), talk.asks(b"")]
        frames += [Seen(START + i * SECOND + k * 1_000_003, it, len(it)) for k, it in enumerate(packets)]
    assert faults_of(frames) == {}
    assert set(faults_of(without_sender(frames, 502))) == {"span.one-way"}


def test_a_direction_that_disappears_halfway_is_told_apart_from_loss() -> None:
    half = len(GOOD) // 2
    found = faults_of([*GOOD[:half], *without_sender(GOOD[half:], 502)])
    assert set(found) == {"span.one-way-since"}
    assert found["span.one-way-since"].frames[0] > half


def test_requests_to_a_dead_device_multicast_and_publishers_are_not_one_way() -> None:
    silent = [tcp(seq=100 + i // 4, flags=SYN, sport=40000 + i // 4, dst="10.1.0.99") for i in range(40)]
    silent += [udp(b"telemetry" + bytes([i]), dport=9999) for i in range(40)]
    silent += [udp(b"who is there" + bytes([i]), dst="239.1.2.3", dport=20000) for i in range(40)]
    frames = [*GOOD, *(Seen(START + i * 1_000_003, it, len(it)) for i, it in enumerate(silent))]
    assert faults_of(sorted(frames, key=lambda it: it.ts_ns)) == {}


def test_answers_over_udp_without_their_questions_are_one_way() -> None:
    answers = [udp(b"answer" + bytes([i]), src=PLC, dst=MASTER, sport=20000, dport=40001) for i in range(5)]
    frames = [Seen(START + i * SECOND, it, len(it)) for i, it in enumerate(answers)]
    assert set(faults_of(frames)) == {"span.one-way"}


def test_profinet_that_goes_one_way_is_one_way_and_both_ways_is_right() -> None:
    there = [b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x88\x92\x80\x00" + i.to_bytes(2, "big") + bytes(40) for i in range(400)]
    back = [b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + it[12:] for it in there]
    both = [
        Seen(START + i * 2_000_003, it, len(it)) for i, pair in enumerate(zip(there, back, strict=True)) for it in pair
    ]
    assert faults_of(both) == {}
    assert faults_of(both[::2])["span.one-way"].evidence["seen"] == ["02:00:00:00:00:02"]


@pytest.mark.parametrize("delay_ns", [0, 1000, 300_000, 8 * MS])
def test_frames_that_come_twice_are_doubled(delay_ns: int) -> None:
    found = faults_of(doubled(GOOD, delay_ns))
    assert set(found) == {"span.doubled"}
    assert found["span.doubled"].evidence["count"] == len(GOOD)
    assert found["span.doubled"].evidence["percent"] == 50


def test_recorded_traffic_that_comes_twice_is_doubled() -> None:
    for name in ("s7comm/stop.pcap", "dnp3/dnp3py_polling.pcap", "dnp3/over_udp.pcap"):
        assert set(faults_of(doubled(recorded(name), 50_000))) == {"span.doubled"}


def test_only_the_conversations_that_two_sources_see_need_be_doubled() -> None:
    twice = [it for it in GOOD if 50001 in (ports(it) or ())]
    found = faults_of(sorted([*GOOD, *(it._replace(ts_ns=it.ts_ns + 10_000) for it in twice)], key=lambda it: it.ts_ns))
    assert set(found) == {"span.doubled"}
    assert set(found["span.doubled"].evidence["senders"]) == {MASTER, "10.1.0.21"}


def test_copies_with_another_tag_and_copies_behind_a_router_are_told_apart() -> None:
    assert set(faults_of(doubled(GOOD, 20_000, lambda data: tagged(data, 7)))) == {"span.doubled-tags"}
    assert set(faults_of(doubled(GOOD, 400_000, routed))) == {"span.doubled-routed"}


def test_retransmissions_are_neither_copies_nor_losses() -> None:
    again = [
        it._replace(ts_ns=it.ts_ns + 8 * MS, data=numbered(it.data, 40000 + i)) for i, it in enumerate(GOOD[100:400])
    ]
    assert faults_of(sorted([*GOOD, *again], key=lambda it: it.ts_ns)) == {}


def test_cyclic_datagrams_with_the_same_content_are_no_copies() -> None:
    packet = udp(b"the same again", dport=2222)  # identification 0
    back = udp(b"and back", src=PLC, dst=MASTER, sport=2222, dport=50000)
    frames = [
        Seen(START + i * 5_000_011 + k * 700_001, it, len(it))
        for i in range(300)
        for k, it in enumerate((packet, back))
    ]
    assert faults_of(frames) == {}


@pytest.mark.parametrize("length", [60, 64])
def test_a_snap_length_that_cuts_payload_is_found(length: int) -> None:
    found = faults_of(cut(GOOD, length))
    assert set(found) == {"span.cut"}
    assert found["span.cut"].evidence["length"] == length
    assert found["span.cut"].evidence["cut"] == sum(len(it.data) > length for it in GOOD)


def test_a_missing_check_sequence_or_padding_is_no_cut() -> None:
    assert faults_of([it._replace(wire=it.wire + 4) for it in GOOD]) == {}


def test_expected_vlans_that_are_missing_are_named_and_those_that_are_there_are_not() -> None:
    frames = [with_tag(it, 10) for it in GOOD]
    assert faults_of(frames, [10]) == {}
    assert faults_of(frames, [10, 20, 30])["span.vlan-missing"].evidence["missing"] == [20, 30]
    assert set(faults_of(GOOD, [10])) == {"span.vlan-missing"}


def test_an_outer_tag_on_every_frame_is_told_and_one_tag_on_every_frame_is_right() -> None:
    once = [with_tag(it, 10) for it in GOOD]
    found = faults_of([with_tag(it, 999) for it in once])
    assert set(found) == {"span.outer-tag"}
    assert (found["span.outer-tag"].evidence["vlan"], found["span.outer-tag"].evidence["seen"]) == (999, [10])
    assert faults_of([*(with_tag(it, 999) for it in once[:1800]), *once[1800:]]) == {}  # a trunk that carries both


def test_tags_stripped_in_one_direction_are_told_apart_from_a_missing_direction() -> None:
    frames = [with_tag(it, 10) if ports(it)[3] == 502 else it for it in GOOD]  # type: ignore[index]
    found = faults_of(frames)
    assert set(found) == {"span.tags-differ"}
    assert found["span.tags-differ"].evidence["conversations"] == 3


def test_the_same_addresses_in_two_vlans_are_two_plants() -> None:
    other = [with_tag(it._replace(ts_ns=it.ts_ns + 3_000_000), 20) for it in doubled_content(GOOD)]
    frames = sorted([*(with_tag(it, 10) for it in GOOD), *other], key=lambda it: it.ts_ns)
    assert faults_of(frames, [10, 20]) == {}


def doubled_content(frames: list[Seen]) -> list[Seen]:
    """The same conversations with identifications of their own."""
    return [it._replace(data=numbered(it.data, 30000 + i)) for i, it in enumerate(frames)]


def test_a_port_that_is_no_mirror_carries_only_broadcast_and_multicast() -> None:
    everybody = [b"\xff" * 6 + ethernet(bytes(46), 0x0806)[6:] for _ in range(30)]
    group = [b"\x01\x80\xc2\0\0\x0e" + ethernet(bytes(60), 0x88CC)[6:] for _ in range(10)]
    frames = [Seen(START + i * 700_000_003, it, len(it)) for i, it in enumerate([*everybody, *group])]
    found = faults_of(frames)
    assert set(found) == {"span.only-broadcast"}
    assert (found["span.only-broadcast"].evidence["broadcast"], found["span.only-broadcast"].evidence["multicast"]) == (
        30,
        10,
    )


def test_a_process_bus_of_goose_alone_is_right() -> None:
    packets = [b"\x01\x0c\xcd\x01\0\x01" + ethernet(i.to_bytes(4, "big") + bytes(80), 0x88B8)[6:] for i in range(300)]
    assert faults_of([Seen(START + i * 100_000_007, it, len(it)) for i, it in enumerate(packets)]) == {}


@pytest.mark.parametrize("seed", range(5))
def test_frames_lost_at_random_are_loss_and_nothing_else(seed: int) -> None:
    found = faults_of(lossy(GOOD, 0.01, seed))
    assert set(found) == {"span.loss"}
    assert 0.3 < found["span.loss"].evidence["percent"] < 2


def test_a_burst_of_lost_frames_is_loss() -> None:
    found = faults_of([*GOOD[:1000], *GOOD[1040:]])
    assert set(found) == {"span.loss"}
    assert found["span.loss"].evidence["bytes"] == sum(len(it.data) - 54 for it in GOOD[1000:1040])


def test_segments_that_come_after_their_acknowledgement_are_not_lost() -> None:
    frames = list(GOOD)
    for at in range(10, len(frames) - 10, 7):
        frames[at], frames[at + 1] = (
            frames[at]._replace(data=frames[at + 1].data),
            frames[at + 1]._replace(data=frames[at].data),
        )
    assert faults_of(frames) == {}


def test_forged_acknowledgements_are_no_loss() -> None:
    forged = []
    for i, it in enumerate(GOOD):
        forged.append(it)
        if i % 50 == 9 and (ends := ports(it)) and ends[3] == 502:
            packet = tcp(
                seq=0,
                ack=int.from_bytes(it.data[42:46], "big") + 5000,
                flags=ACK,
                sport=ends[2],
                dst=".".join(map(str, ends[1])),
            )
            packet = packet[:38] + it.data[38:42] + packet[42:]
            forged.append(Seen(it.ts_ns + 100_000, numbered(packet, 60000 + i), len(packet)))
    assert faults_of(forged) == {}


def test_a_span_without_frames_while_connections_go_on_is_silence() -> None:
    begin, end = START + 40 * SECOND, START + 70 * SECOND
    found = faults_of(only(GOOD, lambda it: not begin <= it.ts_ns < end))
    assert set(found) == {"span.silence"}
    assert found["span.silence"].evidence["seconds"] == pytest.approx(30, abs=1)
    assert found["span.silence"].evidence["conversations"] == 3


def test_a_pause_of_the_whole_plant_is_a_rest_or_a_leap_of_the_clock_by_its_length() -> None:
    assert set(faults_of(shifted(GOOD, 1500, 60 * SECOND))) == {"span.rest"}
    assert set(faults_of(shifted(GOOD, 1500, 3600 * SECOND))) == {"span.clock-forward"}
    assert set(faults_of(shifted(GOOD, 1500, 10 * 86400 * SECOND))) == {"span.clock-forward"}


def test_a_frame_lost_beside_a_long_rest_is_a_loss_and_no_silence() -> None:
    frames = [*GOOD[:9], *shifted(GOOD[10:], 0, 120 * SECOND)]
    assert set(faults_of(frames[:60])) == {"span.loss"}


def test_connections_that_end_before_a_pause_make_it_no_fault() -> None:
    later = [it._replace(ts_ns=it.ts_ns + 300 * SECOND) for it in polling(20, sport=50009)]
    assert faults_of([*polling(20), *later]) == {}


def test_nobody_who_clicks_now_and_then_is_a_fault() -> None:
    frames, now = [], START
    for i, it in enumerate(polling(40)):
        now += 30 * SECOND if i % 40 == 0 else 2_000_003
        frames.append(it._replace(ts_ns=now))
    assert faults_of(frames) == {}


@pytest.mark.parametrize("back_s", [2, 3600, 86400])
def test_a_clock_that_goes_back_is_found(back_s: int) -> None:
    found = faults_of(shifted(GOOD, 1500, -back_s * SECOND))
    assert set(found) == {"span.clock-back"}
    assert found["span.clock-back"].frames == (1501,)


def test_a_clock_that_was_never_set_and_one_that_is_too_coarse_are_found() -> None:
    assert set(faults_of([it._replace(ts_ns=it.ts_ns - START + 5 * SECOND) for it in GOOD])) == {"span.clock-unset"}
    for unit in (SECOND, 10 * MS):
        coarse = faults_of([it._replace(ts_ns=it.ts_ns // unit * unit) for it in GOOD])
        assert set(coarse) == {"span.clock-coarse"}
        assert coarse["span.clock-coarse"].evidence["unit"] == unit / SECOND
    assert set(faults_of([it._replace(ts_ns=START + 1234567) for it in GOOD])) == {"span.clock-coarse"}


def test_frames_that_two_queues_mix_are_out_of_order() -> None:
    frames = list(GOOD)
    for at in range(0, len(frames) - 1, 20):
        frames[at] = frames[at]._replace(ts_ns=frames[at].ts_ns + 250 * MS)
    assert set(faults_of(frames)) == {"span.disorder"}


def test_segments_that_a_network_card_joined_are_oversize() -> None:
    syn = tcp(seq=1, flags=SYN)
    syn = (
        syn[:46] + b"\x60" + syn[47:] + b"\x02\x04\x05\xb4"
    )  # a header of 24 bytes, with a maximum segment size of 1460
    syn = syn[:16] + (len(syn) - 14).to_bytes(2, "big") + syn[18:]
    answer = tcp(seq=1, ack=2 + 1460, flags=ACK, src=PLC, dst=MASTER, sport=502, dport=50000)
    for size, expected in ((1460, set()), (2920, {"span.oversize"})):
        data = tcp(bytes(size), seq=2, src=MASTER, dst=PLC)
        both = [
            tcp(seq=7, ack=2, flags=SYN | ACK, src=PLC, dst=MASTER, sport=502, dport=50000),
        ]
        both[0] = both[0][:46] + b"\x60" + both[0][47:] + b"\x02\x04\x05\xb4"
        both[0] = both[0][:16] + (len(both[0]) - 14).to_bytes(2, "big") + both[0][18:]
        packets = [syn, *both, data, answer]
        frames = [Seen(START + i * 1_000_003, it, len(it)) for i, it in enumerate(packets)]
        assert set(faults_of(frames)) == expected


def test_an_office_segment_has_nothing_industrial() -> None:
    office = [it._replace(data=it.data[:34] + it.data[34:].replace(b"\x01\xf6", b"\x01\xbb", 1)) for it in GOOD]
    assert set(faults_of(office)) == {"span.no-industrial"}
    assert faults_of(office[:30]) == {}  # too little to say so


def test_no_frame_at_all_is_a_fault() -> None:
    assert set(faults_of([])) == {"span.empty"}


def test_a_file_that_ends_early_and_drops_of_this_machine_are_told() -> None:
    survey = survey_of(GOOD)
    survey.damage, survey.dropped, survey.no_link = "cut off", 17, "eth1: down"
    assert [fault.id for fault in examine(survey)] == ["span.truncated", "span.dropped-here", "span.no-link"]


def test_a_live_link_that_falls_silent_is_told_while_nobody_talks_and_not_where_nobody_was_regular() -> None:
    for frames, expected in ((GOOD, {"span.fell-silent"}), (GOOD[:12], set())):
        survey = survey_of(frames)
        survey.now_ns = frames[-1].ts_ns + 45 * SECOND
        assert {fault.id for fault in examine(survey)} == expected


def test_what_a_fault_tells_is_bounded_and_has_known_names() -> None:
    broken = lossy(doubled(without_sender(shifted(GOOD, 100, -SECOND), 502), 1000), 0.2, 1)
    for fault in faults_of(broken).values():
        assert set(fault.evidence) <= EVIDENCE
        assert len(fault.frames) <= MAX_FRAMES
        assert fault.frames == tuple(sorted(fault.frames))
        assert replace(fault) == fault

"""The shortcut for usual frames finds what the long way finds: the same packets without Ethernet headers take that."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.wire import Talk, coils, frames, read_coils

from sensor.decode import recycle
from sensor.decode.decoder import Decoder
from sensor.decode.state import SHORTCUTS

RAW_IP = 101
ETHERNET_BYTES, HEADERS = 14, 54


def found(packets: list[bytes], cut: dict[int, int] | None = None, link: int = 1) -> tuple[Any, ...]:
    """Every column but the places of the PDUs, the PDUs, and all counters that do not count octets."""
    decoder, rows, pdus = Decoder(seed=7), [], []
    for batch in decoder.decode([frames(packets, link=link, cut=cut)]):
        rows += [column.tolist() for name, column in batch.columns._asdict().items() if name != "pdu_at"]
        pdus += [batch.pdu(row) for row in range(batch.size)]
    counters = {name: value for name, value in decoder.counters().items() if name != "bytes"}
    talks = decoder.view.conversations
    return rows, pdus, counters, [talks[name].tolist() for name in ("a_lo", "b_lo", "frames_a", "frames_b", "lost")]


def alike(packets: list[bytes], cut: dict[int, int] | None = None) -> tuple[Any, ...]:
    """What is found, and must be found without Ethernet headers too."""
    usual = found(packets, cut)
    bare = [packet[ETHERNET_BYTES:] for packet in packets]
    assert usual == found(bare, {i: max(kept - ETHERNET_BYTES, 0) for i, kept in (cut or {}).items()}, RAW_IP)
    return usual


def polling(turns: int, **ends: Any) -> list[bytes]:
    talk = Talk(**ends)
    packets: list[bytes] = talk.handshake()
    for turn in range(turns):
        packets += [talk.asks(read_coils(turn)), talk.answers(coils(turn))]
    return packets


@st.composite
def _changes(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(packet, octet of its headers behind Ethernet's, value); the IP version stays, for that says Ethernet too."""
    places = st.integers(ETHERNET_BYTES, HEADERS - 1)
    return draw(st.lists(st.tuples(st.integers(0, 19), places, st.integers(0, 255)), max_size=6))


@given(changes=_changes(), cut=st.dictionaries(st.integers(0, 19), st.integers(ETHERNET_BYTES + 1, 70), max_size=3))
@example(changes=[(4, 17, 0), (5, 16, 255)], cut={})  # total lengths: 0, and more than was on the wire
@example(changes=[(4, 14, 0x46), (6, 46, 0x80)], cut={})  # longer headers
@example(changes=[(4, 20, 0x20), (5, 21, 1), (6, 23, 17)], cut={7: 53, 8: 60})  # fragments, UDP, cut off
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_the_headers_the_shortcut_and_the_long_way_agree(
    changes: list[tuple[int, int, int]], cut: dict[int, int]
) -> None:
    packets = [bytearray(packet) for packet in polling(10)[:20]]
    for number, place, value in changes:
        packets[number][place] = (0x40 | value & 0x0F) if place == ETHERNET_BYTES else value
    alike([bytes(packet) for packet in packets], cut)


def test_padding_behind_the_ip_packet_is_no_payload() -> None:
    padded = [packet + bytes(6) for packet in polling(5)]
    _, pdus, counters, _ = alike(padded)
    assert len(pdus) == 10
    assert counters["gaps"] == counters["garbage"] == 0


def test_the_same_ends_within_a_vlan_are_another_conversation() -> None:
    plain, tagged = polling(4), polling(4, tags=((0x8100, 7),))
    mixed = [frame for pair in zip(plain, tagged, strict=True) for frame in pair]
    decoder = Decoder(seed=7)
    rows = [row for batch in decoder.decode([frames(mixed)]) for row in batch.columns.conversation.tolist()]
    assert rows == [0, 1] * 8
    assert decoder.view.conversations["vlan"].tolist() == [-1, 7]


def test_more_conversations_than_there_are_shortcuts_are_told_apart() -> None:
    talks = [Talk(src=f"10.7.{n >> 8}.{n & 255}", sport=1024 + n) for n in range(2 * SHORTCUTS)]
    packets = [frame for turn in range(2) for talk in talks for frame in (talk.asks(read_coils(turn)),)]
    rows, pdus, _, (clients, *_) = alike(packets)
    assert len(pdus) == 4 * SHORTCUTS
    assert len(set(clients)) == 2 * SHORTCUTS
    conversations = [row for batch in rows[2::22] for row in batch]
    assert conversations == [*range(2 * SHORTCUTS)] * 2


def test_a_row_that_was_freed_belongs_to_whom_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycle, "due", lambda _used, _rows: True)
    decoder = Decoder(seed=7)
    scan = Talk(sport=40_000).handshake()
    list(decoder.decode([frames(scan)]))  # nothing but a handshake: its row is free once it was silent for a minute
    list(decoder.decode([frames(polling(1, sport=41_000), first=100_000)]))
    assert decoder.view.recycled
    list(decoder.decode([frames(polling(1, sport=42_000), first=200_000)]))
    again = [*decoder.decode([frames(Talk(sport=40_000).handshake() + polling(2, sport=40_000)[3:], first=300_000)])]
    ports = {decoder.view.conversation(int(row)).port_a for batch in again for row in batch.columns.conversation}
    assert ports == {40_000}


def test_a_segment_of_the_length_of_an_adu_that_is_none_is_no_message() -> None:
    talk = Talk()
    _, pdus, counters, _ = alike([talk.asks(read_coils(1)), talk.asks(struct.pack("!HHHBBHH", 2, 1, 6, 1, 1, 0, 8))])
    assert pdus == [read_coils(1)]
    assert counters["garbage"] == 1

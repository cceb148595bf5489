"""Protocols are told by what they say: on any port, and on a port that promised something else."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.findings import Plant, of, the
from support.wire import ACK, SYN, Talk, coils, frames, read_coils, tcp, udp

from pcaps.messages import dnp3, modbus, s7comm
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Kind, Protocol
from sensor.decode.recognise import PROBES, WATCHED_PORTS, Foreign, Framing, foreign, recognise
from sensor.events import EventBatch

ODD = 31337
HMI, PLC = "10.1.0.5", "10.1.0.20"
TLS = bytes.fromhex("16030100ba010000b60303") + bytes(range(64, 240))
HTTP = b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n"
RDP = bytes.fromhex("030000130ee000000000000100080003000000")
MESSAGES = {
    Protocol.MODBUS: read_coils(7),
    Protocol.S7COMM: s7comm.job(1, s7comm.setup_communication()),
    Protocol.DNP3: dnp3.Station(1, 10, master=True).send(dnp3.request(0, 1, dnp3.all_objects((60, 1)))),
}


def run(*packets: bytes) -> tuple[list[EventBatch], Decoder]:
    decoder = Decoder(seed=3)
    return list(decoder.decode([frames(packets)])), decoder


def events(*packets: bytes) -> list[tuple[int, int]]:
    """(protocol, kind) of each event."""
    return [
        pair
        for batch in run(*packets)[0]
        for pair in zip(batch.columns.protocol.tolist(), batch.columns.kind.tolist(), strict=True)
    ]


def as_array(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize("protocol", MESSAGES)
@pytest.mark.parametrize("port", [ODD, *WATCHED_PORTS])
def test_a_request_is_read_on_any_port(protocol: Protocol, port: int) -> None:
    talk = Talk(dport=port)
    assert events(*talk.handshake(), talk.asks(MESSAGES[protocol])) == [(protocol, Kind.REQUEST)]


@pytest.mark.parametrize("protocol", [Protocol.MODBUS, Protocol.DNP3])
def test_a_datagram_is_read_on_any_port(protocol: Protocol) -> None:
    assert events(udp(MESSAGES[protocol], dport=ODD)) == [(protocol, Kind.REQUEST)]


@pytest.mark.parametrize("protocol", MESSAGES)
def test_a_first_message_in_pieces_is_still_recognised(protocol: Protocol) -> None:
    message = MESSAGES[protocol]
    for cut in range(1, min(len(message), 32)):
        talk = Talk(dport=ODD)
        assert events(*talk.handshake(), talk.asks(message[:cut]), talk.asks(message[cut:])) == [
            (protocol, Kind.REQUEST)
        ]


def test_who_was_called_is_the_server_whatever_the_ports() -> None:
    talk = Talk(sport=100, dport=60000)
    hello = talk.handshake()
    conversation = [*hello, talk.asks(read_coils(1)), talk.answers(coils(1))]
    assert [kind for _, kind in events(*conversation)] == [Kind.REQUEST, Kind.RESPONSE]
    # Seen from the middle on, the lower port is taken for the server's.
    talk = Talk(sport=60000, dport=8502)
    assert [kind for _, kind in events(talk.asks(read_coils(1)), talk.answers(coils(1)))] == [
        Kind.REQUEST,
        Kind.RESPONSE,
    ]


def test_a_protocol_that_begins_after_other_talk_is_recognised() -> None:
    talk = Talk(dport=ODD)
    greeting = [talk.asks(b"hello, this is a gateway that wants a word first"), talk.answers(b"welcome" * 8)]
    assert events(*talk.handshake(), *greeting, talk.asks(read_coils(1))) == [(Protocol.MODBUS, Kind.REQUEST)]


def test_a_foreign_conversation_costs_no_more_than_a_look() -> None:
    talk = Talk(dport=ODD)
    noise = random.Random(5)
    packets = [*talk.handshake(), *(talk.asks(noise.randbytes(200)) for _ in range(PROBES + 20))]
    _, decoder = run(*packets)
    assert decoder.counters()["foreign"] == 20
    row = decoder.view.conversations[0]
    assert (row.framing, row.messages, row.garbage) == (Framing.FOREIGN, 0, 0)


def test_a_new_connection_between_the_ends_of_a_foreign_one_is_looked_at_afresh() -> None:
    talk = Talk(dport=ODD)
    noise = random.Random(5)
    packets = [*talk.handshake(), *(talk.asks(noise.randbytes(200)) for _ in range(PROBES + 1))]
    again = [tcp(seq=77, flags=SYN, dport=ODD), tcp(read_coils(1), seq=78, flags=ACK, dport=ODD)]
    assert events(*packets, *again) == [(Protocol.MODBUS, Kind.REQUEST)]


def test_short_beginnings_of_others_never_take_the_room_of_those_that_are_known() -> None:
    packets = [tcp(b"\x00", seq=1, sport=1024 + n, dport=ODD) for n in range(3000)]
    talk = Talk(sport=60000)
    message = read_coils(9)
    rows, decoder = run(*packets, talk.asks(message[:5]), talk.asks(message[5:]))
    assert sum(batch.size for batch in rows) == 1
    assert decoder.counters()["holds_refused"] == 0


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (TLS, Foreign.TLS), (HTTP, Foreign.HTTP), (b"SSH-2.0-OpenSSH_9.2\r\n", Foreign.SSH), (RDP, Foreign.UNKNOWN),
        (b"\x00\x00\x00\x54\xfeSMB" + bytes(60), Foreign.SMB), (b"\xff\xfd\x18\xff\xfd\x20", Foreign.TELNET),
        (b"220 mail.example ESMTP\r\n", Foreign.FTP_OR_SMTP), (b"RFB 003.008\n", Foreign.VNC),
        (b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc", Foreign.MQTT),
        (b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=x\r\n", Foreign.RDP),
    ],
)  # fmt: skip
def test_what_is_not_industrial_is_named_and_never_taken_for_it(payload: bytes, name: Foreign) -> None:
    data = as_array(payload)
    assert recognise(data, 0, len(data)) == Framing.UNDECIDED
    assert foreign(data, 0, len(data)) == name


def test_random_bytes_are_no_protocol() -> None:
    data = np.random.default_rng(11).integers(0, 256, 4_000_000, np.uint8)
    hits = sum(recognise(data, at, at + 64) != Framing.UNDECIDED for at in range(0, len(data) - 64, 40))
    assert hits == 0


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_bytes_trouble_the_probes(payload: bytes) -> None:
    data = as_array(payload)
    assert recognise(data, 0, len(data)) in set(Framing)
    assert foreign(data, 0, len(data)) in set(Foreign)


def test_s7comm_on_the_modbus_port_is_read_and_named() -> None:
    plant = Plant()
    for n in range(3):
        plant.asks(HMI, PLC, s7comm.job(n, s7comm.setup_communication()))
        plant.wait(1)
    found = the(plant.findings(), "port.other-protocol")
    assert (found.protocol, found.destination_port, found.count) == ("modbus", 502, 1)
    assert "it is S7COMM" in found.explanation.en
    assert not of(plant.findings(), "port.garbage")


def test_http_on_the_s7comm_port_is_named() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, HTTP, port=102)
    assert "not s7comm, it is HTTP" in the(plant.findings(), "port.other-protocol").explanation.en


def test_an_industrial_protocol_on_its_own_odd_port_breaks_no_promise() -> None:
    plant = Plant()
    plant.exchange(HMI, PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [1])), ODD)
    assert plant.findings() == []

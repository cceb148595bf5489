"""Modbus through the whole decoder: both framings, pipelined and in datagrams, matched with what was asked."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire import Talk, coils, frames, read_coils, udp, write_register
from test_modbus_rtu import sealed

from detectors.pipeline import Options, Pipeline
from sensor.decode.decoder import Decoder

ANYWHERE = 4001


def decoded(*packets: bytes) -> list[dict[str, Any]]:
    """Every PDU at full depth."""
    decoder = Decoder(seed=5)
    batches = decoder.decode([frames(packets)])
    return [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]


def poll(talk: Talk, unit: int = 17, address: int = 0x10, value: int = 7) -> list[bytes]:
    """A read of two registers in RTU, and its answer."""
    return [
        talk.asks(sealed(f"03 {address:04x} 0002", unit)),
        talk.answers(sealed(f"03 04 {value:04x} 0001", unit)),
    ]


@pytest.mark.parametrize("quantity", [1, 2, 3, 4, 11, 125])
def test_a_serial_read_from_address_0_is_not_taken_for_an_mbap_header(quantity):
    talk = Talk(dport=502)
    ask = sealed(f"03 0000 {quantity:04x}", 1)
    give = sealed(bytes([3, 2 * quantity, *bytes(2 * quantity)]), 1)
    lines = decoded(*talk.handshake(), talk.asks(ask), talk.answers(give), talk.asks(ask), talk.answers(give))
    assert [line["event.outcome"] for line in lines] == ["asked", "answered"] * 2
    assert [line.get("modbus.quantity") for line in lines] == [quantity, None] * 2
    assert all(line["modbus.framing"] == "rtu" and "anomalies" not in line for line in lines)


@pytest.mark.parametrize("port", [ANYWHERE, 502])
def test_serial_frames_are_read_on_any_port_and_matched_by_unit(port):
    talk = Talk(dport=port)
    lines = decoded(*talk.handshake(), *poll(talk), *poll(talk, unit=18, address=0x20, value=9))
    assert [line["network.protocol"] for line in lines] == ["modbus"] * 4
    assert [line["event.outcome"] for line in lines] == ["asked", "answered"] * 2
    assert [line["modbus.unit_id"] for line in lines] == [17, 17, 18, 18]
    assert lines[1]["modbus.values"] == [7, 1]
    assert lines[3]["modbus.request.address"] == 0x20
    assert all(line["modbus.framing"] == "rtu" and "anomalies" not in line for line in lines)


def test_units_that_were_asked_at_once_answer_in_any_order():
    talk = Talk(dport=ANYWHERE)
    first, second = sealed("03 0010 0002", 1), sealed("03 0020 0001", 2)
    lines = decoded(
        *talk.handshake(), talk.asks(first + second), talk.answers(sealed("03 02 0005", 2) + sealed("83 02", 1))
    )
    assert [line["event.outcome"] for line in lines] == ["asked", "asked", "answered", "refused"]
    assert [line.get("modbus.request.address") for line in lines] == [None, None, 0x20, 0x10]


def test_serial_frames_are_found_again_after_garbage_and_however_they_are_cut():
    asked = sealed("03 0010 0002") + bytes(9) + sealed("06 0001 0003") + sealed("10 0001 0002 04 000A0102")
    for cut in range(1, len(asked)):
        talk = Talk(dport=ANYWHERE)
        lines = decoded(*talk.handshake(), *poll(talk), talk.asks(asked[:cut]), talk.asks(asked[cut:]))
        assert [line["modbus.function_code"] for line in lines] == [3, 3, 3, 6, 16], cut


def test_serial_frames_come_in_datagrams_too():
    lines = decoded(udp(sealed("06 0001 0003"), dport=ANYWHERE))
    assert [(line["modbus.address"], line["modbus.values"], line["network.transport"]) for line in lines] == [
        (1, [3], "udp")
    ]


def test_a_command_in_a_serial_frame_is_found_like_any_other():
    talk = Talk(dport=ANYWHERE)
    pipeline = Pipeline(Options())
    packets = [*talk.handshake(), *poll(talk), talk.asks(sealed("08 0004 0000"))]
    findings = [it for it in pipeline.run([frames(packets)]) if it.rule_id == "operation.modbus.force-listen-only"]
    assert [(it.protocol, it.station, it.count) for it in findings] == [("modbus", 17, 1)]
    assert findings[0].evidence.pdus[0]["modbus.framing"] == "rtu"


def test_pipelined_requests_are_matched_by_transaction_in_any_order():
    talk = Talk()
    asked = b"".join(read_coils(number, address=number) for number in range(1, 41))
    given = b"".join(coils(number) for number in range(40, 0, -1))
    lines = decoded(*talk.handshake(), talk.asks(asked), talk.answers(given))
    assert {line["frame"] for line in lines} == {4, 5}
    answers = [line for line in lines if line["event.kind"] == "response"]
    assert len(answers) == 40
    assert all(line["modbus.request.address"] == line["modbus.transaction_id"] for line in answers)


def test_several_adus_in_one_datagram_are_all_read():
    lines = decoded(
        udp(read_coils(1) + read_coils(2, address=5), dport=502),
        udp(coils(2) + coils(1), src="10.1.0.20", dst="10.1.0.5", sport=502, dport=50000),
    )
    assert [(line["event.kind"], line["modbus.transaction_id"]) for line in lines] == [
        ("request", 1), ("request", 2), ("response", 2), ("response", 1),
    ]  # fmt: skip
    assert [line["modbus.request.address"] for line in lines[2:]] == [5, 0]


def test_a_device_that_is_unit_0_itself_answers_and_one_behind_a_gateway_is_not_missed():
    talk, decoder = Talk(), Decoder(seed=5)
    packets = [*talk.handshake()]
    for number in range(1, 4):
        packets.append(talk.asks(write_register(number, 7, number, unit=0)))
    packets.append(talk.answers(write_register(2, 7, 2, unit=0)))
    lines = []
    for batch in decoder.decode([frames(packets), frames([talk.asks(read_coils(9))], first=9000)]):
        lines += [decoder.view.fields(batch, row) for row in range(batch.size)]
    answer = next(line for line in lines if line["event.kind"] == "response")
    assert (answer["event.outcome"], answer["request.frame"]) == ("answered", 5)
    assert "anomalies" not in answer
    assert decoder.counters()["unanswered"] == 0

"""Modbus RTU in a stream: frames found by function and CRC, read as with MBAP; what proves either framing."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.decode.pdu import ABSENT, PDU, Anomaly, Kind, clear
from sensor.protocols import modbus, modbus_rtu

REQUEST, RESPONSE = Kind.REQUEST, Kind.RESPONSE
SEED = np.uint64(7)

# (request, response) PDUs of every function whose length the function tells.
EXCHANGES = [
    ("01 0013 0013", "01 03 CD6B05"),
    ("02 00C4 0016", "02 03 ACDB35"),
    ("03 006B 0003", "03 06 022B00000064"),
    ("04 0008 0001", "04 02 000A"),
    ("05 00AC FF00", "05 00AC FF00"),
    ("06 0001 0003", "06 0001 0003"),
    ("07", "07 6D"),
    ("08 0004 0000", "08 0004 0000"),
    ("08 000B 0000", "08 000B 0105"),
    ("0B", "0B FFFF 0108"),
    ("0C", "0C 08 0000 0108 0121 2000"),
    ("0F 0013 000A 02 CD01", "0F 0013 000A"),
    ("10 0001 0002 04 000A0102", "10 0001 0002"),
    ("11", "11 03 0AFF42"),
    ("14 0E 06 0004 0001 0002 06 0003 0009 0002", "14 0C 05 06 0DFE 0020 05 06 33CD 0040"),
    ("15 0D 06 0004 0007 0003 06AF 04BE 100D", "15 0D 06 0004 0007 0003 06AF 04BE 100D"),
    ("16 0004 00F2 0025", "16 0004 00F2 0025"),
    ("17 0003 0006 000E 0003 06 00FF00FF00FF", "17 0C 00FE 0ACD 0001 0003 000D 00FF"),
    ("18 04DE", "18 0006 0002 01B8 1284"),
    ("2B 0E 01 00", "2B 0E 01 01 00 00 02 00 03 414243 01 02 4445"),
    ("03 006B 0003", "83 02"),
]
# Functions that do not tell their length: data in a loop, CANopen, UMAS, user-defined.
OPAQUE = ["08 0000 A537 1234", "2B 0D 0102030405", "5A 00 10 2600 0001", "64 0102"]


def sealed(pdu: str | bytes, unit: int = 17) -> bytes:
    """The RTU frame of a PDU (hexadecimal, spaces allowed); the CRC bit by bit, not by the table that is tested."""
    body = bytes([unit]) + (bytes.fromhex(pdu) if isinstance(pdu, str) else pdu)
    crc = 0xFFFF
    for octet in body:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return body + crc.to_bytes(2, "little")


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(data), np.uint8)


def framed(data: bytes) -> int:
    return int(modbus_rtu.frame(array(data), 0, len(data)))


def read(data: bytes, kind: Kind) -> np.void:
    record = np.zeros(1, PDU)
    clear(record[0])
    with np.errstate(over="ignore"):  # the hash wraps on purpose
        modbus_rtu.read(array(data), 0, len(data), int(kind), SEED, record[0])
    return record[0]


def read_mbap(pdu: str, kind: Kind) -> np.void:
    body = bytes.fromhex(pdu)
    data = bytes([0, 1, 0, 0]) + (len(body) + 1).to_bytes(2, "big") + bytes([17]) + body
    record = np.zeros(1, PDU)
    clear(record[0])
    with np.errstate(over="ignore"):
        modbus.read(array(data), 0, len(data), int(kind), SEED, record[0])
    return record[0]


def test_the_crc_is_that_of_the_serial_line_guide():
    assert sealed("07", unit=2) == bytes.fromhex("02 07 41 12")  # SL, 6.2.2
    assert modbus_rtu.crc16(array(b"123456789"), 0, 9) == 0x4B37


@pytest.mark.parametrize("pdu", [pdu for pair in EXCHANGES for pdu in pair] + OPAQUE)
def test_a_frame_is_as_long_as_its_function_and_its_crc_say_whatever_follows(pdu):
    frame = sealed(pdu)
    assert framed(frame) == len(frame)
    assert framed(frame + sealed("03 0000 0001")) == len(frame)
    for cut in range(len(frame)):
        assert framed(frame[:cut]) == 0, "a beginning must wait"


@pytest.mark.parametrize("pdu", [pdu for pair in EXCHANGES for pdu in pair])
def test_a_broken_crc_is_no_frame_and_the_next_one_is_found(pdu):
    frame = bytearray(sealed(pdu))
    frame[-1] ^= 0x20
    stream = bytes(frame) + bytes(256) + sealed("06 0102 0304")
    assert framed(stream) == -1
    at = int(modbus_rtu.sync(array(stream), 1, len(stream)))
    assert stream[at:] == sealed("06 0102 0304")


@pytest.mark.parametrize(("request_pdu", "response_pdu"), EXCHANGES)
def test_a_pdu_says_the_same_in_rtu_as_behind_an_mbap_header(request_pdu, response_pdu):
    for pdu, kind in ((request_pdu, REQUEST), (response_pdu, RESPONSE)):
        ours, theirs = read(sealed(pdu), kind), read_mbap(pdu, kind)
        assert (ours["transaction"], theirs["transaction"]) == (ABSENT, 1)
        same = [name for name in PDU.names if name != "transaction"]
        assert [ours[name] for name in same] == [theirs[name] for name in same]


def test_a_broadcast_is_never_answered_and_a_read_of_all_is_illegal():
    write, ask = read(sealed("06 0001 0003", unit=0), REQUEST), read(sealed("03 0001 0003", unit=0), REQUEST)
    assert (write["expects"], write["anomalies"]) == (0, 0)
    assert (ask["expects"], Anomaly(int(ask["anomalies"]))) == (0, Anomaly.ILLEGAL)


def test_an_answer_is_explained_with_the_question():
    fields = modbus_rtu.explain(sealed("03 04 0064 0065"), RESPONSE, sealed("03 006B 0002"))
    assert fields == {
        "modbus.framing": "rtu",
        "modbus.unit_id": 17,
        "modbus.function_code": 3,
        "modbus.function": "read_holding_registers",
        "modbus.request.address": 0x6B,
        "modbus.request.quantity": 2,
        "modbus.byte_count": 4,
        "modbus.values": [100, 101],
        "event.action": "read",
    }


@given(data=st.binary(max_size=40) | st.sampled_from(EXCHANGES).map(lambda pair: sealed(pair[0])[:-1]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_framed_found_read_and_explained_without_harm(data):
    size = framed(data)
    assert size == -1 or size == 0 or 4 <= size <= len(data)
    assert 0 <= int(modbus_rtu.sync(array(data), 0, len(data))) <= len(data)
    for kind in (REQUEST, RESPONSE):
        read(data, kind)
        modbus_rtu.explain(data, kind, data)


ELSEWHERE = {
    "DNS": "1a2b 0000 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001",
    "NetBIOS": "0001 0000 0001 0000 0000 0000 20 434b4141 00 0021 0001",
    "HTTP": b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n".hex(),
    "TLS": "16 03 01 0005 01 000001 03",
    "ENIP": "6500 0400 00000000 00000000 0000000000000000 00000000 0100 0000",
    "ENIP without data": "6600 0000 1200 0307 00000000 0000000000000000 00000000",
    "BACnet": "81 0a 0011 0104 0005 010c 0c02 3fff ff19 4b",
    "zeros": "00" * 12,
    "an SMB keep-alive": "85 000000",
    "a length of its own": "0001 0000 0005 01 03 0000 0001",
    "too many registers": "0001 0000 0006 01 03 0000 007e",
    "a coil that is neither on nor off": "0001 0000 0006 01 05 0000 0001",
    "a function code alone": "0103 0000 0002 c4 0b",  # also a frame of RTU: two registers from 0 of unit 1
    "a user-defined function": "0001 0000 0004 01 64 0102",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_protocols_and_loose_pdus_prove_no_modbus(name):
    data = array(bytes.fromhex(ELSEWHERE[name]))
    assert not modbus.probe(data, 0, len(data))
    assert modbus_rtu.probe(data, 0, len(data)) == (name == "a function code alone")


@pytest.mark.parametrize("pdu", [pdu for pair in EXCHANGES for pdu in pair] + ["08 0000 A537", "5A 00 10 2600"])
def test_every_request_and_response_proves_modbus_in_its_framing(pdu):
    body = bytes.fromhex(pdu)
    mbap = bytes([9, 9, 0, 0]) + (len(body) + 1).to_bytes(2, "big") + bytes([1]) + body
    for stream in (mbap, mbap + mbap, mbap + mbap[:3]):
        assert modbus.probe(array(stream), 0, len(stream)) == (len(body) > 1)
    assert not modbus.probe(array(mbap[:-1]), 0, len(mbap) - 1), "a part proves nothing"
    assert not modbus.probe(array(mbap + b"\1\2\3\4"), 0, len(mbap) + 4), "something else follows"
    rtu = sealed(pdu)
    assert modbus_rtu.probe(array(rtu), 0, len(rtu)) == (len(body) > 1)
    assert modbus_rtu.probe(array(rtu + rtu), 0, 2 * len(rtu)) == (len(body) > 1)
    broken = rtu[:-1] + bytes([rtu[-1] ^ 1])
    assert not modbus_rtu.probe(array(broken), 0, len(broken))


def test_random_bytes_practically_never_prove_modbus():
    chance = random.Random(3)
    buffer = array(chance.randbytes(200_000))
    sizes = [chance.randint(4, 64) for _ in range(40_000)]
    starts = [chance.randrange(len(buffer) - 64) for _ in sizes]
    assert not any(modbus.probe(buffer, at, at + n) for at, n in zip(starts, sizes, strict=True))
    assert sum(modbus_rtu.probe(buffer, at, at + n) for at, n in zip(starts, sizes, strict=True)) <= 1

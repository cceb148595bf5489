"""Modbus: the examples of the standard, what it forbids, and any bytes at all."""

from __future__ import annotations

import importlib.util
import json
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor import compiled
from sensor.decode import pdu
from sensor.decode.pdu import ABSENT, NO_VALUE, PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import modbus, modbus_kernel, modbus_rtu
from sensor.protocols import modbus_tables as t
from sensor.schema import FIELDS, MODBUS

REQUEST, RESPONSE = Kind.REQUEST, Kind.RESPONSE
MAY = pdu.MAY_BE_ANSWERED
SEED = np.uint64(0x1234_5678_9ABC_DEF0)


def adu(pdu: str | bytes, transaction: int = 0x1501, unit: int = 17, length: int | None = None) -> bytes:
    """A Modbus PDU (hexadecimal, spaces allowed) behind its MBAP header."""
    body = bytes.fromhex(pdu) if isinstance(pdu, str) else pdu
    return struct.pack(">HHHB", transaction, 0, len(body) + 1 if length is None else length, unit) + body


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(data), dtype=np.uint8)


def read(data: bytes, kind: Kind, kernel=modbus_kernel, seed=SEED) -> np.void:
    """The record that the kernel fills from one ADU."""
    record = np.zeros(1, dtype=PDU)
    clear(record[0])
    buffer = as_array(b"before" + data + b"behind")
    with np.errstate(over="ignore"):  # the hash wraps on purpose
        kernel.read(buffer, 6, 6 + len(data), int(kind), seed, record[0])
    return record[0]


def frame(data: bytes, kernel=modbus_kernel) -> int:
    return int(kernel.frame(as_array(data), 0, len(data)))


def anomalies(data: bytes, kind: Kind = REQUEST) -> Anomaly:
    return Anomaly(int(read(data, kind)["anomalies"]))


@pytest.fixture(scope="module")
def plain():
    """The same kernel file, run as plain Python."""
    spec = importlib.util.spec_from_file_location("plain_modbus_kernel", modbus_kernel.__file__)
    module = importlib.util.module_from_spec(spec)
    before = compiled.INTERPRETED
    compiled.INTERPRETED = True
    try:
        spec.loader.exec_module(module)
    finally:
        compiled.INTERPRETED = before
    module.mix = pdu.mix.py_func
    assert not hasattr(module.read, "py_func"), "this copy is not compiled"
    assert hasattr(modbus_kernel.read, "py_func"), "that one is"
    return module


# --- where an ADU ends ------------------------------------------------------------------------------------------------

READ_REQUEST = adu("03 006B 0003")


def test_an_adu_is_as_long_as_its_header_says():
    assert frame(READ_REQUEST) == 12
    assert frame(READ_REQUEST + READ_REQUEST[:5]) == 12


@pytest.mark.parametrize("size", range(12))
def test_the_length_of_an_adu_is_told_as_soon_as_its_header_says_it(size):
    assert frame(READ_REQUEST[:size]) == (0 if size < 6 else 12)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\0\1",  # protocol id 1
        b"\0\1\1",
        b"\0\1\0\0\0\0",  # length 0
        b"\0\1\0\0\0\1\1",  # length 1: no function code
        b"\0\1\0\0\0\xff\1\3",  # one more than a PDU can have
        b"\0\1\0\0\x20",
        b"\0\1\0\0\x10\x01\1\x5a",  # longer than any UMAS message
        b"GET / HTTP/1.1\r\n",
        b"\x03\x00\x00\x16\x11\xe0",  # TPKT
        b"\x05\x64\x05\xc0",  # DNP3
    ],
)
def test_bytes_that_cannot_begin_an_adu_are_refused_as_early_as_they_show_it(data):
    assert frame(data) == -1


def test_the_longest_adu_of_the_standard_is_accepted_and_umas_may_be_longer():
    assert frame(adu(b"\x03" + bytes(252))) == 260
    assert frame(adu(b"\x5a" + bytes(1023))) == 7 + 1024
    assert frame(adu(b"\xda" + bytes(1023))) == 7 + 1024
    assert frame(adu(b"\x03" + bytes(253))) == -1
    assert frame(b"\0\1\0\0\1\0\1") == 0, "the function code decides, and is not there yet"


@given(
    st.binary(max_size=40)
    | st.builds(lambda a, b: adu(a) + b, st.binary(min_size=1, max_size=20), st.binary(max_size=9))
)
@settings(max_examples=400, deadline=None)
def test_more_bytes_never_change_the_answer_about_an_adu(data):
    answers = [frame(data[:size]) for size in range(len(data) + 1)]
    settled = [answer for answer in answers if answer]
    assert len(set(settled)) <= 1
    assert answers == [0] * (len(answers) - len(settled)) + settled
    assert all(answer >= -1 for answer in answers)


# --- the narrow row ---------------------------------------------------------------------------------------------------

# The example of MAP section 6 for each function, as far as it has one: request, response, and what the rows must hold.
EXAMPLES = {
    "read coils": (
        "01 0013 0013", {"object": 0x13, "quantity": 0x13},
        "01 03 CD6B05", {"value": 1},
    ),
    "read discrete inputs": (
        "02 00C4 0016", {"object": 0xC4, "quantity": 0x16},
        "02 03 ACDB35", {"value": 0},
    ),
    "read holding registers": (
        "03 006B 0003", {"object": 0x6B, "quantity": 3},
        "03 06 022B 0000 0064", {"value": 0x22B},
    ),
    "read input registers": (
        "04 0008 0001", {"object": 8, "quantity": 1},
        "04 02 000A", {"value": 10},
    ),
    "write single coil": (
        "05 00AC FF00", {"object": 0xAC, "quantity": 1, "value": 1},
        "05 00AC FF00", {"object": 0xAC, "quantity": 1, "value": 1},
    ),
    "write single register": (
        "06 0001 0003", {"object": 1, "quantity": 1, "value": 3},
        "06 0001 0003", {"object": 1, "quantity": 1, "value": 3},
    ),
    "read exception status": (
        "07", {},
        "07 6D", {"value": 0x6D},
    ),
    "diagnostics: return query data": (
        "08 0000 A537", {"subfunction": 0},
        "08 0000 A537", {"subfunction": 0},
    ),
    "diagnostics: force listen only": (
        "08 0004 0000", {"subfunction": 4, "value": 0, "expects": 0},
        None, None,
    ),
    "diagnostics: bus message count": (
        "08 000B 0000", {"subfunction": 11, "value": 0},
        "08 000B 0107", {"subfunction": 11, "value": 0x107},
    ),
    "get comm event counter": (
        "0B", {},
        "0B FFFF 0108", {"value": 0x108},
    ),
    "get comm event log": (
        "0C", {},
        "0C 08 0000 0108 0121 20 00", {},
    ),
    "write multiple coils": (
        "0F 0013 000A 02 CD01", {"object": 0x13, "quantity": 10, "value": 1},
        "0F 0013 000A", {"object": 0x13, "quantity": 10},
    ),
    "write multiple registers": (
        "10 0001 0002 04 000A 0102", {"object": 1, "quantity": 2, "value": 10},
        "10 0001 0002", {"object": 1, "quantity": 2},
    ),
    "report server id": (
        "11", {},
        "11 05 09FF414243", {},
    ),
    "read file record": (
        "14 0E 06 0004 0001 0002 06 0003 0009 0002", {"object": (4 << 16) | 1, "quantity": 2},
        "14 0C 05 06 0DFE 0020 05 06 33CD 0040", {"value": 0xDFE},
    ),
    "write file record": (
        "15 0D 06 0004 0007 0003 06AF 04BE 100D", {"object": (4 << 16) | 7, "quantity": 3, "value": 0x6AF},
        "15 0D 06 0004 0007 0003 06AF 04BE 100D", {"object": (4 << 16) | 7, "quantity": 3, "value": 0x6AF},
    ),
    "mask write register": (
        "16 0004 00F2 0025", {"object": 4, "quantity": 1},
        "16 0004 00F2 0025", {"object": 4, "quantity": 1},
    ),
    "read/write multiple registers": (
        "17 0003 0006 000E 0003 06 00FF 00FE 00FD", {"object": 3, "quantity": 6, "value": 0xFF},
        "17 0C 00FE 0ACD 0001 0003 000D 00FF", {"value": 0xFE},
    ),
    "read FIFO queue": (
        "18 04DE", {"object": 0x4DE},
        "18 0006 0002 01B8 1284", {"value": 0x1B8},
    ),
    "read device identification": (
        "2B 0E 01 00", {"subfunction": 14},
        "2B 0E 01 01 00 00 03 00 03 414243 01 02 5A5A 02 02 5631", {"subfunction": 14},
    ),
    "CANopen general reference": (
        "2B 0D 0102", {"subfunction": 13},
        "2B 0D 0102", {"subfunction": 13},
    ),
    "UMAS": (
        "5A 07 41 FF", {"subfunction": 0x41},
        "5A 07 FE", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("kind", [REQUEST, RESPONSE])
def test_rows_of_the_standards_examples(name, kind):
    request, asked, response, answered = EXAMPLES[name]
    pdu, expected = (request, asked) if kind == REQUEST else (response, answered)
    if pdu is None:
        return
    record = read(adu(pdu), kind)
    untouched = np.zeros(1, dtype=PDU)
    clear(untouched[0])
    columns = [column for column in PDU.names if column != "detail"]
    assert {column: int(record[column]) for column in columns} == {
        **{column: int(untouched[0][column]) for column in columns},
        "kind": kind,
        "expects": int(kind == REQUEST),
        "station": 17,
        "function": int(pdu[:2], 16),
        "transaction": 0x1501,
        **expected,
    }


@pytest.mark.parametrize("code", t.EXCEPTIONS)
def test_an_exception_is_a_refusal_with_its_code_as_status(code):
    record = read(adu(bytes([0x83, code])), RESPONSE)
    assert (record["function"], record["refused"], record["status"], record["anomalies"]) == (3, 1, code, 0)


def test_a_umas_error_is_a_refusal_that_no_exception_code_resembles():
    record = read(adu("5A 07 FD 83 80"), RESPONSE)
    assert (record["function"], record["refused"], record["status"]) == (90, 1, 0xFD83)


@pytest.mark.parametrize(
    ("pdu", "expects"),
    [("06 0001 0003", MAY), ("0F 0013 000A 02 CD01", MAY), ("10 0001 0001 02 000A", MAY), ("16 0004 00F2 0025", MAY),
     ("03 006B 0003", 1), ("17 0003 0006 000E 0001 02 00FF", 1), ("2B 0E 01 00", 1)],
)  # fmt: skip
def test_an_answer_to_a_write_to_unit_0_is_not_missed_but_one_to_a_read_is(pdu, expects):
    assert read(adu(pdu, unit=0), REQUEST)["expects"] == expects
    assert read(adu(pdu, unit=1), REQUEST)["expects"] == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("17 0003 0006 000E 0001 02 00FF", "17 0003 0006 000F 0001 02 00FF"),
        ("17 0003 0006 000E 0001 02 00FF", "17 0003 0006 000E 0002 04 00FF 0000"),
        ("14 0E 06 0004 0001 0002 06 0003 0009 0002", "14 0E 06 0004 0001 0002 06 0003 0009 0003"),
        ("15 0B 06 0004 0007 0001 06AF 06 00", "15 12 06 0004 0007 0001 06AF 06 0005 0007 0001 06AF"),
        ("2B 0E 01 00", "2B 0E 04 00"),
        ("2B 0E 04 00", "2B 0E 04 01"),
    ],
)
def test_detail_tells_requests_apart_that_differ_elsewhere(one, other):
    first, second = read(adu(one), REQUEST), read(adu(other), REQUEST)
    assert first["object"] == second["object"]
    assert first["detail"] != second["detail"]
    assert read(adu(one), REQUEST, seed=np.uint64(1))["detail"] != first["detail"], "nobody can aim at a hash"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("06 0001 0003", "06 0001 0004"),
        ("10 0001 0001 02 000A", "10 0001 0001 02 000B"),
        ("17 0003 0006 000E 0001 02 00FF", "17 0003 0006 000E 0001 02 00FE"),
        ("15 09 06 0004 0007 0001 06AF", "15 09 06 0004 0007 0001 06AE"),
    ],
)
def test_values_make_no_new_behaviour(one, other):
    identity = [column for column in PDU.names if column != "value"]
    first, second = read(adu(one), REQUEST), read(adu(other), REQUEST)
    assert [first[column] for column in identity] == [second[column] for column in identity]
    assert first["value"] != second["value"]


@pytest.mark.parametrize(
    "pdu",
    [
        "01 0000 0000", "01 0000 07D1", "02 0000 0000", "03 0000 007E", "04 0000 0000", "03 FFFF 0002",
        "05 0000 1234", "0F 0000 0000 00", "10 0000 0000 00", "17 0000 0000 0000 0001 02 0000",
        "17 0000 0001 0000 0000 00", "14 07 05 0001 0000 0001", "14 07 06 0000 0000 0001", "14 07 06 0001 2710 0001",
        "2B 0E 05 00", "2B 0E 00 00", "08 0001 0001", "08 000A 0001", "81 01", "00", "14 00",
    ],
)  # fmt: skip
def test_well_formed_requests_that_the_standard_forbids_are_marked(pdu):
    assert Anomaly.ILLEGAL in anomalies(adu(pdu))


@pytest.mark.parametrize("pdu", ["01 0000 07D0", "03 0000 007D", "03 FFFF 0001", "05 0000 0000", "08 0001 FF00"])
def test_requests_at_the_limit_are_not_marked(pdu):
    assert not anomalies(adu(pdu))


@pytest.mark.parametrize(
    ("pdu", "kind"),
    [
        ("03 006B", REQUEST), ("03 006B 0003 00", REQUEST), ("05 0001", REQUEST), ("07 00", REQUEST),
        ("0F 0013 000A 02 CD", REQUEST), ("0F 0013 000A 01 CD", REQUEST), ("10 0001 0002 02 000A 0102", REQUEST),
        ("10 0001 0002", REQUEST), ("16 0001 0002", REQUEST), ("17 0003 0006 000E 0003 05 00FF 00FE 00FD", REQUEST),
        ("18 04", REQUEST), ("14 08 06 0004 0001 0002", REQUEST), ("08 00", REQUEST),
        ("08 0004 00", REQUEST), ("2B", REQUEST), ("2B 0E 01", REQUEST), ("5A 00", REQUEST),
        ("01 04 CD6B05", RESPONSE), ("03 03 022B00", RESPONSE), ("03", RESPONSE), ("18 0006 0003 01B8 1284", RESPONSE),
        ("14 0C 05 06 0DFE 0020 06 06 33CD 0040", RESPONSE), ("11", RESPONSE), ("0C 02 0000", RESPONSE),
        ("2B 0E 01 01 00 00 03 00 03 414243", RESPONSE), ("2B 0E 01 01 00 00 01 00 09 414243", RESPONSE),
        ("83", RESPONSE), ("83 0200", RESPONSE), ("5A 00", RESPONSE), ("0B FFFF", RESPONSE),
    ],
)  # fmt: skip
def test_counts_and_lengths_that_lie_are_marked(pdu, kind):
    assert Anomaly.LENGTH in anomalies(adu(pdu), kind)


@pytest.mark.parametrize("pdu", ["2A 00", "41 00", "7F", "00", "08 0005 0000", "2B 0C", "5A 00 F0"])
def test_codes_that_nobody_defines_are_marked_and_kept(pdu):
    record = read(adu(pdu), REQUEST)
    assert Anomaly.UNKNOWN_FUNCTION in Anomaly(int(record["anomalies"]))
    assert record["function"] == int(pdu[:2], 16)


def test_a_header_whose_length_disagrees_is_marked():
    assert Anomaly.LENGTH in anomalies(adu("03 006B 0003", length=9))


def test_more_in_a_fifo_queue_than_it_may_hold_is_marked():
    queue = b"\x18" + struct.pack(">HH", 66, 32) + bytes(64)
    assert anomalies(adu(queue), RESPONSE) == Anomaly.ILLEGAL


FUNCTION_CODES = st.sampled_from([*t.FUNCTIONS, *(code | 0x80 for code in t.FUNCTIONS)]) | st.integers(0, 255)
ANY_ADU = st.builds(
    lambda function, body, unit, lie: adu(bytes([function]) + body, unit=unit, length=lie),
    FUNCTION_CODES,
    st.binary(max_size=40),
    st.integers(0, 255),
    st.none() | st.integers(0, 0xFFFF),
)


@given(data=ANY_ADU | st.binary(max_size=30), kind=st.sampled_from([REQUEST, RESPONSE]))
@settings(max_examples=800, deadline=None)
def test_compiled_and_plain_reading_agree_on_any_bytes(plain, data, kind):
    assert frame(data) == frame(data, plain)
    compiled, readable = read(data, kind), read(data, kind, plain)
    assert compiled.tolist() == readable.tolist()


# --- full depth -------------------------------------------------------------------------------------------------------


def explain(pdu: str | bytes, kind: Kind = REQUEST, request: str | None = None) -> dict:
    """The fields of a PDU behind the usual header, without those of the header."""
    fields = modbus.explain(adu(pdu), kind, None if request is None else adu(request))
    assert fields.pop("modbus.transaction_id") == 0x1501
    assert fields.pop("modbus.unit_id") == 17
    function = fields.pop("modbus.function_code")
    assert function == (int(pdu[:2], 16) if isinstance(pdu, str) else pdu[0]) & 0x7F
    return {name.removeprefix("modbus."): value for name, value in fields.items()}


@pytest.mark.parametrize("code", range(128))
def test_every_function_code_has_one_name_and_one_verb(code):
    fields = modbus.explain(adu(bytes([code])), REQUEST)
    assert fields["modbus.function_code"] == code
    assert fields["modbus.function"] == t.function_name(code)
    assert fields["event.action"] == t.verb(code, None).value
    if code not in t.FUNCTIONS:
        assert t.verb(code, None) == Verb.UNKNOWN


@pytest.mark.parametrize(
    ("pdu", "action"),
    [
        ("01 0000 0001", "read"), ("03 0000 0001", "read"), ("18 0000", "read"),
        ("05 0000 FF00", "write"), ("06 0000 0001", "write"), ("16 0000 0000 0000", "write"),
        ("17 0000 0001 0000 0001 02 0000", "write"), ("07", "diagnose"), ("0B", "diagnose"), ("11", "identify"),
        ("2B 0E 01 00", "identify"), ("2B 0D", "configure"), ("14 00", "file"), ("15 00", "file"),
        ("08 0000 1234", "diagnose"), ("08 0001 0000", "restart"), ("08 0004 0000", "silence"),
        ("5A 00 10", "session"), ("5A 00 31", "program-down"), ("5A 00 34", "program-up"), ("5A 00 40", "start"),
        ("5A 00 41", "stop"), ("5A 00 23", "write"), ("5A 00 F0", "unknown"), ("2A", "unknown"),
    ],
)  # fmt: skip
def test_dangerous_and_ordinary_operations_have_their_verbs(pdu, action):
    assert explain(pdu)["event.action"] == action


def test_read_request_and_answer():
    assert explain("01 0013 0013") == {
        "function": "read_coils", "address": 19, "quantity": 19, "event.action": "read",
    }  # fmt: skip
    bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1]
    answer = {"function": "read_coils", "byte_count": 3, "event.action": "read"}
    assert explain("01 03 CD6B05", RESPONSE) == {**answer, "values": [*bits, 0, 0, 0, 0, 0]}
    assert explain("01 03 CD6B05", RESPONSE, "01 0013 0013") == {
        **answer, "values": bits, "request.address": 19, "request.quantity": 19,
    }  # fmt: skip
    assert explain("03 06 022B 0000 0064", RESPONSE, "03 006B 0003") == {
        "function": "read_holding_registers", "byte_count": 6, "values": [555, 0, 100], "request.address": 107,
        "request.quantity": 3, "event.action": "read",
    }  # fmt: skip


def test_a_request_of_another_function_explains_nothing():
    assert "request.address" not in explain("03 02 0001", RESPONSE, "04 006B 0001")
    assert "request.address" not in explain("03 02 0001", RESPONSE, "03")


def test_writes_and_their_echoes():
    coil = {"function": "write_single_coil", "address": 0xAC, "event.action": "write"}
    assert explain("05 00AC FF00") == explain("05 00AC FF00", RESPONSE) == {**coil, "values": [1]}
    assert explain("05 00AC 0000") == {**coil, "values": [0]}
    assert explain("05 00AC 1234") == {**coil, "values": [0x1234], "anomalies": ["illegal"]}
    assert explain("06 0001 0003") == {
        "function": "write_single_register", "address": 1, "values": [3], "event.action": "write",
    }  # fmt: skip
    several = {"function": "write_multiple_coils", "address": 19, "quantity": 10, "event.action": "write"}
    assert explain("0F 0013 000A 02 CD01") == {**several, "byte_count": 2, "values": [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]}
    assert explain("0F 0013 000A", RESPONSE) == several
    assert explain("10 0001 0002 04 000A 0102") == {
        "function": "write_multiple_registers", "address": 1, "quantity": 2, "byte_count": 4, "values": [10, 258],
        "event.action": "write",
    }  # fmt: skip
    assert explain("16 0004 00F2 0025") == {
        "function": "mask_write_register", "address": 4, "and_mask": 0xF2, "or_mask": 0x25, "event.action": "write",
    }  # fmt: skip


def test_read_write_registers():
    common = {"function": "read_write_multiple_registers", "event.action": "write"}
    request = "17 0003 0006 000E 0003 06 00FF 00FE 00FD"
    assert explain(request) == {
        **common, "read.address": 3, "read.quantity": 6, "write.address": 14, "write.quantity": 3, "byte_count": 6,
        "values": [0xFF, 0xFE, 0xFD],
    }  # fmt: skip
    assert explain("17 04 00FE 0ACD", RESPONSE, request) == {
        **common, "byte_count": 4, "values": [0xFE, 0xACD], "request.address": 3, "request.quantity": 6,
    }  # fmt: skip


def test_files_and_queues():
    assert explain("14 0E 06 0004 0001 0002 06 0003 0009 0002") == {
        "function": "read_file_record", "byte_count": 14, "file.numbers": [4, 3], "file.records": [1, 9],
        "file.lengths": [2, 2], "event.action": "file",
    }  # fmt: skip
    assert explain("14 0C 05 06 0DFE 0020 05 06 33CD 0040", RESPONSE)["values"] == [0xDFE, 0x20, 0x33CD, 0x40]
    written = explain("15 0D 06 0004 0007 0003 06AF 04BE 100D")
    assert (written["file.numbers"], written["file.records"], written["file.lengths"]) == ([4], [7], [3])
    assert written["values"] == [0x6AF, 0x4BE, 0x100D]
    assert explain("18 0006 0002 01B8 1284", RESPONSE, "18 04DE") == {
        "function": "read_fifo_queue", "byte_count": 6, "fifo.count": 2, "values": [440, 4740],
        "request.address": 1246, "event.action": "read",
    }  # fmt: skip


def test_diagnostics_and_counters():
    assert explain("08 0004 0000") == {
        "function": "diagnostics", "subfunction_code": 4, "subfunction": "force_listen_only_mode", "data": "0000",
        "event.action": "silence",
    }  # fmt: skip
    assert explain("08 000D 0107", RESPONSE) == {
        "function": "diagnostics", "subfunction_code": 13, "subfunction": "return_bus_exception_error_count",
        "data": "0107", "diagnostic_counter": 0x107, "event.action": "diagnose",
    }  # fmt: skip
    assert explain("07 6D", RESPONSE)["exception_status"] == 0x6D
    counter = explain("0B FFFF 0108", RESPONSE)
    assert (counter["comm.status"], counter["comm.events"]) == (0xFFFF, 264)
    log = explain("0C 0A 0000 0108 0121 20 00 04 E0", RESPONSE)
    assert (log["comm.status"], log["comm.events"], log["comm.messages"]) == (0, 264, 289)
    assert log["comm.log"] == [
        "undefined 0x20", "communication_restart", "entered_listen_only_mode", "received in_listen_only_mode broadcast",
    ]  # fmt: skip
    assert t.comm_event(0x43) == "sent read_exception abort_exception"


def test_every_diagnostic_of_the_standard_has_its_name():
    for code, name in t.DIAGNOSTIC_NAMES.items():
        assert explain(f"08 {code:04X} 0000")["subfunction"] == name
    assert explain("08 0013 0000")["subfunction"] == "undefined"
    assert len(t.DIAGNOSTIC_NAMES) == 15


def test_server_identification():
    assert explain("11 12 00FF 57696E6770617468204C696D69746564", RESPONSE) == {
        "function": "report_server_id", "byte_count": 18, "server_id.data": "00ff57696e6770617468204c696d69746564",
        "server_id.text": "\\x00\\xffWingpath Limited", "server_id.running": True, "event.action": "identify",
    }  # fmt: skip
    assert explain("11 02 0900", RESPONSE)["server_id.running"] is False
    assert explain("11 04 414243FF", RESPONSE)["server_id.running"] is True
    assert "server_id.running" not in explain("11 03 414243", RESPONSE)


def test_device_identification_names_its_objects():
    request = explain("2B 0E 04 05")
    assert (request["subfunction"], request["device_id.category"], request["device_id.from_object"]) == (
        "read_device_identification", "individual", 5,
    )  # fmt: skip
    objects = [b"Vendor", b"Code", b"V1", b"http://v", b"Product", b"Model", b"App"]
    listed = b"".join(bytes([i, len(value)]) + value for i, value in enumerate(objects)) + b"\x80\x02hi"
    response = explain(bytes([0x2B, 14, 2, 0x82, 0xFF, 0x81, 8]) + listed, RESPONSE)
    assert {name: value for name, value in response.items() if name.startswith("device_id.")} == {
        "device_id.code": 2, "device_id.category": "regular", "device_id.conformity": 0x82,
        "device_id.more_follows": True, "device_id.next_object": 0x81, "device_id.vendor_name": "Vendor",
        "device_id.product_code": "Code", "device_id.major_minor_revision": "V1", "device_id.vendor_url": "http://v",
        "device_id.product_name": "Product", "device_id.model_name": "Model",
        "device_id.user_application_name": "App", "device_id.others": ["0x80=hi"],
    }  # fmt: skip


def test_hostile_strings_from_a_device_become_printable_text():
    evil = "\x1b[31m\r\n<script>\u202e工".encode() + b"\xff\x00"
    fields = explain(bytes([0x2B, 14, 1, 1, 0, 0, 1, 0, len(evil)]) + evil, RESPONSE)
    assert fields["device_id.vendor_name"] == "\\x1b[31m\\r\\n<script>\\u202e工\\xff"


def test_umas_names_say_between_whom_the_program_moves():
    assert explain("5A 07 31 0001") == {
        "function": "umas", "umas.session": 7, "subfunction_code": 0x31,
        "subfunction": "program_block_to_controller", "data": "0001", "event.action": "program-down",
    }  # fmt: skip
    assert explain("5A 07 FE 0102", RESPONSE, "5A 07 34 0001") == {
        "function": "umas", "umas.session": 7, "umas.status": 0xFE, "request.subfunction_code": 0x34,
        "request.subfunction": "program_block_from_controller", "data": "0102", "event.action": "program-up",
    }  # fmt: skip
    refused = explain("5A 07 FD 83 80", RESPONSE)
    assert (refused["umas.status"], refused["umas.error_code"], refused["event.action"]) == (0xFD, 0x83, "unknown")


@pytest.mark.parametrize(("code", "name"), t.EXCEPTIONS.items())
def test_exceptions_are_named_and_say_what_was_asked(code, name):
    assert explain(bytes([0x84, code]), RESPONSE, "04 1000 0002") == {
        "function": "read_input_registers", "exception_code": code, "exception": name, "request.address": 0x1000,
        "request.quantity": 2, "event.action": "read",
    }  # fmt: skip


def test_a_refused_diagnostic_keeps_the_verb_of_what_was_asked():
    fields = explain("88 0B", RESPONSE, "08 0004 0000")
    assert fields["exception"] == "gateway_target_device_failed_to_respond"
    assert (fields["request.subfunction"], fields["event.action"]) == ("force_listen_only_mode", "silence")


TYPES = {"long": int, "keyword": str, "boolean": bool}


@given(
    data=ANY_ADU | st.binary(max_size=30),
    kind=st.sampled_from(Kind),
    request=st.none() | ANY_ADU | st.binary(max_size=9),
)
@settings(max_examples=800, deadline=None)
@example(data=adu("2B 0E 01 01 00 00 FF 00 FF"), kind=RESPONSE, request=None)
def test_explaining_any_bytes_never_raises_and_gives_fields_of_the_schema(data, kind, request):
    fields = modbus.explain(data, kind, request)
    json.dumps(fields)
    for name, value in fields.items():
        field = FIELDS[name]
        for item in value if field.many else [value]:
            assert type(item) is TYPES[field.type]
            assert field.type != "keyword" or item.isprintable()
    record = read(data, REQUEST if kind == REQUEST else RESPONSE)
    assert Anomaly(int(record["anomalies"])) == sum(
        (Anomaly[name.upper()] for name in fields.get("anomalies", ())), Anomaly(0)
    )
    if "modbus.exception_code" in fields and kind != REQUEST:
        assert (record["refused"], record["status"]) == (1, fields["modbus.exception_code"])
    if "modbus.function_code" in fields:
        assert fields["modbus.function_code"] == record["function"]
    if "modbus.address" in fields and record["object"] != ABSENT:
        assert fields["modbus.address"] == record["object"]
    if "modbus.quantity" in fields and record["quantity"] != ABSENT:
        assert fields["modbus.quantity"] == record["quantity"]
    if fields.get("modbus.values") and record["value"] != NO_VALUE:
        assert fields["modbus.values"][0] == record["value"]


def test_every_field_of_the_schema_is_given_by_some_pdu():
    """So that the schema lists nothing that never comes."""
    seen = set()
    for request, _, response, _ in EXAMPLES.values():
        seen |= modbus.explain(adu(request), REQUEST).keys()
        if response is not None:
            seen |= modbus.explain(adu(response), RESPONSE, adu(request)).keys()
    listed = b"".join(bytes([i, 1, 65]) for i in (*range(7), 0x80))
    seen |= modbus.explain(adu(bytes([0x2B, 14, 2, 0x82, 0xFF, 0x81, 8]) + listed), RESPONSE).keys()
    seen |= modbus.explain(adu("5A 00 FD 83"), RESPONSE).keys() | modbus.explain(adu("83 02"), RESPONSE).keys()
    seen |= modbus_rtu.explain(bytes.fromhex("0207 4112"), REQUEST).keys()
    assert {field.name for field in MODBUS} - seen == set()

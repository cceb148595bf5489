"""Modbus PDUs at full depth: function code and data as fields, whatever frames them (MBAP in modbus.py, RTU in
modbus_rtu.py).

Sources: see modbus.py. Not decoded: what UMAS carries behind its sub-code, the contents of CANopen general references
(43/13), and what a server's identification (17) says beside its run indicator: each is given as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.protocols import modbus_tables as t
from sensor.protocols.modbus_pdu import read_pdu
from sensor.records import as_octets
from sensor.text import wire_text

Fields = dict[str, Any]

_CLEARED = np.zeros(1, dtype=PDU)
clear(_CLEARED[0])

_BITS = (t.READ_COILS, t.READ_DISCRETE_INPUTS)
_REGISTERS = (t.READ_HOLDING_REGISTERS, t.READ_INPUT_REGISTERS)


def explain_pdu(fields: Fields, pdu: bytes, kind: Kind, request: bytes | None) -> Fields:
    """`fields` and every field of one PDU, named as in sensor/schema.py.

    pdu: from the function code, at least one byte. kind: whether it was sent to the server or by it. request: the PDU
    that a response answers, where it is known: it tells the address of what was read. Never raises.
    """
    kind = Kind.REQUEST if kind == Kind.REQUEST else Kind.RESPONSE
    code, body = pdu[0], pdu[1:]
    function = code & 0x7F
    asked = request[1:] if kind == Kind.RESPONSE and request and request[0] == function else None
    fields["modbus.function_code"] = function
    fields["modbus.function"] = t.function_name(function)
    if code & 0x80:
        _explain_exception(fields, body)
        _explain_asked(fields, function, asked)
    else:
        _EXPLAINERS.get(function, _explain_unknown)(fields, body, kind, function, asked)
    subfunction = fields.get("modbus.subfunction_code", fields.get("modbus.request.subfunction_code"))
    fields["event.action"] = t.verb(function, subfunction).value
    anomalies = _anomalies(pdu, kind)
    if anomalies:
        fields["anomalies"] = anomalies
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _anomalies(pdu: bytes, kind: Kind) -> list[str]:
    """What is wrong with a PDU, as the compiled reading finds it."""
    record = _CLEARED[0].copy()
    buffer = as_octets(pdu)
    read_pdu(buffer, 0, len(buffer), int(kind), np.uint64(0), record)
    return [str(anomaly.name).lower() for anomaly in Anomaly(int(record["anomalies"]))]


def _u16(data: bytes, at: int) -> int | None:
    """Big-endian 16-bit number, None where the bytes end before it."""
    return int.from_bytes(data[at : at + 2], "big") if at + 2 <= len(data) else None


def _byte(data: bytes, at: int) -> int | None:
    return data[at] if at < len(data) else None


def _registers(data: bytes) -> list[int]:
    """All whole registers in `data`."""
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data) - 1, 2)]


def _bits(data: bytes, quantity: int | None) -> list[int]:
    """The first `quantity` bits in `data`, lowest bit of each byte first (MAP 6.1); all, where that is not known."""
    bits = [byte >> i & 1 for byte in data for i in range(8)]
    return bits if quantity is None else bits[:quantity]


def _counted(body: bytes) -> bytes:
    """What follows a byte count, as far as it is there."""
    return body[1 : 1 + body[0]] if body else b""


def _explain_asked(fields: Fields, function: int, asked: bytes | None) -> None:
    """What the request said and its answer does not repeat."""
    if asked is None:
        return
    if function in t.MAX_QUANTITY or function in (t.WRITE_SINGLE_COIL, t.WRITE_SINGLE_REGISTER, t.MASK_WRITE_REGISTER):
        fields["modbus.request.address"] = _u16(asked, 0)
    if function in t.MAX_QUANTITY:
        fields["modbus.request.quantity"] = _u16(asked, 2)
    if function in t.SUBFUNCTION_NAMES:
        subfunction = _subfunction(asked, function)
        fields["modbus.request.subfunction_code"] = subfunction
        fields["modbus.request.subfunction"] = _subfunction_name(function, subfunction)


def _subfunction(body: bytes, function: int) -> int | None:
    """The finer code of a request."""
    if function == t.DIAGNOSTICS:
        return _u16(body, 0)
    return _byte(body, 1 if function == t.UMAS else 0)


def _subfunction_name(function: int, subfunction: int | None) -> str | None:
    return None if subfunction is None else t.SUBFUNCTION_NAMES[function].get(subfunction, "undefined")


def _explain_exception(fields: Fields, body: bytes) -> None:
    code = _byte(body, 0)
    fields["modbus.exception_code"] = code
    fields["modbus.exception"] = None if code is None else t.EXCEPTIONS.get(code, "undefined")


def _explain_unknown(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    fields["modbus.data"] = body.hex()


def _explain_read(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.REQUEST:
        fields["modbus.address"], fields["modbus.quantity"] = _u16(body, 0), _u16(body, 2)
        return
    _explain_asked(fields, function, asked)
    fields["modbus.byte_count"] = _byte(body, 0)
    data = _counted(body)
    if function in _BITS:
        fields["modbus.values"] = _bits(data, fields.get("modbus.request.quantity"))
    else:
        fields["modbus.values"] = _registers(data)


def _explain_single(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    fields["modbus.address"] = _u16(body, 0)
    value = _u16(body, 2)
    if function == t.WRITE_SINGLE_COIL and value == 0xFF00:
        value = 1
    fields["modbus.values"] = [] if value is None else [value]


def _explain_multiple(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    fields["modbus.address"], fields["modbus.quantity"] = _u16(body, 0), _u16(body, 2)
    if kind == Kind.REQUEST:
        fields["modbus.byte_count"] = _byte(body, 4)
        data = _counted(body[4:])
        coils = function == t.WRITE_MULTIPLE_COILS
        fields["modbus.values"] = _bits(data, fields["modbus.quantity"]) if coils else _registers(data)


def _explain_mask_write(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    fields["modbus.address"] = _u16(body, 0)
    fields["modbus.and_mask"], fields["modbus.or_mask"] = _u16(body, 2), _u16(body, 4)


def _explain_read_write(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.REQUEST:
        fields["modbus.read.address"], fields["modbus.read.quantity"] = _u16(body, 0), _u16(body, 2)
        fields["modbus.write.address"], fields["modbus.write.quantity"] = _u16(body, 4), _u16(body, 6)
        body = body[8:]
    else:
        _explain_asked(fields, function, asked)
    fields["modbus.byte_count"] = _byte(body, 0)
    fields["modbus.values"] = _registers(_counted(body))


def _explain_fifo(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.REQUEST:
        fields["modbus.address"] = _u16(body, 0)
        return
    fields["modbus.byte_count"], fields["modbus.fifo.count"] = _u16(body, 0), _u16(body, 2)
    fields["modbus.values"] = _registers(body[4:])[: fields["modbus.fifo.count"] or 0]
    if asked is not None:
        fields["modbus.request.address"] = _u16(asked, 0)


def _explain_files(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    numbers: list[int] = []
    records: list[int] = []
    lengths: list[int] = []
    values: list[int] = []
    fields["modbus.byte_count"] = _byte(body, 0)
    at = 1
    if function == t.READ_FILE_RECORD and kind == Kind.RESPONSE:
        while at < len(body) and body[at] >= 1:
            values += _registers(body[at + 2 : at + 1 + body[at]])
            at += 1 + body[at]
    else:
        while at + 7 <= len(body):
            number, record, length = _registers(body[at + 1 : at + 7])
            numbers.append(number)
            records.append(record)
            lengths.append(length)
            at += 7
            if function == t.WRITE_FILE_RECORD:
                values += _registers(body[at : at + 2 * length])
                at += 2 * length
    fields["modbus.file.numbers"], fields["modbus.file.records"] = numbers, records
    fields["modbus.file.lengths"], fields["modbus.values"] = lengths, values


def _explain_exception_status(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.RESPONSE:
        fields["modbus.exception_status"] = _byte(body, 0)


def _explain_event_counter(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.RESPONSE:
        fields["modbus.comm.status"], fields["modbus.comm.events"] = _u16(body, 0), _u16(body, 2)


def _explain_event_log(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.REQUEST:
        return
    fields["modbus.byte_count"] = _byte(body, 0)
    log = _counted(body)
    fields["modbus.comm.status"], fields["modbus.comm.events"] = _u16(log, 0), _u16(log, 2)
    fields["modbus.comm.messages"] = _u16(log, 4)
    fields["modbus.comm.log"] = [t.comm_event(event) for event in log[6:]]


def _explain_server_id(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    if kind == Kind.REQUEST:
        return
    fields["modbus.byte_count"] = _byte(body, 0)
    data = _counted(body)
    fields["modbus.server_id.data"] = data.hex()
    fields["modbus.server_id.text"] = wire_text(data) or None
    # MAP 6.13 leaves the length of the id to the device. Nearly all have one byte, and then the run indicator follows;
    # some have a text, with the run indicator at its end.
    for indicator in (data[1:2], data[-1:]):
        if indicator in (b"\x00", b"\xff"):
            fields["modbus.server_id.running"] = indicator == b"\xff"
            break


def _explain_diagnostics(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    subfunction = _u16(body, 0)
    fields["modbus.subfunction_code"] = subfunction
    fields["modbus.subfunction"] = _subfunction_name(function, subfunction)
    fields["modbus.data"] = body[2:].hex() or None
    if kind == Kind.RESPONSE and subfunction in t.DIAGNOSTIC_COUNTERS:
        fields["modbus.diagnostic_counter"] = _u16(body, 2)


def _explain_encapsulated(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    mei = _byte(body, 0)
    fields["modbus.subfunction_code"] = mei
    fields["modbus.subfunction"] = _subfunction_name(function, mei)
    if mei != t.DEVICE_IDENTIFICATION:
        fields["modbus.data"] = body[1:].hex() or None
        return
    category = _byte(body, 1)
    fields["modbus.device_id.code"] = category
    fields["modbus.device_id.category"] = None if category is None else t.DEVICE_ID_CODES.get(category, "undefined")
    if kind == Kind.REQUEST:
        fields["modbus.device_id.from_object"] = _byte(body, 2)
        return
    fields["modbus.device_id.conformity"] = _byte(body, 2)
    if len(body) > 3:
        fields["modbus.device_id.more_follows"] = body[3] != 0
    fields["modbus.device_id.next_object"] = _byte(body, 4)
    others: list[str] = []
    at = 6
    for _ in range(body[5] if len(body) > 5 else 0):
        if at + 2 > len(body):
            break
        number, text = body[at], wire_text(body[at + 2 : at + 2 + body[at + 1]])
        if number in t.DEVICE_OBJECTS:
            fields[f"modbus.device_id.{t.DEVICE_OBJECTS[number]}"] = text
        else:
            others.append(f"0x{number:02x}={text}")
        at += 2 + body[at + 1]
    fields["modbus.device_id.others"] = others


def _explain_umas(fields: Fields, body: bytes, kind: Kind, function: int, asked: bytes | None) -> None:
    fields["modbus.umas.session"] = _byte(body, 0)
    if kind == Kind.REQUEST:
        subfunction = _byte(body, 1)
        fields["modbus.subfunction_code"] = subfunction
        fields["modbus.subfunction"] = _subfunction_name(function, subfunction)
    else:
        _explain_asked(fields, function, asked)
        fields["modbus.umas.status"] = _byte(body, 1)
        if fields["modbus.umas.status"] == t.UMAS_ERROR:
            fields["modbus.umas.error_code"] = _byte(body, 2)
    fields["modbus.data"] = body[2:].hex() or None


_EXPLAINERS: dict[int, Callable[[Fields, bytes, Kind, int, bytes | None], None]] = {
    **dict.fromkeys((*_BITS, *_REGISTERS), _explain_read),
    t.WRITE_SINGLE_COIL: _explain_single,
    t.WRITE_SINGLE_REGISTER: _explain_single,
    t.READ_EXCEPTION_STATUS: _explain_exception_status,
    t.DIAGNOSTICS: _explain_diagnostics,
    t.GET_COMM_EVENT_COUNTER: _explain_event_counter,
    t.GET_COMM_EVENT_LOG: _explain_event_log,
    t.WRITE_MULTIPLE_COILS: _explain_multiple,
    t.WRITE_MULTIPLE_REGISTERS: _explain_multiple,
    t.REPORT_SERVER_ID: _explain_server_id,
    t.READ_FILE_RECORD: _explain_files,
    t.WRITE_FILE_RECORD: _explain_files,
    t.MASK_WRITE_REGISTER: _explain_mask_write,
    t.READ_WRITE_REGISTERS: _explain_read_write,
    t.READ_FIFO_QUEUE: _explain_fifo,
    t.ENCAPSULATED_INTERFACE: _explain_encapsulated,
    t.UMAS: _explain_umas,
}

"""What an exchange is called and which objects it touches, out of a behaviour's described fields, for each protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from detectors.baseline.extents import Extent, named
from detectors.wording import safe
from sensor.decode.pdu import Protocol

Fields = Mapping[str, Any]

# Fields that name a function, the first that is there.
_FUNCTIONS: Mapping[Protocol, tuple[str, ...]] = {
    Protocol.MODBUS: ("modbus.function",),
    Protocol.S7COMM: ("s7comm.function_name", "s7comm.userdata.subfunction_name", "s7comm.userdata.group_name"),
    Protocol.DNP3: ("dnp3.function", "dnp3.link.function"),
    Protocol.IEC104: ("iec104.type_name", "iec104.control", "iec104.format"),
    Protocol.ENIP: ("cip.pccc.name", "cip.service_name", "enip.command_name"),
    Protocol.OPCUA: ("opcua.service", "opcua.message"),
    Protocol.BACNET: ("bacnet.service_name", "bacnet.network_message_name", "bacnet.bvlc_function_name"),
    Protocol.MMS: ("mms.service", "mms.pdu", "mms.acse", "mms.session"),
    Protocol.GOOSE: ("event.action",),
    Protocol.S7COMM_PLUS: ("s7comm_plus.function_name", "s7comm_plus.opcode_name"),
}
# What tells two exchanges with the same function apart, for people.
_FINER = ("modbus.subfunction", "iec104.cause", "mms.purpose", "s7comm.service")

_S7_ITEM = re.compile(r"(?:(DB\d+|DI\d+)\.(?:DBX|DIX)|([A-Z]{1,3})) (\d{1,8})(?:\.([0-7]))? ([A-Z_]+) (\d{1,6})")
# Bits of one element of each S7 transport size (Wireshark packet-s7comm.c and Siemens' own notation agree on them).
_S7_BITS = {"BIT": 1, "BYTE": 8, "CHAR": 8, "WORD": 16, "INT": 16, "DATE": 16, "DWORD": 32, "DINT": 32, "REAL": 32,
            "TOD": 32, "TIME": 32, "S5TIME": 16, "DATE_AND_TIME": 64}  # fmt: skip
_DNP3_HEADER = re.compile(r"(g\d+v\d+)[^,]*(?:,.*?points (\d+) to (\d+))?.*", re.DOTALL)
_DNP3_POINT = re.compile(r"(g\d+v\d+) point (\d+)\b.*", re.DOTALL)


def function_of(protocol: Protocol, fields: Fields) -> str:
    """The function by name, for people: "read_holding_registers", "C_SC_NA_1 activation"."""
    name = next((str(fields[key]) for key in _FUNCTIONS.get(protocol, ()) if fields.get(key)), "")
    finer = [str(fields[key]) for key in _FINER if fields.get(key)]
    return safe(" ".join([name, *finer]).strip() or str(fields.get("event.action", "unknown")), 80)


def extents_of(protocol: Protocol, fields: Fields) -> Iterator[Extent]:
    """The objects that a request touches; none where it touches none, or where they cannot be told."""
    read = _READERS.get(protocol)
    if read:
        yield from read(fields)


def _span(space: str, first: Any, count: Any) -> Iterator[Extent]:
    if isinstance(first, int) and first >= 0:
        yield Extent(space, first, first + max(count if isinstance(count, int) else 1, 1) - 1)


def _modbus(fields: Fields) -> Iterator[Extent]:
    yield from _span("", fields.get("modbus.address"), fields.get("modbus.quantity", 1))
    for way in ("read", "write"):
        yield from _span(way, fields.get(f"modbus.{way}.address"), fields.get(f"modbus.{way}.quantity"))
    for number in fields.get("modbus.file.numbers", ()):
        yield named(f"file {number}")


def _s7comm(fields: Fields) -> Iterator[Extent]:
    for item in fields.get("s7comm.items", ()):
        match = _S7_ITEM.fullmatch(str(item))
        if not match:
            yield named(str(item))
            continue
        block, area, octet, bit, size, count = match.groups()
        if bit is None:  # timers and counters are numbered
            yield Extent(block or area, int(octet), int(octet) + max(int(count), 1) - 1)
            continue
        first = 8 * int(octet) + int(bit)
        yield Extent(block or area, first, first + _S7_BITS.get(size, 8) * max(int(count), 1) - 1, bits=True)
    yield from _names(fields, "s7comm.szl.id", "s7comm.block", "s7comm.blocks")


def _dnp3(fields: Fields) -> Iterator[Extent]:
    points = set()
    for point in fields.get("dnp3.points", ()):
        if match := _DNP3_POINT.fullmatch(str(point)):
            points.add(match[1])
            yield Extent(match[1], int(match[2]), int(match[2]))
    for header in fields.get("dnp3.object_headers", ()):
        match = _DNP3_HEADER.fullmatch(str(header))
        if match and match[2] is not None:
            yield Extent(match[1], int(match[2]), int(match[3]))
        elif match and match[1] not in points:
            yield Extent(match[1])
    yield from _names(fields, "dnp3.file.name")


def _iec104(fields: Fields) -> Iterator[Extent]:
    for address in fields.get("iec104.addresses", ()):
        yield Extent("", int(address), int(address))


def _bacnet(fields: Fields) -> Iterator[Extent]:
    objects = fields.get("bacnet.objects") or [it for it in (fields.get("bacnet.object"),) if it]
    property_name = fields.get("bacnet.property_name")
    for it in objects:
        yield named(f"{it} {property_name}" if property_name and len(objects) == 1 else str(it))


def _names(fields: Fields, *keys: str) -> Iterator[Extent]:
    for key in keys:
        got = fields.get(key)
        for value in got if isinstance(got, (list, tuple)) else [got]:
            if value is not None:
                yield named(str(value))


_READERS: Mapping[Protocol, Callable[[Fields], Iterator[Extent]]] = {
    Protocol.MODBUS: _modbus,
    Protocol.S7COMM: _s7comm,
    Protocol.DNP3: _dnp3,
    Protocol.IEC104: _iec104,
    Protocol.ENIP: lambda fields: _names(fields, "cip.tag", "cip.targets"),
    Protocol.OPCUA: lambda fields: _names(fields, "opcua.nodes", "opcua.methods"),
    Protocol.BACNET: _bacnet,
    Protocol.MMS: lambda fields: _names(fields, "mms.variables", "mms.variable_list", "mms.objects", "mms.file.names"),
}

"""What devices say about themselves in industrial protocols, out of answers that identify them.

Modbus 17, 43/14 and UMAS, S7 status lists 0x11 and 0x1C, the CIP identity object and ListIdentity, BACnet I-Am and
device properties, MMS identify, OPC UA sessions, endpoints and BuildInfo, DNP3 device attributes (g0), GOOSE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.assets.asset import Claim, short
from sensor.decode.pdu import Kind, Outcome, Protocol

Fields = Mapping[str, Any]

LIST_IDENTITY, CREATE_SESSION, MOST_FUNCTION = 99, 461, 256
# Answers and reports that may identify: (protocol, function, sub-function), None for any.
CODES: tuple[tuple[Protocol, int | None, int | None], ...] = (
    (Protocol.MODBUS, 17, None),
    (Protocol.MODBUS, 43, 14),
    (Protocol.MODBUS, 90, 2),
    (Protocol.MODBUS_RTU, 17, None),
    (Protocol.MODBUS_RTU, 43, 14),
    (Protocol.S7COMM, -1, 0x0401),  # read_szl
    (Protocol.ENIP, LIST_IDENTITY, None),
    (Protocol.ENIP, 111, 1),  # Get_Attributes_All, Get_Attribute_List, Get_Attribute_Single, unconnected or connected
    (Protocol.ENIP, 111, 3),
    (Protocol.ENIP, 111, 14),
    (Protocol.ENIP, 112, 1),
    (Protocol.ENIP, 112, 3),
    (Protocol.ENIP, 112, 14),
    (Protocol.BACNET, 1, 0),  # I-Am
    (Protocol.BACNET, 0, 12),  # readProperty, readPropertyMultiple
    (Protocol.BACNET, 0, 14),
    (Protocol.MMS, 0, 2),
    (Protocol.OPCUA, None, CREATE_SESSION),  # then GetEndpoints, FindServers, Read
    (Protocol.OPCUA, None, 428),
    (Protocol.OPCUA, None, 422),
    (Protocol.OPCUA, None, 631),
    (Protocol.DNP3, 1, None),
    (Protocol.GOOSE, None, None),
)
IDENTITY_CLASS = 1 << 47  # in the object column of CIP: class 1, any instance
DEVICE_ATTRIBUTES = 0  # DNP3 group
BUILD_INFO = {2261: "model", 2262: "product", 2263: "vendor", 2264: "firmware", 2265: "build"}  # OPC 10000-5, 6.3
BUILD_NAMES = {"product": "description", "build": "software"}

PLAIN: dict[str, tuple[str, str]] = {  # field: (attribute, source)
    "modbus.device_id.vendor_name": ("vendor", "modbus 43/14"),
    "modbus.device_id.product_code": ("order_number", "modbus 43/14"),
    "modbus.device_id.major_minor_revision": ("firmware", "modbus 43/14"),
    "modbus.device_id.product_name": ("model", "modbus 43/14"),
    "modbus.device_id.model_name": ("module", "modbus 43/14"),
    "modbus.device_id.user_application_name": ("application", "modbus 43/14"),
    "modbus.server_id.text": ("description", "modbus 17"),
    "s7comm.module.order_number": ("order_number", "s7comm szl"),
    "s7comm.module.firmware": ("firmware", "s7comm szl"),
    "s7comm.module.plc_name": ("name", "s7comm szl"),
    "s7comm.module.name": ("module", "s7comm szl"),
    "s7comm.module.plant": ("plant", "s7comm szl"),
    "s7comm.module.serial_number": ("serial_number", "s7comm szl"),
    "s7comm.module.type": ("model", "s7comm szl"),
    "s7comm.module.location": ("location", "s7comm szl"),
    "enip.identity.vendor": ("vendor", "cip identity"),
    "enip.identity.product_name": ("model", "cip identity"),
    "enip.identity.revision": ("firmware", "cip identity"),
    "enip.identity.serial_number": ("serial_number", "cip identity"),
    "enip.identity.device_type_name": ("kind", "cip identity"),
    "mms.vendor": ("vendor", "mms identify"),
    "mms.model": ("model", "mms identify"),
    "mms.revision": ("firmware", "mms identify"),
    "opcua.server.application_name": ("application", "opcua"),
    "opcua.server.product_uri": ("description", "opcua"),
}
CLIENT = {"opcua.client.application_name": ("application", "opcua client"),
          "opcua.client.product_uri": ("description", "opcua client")}  # fmt: skip
BACNET_PROPERTIES = {
    "object-name": "name", "model-name": "model", "vendor-name": "vendor", "firmware-revision": "firmware",
    "application-software-version": "software", "serial-number": "serial_number", "description": "description",
    "location": "location", "vendor-identifier": "vendor_id",
}  # fmt: skip
DNP3_ATTRIBUTES = {
    "device manufacturer's software version": "firmware", "device manufacturer's hardware version": "hardware",
    "user-assigned location name": "location", "user-assigned device name": "name", "user-assigned id code or number":
    "device_id", "device serial number": "serial_number", "device manufacturer's product name and model": "model",
    "device manufacturer's name": "vendor",
}  # fmt: skip
_TEXT = re.compile(rb"[\x20-\x7e]{4,64}")


def _first_look() -> npt.NDArray[np.bool_]:
    """(protocols, functions + 1): where CODES may hold, so that a flood of behaviours costs one look-up each."""
    look = np.zeros((max(Protocol) + 1, MOST_FUNCTION + 2), np.bool_)
    for protocol, function, _ in CODES:
        look[protocol, slice(None) if function is None else function + 1] = True
    return look


_LOOK = _first_look()


def candidates(table: npt.NDArray[np.void], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `rows` of the behaviour table that may identify somebody, with the right codes.

    Answers and reports, and the requests in which a client names itself: OPC UA CreateSession.
    """
    rows = rows[_LOOK[table["protocol"][rows], np.clip(table["function"][rows] + 1, 0, MOST_FUNCTION + 1)]]
    if not len(rows):
        return rows
    kind, outcome, protocol, function, subfunction, thing = (
        table[name][rows] for name in ("kind", "outcome", "protocol", "function", "subfunction", "object")
    )
    found = np.zeros(len(rows), np.bool_)
    for which, code, finer in CODES:
        hit = protocol == which
        if code is not None:
            hit &= function == code
        if finer is not None:
            hit &= subfunction == finer
        if which == Protocol.DNP3:
            hit &= (thing >= 0) & (thing >> 8 == DEVICE_ATTRIBUTES)
        elif which == Protocol.ENIP and code != LIST_IDENTITY:
            hit &= (thing >= IDENTITY_CLASS) & (thing < 2 * IDENTITY_CLASS)
        found |= hit
    says = ((kind == Kind.RESPONSE) & (outcome == Outcome.ANSWERED)) | (kind == Kind.UNSOLICITED)
    says |= (protocol == Protocol.OPCUA) & (kind == Kind.REQUEST) & (subfunction == CREATE_SESSION)
    chosen: npt.NDArray[np.int64] = rows[found & says]
    return chosen


def claims(fields: Fields, request: Fields) -> Iterator[Claim]:
    """What the sender of an answer or report says about itself. request: fields of what it answers, as far as known."""
    component = part(fields, request)
    for name, (attribute, source) in PLAIN.items():
        if value := short(fields.get(name, "")):
            yield Claim(component, attribute, value, source, name)
    protocol = fields.get("network.protocol")
    if protocol == "s7comm" and "s7comm.module.order_number" in fields and "s7comm.module.hardware" in fields:
        name = "s7comm.module.hardware"
        yield Claim(component, "hardware", short(fields[name]), "s7comm szl", name)
    elif protocol == "bacnet":
        yield from _bacnet(component, fields)
    elif protocol == "dnp3":
        for attribute in fields.get("dnp3.attributes", ()):
            name, _, value = str(attribute).partition(": ")
            if name in DNP3_ATTRIBUTES and value.strip():
                yield Claim(component, DNP3_ATTRIBUTES[name], short(value), "dnp3 g0", "dnp3.attributes")
    elif protocol == "goose" and (name := short(fields.get("goose.control_block", ""))):
        # One device publishes several: what they say does not contradict each other.
        yield Claim("", "application", name, f"goose {fields.get('goose.appid', 0):04X}", "goose.control_block")
    elif protocol == "opcua":
        yield from _build_info(fields, request)
    elif protocol == "modbus" and fields.get("modbus.function_code") == 90 and (name := _umas(fields)):
        yield Claim(component, "model", name, "modbus umas", "modbus.data")


def client_claims(request: Fields) -> Iterator[Claim]:
    """What the sender of a request says about itself."""
    for name, (attribute, source) in CLIENT.items():
        if value := short(request.get(name, "")):
            yield Claim("", attribute, value, source, name)


def part(fields: Fields, request: Fields) -> str:
    """Which part behind the address is meant: Modbus unit, CIP slot, DNP3 outstation, BACnet device behind a router."""
    if (unit := fields.get("modbus.unit_id")) is not None:
        return "" if unit in (0, 255) else f"unit {unit}"
    if (station := fields.get("dnp3.link.source")) is not None:
        return f"outstation {station}"
    if (network := fields.get("bacnet.source.network")) is not None:
        return f"network {network} address {fields.get('bacnet.source.address', '')}".strip()
    if (szl := fields.get("s7comm.szl.id")) is not None:
        # Bits 12 to 15: class of the module, 0 the CPU; 8 to 11: which extract, above 1 those of several CPUs (System
        # Software for S7-300/400, 33.1).
        return "" if szl >> 12 == 0 and szl >> 8 & 15 <= 1 else f"szl {szl:04X}"
    if fields.get("enip.command") in (111, 112):
        if route := fields.get("cip.route") or request.get("cip.route"):
            return f"cip {route}"
        # A connection may lead to any module of the rack, and does not say to which: its serial number does.
        return f"serial {serial}" if (serial := fields.get("enip.identity.serial_number")) else "cip connection"
    return ""


def _bacnet(component: str, fields: Fields) -> Iterator[Claim]:
    source = "bacnet"
    if fields.get("bacnet.service_name") == "i-Am":
        for name, attribute in (("bacnet.device_instance", "device_id"), ("bacnet.vendor_id", "vendor_id")):
            if name in fields:
                yield Claim(component, attribute, short(fields[name]), source, name)
        return
    if fields.get("bacnet.object_type") != 8 or len(fields.get("bacnet.objects", ())) > 1:
        return
    names = fields.get("bacnet.properties") or [fields.get("bacnet.property_name")]
    values = fields.get("bacnet.values", ())
    if len(names) != len(values) or fields.get("bacnet.property_count", len(names)) != len(names):
        return  # errors or arrays among them: which value belongs to which cannot be told
    for name, value in zip(names, values, strict=True):
        if name in BACNET_PROPERTIES and short(value):
            yield Claim(component, BACNET_PROPERTIES[name], short(value), source, "bacnet.values")


def _build_info(fields: Fields, request: Fields) -> Iterator[Claim]:
    nodes, values = request.get("opcua.nodes", ()), fields.get("opcua.values", ())
    if len(nodes) != len(values):
        return
    for node, value in zip(nodes, values, strict=True):
        number = str(node).removeprefix("ns=0;").removeprefix("i=")
        attribute = BUILD_INFO.get(int(number)) if number.isdecimal() else None
        if attribute and short(value):
            yield Claim("", BUILD_NAMES.get(attribute, attribute), short(value), "opcua build info", "opcua.values")


def _umas(fields: Fields) -> str:
    """The controller's type in an answer to UMAS 02: text with its length ahead. UMAS is not published."""
    data = str(fields.get("modbus.data", ""))
    try:
        raw = bytes.fromhex(data)
    except ValueError:
        return ""
    for found in _TEXT.finditer(raw):
        if found.start() and raw[found.start() - 1] == len(found.group()):
            return short(found.group().decode())
    return ""

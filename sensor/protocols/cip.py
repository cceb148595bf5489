"""Common Industrial Protocol: what the messages in EtherNet/IP ask of which object.

Sources: The CIP Networks Library, Volume 1, edition 3 (messages 2-4, objects 5, paths appendix C); Rockwell Automation
1756-PM020 (tags of Logix controllers). The compiled part stands in cip_kernel.py, paths in cip_path.py, PCCC in
pccc.py; `explain` gives the full depth.

Not decoded: attributes of objects other than the Identity object, structures of tags, safety segments, and what vendors
do not publish: these are given as hexadecimal.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from sensor.operations import Verb
from sensor.protocols import cip_path, pccc
from sensor.protocols import cip_tables as t
from sensor.text import wire_text

MAX_NESTED = 3
MAX_CONTAINED = 64  # services of a packet that are told
MAX_VALUES = 64
MAX_DATA = 512  # octets of undecoded data that are shown

Fields = dict[str, Any]


class Message(NamedTuple):
    """A request as its receiver sees it, out of any Unconnected Send. route: words of the way there."""

    service: int
    path: list[tuple[str, int | str]]
    data: bytes
    route: str | None

    def number(self, what: str) -> int | None:
        """The last class, instance, ... of the path; what names an object stands behind its class."""
        found: int | None = None
        for name, value in self.path:
            if name == "class" and what != "class":
                found = None
            elif name == what and isinstance(value, int):
                found = value
        return found

    @property
    def tag(self) -> bool:
        """Whether the path names a tag."""
        return any(name == "tag" for name, _ in self.path)

    @property
    def operation(self) -> tuple[str, Verb]:
        """Name and verb of the service."""
        return t.service(self.service, self.number("class"), tag=self.tag)


def request_of(message: bytes) -> Message | None:
    """A request out of its bytes; None where they are a response or hold none."""
    route = None
    for _ in range(MAX_NESTED):
        if len(message) < 2 or message[0] & t.RESPONSE_BIT:
            return None
        end = 2 + 2 * message[1]
        found = Message(message[0], cip_path.segments(message[2:end]), message[end:], route)
        if found.service != t.UNCONNECTED_SEND or found.number("class") != t.CONNECTION_MANAGER or len(found.data) < 6:
            break
        size = int.from_bytes(found.data[2:4], "little")
        inner, rest = found.data[4 : 4 + size], found.data[4 + size + (size & 1) :]
        if not inner or size > len(found.data) - 4:
            break
        way = cip_path.sentence(cip_path.segments(rest[2 : 2 + 2 * rest[0]])) if rest else ""
        route = f"{route} {way}" if route else way
        message = inner
    return found


def explain(message: bytes, asked: bytes | None) -> tuple[Fields, Verb]:
    """Fields and verb of one message router request or response. asked: the request that a response answers."""
    if not message:
        return {}, Verb.UNKNOWN
    if message[0] & t.RESPONSE_BIT:
        return _response(message, None if asked is None else request_of(asked))
    request = request_of(message)
    if request is None:
        return {"cip.service": message[0], "cip.service_name": t.service(message[0], None, tag=False)[0]}, Verb.UNKNOWN
    return _request(request)


def _object(request: Message) -> Fields:
    """Where a request goes."""
    class_id = request.number("class")
    tags = cip_path.sentence([(name, value) for name, value in request.path if name in ("tag", "member")])
    return {
        "cip.class": class_id,
        "cip.class_name": None if class_id is None else class_name(class_id),
        "cip.instance": request.number("instance"),
        "cip.attribute": request.number("attribute"),
        "cip.tag": tags if request.tag else None,
        "cip.path": cip_path.sentence(request.path) or None,
        "cip.route": request.route,
    }


def class_name(class_id: int) -> str:
    """Name of a class; vendors number theirs from 0x64 to 0xC7 and from 0x300 to 0x4FF."""
    vendors = 0x64 <= class_id <= 0xC7 or 0x300 <= class_id <= 0x4FF
    return t.CLASSES.get(class_id, "vendor_specific" if vendors else "undefined")


def _request(request: Message) -> tuple[Fields, Verb]:
    name, verb = request.operation
    fields: Fields = {"cip.service": request.service, "cip.service_name": name} | _object(request)
    data, class_id = request.data, request.number("class")
    is_tag = request.tag or (class_id == t.SYMBOL and request.service in t.TAG_SERVICES)
    fields["cip.targets"] = [fields["cip.path"]] if fields["cip.path"] else []
    if request.service == t.MULTIPLE_SERVICE_PACKET:
        verb = _contained(fields, data)
    elif is_tag and request.service in (t.READ_TAG, t.READ_FRAGMENTED):
        fields["cip.element_count"] = _u16(data, 0)
    elif is_tag and request.service in (t.WRITE_TAG, t.WRITE_FRAGMENTED):
        _typed(fields, data, counted=True, offset=4 if request.service == t.WRITE_FRAGMENTED else 0)
    elif request.service == t.GET_ATTRIBUTE_LIST:
        count = _u16(data, 0) or 0
        fields["cip.attributes"] = _words(data[2 : 2 + 2 * MAX_VALUES])[:count]
    elif request.service == t.SET_ATTRIBUTE_LIST:
        first = _u16(data, 2)
        fields["cip.attribute_count"] = _u16(data, 0)
        fields["cip.attributes"] = [] if first is None else [first]
        fields["cip.data"] = _hex(data[4:])
    elif class_id == t.CONNECTION_MANAGER and request.service in (t.FORWARD_OPEN, t.LARGE_FORWARD_OPEN):
        _forward_open(fields, data, large=request.service == t.LARGE_FORWARD_OPEN)
    elif class_id == t.CONNECTION_MANAGER and request.service == t.FORWARD_CLOSE and len(data) >= 12:
        _triad(fields, data[2:])
        fields["cip.connection.path"] = cip_path.sentence(cip_path.segments(data[12 : 12 + 2 * data[10]])) or None
    elif class_id == t.PCCC and request.service == t.EXECUTE_PCCC and data:
        more, verb = pccc.explain(data[data[0] :])
        fields |= more
    else:
        fields["cip.data"] = _hex(data)
    return fields, verb


def _response(message: bytes, asked: Message | None) -> tuple[Fields, Verb]:
    code = message[0] & ~t.RESPONSE_BIT
    fields: Fields = {"cip.service": code}
    name, verb = t.service(code, None, tag=False)
    if asked is not None:
        fields |= _object(asked)
        name, verb = asked.operation
        if code != asked.service:  # a router between refuses what it should have passed on
            name = t.service(code, t.CONNECTION_MANAGER, tag=False)[0]
    fields["cip.service_name"] = name
    if len(message) < 4:
        return fields, verb
    status, words = message[2], message[3]
    fields["cip.status"], fields["cip.status_name"] = status, status_name(status)
    extended = _words(message[4 : 4 + 2 * words])
    fields["cip.extended_status"] = extended
    if status == 1 and extended:
        fields["cip.extended_status_name"] = t.CONNECTION_STATUS.get(extended[0], "undefined")
    data = message[4 + 2 * words :]
    class_id = asked.number("class") if asked is not None else None
    if code == t.MULTIPLE_SERVICE_PACKET:
        _contained(fields, data)
        if asked is not None:
            verb = _contained({}, asked.data)
    elif asked is None or status not in (t.SUCCESS, t.PARTIAL_TRANSFER) or code != asked.service:
        fields["cip.data"] = _hex(data)
    elif asked.tag and code in (t.READ_TAG, t.READ_FRAGMENTED):
        _typed(fields, data, counted=False)
    elif class_id == t.IDENTITY and code == t.GET_ATTRIBUTES_ALL:
        identity(fields, data)
    elif class_id == t.CONNECTION_MANAGER and code in (t.FORWARD_OPEN, t.LARGE_FORWARD_OPEN) and len(data) >= 16:
        fields["cip.connection.o_t_id"], fields["cip.connection.t_o_id"] = struct.unpack_from("<II", data)
        _triad(fields, data[8:])
    elif class_id == t.CONNECTION_MANAGER and code == t.FORWARD_CLOSE:
        _triad(fields, data)
    elif class_id == t.PCCC and code == t.EXECUTE_PCCC and data:
        more, _ = pccc.explain(data[data[0] :])
        fields |= more
        verb = pccc.explain(asked.data[asked.data[0] :])[1] if asked.data else verb
    else:
        fields["cip.data"] = _hex(data)
    return fields, verb


def status_name(status: int) -> str:
    """Name of a general status; from 0xD0 on they belong to the object."""
    return t.GENERAL_STATUS.get(status, "object_specific" if status >= 0xD0 else "undefined")


def _contained(fields: Fields, data: bytes) -> Verb:
    """What a Multiple Service Packet holds: count, offsets from the count on, messages; gives the heaviest verb."""
    count = min(_u16(data, 0) or 0, MAX_CONTAINED)
    starts = _words(data[2 : 2 + 2 * count])
    services: list[int] = []
    names: list[str] = []
    paths: list[str] = []
    verbs: list[Verb] = []
    statuses: list[int] = []
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) and starts[index + 1] > start else len(data)
        message = data[start:end]
        if not message:
            continue
        services.append(message[0] & ~t.RESPONSE_BIT)
        if message[0] & t.RESPONSE_BIT:
            if len(message) >= 3:
                statuses.append(message[2])
            continue
        one = request_of(message)
        if one is not None:
            name, verb = one.operation
            names.append(name)
            paths.append(cip_path.sentence(one.path))
            verbs.append(verb)
    fields["cip.contained.count"] = _u16(data, 0)
    fields["cip.contained.services"] = services
    fields["cip.contained.names"] = names
    fields["cip.contained.paths"] = paths
    fields["cip.contained.actions"] = list(dict.fromkeys(verb.value for verb in verbs))
    fields["cip.contained.statuses"] = statuses
    heaviest = max(verbs, key=t.WEIGHT.index, default=Verb.SESSION)
    if verbs:
        heavy = [path for path, verb in zip(paths, verbs, strict=True) if verb == heaviest]
        fields["cip.targets"] = list(dict.fromkeys(heavy))[:MAX_VALUES]
    return heaviest


def _typed(fields: Fields, data: bytes, *, counted: bool, offset: int = 0) -> None:
    """Type and values of a tag: type, structure handle, count and offset where there are, elements."""
    code = _u16(data, 0)
    if code is None:
        return
    at = 2
    if code == t.STRUCTURE:
        handle = _u16(data, 2)
        fields["cip.data_type"] = "STRUCT" if handle is None else f"STRUCT 0x{handle:04X}"
        at = 4
    else:
        fields["cip.data_type"] = t.DATA_TYPES.get(code, (f"0x{code:04X}", 0))[0]
    if counted:
        fields["cip.element_count"] = _u16(data, at)
        at += 2 + offset
    octets = t.DATA_TYPES.get(code, ("", 0))[1]
    if octets == 0:
        fields["cip.data"] = _hex(data[at:])
        return
    body = data[at : at + octets * MAX_VALUES]
    fields["cip.values"] = [_value(code, body[k : k + octets]) for k in range(0, len(body) - octets + 1, octets)]


def _value(code: int, raw: bytes) -> str:
    if code in (t.REAL, t.LREAL):
        return repr(round(struct.unpack("<f" if code == t.REAL else "<d", raw)[0], 6))
    return str(int.from_bytes(raw, "little", signed=code in t.SIGNED))


def identity(fields: Fields, data: bytes) -> bytes:
    """Identity object, attributes 1 to 7 (Volume 1, 5A-2): who the device is. Gives what follows."""
    if len(data) < 14:
        return b""
    vendor, device, product, major, minor, status, serial = struct.unpack_from("<HHHBBHI", data)
    fields["enip.identity.vendor_id"], fields["enip.identity.vendor"] = vendor, t.VENDORS.get(vendor)
    fields["enip.identity.device_type"] = device
    fields["enip.identity.device_type_name"] = t.DEVICE_TYPES.get(device)
    fields["enip.identity.product_code"] = product
    fields["enip.identity.revision"] = f"{major}.{minor}"
    fields["enip.identity.status"] = status
    fields["enip.identity.serial_number"] = f"{serial:08X}"
    if len(data) > 14:
        fields["enip.identity.product_name"] = wire_text(data[15 : 15 + data[14]])
        return data[15 + data[14] :]
    return b""


def _forward_open(fields: Fields, data: bytes, *, large: bool) -> None:
    """Volume 1, 3-5.5.2; the large one has 32 bits of network parameters."""
    if len(data) < (40 if large else 36):
        return
    fields["cip.connection.o_t_id"], fields["cip.connection.t_o_id"] = struct.unpack_from("<II", data, 2)
    _triad(fields, data[10:])
    o_t_rpi, o_t, t_o_rpi, t_o, trigger, words = struct.unpack_from("<IIIIBB" if large else "<IHIHBB", data, 22)
    size = 0xFFFF if large else 0x1FF
    fields["cip.connection.o_t_interval"], fields["cip.connection.t_o_interval"] = o_t_rpi, t_o_rpi
    fields["cip.connection.o_t_size"], fields["cip.connection.t_o_size"] = o_t & size, t_o & size
    fields["cip.connection.transport_class"] = trigger & 0x0F
    begin = 40 if large else 36
    fields["cip.connection.path"] = cip_path.sentence(cip_path.segments(data[begin : begin + 2 * words])) or None


def _triad(fields: Fields, data: bytes) -> None:
    """What identifies a connection: its serial number, and vendor and serial number of who opens it."""
    if len(data) >= 8:
        serial, vendor, originator = struct.unpack_from("<HHI", data)
        fields["cip.connection.serial"] = serial
        fields["cip.connection.originator_vendor"] = vendor
        fields["cip.connection.originator_serial"] = f"{originator:08X}"


def _u16(data: bytes, at: int) -> int | None:
    return int.from_bytes(data[at : at + 2], "little") if at + 2 <= len(data) else None


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data) - 1, 2)]


def _hex(data: bytes) -> str | None:
    return data[:MAX_DATA].hex() or None

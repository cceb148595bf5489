"""BACnet services, readable: the parameters of each as fields, and the verb where they decide it.

Source: ANSI/ASHRAE 135-2020, clauses 13 (alarms), 14 (files), 15 (objects), 16 (devices), 21 (parameters).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor.operations import Verb
from sensor.protocols import bacnet_tables as t
from sensor.protocols.bacnet_tags import MAX_SHOWN, Tag, pick, text, value

Fields = dict[str, Any]


def _object(fields: Fields, tag: Tag | None) -> None:
    if tag is not None and len(tag.data) == 4:
        fields["bacnet.object"] = t.object_name(tag.number)
        fields["bacnet.object_type"] = tag.number >> 22
        fields["bacnet.object_instance"] = tag.number & 0x3FFFFF


def _property(fields: Fields, tag: Tag | None) -> None:
    if tag is not None:
        fields["bacnet.property"], fields["bacnet.property_name"] = tag.number, t.property_name(tag.number)


def _values(tag: Tag | None) -> list[str]:
    return [] if tag is None or tag.members is None else [value(member) for member in tag.members[:MAX_SHOWN]]


def _reference(fields: Fields, tags: list[Tag]) -> None:
    """Object [0], property [1], array index [2]."""
    _object(fields, pick(tags, 0))
    _property(fields, pick(tags, 1))
    index = pick(tags, 2)
    fields["bacnet.array_index"] = None if index is None else index.number


def _read_property(fields: Fields, tags: list[Tag]) -> None:
    _reference(fields, tags)


def _read_property_ack(fields: Fields, tags: list[Tag]) -> None:
    _reference(fields, tags)
    fields["bacnet.values"] = _values(pick(tags, 3))


def _write_verb(kind: int | None, prop: int | None) -> Verb | None:
    """Writing an output's present value moves something; taking a point out of service detaches it from the plant."""
    if prop == t.PRESENT_VALUE and kind in t.OUTPUTS:
        return Verb.COMMAND
    return Verb.CONFIGURE if prop == t.OUT_OF_SERVICE else None


def _write_property(fields: Fields, tags: list[Tag]) -> Verb | None:
    _read_property_ack(fields, tags)
    priority = pick(tags, 4)
    fields["bacnet.write_priority"] = None if priority is None else priority.number
    return _write_verb(fields.get("bacnet.object_type"), fields.get("bacnet.property"))


def _multiple(fields: Fields, tags: list[Tag], value: int | None) -> Verb | None:
    """Pairs of object [0] and a list [1] of property [0], index [1]; in writes value [2] and priority [3]."""
    objects: list[str] = []
    properties: list[str] = []
    values: list[str] = []
    verbs: list[Verb] = []
    count = 0
    kind = -1
    for tag in tags:
        if tag.context == 0 and len(tag.data) == 4:
            objects.append(t.object_name(tag.number))
            kind = tag.number >> 22
            if "bacnet.object" not in fields:
                _object(fields, tag)
        for member in tag.members or () if tag.context == 1 else ():
            if member.context == 0 and member.members is None:
                count += 1
                properties.append(t.property_name(member.number))
                verb = _write_verb(kind, member.number)
                if verb is not None:
                    verbs.append(verb)
                if "bacnet.property" not in fields:
                    _property(fields, member)
            elif value is not None and member.context == value:
                values += _values(member)
    fields["bacnet.objects"] = list(dict.fromkeys(objects))[:MAX_SHOWN]
    fields["bacnet.properties"] = list(dict.fromkeys(properties))[:MAX_SHOWN]
    fields["bacnet.property_count"] = count
    fields["bacnet.values"] = values[:MAX_SHOWN]
    return Verb.COMMAND if Verb.COMMAND in verbs else verbs[0] if verbs else None


def _read_multiple(fields: Fields, tags: list[Tag]) -> None:
    _multiple(fields, tags, None)


def _write_multiple(fields: Fields, tags: list[Tag]) -> Verb | None:
    return _multiple(fields, tags, 2)


def _read_multiple_ack(fields: Fields, tags: list[Tag]) -> None:
    """Objects [0] and lists [1] of property [2], index [3], value [4] or error [5]."""
    objects = [t.object_name(tag.number) for tag in tags if tag.context == 0 and len(tag.data) == 4]
    members = [member for tag in tags if tag.context == 1 for member in tag.members or ()]
    properties = [t.property_name(member.number) for member in members if member.context == 2]
    fields["bacnet.objects"] = list(dict.fromkeys(objects))[:MAX_SHOWN]
    fields["bacnet.properties"] = list(dict.fromkeys(properties))[:MAX_SHOWN]
    fields["bacnet.property_count"] = len(properties)
    values = [value for member in members if member.context == 4 for value in _values(member)]
    fields["bacnet.values"] = values[:MAX_SHOWN]


def _communication(fields: Fields, tags: list[Tag]) -> Verb | None:
    minutes, state = pick(tags, 0), pick(tags, 1)
    fields["bacnet.duration"] = None if minutes is None else minutes.number
    fields["bacnet.password_given"] = pick(tags, 2) is not None
    if state is None:
        return None
    fields["bacnet.state"], fields["bacnet.state_name"] = state.number, t.nth(t.COMMUNICATION_STATES, state.number)
    return Verb.CONFIGURE if state.number == 0 else None


def _reinitialize(fields: Fields, tags: list[Tag]) -> Verb | None:
    state = pick(tags, 0)
    fields["bacnet.password_given"] = pick(tags, 1) is not None
    if state is None:
        return None
    fields["bacnet.state"], fields["bacnet.state_name"] = state.number, t.nth(t.REINITIALIZE_STATES, state.number)
    return t.REINITIALIZE_VERBS[state.number] if state.number < len(t.REINITIALIZE_VERBS) else None


def _file(fields: Fields, tags: list[Tag]) -> None:
    """AtomicReadFile and AtomicWriteFile: file, then stream [0] or record [1] access from a start on."""
    if tags:
        _object(fields, tags[0])
    access = next((tag for tag in tags if tag.members), None)
    if access is not None and access.members:
        fields["bacnet.file.access"] = "record" if access.context == 1 else "stream"
        fields["bacnet.file.start"] = int.from_bytes(access.members[0].data, "big", signed=True)
        data = [member for member in access.members if member.kind == 6]
        if data:
            fields["bacnet.file.octets"] = sum(len(member.data) for member in data)
        elif len(access.members) > 1:
            fields["bacnet.file.requested"] = access.members[1].number


def _create(fields: Fields, tags: list[Tag]) -> None:
    which = tags[0].members if tags else None
    if which and which[0].context == 1:
        _object(fields, which[0])
    elif which:
        fields["bacnet.object_type"] = which[0].number
        fields["bacnet.object"] = t.object_type(which[0].number)


def _named(context: int) -> Callable[[Fields, list[Tag]], None]:
    """A service of which only the object is told."""

    def one(fields: Fields, tags: list[Tag]) -> None:
        _object(fields, pick(tags, context))

    return one


def _subscribe(fields: Fields, tags: list[Tag]) -> None:
    _object(fields, pick(tags, 1))
    seconds = pick(tags, 3)
    fields["bacnet.lifetime"] = None if seconds is None else seconds.number


def _cov(fields: Fields, tags: list[Tag]) -> None:
    """Device [1], object [2], seconds that remain [3], list [4] of property [0] and value [2]."""
    _device(fields, pick(tags, 1))
    _object(fields, pick(tags, 2))
    members = (pick(tags, 4) or Tag(4, -1, b"", ())).members or ()
    fields["bacnet.properties"] = [t.property_name(m.number) for m in members if m.context == 0][:MAX_SHOWN]
    fields["bacnet.values"] = [value for m in members if m.context == 2 for value in _values(m)][:MAX_SHOWN]


def _event(fields: Fields, tags: list[Tag]) -> None:
    _device(fields, pick(tags, 1))
    _object(fields, pick(tags, 2))
    message = pick(tags, 7)
    fields["bacnet.text"] = None if message is None else text(message.data)


def _device(fields: Fields, tag: Tag | None) -> None:
    if tag is not None and len(tag.data) == 4:
        fields["bacnet.device_instance"] = tag.number & 0x3FFFFF


def _delete(fields: Fields, tags: list[Tag]) -> None:
    _object(fields, tags[0] if tags else None)


def _private(fields: Fields, tags: list[Tag]) -> None:
    vendor, service = pick(tags, 0), pick(tags, 1)
    fields["bacnet.vendor_id"] = None if vendor is None else vendor.number
    fields["bacnet.private_service"] = None if service is None else service.number


def _life_safety(fields: Fields, tags: list[Tag]) -> None:
    _object(fields, pick(tags, 3))
    operation = pick(tags, 2)
    fields["bacnet.state"] = None if operation is None else operation.number


def _i_am(fields: Fields, tags: list[Tag]) -> None:
    """Device, largest APDU, segmentation, vendor (16.10)."""
    if len(tags) >= 4:
        _device(fields, tags[0])
        fields["bacnet.max_apdu"] = tags[1].number
        fields["bacnet.segmentation"] = t.nth(t.SEGMENTATION, tags[2].number)
        fields["bacnet.vendor_id"] = tags[3].number


def _i_have(fields: Fields, tags: list[Tag]) -> None:
    if len(tags) >= 3:
        _device(fields, tags[0])
        _object(fields, tags[1])
        fields["bacnet.object_name"] = text(tags[2].data)


def _who(fields: Fields, tags: list[Tag]) -> None:
    """Who-Is and Who-Has: range of devices [0] to [1], object [2] or its name [3]."""
    low, high, name = pick(tags, 0), pick(tags, 1), pick(tags, 3)
    fields["bacnet.range.low"] = None if low is None else low.number
    fields["bacnet.range.high"] = None if high is None else high.number
    _object(fields, pick(tags, 2))
    fields["bacnet.object_name"] = None if name is None else text(name.data)


def _clock(fields: Fields, tags: list[Tag]) -> None:
    fields["bacnet.time"] = " ".join(value(tag) for tag in tags[:2])


REPEATED = tuple(f"bacnet.{name}" for name in (
    "service", "service_name", "object", "object_type", "object_instance", "property", "property_name", "array_index",
    "state", "state_name",
))  # fmt: skip
REQUESTS: dict[int, Callable[[Fields, list[Tag]], Verb | None]] = {
    t.ACKNOWLEDGE_ALARM: _named(1),
    t.CONFIRMED_COV: _cov,
    t.CONFIRMED_EVENT: _event,
    t.SUBSCRIBE_COV: _subscribe,
    t.SUBSCRIBE_COV_PROPERTY: _subscribe,
    t.ATOMIC_READ_FILE: _file,
    t.ATOMIC_WRITE_FILE: _file,
    t.ADD_LIST_ELEMENT: _read_property_ack,
    t.REMOVE_LIST_ELEMENT: _read_property_ack,
    t.CREATE_OBJECT: _create,
    t.DELETE_OBJECT: _delete,
    t.READ_PROPERTY: _read_property,
    t.READ_PROPERTY_MULTIPLE: _read_multiple,
    t.WRITE_PROPERTY: _write_property,
    t.WRITE_PROPERTY_MULTIPLE: _write_multiple,
    t.DEVICE_COMMUNICATION_CONTROL: _communication,
    t.PRIVATE_TRANSFER: _private,
    t.REINITIALIZE_DEVICE: _reinitialize,
    t.READ_RANGE: _read_property,
    t.LIFE_SAFETY_OPERATION: _life_safety,
}
ACKS: dict[int, Callable[[Fields, list[Tag]], None]] = {
    t.READ_PROPERTY: _read_property_ack,
    t.READ_PROPERTY_MULTIPLE: _read_multiple_ack,
}
UNCONFIRMED: dict[int, Callable[[Fields, list[Tag]], None]] = {
    t.I_AM: _i_am,
    t.I_HAVE: _i_have,
    t.UNCONFIRMED_COV: _cov,
    t.UNCONFIRMED_EVENT: _event,
    t.UNCONFIRMED_PRIVATE_TRANSFER: _private,
    t.TIME_SYNCHRONIZATION: _clock,
    t.WHO_HAS: _who,
    t.WHO_IS: _who,
    t.UTC_TIME_SYNCHRONIZATION: _clock,
}

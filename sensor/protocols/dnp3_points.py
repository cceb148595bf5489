"""The objects of a DNP3 fragment as fields: object headers, points, commands, files (IEEE 1815-2012, 4.2, Annex A).

The readable half of the walk: it takes the extent of each header from `dnp3_walk.py` and the contents of each object
from `dnp3_values.py`, and gathers what `dnp3.explain` prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sensor.protocols import dnp3_values as shown
from sensor.protocols.dnp3_link import Octets
from sensor.protocols.dnp3_objects import ATTRIBUTES, OBJECTS, VARIATION_IS_LENGTH, name_of
from sensor.protocols.dnp3_walk import ALL_POINTS, PREFIX_OCTETS, header, number, object_bits, object_end

MAX_POINTS = 100  # points listed; `dnp3.point_count` is exact. A fragment of packed bits can hold 16,000
MAX_HEADERS = 2048  # object headers explained: a fragment of the usual 2048 octets has room for a third of that
MAX_OBJECTS = 2048  # objects looked into, so that no command hides behind many points: one for each octet

DOUBLE_BIT, BINARY_OUTPUT, CONTROL, ANALOG_OUTPUT, TIME, COMMON_TIME = 3, 10, 12, 41, 50, 51
FILE, IIN, AUTHENTICATION = 70, 80, 120
WRITE, RESPONSE = 2, 129  # function codes; those from 129 on answer

# Fields of file and authentication objects that are worth filtering by: name in the object library, name in the schema.
FILE_FIELDS = {
    "name": "dnp3.file.name",
    "mode": "dnp3.file.mode",
    "size": "dnp3.file.size",
    "handle": "dnp3.file.handle",
    "block": "dnp3.file.block",
    "last_block": "dnp3.file.last_block",
    "status": "dnp3.file.status",
    "type": "dnp3.file.type",
    "permissions": "dnp3.file.permissions",
}
AUTHENTICATION_FIELDS = {
    "user": "dnp3.authentication.user",
    "sequence": "dnp3.authentication.sequence",
    "error": "dnp3.authentication.error",
    "key_status": "dnp3.authentication.key_status",
}


def object_types(octets: Octets, at: int, function: int) -> Iterator[tuple[int, int]]:
    """Group and variation of each object header from `at` on."""
    while len(octets) - at >= 3:
        yield int(octets[at]), int(octets[at + 1])
        at = int(header(octets, at, len(octets), function)[5])


class Points:
    """One walk over the objects of a fragment: octets, shape (n,), and its function code."""

    def __init__(self, octets: Octets, function: int) -> None:
        self.octets = octets
        self.function = function
        self.lists: dict[str, list[Any]] = {}
        self.fields: dict[str, Any] = {}
        self.listed = 0
        self.looked_into = 0
        self.common_time_ms: int | None = None

    def walk(self, at: int) -> dict[str, Any]:
        """Fields of the object headers and objects from `at` to the end of the fragment."""
        end = len(self.octets)
        count_all = 0
        undecoded = 0
        for _ in range(MAX_HEADERS):
            if end - at < 3:
                break
            found = header(self.octets, at, end, self.function)
            faults, qualifier, first, count, objects, after, carried = map(int, found)
            group, variation, prefix = int(self.octets[at]), int(self.octets[at + 1]), qualifier >> 4 & 7
            extent = _extent(qualifier, first, count)
            self._add("dnp3.objects", f"g{group}v{variation}")
            self._add("dnp3.object_headers", f"g{group}v{variation} {name_of(group, variation)}, {extent}")
            count_all += 1 if qualifier & 15 == ALL_POINTS else count
            if carried and prefix < 4 and group != ATTRIBUTES and object_bits(group, variation) < 0:
                undecoded = end - objects  # an object of unknown size: nothing behind its header can be delimited
            else:
                if carried:
                    self._objects(group, variation, prefix, first, count, objects, after)
                elif 1 <= prefix <= 3:
                    self._indexes(group, variation, prefix, objects, after)
                if faults and objects == after and count == 0:
                    undecoded = end - at - 3  # the range field itself is cut, reserved or runs backwards
            at = after
        undecoded = undecoded or end - at
        fields: dict[str, Any] = {**self.lists, **self.fields}
        if "dnp3.objects" in fields:
            fields["dnp3.point_count"] = count_all
        if undecoded:
            fields["dnp3.undecoded"] = undecoded
        return fields

    def _add(self, field: str, value: Any) -> None:
        self.lists.setdefault(field, []).append(value)

    def _indexes(self, group: int, variation: int, prefix: int, at: int, end: int) -> None:
        """Points that are only named: indexes without objects."""
        octets = int(PREFIX_OCTETS[prefix])
        for here in range(at, end - octets + 1, octets):
            if self.listed >= MAX_POINTS:
                break
            self._point(group, variation, int(number(self.octets, here, octets)), "")

    def _objects(self, group: int, variation: int, prefix: int, first: int, count: int, at: int, end: int) -> None:
        bits = 8 if group == ATTRIBUTES or prefix >= 4 else int(object_bits(group, variation))
        if 0 < bits < 8 and prefix == 0:
            most = MAX_OBJECTS if self._commands(group) else MAX_POINTS
            for i, value in enumerate(_packed(self.octets[at:end].tobytes(), bits, min(count, most))):
                self._bits(group, variation, first + i if first >= 0 else None, value)
            return
        octets = int(PREFIX_OCTETS[prefix])
        left = count
        while left > 0 and self.looked_into < MAX_OBJECTS and (bits > 0 or octets > 0):
            stop = int(object_end(self.octets, at, end, group, variation, prefix))
            if stop > end:
                return
            index = int(number(self.octets, at, octets)) if 1 <= prefix <= 3 else first + count - left
            raw = self.octets[at + octets : stop].tobytes()
            self.looked_into += 1
            self._object(group, variation, index if first >= 0 or 1 <= prefix <= 3 else None, raw)
            at = stop
            left -= 1

    def _commands(self, group: int) -> bool:
        """Whether the packed points of a group are written and so move outputs."""
        return group == BINARY_OUTPUT and self.function == WRITE

    def _bits(self, group: int, variation: int, index: int | None, value: int) -> None:
        """One point of a packed format."""
        if self._commands(group):
            self._add("dnp3.command", f"set {'a point' if index is None else f'point {index}'} to {value}")
        if self.listed < MAX_POINTS and group != IIN:
            self._add("dnp3.values", float(value))
        if group == DOUBLE_BIT:
            self._point(group, variation, index, shown.DOUBLE_BIT[value])
        elif group == IIN and index is not None and index < len(shown.INDICATIONS):
            self._point(group, variation, index, f"{shown.INDICATIONS[index]} {value}")
        else:
            self._point(group, variation, index, str(value))

    def _object(self, group: int, variation: int, index: int | None, raw: bytes) -> None:
        """One object that takes octets of its own."""
        if group == ATTRIBUTES:
            attribute = shown.attribute(variation, index or 0, raw)
            self._add("dnp3.attributes", attribute)
            self._point(group, variation, None, attribute)
            return
        described = OBJECTS.get((group, variation))
        if group in VARIATION_IS_LENGTH:
            self._point(group, variation, index, shown.text(raw))
            return
        if described is None or (described.bits > 0 and described.bits != 8 * len(raw)):
            self._point(group, variation, index, shown.octets_shown(raw))  # not the size that the library gives it
            return
        values, whole = shown.contents(described.fields, raw)
        if group in (TIME, COMMON_TIME) and values.get("time", -1) <= shown.MAX_TIME_MS:
            self.fields.setdefault("dnp3.time", shown.time_shown(values["time"]))
            self.common_time_ms = values["time"] if group == COMMON_TIME else self.common_time_ms
        if group in (CONTROL, ANALOG_OUTPUT):
            self._command(index, values)
        elif group == FILE:
            self._keep(FILE_FIELDS, values)
        elif group == AUTHENTICATION:
            self._keep(AUTHENTICATION_FIELDS, values)
        value = values.get("value")
        measured = shown.finite(shown.DOUBLE_BIT.index(value) if value in shown.DOUBLE_BIT else value)
        if measured is not None and self.listed < MAX_POINTS:
            self._add("dnp3.values", measured)
        sentence = shown.sentence(values, self.common_time_ms)
        self._point(group, variation, index, sentence if whole else f"{sentence} (cut short)")

    def _command(self, index: int | None, values: dict[str, Any]) -> None:
        point = "a point" if index is None else f"point {index}"
        if "code" in values:
            self._add("dnp3.command", f"{shown.operation(values['code'])} {point}")
        else:
            self._add("dnp3.command", f"set {point} to {values['value']}")
            setpoint = shown.finite(values["value"])
            if setpoint is not None:
                self._add("dnp3.setpoint", setpoint)
        if self.function >= RESPONSE:
            self._add("dnp3.command_status", values["status"])
        elif values["status"] == "success":
            del values["status"]  # the field is there in a request, but it says nothing yet

    def _keep(self, names: dict[str, str], values: dict[str, Any]) -> None:
        """Fields of the first object that has them."""
        for name, field in names.items():
            if name in values:
                self.fields.setdefault(field, values[name])

    def _point(self, group: int, variation: int, index: int | None, sentence: str) -> None:
        if self.listed >= MAX_POINTS:
            return
        where = f"g{group}v{variation}" if index is None else f"g{group}v{variation} point {index}"
        self._add("dnp3.points", f"{where}: {sentence}" if sentence else where)
        if index is not None:
            self._add("dnp3.indexes", index)
        self.listed += 1


def _packed(octets: bytes, bits: int, count: int) -> Iterator[int]:
    """Values of packed points, least significant bits first, as many as are there."""
    for i in range(min(count, len(octets) * 8 // bits)):
        yield octets[i * bits // 8] >> (i * bits % 8) & ((1 << bits) - 1)


def _extent(qualifier: int, first: int, count: int) -> str:
    """Which points a header addresses, with the raw qualifier."""
    if qualifier & 15 == ALL_POINTS:
        extent = "all points"
    elif first >= 0 and count > 0:
        extent = f"points {first} to {first + count - 1}"
    else:
        extent = f"count {count}"
    return f"{extent}, qualifier 0x{qualifier:02x}"
